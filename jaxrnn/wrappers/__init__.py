"""Wrappers: functions from cells to cells."""

from jaxrnn.wrappers.learned_state import LearnedStateParams as LearnedStateParams
from jaxrnn.wrappers.learned_state import learned_state as learned_state
from jaxrnn.wrappers.stacked import stacked as stacked

__all__ = ["LearnedStateParams", "learned_state", "stacked"]
