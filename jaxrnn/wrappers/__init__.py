"""Wrappers: functions from cells to cells."""

from jaxrnn.wrappers.drop_connect import drop_connect as drop_connect
from jaxrnn.wrappers.dropout import MaskedState as MaskedState
from jaxrnn.wrappers.dropout import dropout as dropout
from jaxrnn.wrappers.layer_norm import LayerNormParams as LayerNormParams
from jaxrnn.wrappers.layer_norm import layer_norm as layer_norm
from jaxrnn.wrappers.learned_state import LearnedStateParams as LearnedStateParams
from jaxrnn.wrappers.learned_state import learned_state as learned_state
from jaxrnn.wrappers.multiplicative import MultiplicativeParams as MultiplicativeParams
from jaxrnn.wrappers.multiplicative import multiplicative as multiplicative
from jaxrnn.wrappers.noise import noise as noise
from jaxrnn.wrappers.randomness import CountedState as CountedState
from jaxrnn.wrappers.randomness import RandomParams as RandomParams
from jaxrnn.wrappers.randomness import seed as seed
from jaxrnn.wrappers.residual import residual as residual
from jaxrnn.wrappers.stacked import stacked as stacked
from jaxrnn.wrappers.weight_norm import WeightNormParams as WeightNormParams
from jaxrnn.wrappers.weight_norm import weight_norm as weight_norm
from jaxrnn.wrappers.zoneout import zoneout as zoneout

__all__ = [
    "CountedState",
    "LayerNormParams",
    "LearnedStateParams",
    "MaskedState",
    "MultiplicativeParams",
    "RandomParams",
    "WeightNormParams",
    "drop_connect",
    "dropout",
    "layer_norm",
    "learned_state",
    "multiplicative",
    "noise",
    "residual",
    "seed",
    "stacked",
    "weight_norm",
    "zoneout",
]
