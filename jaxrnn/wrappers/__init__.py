"""Wrappers: functions from cells to cells."""

from jaxrnn.wrappers.learned_state import LearnedStateParams as LearnedStateParams
from jaxrnn.wrappers.learned_state import learned_state as learned_state
from jaxrnn.wrappers.multiplicative import MultiplicativeParams as MultiplicativeParams
from jaxrnn.wrappers.multiplicative import multiplicative as multiplicative
from jaxrnn.wrappers.residual import residual as residual
from jaxrnn.wrappers.stacked import stacked as stacked

__all__ = [
    "LearnedStateParams",
    "MultiplicativeParams",
    "learned_state",
    "multiplicative",
    "residual",
    "stacked",
]
