"""Which axis of a parameter or a state is made of units: by the tree's types, names and sizes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import cells
from jaxrnn.layers.readout import ReadoutParams

__all__ = [
    "EXCEPTIONS",
    "Row",
    "UnitAxis",
    "first_that_divides",
    "is_key",
    "listed_axes",
    "shape_of",
    "unit_axes",
]

Path = tuple[Any, ...]


class UnitAxis(NamedTuple):
    """The axis of an array that is made of units.

    Attributes:
      axis: its number, from 0.
      units: how many units it has; a gate axis has as many times more entries as there are gates.
    """

    axis: int
    units: int


class Row(NamedTuple):
    """What the general rule cannot know of a type of parameters or states.

    Attributes:
      hidden: where hidden sizes stand: field, axis, and how many blocks of it lie side by side.
      axes: for a field, the axes that may be split, counted from the last; the first of them that
        the mesh divides is. None, alone or behind them, stands for whole: inputs, outputs, numbers
        of something else than units.
    """

    hidden: tuple[tuple[str, int, int], ...] = ()
    axes: Mapping[str, tuple[int | None, ...]] = {}


_STATE_SPACE_OUT = {"w_hy": (-2,), "d": (-1, None)}  # O is no hidden size

EXCEPTIONS: dict[type, Row] = {
    ReadoutParams: Row(axes={"w": (-2,), "b": (None,)}),
    cells.BRCellParams: Row((("w_a", -1, 1),)),
    cells.CfCParams: Row((("w_hh", -2, 1), ("b", -1, 1))),
    cells.ClockworkParams: Row((("b", -1, 1),), {"w_hh": (-1,)}),
    cells.CoRNNParams: Row((("b", -1, 1),)),
    cells.IndRNNParams: Row((("u", -1, 1),)),
    cells.LMUParams: Row(
        (("w_hh", -2, 1),),
        {"w_ih": (None,), "w_hh": (-2,), "w_mh": (-1,), "e_m": (None,)},  # H + 1 columns
    ),
    cells.LRUParams: Row((("nu_log", -1, 1),), _STATE_SPACE_OUT),
    cells.LTCParams: Row((("g", -1, 1),), {"input_scale": (None,), "input_shift": (None,)}),
    cells.MLSTMParams: Row((("b", -1, 4),), {"w_if": (None,), "b_if": (None,)}),
    cells.MinGRUParams: Row((("b", -1, 2),)),
    cells.MinLSTMParams: Row((("b", -1, 3),)),
    cells.ProjectedLSTMParams: Row((("w_hr", -2, 1), ("w_hr", -1, 1))),
    cells.QRNNParams: Row((("b", -1, 3),)),
    cells.RGLRUParams: Row((("a_logit", -1, 1),)),
    cells.S5Params: Row((("lambda_re", -1, 1),), _STATE_SPACE_OUT),
    # The context of SCRN has a size of its own, a few units.
    cells.SCRNParams: Row((("w_hh", -2, 1),), {"w_ih": (-1, None), "beta": (None,)}),
    cells.SLSTMParams: Row((("b", -1, 4),), {"w_hh": (-3, -1)}),
    cells.SRUParams: Row((("v", -1, 2),)),
    cells.UnICORNNParams: Row((("w", -1, 1),)),
    cells.UnitaryParams: Row((("b", -1, 1),)),
    # States: several heads are split, or the rows of one head's memory.
    cells.LMUState: Row(axes={"m": (None,)}),
    cells.SCRNState: Row(axes={"s": (None,)}),
    cells.MLSTMState: Row(axes={"c": (-3, -2), "n": (-2, None), "m": (-1, None)}),
}


def is_key(leaf: Any) -> bool:
    """Says whether a leaf holds typed random keys."""
    return jnp.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.extended)


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Returns the shape of an array, of a description of one, or of a number of Python."""
    return tuple(leaf.shape) if hasattr(leaf, "shape") else jnp.shape(leaf)


def _has_units(leaf: Any) -> bool:
    """Says whether a parameter can have units: floating or complex, and not empty."""
    return (
        len(shape_of(leaf)) > 0
        and 0 not in shape_of(leaf)
        and not is_key(leaf)
        and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    )


def _name(key: Any) -> Any:
    """Returns what a step into a tree is called: a field, a key, a position."""
    for kind in ("name", "key", "idx"):
        if hasattr(key, kind):
            return getattr(key, kind)
    return key


def _nodes(tree: Any, path: Path) -> list[Any]:
    """Returns the nodes on the way from the root to a leaf, as far as their kind is known."""
    found = [tree]
    for key in path[:-1]:
        match key:
            case jax.tree_util.GetAttrKey():
                tree = getattr(tree, key.name)
            case jax.tree_util.DictKey():
                tree = tree[key.key]
            case jax.tree_util.SequenceKey():
                tree = tree[key.idx]
            case _:
                break
        found.append(tree)
    return found


def listed_axes(tree: Any, path: Path) -> tuple[int | None, ...] | None:
    """Returns the axes that `EXCEPTIONS` lists for a leaf, or None where it lists none."""
    for node, key in reversed(list(zip(_nodes(tree, path), path, strict=False))):
        row = EXCEPTIONS.get(type(node))
        if row is not None and _name(key) in row.axes:
            return row.axes[_name(key)]
    return None


class _Sizes:
    """The hidden sizes that a tree of parameters names, and which of them a leaf may have."""

    def __init__(self, tree: Any):
        self.own: dict[Path, set[int]] = {}  # by the path of the node in which they stand
        children: dict[Path, dict[Any, Any]] = {}
        kinds: dict[Path, type] = {}
        for path, leaf in jax.tree.leaves_with_path(tree):
            for depth, node in enumerate(_nodes(tree, path)):
                kinds[path[:depth]] = type(node)
                children.setdefault(path[:depth], {})
            if path and _has_units(leaf):
                children.setdefault(path[:-1], {})[_name(path[-1])] = shape_of(leaf)
        for path, shapes in children.items():
            self.own[path] = self._named(kinds.get(path), shapes)

    @staticmethod
    def _named(kind: type | None, shapes: Mapping[Any, tuple[int, ...]]) -> set[int]:
        if kind in EXCEPTIONS:
            return {
                shapes[field][axis] // blocks
                for field, axis, blocks in EXCEPTIONS[kind].hidden
                if len(shapes.get(field, ())) >= -axis and shapes[field][axis] >= blocks
            }
        recurrent = shapes.get("w_hh", ())
        if len(recurrent) > 1:
            return {recurrent[-2]}
        return {s[-1] for s in shapes.values() if len(s) > 1 and s[-1] == s[-2]}

    def of(self, path: Path) -> set[int]:
        """Returns the hidden sizes that the smallest part of the tree around a leaf names."""
        for depth in reversed(range(len(path))):
            around = path[:depth]
            found = self.own.get(around) or set().union(
                *(sizes for at, sizes in self.own.items() if at[:depth] == around)
            )
            if found:
                return found
        return set()


def unit_axes(params: Any, parts: int) -> list[UnitAxis | None]:
    """Finds the axis of each parameter that is made of units, in the order of the leaves.

    Args:
      params: tree of parameters, or of their shapes.
      parts: into how many parts the axis is to be split, where there is a choice.

    Returns:
      For each leaf the axis, or None for one that stays whole.
    """
    sizes = _Sizes(params)
    return [
        _unit_axis(shape_of(leaf), listed_axes(params, path), sizes.of(path), parts)
        if _has_units(leaf)
        else None
        for path, leaf in jax.tree.leaves_with_path(params)
    ]


def _unit_axis(shape, listed, sizes: set[int], parts: int) -> UnitAxis | None:
    if listed is not None:
        return first_that_divides(shape, listed, parts)
    if not sizes:
        return UnitAxis(len(shape) - 1, shape[-1])
    for axis in reversed(range(len(shape))):
        units = [size for size in sizes if shape[axis] % size == 0]
        if units:
            return UnitAxis(axis, max(units))
    return None


def first_that_divides(shape, axes: tuple[int | None, ...], parts: int) -> UnitAxis | None:
    """Returns the first of several axes that `parts` divides; the last if it divides none."""
    for axis in axes:
        if axis is None:
            return None
        found = UnitAxis(len(shape) + axis, shape[axis])
        if found.units % parts == 0:
            return found
    return found
