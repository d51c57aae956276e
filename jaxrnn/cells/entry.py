"""One row of CELLS: what the tests, the command line, the benchmarks and the README read."""

from collections.abc import Callable
from typing import NamedTuple

from jaxrnn.core.cell import Cell

__all__ = ["CellEntry"]


class CellEntry(NamedTuple):
    """Describes one cell.

    Attributes:
      make: ``(input_size, hidden_size) -> Cell`` with the paper's defaults.
      paper: author, year, and where the equations stand.
      structure: name of the witness's type.
      state: what the state holds, with shapes.
      equations: the step, in the paper's symbols, one equation a line.
      parameters: number of parameters as a formula in I (input size) and H (hidden size).
      defaults: the initial values, one line.
      provenance: what the cell was compared with.
      sizes: small input and hidden sizes that the cell can have, for tests and examples.
    """

    make: Callable[[int, int], Cell]
    paper: str
    structure: str
    state: str
    equations: str
    parameters: str
    defaults: str
    provenance: str
    sizes: tuple[int, int] = (2, 3)
