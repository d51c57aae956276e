"""Parts: witnesses of what a layer is made of, for those who read a network and do not run it.

Each is a tuple that begins with ``apply``, the function that it describes. A layer whose `apply`
was replaced is another layer, and `layer_parts` knows nothing of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrnn.core.cell import Cell
from jaxrnn.core.types import UnrollFn

__all__ = [
    "Bidirectional",
    "Dropout",
    "Parts",
    "Readout",
    "Recurrent",
    "Residual",
    "Reverse",
    "Stack",
    "layer_parts",
]


class Recurrent(NamedTuple):
    """Describes `layer`: one cell runs over the sequence.

    Attributes:
      apply: the layer's.
      cell: the cell.
      unroll_fn: how it is run; None for ``select_unroll(cell)``.
    """

    apply: Callable
    cell: Cell
    unroll_fn: UnrollFn | None = None


class Stack(NamedTuple):
    """Describes `stack`: layers run one on the other.

    Attributes:
      apply: the layer's.
      layers: the layers, the lowest first.
    """

    apply: Callable
    layers: tuple[Any, ...]


class Reverse(NamedTuple):
    """Describes `reverse`: a layer runs backwards in time.

    Attributes:
      apply: the layer's.
      inner: the layer.
    """

    apply: Callable
    inner: Any


class Bidirectional(NamedTuple):
    """Describes `bidirectional`: two layers run, and their outputs are joined.

    Attributes:
      apply: the layer's.
      forward: the layer that runs forwards.
      backward: the other, before `reverse`.
    """

    apply: Callable
    forward: Any
    backward: Any


class Residual(NamedTuple):
    """Describes `residual`: a layer's input is added to its output.

    Attributes:
      apply: the layer's.
      inner: the layer.
    """

    apply: Callable
    inner: Any


class Readout(NamedTuple):
    """Describes `readout`: an affine map of each step.

    Attributes:
      apply: the layer's.
    """

    apply: Callable


class Dropout(NamedTuple):
    """Describes `dropout`: nothing is dropped while the state has no key.

    Attributes:
      apply: the layer's.
    """

    apply: Callable


Parts = Recurrent | Stack | Reverse | Bidirectional | Residual | Readout | Dropout


def layer_parts(inner: Any) -> Parts | None:
    """Returns what a `Layer` is made of; None where it has no parts or they are not of its `apply`.

    Args:
      inner: any layer.

    Example:
      >>> from jaxrnn import gru, layer, reverse
      >>> type(layer_parts(reverse(layer(gru(2, 3))))).__name__
      'Reverse'
      >>> layer_parts(layer(gru(2, 3))._replace(apply=print)) is None
      True
    """
    parts = inner.parts
    return parts if parts is not None and parts.apply is inner.apply else None
