"""Cells, one family a file, and CELLS, the one table of them."""

from jaxrnn.cells.antisymmetric import ANTISYMMETRIC_ENTRY, ANTISYMMETRIC_GATED_ENTRY
from jaxrnn.cells.antisymmetric import AntisymmetricParams as AntisymmetricParams
from jaxrnn.cells.antisymmetric import antisymmetric as antisymmetric
from jaxrnn.cells.atr import ATR_ENTRY
from jaxrnn.cells.atr import ATRParams as ATRParams
from jaxrnn.cells.atr import atr as atr
from jaxrnn.cells.br_cell import BR_CELL_ENTRY, NBR_CELL_ENTRY
from jaxrnn.cells.br_cell import BRCellParams as BRCellParams
from jaxrnn.cells.br_cell import NBRCellParams as NBRCellParams
from jaxrnn.cells.br_cell import br_cell as br_cell
from jaxrnn.cells.br_cell import nbr_cell as nbr_cell
from jaxrnn.cells.cfc import CFC_ENTRY
from jaxrnn.cells.cfc import CfCParams as CfCParams
from jaxrnn.cells.cfc import cfc as cfc
from jaxrnn.cells.cfn import CFN_ENTRY
from jaxrnn.cells.cfn import CFNParams as CFNParams
from jaxrnn.cells.cfn import cfn as cfn
from jaxrnn.cells.clockwork import CLOCKWORK_ENTRY
from jaxrnn.cells.clockwork import ClockworkParams as ClockworkParams
from jaxrnn.cells.clockwork import ClockworkState as ClockworkState
from jaxrnn.cells.clockwork import clockwork as clockwork
from jaxrnn.cells.conv_gru import CONV_GRU_ENTRY
from jaxrnn.cells.conv_gru import ConvGRUParams as ConvGRUParams
from jaxrnn.cells.conv_gru import conv_gru as conv_gru
from jaxrnn.cells.conv_lstm import CONV_LSTM_ENTRY
from jaxrnn.cells.conv_lstm import ConvLSTMParams as ConvLSTMParams
from jaxrnn.cells.conv_lstm import conv_lstm as conv_lstm
from jaxrnn.cells.cornn import CORNN_ENTRY
from jaxrnn.cells.cornn import CoRNNParams as CoRNNParams
from jaxrnn.cells.cornn import CoRNNState as CoRNNState
from jaxrnn.cells.cornn import cornn as cornn
from jaxrnn.cells.ct_rnn import CT_RNN_ENTRY
from jaxrnn.cells.ct_rnn import CTRNNParams as CTRNNParams
from jaxrnn.cells.ct_rnn import ct_rnn as ct_rnn
from jaxrnn.cells.elman import ELMAN_ENTRY, IRNN_ENTRY
from jaxrnn.cells.elman import ElmanParams as ElmanParams
from jaxrnn.cells.elman import elman as elman
from jaxrnn.cells.entry import CellEntry as CellEntry
from jaxrnn.cells.fast_slow import FAST_SLOW_ENTRY
from jaxrnn.cells.fast_slow import FastSlowParams as FastSlowParams
from jaxrnn.cells.fast_slow import FastSlowState as FastSlowState
from jaxrnn.cells.fast_slow import fast_slow as fast_slow
from jaxrnn.cells.gru import GRU_ENTRY, GRU_RESET_BEFORE_ENTRY
from jaxrnn.cells.gru import GRUParams as GRUParams
from jaxrnn.cells.gru import gru as gru
from jaxrnn.cells.hyper_lstm import HYPER_LSTM_ENTRY
from jaxrnn.cells.hyper_lstm import HyperLSTMHyperParams as HyperLSTMHyperParams
from jaxrnn.cells.hyper_lstm import HyperLSTMNorm as HyperLSTMNorm
from jaxrnn.cells.hyper_lstm import HyperLSTMParams as HyperLSTMParams
from jaxrnn.cells.hyper_lstm import HyperLSTMState as HyperLSTMState
from jaxrnn.cells.hyper_lstm import hyper_lstm as hyper_lstm
from jaxrnn.cells.ind_rnn import IND_RNN_ENTRY
from jaxrnn.cells.ind_rnn import IndRNNParams as IndRNNParams
from jaxrnn.cells.ind_rnn import ind_rnn as ind_rnn
from jaxrnn.cells.janet import JANET_ENTRY
from jaxrnn.cells.janet import JANETParams as JANETParams
from jaxrnn.cells.janet import janet as janet
from jaxrnn.cells.layer_norm import LAYER_NORM_GRU_ENTRY, LAYER_NORM_LSTM_ENTRY
from jaxrnn.cells.layer_norm import LayerNormGRUParams as LayerNormGRUParams
from jaxrnn.cells.layer_norm import LayerNormLSTMParams as LayerNormLSTMParams
from jaxrnn.cells.layer_norm import layer_norm_gru as layer_norm_gru
from jaxrnn.cells.layer_norm import layer_norm_lstm as layer_norm_lstm
from jaxrnn.cells.lem import LEM_ENTRY
from jaxrnn.cells.lem import LEMParams as LEMParams
from jaxrnn.cells.lem import LEMState as LEMState
from jaxrnn.cells.lem import lem as lem
from jaxrnn.cells.li_gru import LI_GRU_ENTRY
from jaxrnn.cells.li_gru import LiGRUParams as LiGRUParams
from jaxrnn.cells.li_gru import li_gru as li_gru
from jaxrnn.cells.lipschitz import LIPSCHITZ_ENTRY
from jaxrnn.cells.lipschitz import LipschitzParams as LipschitzParams
from jaxrnn.cells.lipschitz import lipschitz as lipschitz
from jaxrnn.cells.lmu import LMU_ENTRY
from jaxrnn.cells.lmu import LMUParams as LMUParams
from jaxrnn.cells.lmu import LMUState as LMUState
from jaxrnn.cells.lmu import lmu as lmu
from jaxrnn.cells.lru import LRU_ENTRY
from jaxrnn.cells.lru import LRUParams as LRUParams
from jaxrnn.cells.lru import lru as lru
from jaxrnn.cells.lstm import LSTM_ENTRY
from jaxrnn.cells.lstm import LSTMParams as LSTMParams
from jaxrnn.cells.lstm import LSTMState as LSTMState
from jaxrnn.cells.lstm import lstm as lstm
from jaxrnn.cells.ltc import LTC_ENTRY
from jaxrnn.cells.ltc import LTCParams as LTCParams
from jaxrnn.cells.ltc import LTCSynapses as LTCSynapses
from jaxrnn.cells.ltc import ltc as ltc
from jaxrnn.cells.mgu import MGU_ENTRY, MGU_RESET_AFTER_ENTRY
from jaxrnn.cells.mgu import MGUParams as MGUParams
from jaxrnn.cells.mgu import mgu as mgu
from jaxrnn.cells.min_gru import MIN_GRU_ENTRY, MIN_LSTM_ENTRY
from jaxrnn.cells.min_gru import MinGRUParams as MinGRUParams
from jaxrnn.cells.min_gru import MinLSTMParams as MinLSTMParams
from jaxrnn.cells.min_gru import min_gru as min_gru
from jaxrnn.cells.min_gru import min_lstm as min_lstm
from jaxrnn.cells.minimal_rnn import MINIMAL_RNN_ENTRY
from jaxrnn.cells.minimal_rnn import MinimalRNNParams as MinimalRNNParams
from jaxrnn.cells.minimal_rnn import minimal_rnn as minimal_rnn
from jaxrnn.cells.mlstm import MLSTM_ENTRY
from jaxrnn.cells.mlstm import MLSTMParams as MLSTMParams
from jaxrnn.cells.mlstm import MLSTMState as MLSTMState
from jaxrnn.cells.mlstm import mlstm as mlstm
from jaxrnn.cells.mut import MUT1_ENTRY, MUT2_ENTRY, MUT3_ENTRY
from jaxrnn.cells.mut import MUTParams as MUTParams
from jaxrnn.cells.mut import mut1 as mut1
from jaxrnn.cells.mut import mut2 as mut2
from jaxrnn.cells.mut import mut3 as mut3
from jaxrnn.cells.nas import NAS_ENTRY
from jaxrnn.cells.nas import NASParams as NASParams
from jaxrnn.cells.nas import NASState as NASState
from jaxrnn.cells.nas import nas as nas
from jaxrnn.cells.orthogonal import CAYLEY_RNN_ENTRY, EXP_RNN_ENTRY
from jaxrnn.cells.orthogonal import OrthogonalParams as OrthogonalParams
from jaxrnn.cells.orthogonal import cayley_rnn as cayley_rnn
from jaxrnn.cells.orthogonal import exp_rnn as exp_rnn
from jaxrnn.cells.peephole_lstm import COUPLED_LSTM_ENTRY, PEEPHOLE_LSTM_ENTRY
from jaxrnn.cells.peephole_lstm import CoupledLSTMParams as CoupledLSTMParams
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams as PeepholeLSTMParams
from jaxrnn.cells.peephole_lstm import coupled_lstm as coupled_lstm
from jaxrnn.cells.peephole_lstm import peephole_lstm as peephole_lstm
from jaxrnn.cells.phased_lstm import PHASED_LSTM_ENTRY
from jaxrnn.cells.phased_lstm import PhasedLSTMParams as PhasedLSTMParams
from jaxrnn.cells.phased_lstm import PhasedLSTMState as PhasedLSTMState
from jaxrnn.cells.phased_lstm import phased_lstm as phased_lstm
from jaxrnn.cells.projected_lstm import PROJECTED_LSTM_ENTRY
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams as ProjectedLSTMParams
from jaxrnn.cells.projected_lstm import ProjectedLSTMState as ProjectedLSTMState
from jaxrnn.cells.projected_lstm import projected_lstm as projected_lstm
from jaxrnn.cells.qrnn import QRNN_ENTRY
from jaxrnn.cells.qrnn import QRNNParams as QRNNParams
from jaxrnn.cells.qrnn import QRNNState as QRNNState
from jaxrnn.cells.qrnn import qrnn as qrnn
from jaxrnn.cells.ran import RAN_ENTRY
from jaxrnn.cells.ran import RANParams as RANParams
from jaxrnn.cells.ran import ran as ran
from jaxrnn.cells.rg_lru import RG_LRU_ENTRY
from jaxrnn.cells.rg_lru import RGLRUParams as RGLRUParams
from jaxrnn.cells.rg_lru import rg_lru as rg_lru
from jaxrnn.cells.rhn import RHN_ENTRY
from jaxrnn.cells.rhn import RHNParams as RHNParams
from jaxrnn.cells.rhn import rhn as rhn
from jaxrnn.cells.s5 import S5_ENTRY
from jaxrnn.cells.s5 import S5Params as S5Params
from jaxrnn.cells.s5 import s5 as s5
from jaxrnn.cells.scrn import SCRN_ENTRY
from jaxrnn.cells.scrn import SCRNParams as SCRNParams
from jaxrnn.cells.scrn import SCRNState as SCRNState
from jaxrnn.cells.scrn import scrn as scrn
from jaxrnn.cells.slstm import SLSTM_ENTRY
from jaxrnn.cells.slstm import SLSTMParams as SLSTMParams
from jaxrnn.cells.slstm import SLSTMState as SLSTMState
from jaxrnn.cells.slstm import slstm as slstm
from jaxrnn.cells.sru import SRU_ENTRY
from jaxrnn.cells.sru import SRUParams as SRUParams
from jaxrnn.cells.sru import sru as sru
from jaxrnn.cells.star import STAR_ENTRY
from jaxrnn.cells.star import STARParams as STARParams
from jaxrnn.cells.star import star as star
from jaxrnn.cells.ugrnn import UGRNN_ENTRY
from jaxrnn.cells.ugrnn import UGRNNParams as UGRNNParams
from jaxrnn.cells.ugrnn import ugrnn as ugrnn
from jaxrnn.cells.unicornn import UNICORNN_ENTRY
from jaxrnn.cells.unicornn import UnICORNNParams as UnICORNNParams
from jaxrnn.cells.unicornn import UnICORNNState as UnICORNNState
from jaxrnn.cells.unicornn import unicornn as unicornn
from jaxrnn.cells.unitary import UNITARY_ENTRY
from jaxrnn.cells.unitary import UnitaryParams as UnitaryParams
from jaxrnn.cells.unitary import unitary as unitary

__all__ = [
    "ATRParams",
    "AntisymmetricParams",
    "BRCellParams",
    "CELLS",
    "CFNParams",
    "CTRNNParams",
    "CellEntry",
    "CfCParams",
    "ClockworkParams",
    "ClockworkState",
    "CoRNNParams",
    "CoRNNState",
    "ConvGRUParams",
    "ConvLSTMParams",
    "CoupledLSTMParams",
    "ElmanParams",
    "FastSlowParams",
    "FastSlowState",
    "GRUParams",
    "HyperLSTMHyperParams",
    "HyperLSTMNorm",
    "HyperLSTMParams",
    "HyperLSTMState",
    "IndRNNParams",
    "JANETParams",
    "LEMParams",
    "LEMState",
    "LMUParams",
    "LMUState",
    "LRUParams",
    "LSTMParams",
    "LSTMState",
    "LTCParams",
    "LTCSynapses",
    "LayerNormGRUParams",
    "LayerNormLSTMParams",
    "LiGRUParams",
    "LipschitzParams",
    "MGUParams",
    "MLSTMParams",
    "MLSTMState",
    "MUTParams",
    "MinGRUParams",
    "MinLSTMParams",
    "MinimalRNNParams",
    "NASParams",
    "NASState",
    "NBRCellParams",
    "OrthogonalParams",
    "PeepholeLSTMParams",
    "PhasedLSTMParams",
    "PhasedLSTMState",
    "ProjectedLSTMParams",
    "ProjectedLSTMState",
    "QRNNParams",
    "QRNNState",
    "RANParams",
    "RGLRUParams",
    "RHNParams",
    "S5Params",
    "SCRNParams",
    "SCRNState",
    "SLSTMParams",
    "SLSTMState",
    "SRUParams",
    "STARParams",
    "UGRNNParams",
    "UnICORNNParams",
    "UnICORNNState",
    "UnitaryParams",
    "antisymmetric",
    "atr",
    "br_cell",
    "cayley_rnn",
    "cfc",
    "cfn",
    "clockwork",
    "conv_gru",
    "conv_lstm",
    "cornn",
    "coupled_lstm",
    "ct_rnn",
    "elman",
    "exp_rnn",
    "fast_slow",
    "gru",
    "hyper_lstm",
    "ind_rnn",
    "janet",
    "layer_norm_gru",
    "layer_norm_lstm",
    "lem",
    "li_gru",
    "lipschitz",
    "lmu",
    "lru",
    "lstm",
    "ltc",
    "mgu",
    "min_gru",
    "min_lstm",
    "minimal_rnn",
    "mlstm",
    "mut1",
    "mut2",
    "mut3",
    "nas",
    "nbr_cell",
    "peephole_lstm",
    "phased_lstm",
    "projected_lstm",
    "qrnn",
    "ran",
    "rg_lru",
    "rhn",
    "s5",
    "scrn",
    "slstm",
    "sru",
    "star",
    "ugrnn",
    "unicornn",
    "unitary",
]

CELLS: dict[str, CellEntry] = {
    "elman": ELMAN_ENTRY,
    "irnn": IRNN_ENTRY,
    "lstm": LSTM_ENTRY,
    "gru": GRU_ENTRY,
    "gru_reset_before": GRU_RESET_BEFORE_ENTRY,
    "peephole_lstm": PEEPHOLE_LSTM_ENTRY,
    "coupled_lstm": COUPLED_LSTM_ENTRY,
    "layer_norm_lstm": LAYER_NORM_LSTM_ENTRY,
    "layer_norm_gru": LAYER_NORM_GRU_ENTRY,
    "projected_lstm": PROJECTED_LSTM_ENTRY,
    "hyper_lstm": HYPER_LSTM_ENTRY,
    "phased_lstm": PHASED_LSTM_ENTRY,
    "janet": JANET_ENTRY,
    "mgu": MGU_ENTRY,
    "mgu_reset_after": MGU_RESET_AFTER_ENTRY,
    "ugrnn": UGRNN_ENTRY,
    "minimal_rnn": MINIMAL_RNN_ENTRY,
    "ran": RAN_ENTRY,
    "cfn": CFN_ENTRY,
    "star": STAR_ENTRY,
    "atr": ATR_ENTRY,
    "li_gru": LI_GRU_ENTRY,
    "mut1": MUT1_ENTRY,
    "mut2": MUT2_ENTRY,
    "mut3": MUT3_ENTRY,
    "nas": NAS_ENTRY,
    "rhn": RHN_ENTRY,
    "fast_slow": FAST_SLOW_ENTRY,
    "scrn": SCRN_ENTRY,
    "clockwork": CLOCKWORK_ENTRY,
    "br_cell": BR_CELL_ENTRY,
    "nbr_cell": NBR_CELL_ENTRY,
    "ind_rnn": IND_RNN_ENTRY,
    "sru": SRU_ENTRY,
    "qrnn": QRNN_ENTRY,
    "min_gru": MIN_GRU_ENTRY,
    "min_lstm": MIN_LSTM_ENTRY,
    "lru": LRU_ENTRY,
    "s5": S5_ENTRY,
    "rg_lru": RG_LRU_ENTRY,
    "mlstm": MLSTM_ENTRY,
    "slstm": SLSTM_ENTRY,
    "lmu": LMU_ENTRY,
    "antisymmetric": ANTISYMMETRIC_ENTRY,
    "antisymmetric_gated": ANTISYMMETRIC_GATED_ENTRY,
    "exp_rnn": EXP_RNN_ENTRY,
    "cayley_rnn": CAYLEY_RNN_ENTRY,
    "unitary": UNITARY_ENTRY,
    "cornn": CORNN_ENTRY,
    "unicornn": UNICORNN_ENTRY,
    "lem": LEM_ENTRY,
    "lipschitz": LIPSCHITZ_ENTRY,
    "ct_rnn": CT_RNN_ENTRY,
    "cfc": CFC_ENTRY,
    "ltc": LTC_ENTRY,
    "conv_lstm": CONV_LSTM_ENTRY,
    "conv_gru": CONV_GRU_ENTRY,
}
