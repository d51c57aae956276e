"""Recurrent networks as pure functions, and how gradients flow through them."""

from jaxrnn import analysis as analysis
from jaxrnn import sharding as sharding
from jaxrnn import tasks as tasks
from jaxrnn import testing as testing
from jaxrnn import train as train
from jaxrnn import wrappers as wrappers
from jaxrnn._version import __version__ as __version__
from jaxrnn.cells import CELLS as CELLS
from jaxrnn.cells import CellEntry as CellEntry
from jaxrnn.cells import ElmanParams as ElmanParams
from jaxrnn.cells import GRUParams as GRUParams
from jaxrnn.cells import LSTMParams as LSTMParams
from jaxrnn.cells import LSTMState as LSTMState
from jaxrnn.cells import antisymmetric as antisymmetric
from jaxrnn.cells import atr as atr
from jaxrnn.cells import br_cell as br_cell
from jaxrnn.cells import cayley_rnn as cayley_rnn
from jaxrnn.cells import cfc as cfc
from jaxrnn.cells import cfn as cfn
from jaxrnn.cells import clockwork as clockwork
from jaxrnn.cells import conv_gru as conv_gru
from jaxrnn.cells import conv_lstm as conv_lstm
from jaxrnn.cells import cornn as cornn
from jaxrnn.cells import coupled_lstm as coupled_lstm
from jaxrnn.cells import ct_rnn as ct_rnn
from jaxrnn.cells import elman as elman
from jaxrnn.cells import exp_rnn as exp_rnn
from jaxrnn.cells import fast_slow as fast_slow
from jaxrnn.cells import gru as gru
from jaxrnn.cells import hyper_lstm as hyper_lstm
from jaxrnn.cells import ind_rnn as ind_rnn
from jaxrnn.cells import janet as janet
from jaxrnn.cells import layer_norm_gru as layer_norm_gru
from jaxrnn.cells import layer_norm_lstm as layer_norm_lstm
from jaxrnn.cells import lem as lem
from jaxrnn.cells import li_gru as li_gru
from jaxrnn.cells import lipschitz as lipschitz
from jaxrnn.cells import lmu as lmu
from jaxrnn.cells import lru as lru
from jaxrnn.cells import lstm as lstm
from jaxrnn.cells import ltc as ltc
from jaxrnn.cells import mgu as mgu
from jaxrnn.cells import min_gru as min_gru
from jaxrnn.cells import min_lstm as min_lstm
from jaxrnn.cells import minimal_rnn as minimal_rnn
from jaxrnn.cells import mlstm as mlstm
from jaxrnn.cells import mut1 as mut1
from jaxrnn.cells import mut2 as mut2
from jaxrnn.cells import mut3 as mut3
from jaxrnn.cells import nas as nas
from jaxrnn.cells import nbr_cell as nbr_cell
from jaxrnn.cells import peephole_lstm as peephole_lstm
from jaxrnn.cells import phased_lstm as phased_lstm
from jaxrnn.cells import projected_lstm as projected_lstm
from jaxrnn.cells import qrnn as qrnn
from jaxrnn.cells import ran as ran
from jaxrnn.cells import rg_lru as rg_lru
from jaxrnn.cells import rhn as rhn
from jaxrnn.cells import s5 as s5
from jaxrnn.cells import scrn as scrn
from jaxrnn.cells import slstm as slstm
from jaxrnn.cells import sru as sru
from jaxrnn.cells import star as star
from jaxrnn.cells import ugrnn as ugrnn
from jaxrnn.cells import unicornn as unicornn
from jaxrnn.cells import unitary as unitary
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
from jaxrnn.layers import pipelined as pipelined
from jaxrnn.layers import readout as readout
from jaxrnn.layers import residual as residual
from jaxrnn.layers import reverse as reverse
from jaxrnn.layers import seed_dropout as seed_dropout
from jaxrnn.layers import stack as stack
from jaxrnn.layers import stepper as stepper
from jaxrnn.unrolls import associative_unroll as associative_unroll
from jaxrnn.unrolls import checkpointed as checkpointed
from jaxrnn.unrolls import chunked_unroll as chunked_unroll
from jaxrnn.unrolls import fused_unroll as fused_unroll
from jaxrnn.unrolls import hidden_sharded as hidden_sharded
from jaxrnn.unrolls import length_mask as length_mask
from jaxrnn.unrolls import newton_unroll as newton_unroll
from jaxrnn.unrolls import newton_unroll_with_info as newton_unroll_with_info
from jaxrnn.unrolls import time_sharded as time_sharded
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
    "antisymmetric",
    "associative_unroll",
    "atr",
    "bidirectional",
    "br_cell",
    "cayley_rnn",
    "cfc",
    "cfn",
    "checkpointed",
    "chunked_unroll",
    "clockwork",
    "conv_gru",
    "conv_lstm",
    "cornn",
    "coupled_lstm",
    "ct_rnn",
    "dropout",
    "elman",
    "exp_rnn",
    "fast_slow",
    "from_structure",
    "fused_unroll",
    "gru",
    "hidden_sharded",
    "hyper_lstm",
    "ind_rnn",
    "initializers",
    "janet",
    "layer",
    "layer_norm_gru",
    "layer_norm_lstm",
    "learned_state",
    "lem",
    "length_mask",
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
    "newton_unroll",
    "newton_unroll_with_info",
    "peephole_lstm",
    "phased_lstm",
    "pipelined",
    "projected_lstm",
    "qrnn",
    "ran",
    "readout",
    "require",
    "residual",
    "reverse",
    "rg_lru",
    "rhn",
    "s5",
    "scrn",
    "seed_dropout",
    "select_unroll",
    "sharding",
    "slstm",
    "sru",
    "stack",
    "stacked",
    "star",
    "stepper",
    "tasks",
    "testing",
    "time_sharded",
    "train",
    "trajectory",
    "truncated",
    "ugrnn",
    "unicornn",
    "unitary",
    "unroll",
    "wrappers",
]
