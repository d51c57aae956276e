"""Which cells a tree of parameters holds, and in which layer and direction each of them runs."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from jaxrnn.core.types import Params
from jaxrnn.interop.blocks import GATES, Blocks, kind_of, split_params

__all__ = ["Network", "Part", "describe", "find_cells", "sizes"]


class Part(NamedTuple):
    """One cell of a network.

    Attributes:
      kind: its name in CELLS.
      layer: the number of its layer, the lowest is 0.
      direction: 0 forward, 1 backward.
      layers: how many layers there are.
      directions: how many directions its layer has.
      blocks: its parameters gate by gate.
    """

    kind: str
    layer: int
    direction: int
    layers: int
    directions: int
    blocks: Blocks


class Network(NamedTuple):
    """The cells of a tree of parameters.

    Attributes:
      parts: the cells, layer by layer, forward before backward.
      rebuild: from the parameters of the cells, in this order, to a tree like the given one.
    """

    parts: tuple[Part, ...]
    rebuild: Callable[[list[Params]], Params]


def sizes(part: Part) -> tuple[int, int, int]:
    """Returns the sizes of a cell's input, its gates and its output."""
    gate = GATES[part.kind][0]
    inputs, hidden = part.blocks.w[gate].shape
    return inputs, hidden, part.blocks.u[gate].shape[0]


def describe(parts: tuple[Part, ...]) -> str:
    """Says what a network is made of, for messages."""
    said = []
    for part in parts:
        if part.direction == 0:
            inputs, hidden, _ = sizes(part)
            way = "bidirectional " if part.directions == 2 else ""
            said.append(f"{way}{part.kind}({inputs}, {hidden})")
    return ", ".join(said)


def _is_cell(tree: Any) -> bool:
    return kind_of(tree) is not None


def _alone(tree: Any) -> Any:
    """Returns what a stack of one layer holds."""
    while type(tree) in (tuple, list) and len(tree) == 1:
        (tree,) = tree
    return tree


def _is_pair(tree: Any, place: str, *, after: Any, bidirectional: bool | None, by: str) -> bool:
    """Whether a tuple is a layer's two directions, and not two layers of a stack."""
    if len(tree) != 2 or not all(map(_is_cell, tree)):
        return False
    if bidirectional is False:
        return False
    one, other = ((kind_of(cell), cell.w_ih.shape[0], cell.w_hh.shape[0]) for cell in tree)
    at = f" at {place}" if place else ""
    if one != other:
        if bidirectional:
            said = " and ".join(f"{kind}({size}, {units})" for kind, size, units in (one, other))
            msg = (
                f"{by}: got {said}{at} with bidirectional=True; expected two directions of one "
                "kind and the same sizes; pass bidirectional=False if they are two layers, or "
                "convert layer by layer"
            )
            raise ValueError(msg)
        return False
    _, inputs, outputs = one
    told = _is_cell(after) and after.w_ih.shape[0] == 2 * outputs  # it reads both directions
    if inputs == outputs and bidirectional is None and not told:
        msg = (
            f"{by}: got two cells of the same sizes ({inputs}, {outputs}){at}; expected to know "
            "whether they are two layers or two directions; pass bidirectional=False or True, "
            "which decides for all such pairs"
        )
        raise ValueError(msg)
    return True


def _layers(
    tree: Any, place: str, *, after: Any, bidirectional: bool | None, by: str
) -> Iterator[tuple[Any, ...]]:
    ways = {"after": after, "bidirectional": bidirectional, "by": by}
    if _is_cell(tree):
        yield (tree,)
    elif type(tree) not in (tuple, list):
        if jax.tree.leaves(tree):
            at = f" at {place}" if place else ""
            msg = (
                f"{by}: got {type(tree).__name__}{at}; expected the parameters of elman, lstm, "
                "projected_lstm, gru or mgu, or of stacked or bidirectional layers of these; "
                "convert the recurrent layers alone, as in params[:-1] for all but a readout"
            )
            raise TypeError(msg)
    elif _is_pair(pair := tuple(map(_alone, tree)), place, **ways):
        yield pair
    else:
        for index, one in enumerate(tree):
            above = [*jax.tree.leaves(tuple(tree[index + 1 :]), is_leaf=_is_cell), after][0]
            yield from _layers(one, f"{place}[{index}]", **{**ways, "after": above})


def _check_shapes(cell: Params, by: str) -> None:
    gates = len(GATES[kind_of(cell)])
    shapes = [getattr(cell, name).shape for name in ("w_ih", "w_hh", "b")]
    ranks = tuple(map(len, shapes))
    if ranks != (2, 2, 1) or len({shape[-1] for shape in shapes}) > 1 or shapes[2][0] % gates:
        msg = (
            f"{by}: got w_ih, w_hh and b of shapes {shapes} in {type(cell).__name__}; expected "
            f"(I, {gates} H), (H, {gates} H) and ({gates} H,); pass the parameters of one network, "
            "without axes for members or time"
        )
        raise ValueError(msg)


def find_cells(
    params: Params,
    *,
    by: str,
    bidirectional: bool | None = None,
    read: Callable[[Params], Params] = lambda cell: cell,
) -> Network:
    """Finds the cells in the parameters of a cell, a layer, or a stack of layers.

    Args:
      params: the parameters, or their shapes.
      by: the function the user called, for messages.
      bidirectional: what a tuple of two cells is: a layer's directions, or two layers. If not
        given, the sizes tell: directions read the same input, and the layer above reads both.
        Where they do not tell, it is an error: stacked cells look like two directions.
      read: from the parameters of a cell to those that the network is to hold.

    Returns:
      The network.

    Raises:
      TypeError: there are parameters of something else.
      ValueError: no cell, a tuple of two cells that may be either, two directions that differ, or
        shapes that do not fit.
    """
    found = list(_layers(params, "", after=None, bidirectional=bidirectional, by=by))
    if not found:
        msg = f"{by}: got no cell; expected the parameters of a cell, a layer or a stack of layers"
        raise ValueError(msg)
    parts = []
    for layer, cells in enumerate(found):
        for direction, cell in enumerate(cells):
            _check_shapes(cell, by)
            kind = kind_of(cell)
            blocks = split_params(kind, read(cell))
            parts.append(Part(kind, layer, direction, len(found), len(cells), blocks))
    return Network(tuple(parts), jax.tree.structure(params, is_leaf=_is_cell).unflatten)
