"""What a format of weights is: which cells it holds, under which names, in which arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import Blocks
from jaxrnn.interop.network import Part

__all__ = ["Format", "Held", "Layout", "Parts", "always", "by_name", "flatten", "within"]

Parts = Sequence[Part]


class Held(NamedTuple):
    """How a library holds one of our cells.

    Attributes:
      name: of its class.
      note: what has to be known: how exact the conversion is, what must be set there.
    """

    name: str
    note: str


class Layout(NamedTuple):
    """One way to name and arrange the weights of a network.

    Attributes:
      pack: ``(parts) -> {name: array}``, in the library's own order; JAX arrays stay JAX arrays.
      unpack: ``({name: array}, parts) -> [blocks]``, one entry a cell; the blocks in `parts` give
        the shapes only.
    """

    pack: Callable[[Parts], dict[str, Array]]
    unpack: Callable[[Mapping[str, Array], Parts], list[Blocks]]


def by_name(
    pack: Callable[[str, Blocks], dict[str, Array]],
    unpack: Callable[[str, dict[str, Array]], Blocks],
    path: Callable[[Part], str] | None = None,
    name: Callable[[str, Part], str] | None = None,
) -> Layout:
    """Makes the layout of a library whose cells have weights of their own.

    Args:
      pack: from a kind of cell and its blocks to its weights, by the names within the cell.
      unpack: back.
      path: from a cell to what stands before its names; nothing, if not given.
      name: from a name within the cell, and the cell, to the name in the network, where more than
        a path has to be added.

    Returns:
      The layout.
    """

    def name_of(inner, part):
        if name is not None:
            return name(inner, part)
        return inner if path is None else path(part) + inner

    def pack_all(parts):
        return {
            name_of(inner, part): weight
            for part in parts
            for inner, weight in pack(part.kind, part.blocks).items()
        }

    def unpack_all(weights, parts):
        return [
            unpack(
                part.kind,
                {inner: weights[name_of(inner, part)] for inner in pack(part.kind, part.blocks)},
            )
            for part in parts
        ]

    return Layout(pack_all, unpack_all)


def always(layout: Layout) -> Callable[[Parts, str | None], list[Layout]]:
    """Makes the `layouts` of a format that has one layout for every network."""

    def layouts(parts, variant):
        del parts, variant
        return [layout]

    return layouts


def flatten(weights: Any) -> dict[str, Any]:
    """Joins the keys of nested mappings and the indices of sequences with slashes; drops None."""
    flat = {}

    def visit(path, node):
        if isinstance(node, Mapping):
            for key, inner in node.items():
                visit([*path, str(key)], inner)
        elif isinstance(node, list | tuple):
            for index, inner in enumerate(node):
                visit([*path, str(index)], inner)
        elif node is not None:
            flat["/".join(path)] = node

    visit([], weights)
    return flat


def within(weights: Any, prefix: str | None) -> dict[str, Any]:
    """Returns the flat names that begin with a prefix; all of them if it is None."""
    return {
        name: value for name, value in flatten(weights).items() if name.startswith(prefix or "")
    }


def _read(weights: Any, parts: Parts, bias: bool, prefix: str | None) -> dict[str, Any]:
    del parts, bias
    return within(weights, prefix)


def _anything(parts: Parts, by: str) -> None:
    del parts, by


def _no_hint(weights: Mapping[str, Array], parts: Parts) -> str:
    del weights, parts
    return ""


class Format(NamedTuple):
    """The weights of one library.

    Attributes:
      library: as in messages.
      cells: from kinds of cells (names in CELLS) to how the library holds them.
      layouts: ``(parts, variant) -> [layout]``: the ways its weights may be named; the first is
        the one that is written.
      refusals: from kinds of cells to why the library cannot hold them, and what can be done.
      variants: the other names for what is written, the first of them the default.
      tells_reset: whether the weights of a GRU show where it resets: "always", "with bias"
        (through the shape of the bias), or "never".
      read: ``(weights, parts, bias, prefix) -> {name: array}``: the entries with the prefix, under
        names of a layout, and what else than mappings may be given.
      check: ``(parts, by)`` raises ValueError for a network that does not fit into one object
        of the library.
      hint: ``(weights, parts) -> text`` on what may be behind names and shapes that do not fit.
      given: what to pass, for messages.
      nest: from names with slashes to the library's nested mapping; None if its names are flat.
    """

    library: str
    cells: Mapping[str, Held]
    layouts: Callable[[Parts, str | None], list[Layout]]
    refusals: Mapping[str, str] = {}
    variants: tuple[str, ...] = ()
    tells_reset: str = "always"
    read: Callable[[Any, Parts, bool, str | None], dict[str, Any]] = _read
    check: Callable[[Parts, str], None] = _anything
    hint: Callable[[Mapping[str, Array], Parts], str] = _no_hint
    given: str = "a mapping by name"
    nest: Callable[[dict[str, Any]], dict[str, Any]] | None = None
