"""Checks of cells, the user's own included, against the laws that every cell obeys."""

from jaxrnn.testing.check import check_cell as check_cell
from jaxrnn.testing.laws import LAWS as LAWS
from jaxrnn.testing.probe import Probe as Probe
from jaxrnn.testing.probe import make_probe as make_probe

__all__ = ["LAWS", "Probe", "check_cell", "make_probe"]
