"""Cells, one family a file, and CELLS, the one table of them."""

from jaxrnn.cells.elman import ELMAN as ELMAN
from jaxrnn.cells.elman import ELMAN_ENTRY, IRNN_ENTRY
from jaxrnn.cells.elman import ElmanParams as ElmanParams
from jaxrnn.cells.elman import elman as elman
from jaxrnn.cells.entry import CellEntry as CellEntry
from jaxrnn.cells.gru import GRU as GRU
from jaxrnn.cells.gru import GRU_ENTRY, GRU_RESET_BEFORE_ENTRY
from jaxrnn.cells.gru import GRUParams as GRUParams
from jaxrnn.cells.gru import gru as gru
from jaxrnn.cells.lstm import LSTM as LSTM
from jaxrnn.cells.lstm import LSTM_ENTRY
from jaxrnn.cells.lstm import LSTMParams as LSTMParams
from jaxrnn.cells.lstm import LSTMState as LSTMState
from jaxrnn.cells.lstm import lstm as lstm

__all__ = [
    "CELLS",
    "ELMAN",
    "GRU",
    "LSTM",
    "CellEntry",
    "ElmanParams",
    "GRUParams",
    "LSTMParams",
    "LSTMState",
    "elman",
    "gru",
    "lstm",
]

CELLS: dict[str, CellEntry] = {
    "elman": ELMAN_ENTRY,
    "irnn": IRNN_ENTRY,
    "lstm": LSTM_ENTRY,
    "gru": GRU_ENTRY,
    "gru_reset_before": GRU_RESET_BEFORE_ENTRY,
}
