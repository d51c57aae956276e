"""Recurrent networks as pure functions, and how gradients flow through them."""

from jaxrnn import analysis as analysis
from jaxrnn import tasks as tasks
from jaxrnn import testing as testing
from jaxrnn import train as train
from jaxrnn._version import __version__ as __version__
from jaxrnn.cells import CELLS as CELLS
from jaxrnn.cells import CellEntry as CellEntry
from jaxrnn.cells import ElmanParams as ElmanParams
from jaxrnn.cells import GRUParams as GRUParams
from jaxrnn.cells import LSTMParams as LSTMParams
from jaxrnn.cells import LSTMState as LSTMState
from jaxrnn.cells import elman as elman
from jaxrnn.cells import gru as gru
from jaxrnn.cells import lstm as lstm
from jaxrnn.core import Cell as Cell
from jaxrnn.core import Elementwise as Elementwise
from jaxrnn.core import Gated as Gated
from jaxrnn.core import General as General
from jaxrnn.core import Linear as Linear
from jaxrnn.core import Separable as Separable
from jaxrnn.core import Structure as Structure
from jaxrnn.core import UnrollFn as UnrollFn
from jaxrnn.core import from_structure as from_structure
from jaxrnn.core import initializers as initializers
from jaxrnn.core import require as require
from jaxrnn.kernels import select_unroll as select_unroll
from jaxrnn.layers import Layer as Layer
from jaxrnn.layers import bidirectional as bidirectional
from jaxrnn.layers import dropout as dropout
from jaxrnn.layers import layer as layer
from jaxrnn.layers import readout as readout
from jaxrnn.layers import residual as residual
from jaxrnn.layers import reverse as reverse
from jaxrnn.layers import seed_dropout as seed_dropout
from jaxrnn.layers import stack as stack
from jaxrnn.unrolls import checkpointed as checkpointed
from jaxrnn.unrolls import fused_unroll as fused_unroll
from jaxrnn.unrolls import length_mask as length_mask
from jaxrnn.unrolls import trajectory as trajectory
from jaxrnn.unrolls import truncated as truncated
from jaxrnn.unrolls import unroll as unroll
from jaxrnn.wrappers import learned_state as learned_state
from jaxrnn.wrappers import stacked as stacked

__all__ = [
    "CELLS",
    "Cell",
    "CellEntry",
    "Elementwise",
    "ElmanParams",
    "GRUParams",
    "Gated",
    "General",
    "LSTMParams",
    "LSTMState",
    "Layer",
    "Linear",
    "Separable",
    "Structure",
    "UnrollFn",
    "__version__",
    "analysis",
    "bidirectional",
    "checkpointed",
    "dropout",
    "elman",
    "from_structure",
    "fused_unroll",
    "gru",
    "initializers",
    "layer",
    "learned_state",
    "length_mask",
    "lstm",
    "readout",
    "require",
    "residual",
    "reverse",
    "seed_dropout",
    "select_unroll",
    "stack",
    "stacked",
    "tasks",
    "testing",
    "train",
    "trajectory",
    "truncated",
    "unroll",
]
