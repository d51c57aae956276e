"""Pieces of arrays that lie over many processes: boxes of indices, and how they make up a whole."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = [
    "Box",
    "Piece",
    "box_of",
    "check_tiling",
    "paste",
    "piece_name",
    "sizes",
    "touches",
    "whole_box",
]

Box = tuple[tuple[int, int], ...]
"""Where indices begin and end, for each axis; of a scalar empty."""


class Piece(NamedTuple):
    """A part of an array as it lies in a file.

    Attributes:
      part: the number of the file.
      box: which of the array's indices it holds.
      sha256: of its bytes.
    """

    part: int
    box: Box
    sha256: str


def whole_box(shape: Sequence[int]) -> Box:
    """Returns the box of all indices of an array."""
    return tuple((0, size) for size in shape)


def box_of(index: Sequence[slice], shape: Sequence[int]) -> Box:
    """Returns the box of an index as `jax.sharding` gives it.

    Args:
      index: a slice for each axis.
      shape: of the array.

    Example:
      >>> box_of((slice(2, 4), slice(None)), (8, 3))
      ((2, 4), (0, 3))
    """
    return tuple(one.indices(size)[:2] for one, size in zip(index, shape, strict=True))


def sizes(box: Box) -> tuple[int, ...]:
    """Returns the shape of what a box holds."""
    return tuple(stop - start for start, stop in box)


def piece_name(name: str, box: Box, shape: Sequence[int]) -> str:
    """Returns the name of a piece in its file; of a whole array that of the array.

    Args:
      name: the array's.
      box: the piece's.
      shape: the array's.

    Example:
      >>> piece_name(".params['w']", ((2, 4), (0, 3)), (8, 3))
      ".params['w'][2:4, 0:3]"
    """
    if box == whole_box(shape):
        return name
    return f"{name}[{', '.join(f'{start}:{stop}' for start, stop in box)}]"


def check_tiling(name: str, shape: Sequence[int], boxes: Sequence[Box]) -> None:
    """Checks that boxes make up an array: no index is missing, and none stands twice.

    They have to be the cells of a grid, as those of every sharding of JAX are, so that the time it
    takes does not grow with the square of their number.

    Args:
      name: the array's, for the message.
      shape: the array's.
      boxes: what there is of it.

    Raises:
      ValueError: they do not.

    Example:
      >>> check_tiling("w", (8,), [((4, 8),), ((0, 4),)])
    """
    fits = all(
        len(box) == len(shape)
        and all(
            0 <= start <= stop <= size and (start < stop or not size)
            for (start, stop), size in zip(box, shape, strict=True)
        )
        for box in boxes
    )
    count = len(set(boxes))
    if fits and count == len(boxes) and count:
        axes = [sorted({box[axis] for box in boxes}) for axis in range(len(shape))]
        joined = all(
            cells[0][0] == 0
            and cells[-1][1] == size
            and all(a[1] == b[0] for a, b in itertools.pairwise(cells))
            for cells, size in zip(axes, shape, strict=True)
        )
        if joined and math.prod(map(len, axes)) == count:
            return
    shown = ", ".join(piece_name("", box, ()) for box in boxes[:5])
    msg = (
        f"got {len(boxes)} pieces of {name!r:.200} {tuple(shape)}: {shown:.200}; expected a grid "
        "of pieces without gaps and overlaps"
    )
    raise ValueError(msg)


def _shared(box: Box, other: Box) -> Box | None:
    """Returns the box of indices that two boxes share, None where they share none."""
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))
    return both if all(start < stop for start, stop in both) else None


def touches(box: Box, wanted: Iterable[Box]) -> bool:
    """Whether a box shares indices with one of others."""
    return any(_shared(one, box) is not None for one in wanted)


def _within(box: Box, outer: Box) -> tuple[slice, ...]:
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(box, outer, strict=True)
    )


def paste(
    made: dict[Box, np.ndarray], wanted: Iterable[Box], box: Box, read: Callable[[], np.ndarray]
) -> None:
    """Copies what a piece shares with the boxes of an array that are wanted.

    Args:
      made: what the boxes hold, by box; those that are not there yet are added.
      wanted: the boxes.
      box: the piece's.
      read: returns what the piece holds, shape ``(*sizes(box), ...)``; called only where it is
        needed, and once.

    Example:
      >>> made = {}
      >>> paste(made, [((1, 3),)], ((0, 2),), lambda: np.array([5, 6]))
      >>> paste(made, [((1, 3),)], ((2, 4),), lambda: np.array([7, 8]))
      >>> made[((1, 3),)].tolist()
      [6, 7]
    """
    shares = [(one, _shared(one, box)) for one in wanted]
    shares = [(one, shared) for one, shared in shares if shared is not None]
    if not shares:
        return
    array = read()
    for one, shared in shares:
        if one == box:
            made[one] = array
            continue
        if one not in made:
            made[one] = np.empty(sizes(one) + array.shape[len(box) :], array.dtype)
        made[one][_within(shared, one)] = array[_within(shared, box)]
