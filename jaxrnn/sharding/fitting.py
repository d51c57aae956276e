"""Whether a `PartitionSpec` fits an array: its rank, the mesh's axes, and what divides what."""

import math
from typing import Any

from jax.sharding import Mesh, NamedSharding, PartitionSpec

__all__ = ["check_spec", "is_spec", "names_of", "spec_of"]

_SIZES = {"data": "batch size", "time": "number of steps", "model": "hidden size"}


def is_spec(node: Any) -> bool:
    """Says whether a node of a tree is a sharding, and not a part of the tree."""
    return isinstance(node, PartitionSpec | NamedSharding)


def names_of(entry: Any) -> tuple[str, ...]:
    """Returns the mesh axes that one entry of a `PartitionSpec` names."""
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def spec_of(found: Any, mesh: Mesh, *, what: str, by: str) -> PartitionSpec:
    """Returns the `PartitionSpec` of a sharding over `mesh`.

    Args:
      found: a `PartitionSpec` or a `NamedSharding`.
      mesh: the mesh it has to be of.
      what: which leaf or argument it belongs to, for the message.
      by: the function the user called, for the message.

    Raises:
      TypeError: it is neither.
      ValueError: it is of another mesh.
    """
    if isinstance(found, PartitionSpec):
        return found
    if not isinstance(found, NamedSharding):
        msg = (
            f"{by}: got {type(found).__name__} {found!r} for {what}; expected a "
            "jax.sharding.PartitionSpec; PartitionSpec() keeps an array whole"
        )
        raise TypeError(msg)
    if found.mesh != mesh:
        msg = (
            f"{by}: got a NamedSharding over {dict(found.mesh.shape)} for {what}; expected one "
            f"over the mesh given, {dict(mesh.shape)}; pass its spec alone"
        )
        raise ValueError(msg)
    return found.spec


def check_spec(
    shape: tuple[int, ...],
    spec: PartitionSpec,
    mesh: Mesh,
    *,
    what: str,
    by: str,
    units: int | None = None,
    remedy: str = "",
) -> None:
    """Raises ValueError where an array cannot be split as a `PartitionSpec` says.

    Args:
      shape: the array's.
      spec: how it is split.
      mesh: over what.
      what: which leaf it is, for the message.
      by: the function the user called, for the message.
      units: how many units the axis over "model" has, if it holds several blocks of them.
      remedy: what else the user can do, for the message.
    """
    if len(spec) > len(shape):
        msg = (
            f"{by}: got {what} of shape {shape} with {spec}; expected at most {len(shape)} "
            "entries, one an axis; leave out what is too much"
        )
        raise ValueError(msg)
    for axis, entry in enumerate(spec):
        names = names_of(entry)
        unknown = [name for name in names if name not in mesh.axis_names]
        if unknown:
            known = ", ".join(map(repr, mesh.axis_names))
            msg = (
                f"{by}: got {what} with {spec}; expected mesh axes among {known}; "
                f"{unknown[0]!r} is none of them"
            )
            raise ValueError(msg)
        parts = math.prod(mesh.shape[name] for name in names)
        size = units if units is not None and names == ("model",) else shape[axis]
        if size % parts:
            raise _not_divided(shape, axis, size, names, parts, what=what, by=by, remedy=remedy)


def _not_divided(shape, axis, size, names, parts, *, what, by, remedy) -> ValueError:
    kind = _SIZES.get(names[0], "size") if len(names) == 1 else "size"
    blocks = (
        "" if size == shape[axis] else f", {shape[axis] // size} blocks of {size} on axis {axis},"
    )
    over = "mesh axis " + " times ".join(map(repr, names))
    expected = f"a {kind} that is a multiple of {parts} (axis {axis})"
    change = f"change {kind} {size} to {-(-size // parts) * parts}"
    smaller = math.gcd(size, parts)
    if len(names) == 1:
        change += f", or use a mesh with {names[0]}={smaller}"
    return ValueError(
        f"{by}: got {what} of shape {shape}{blocks} for {over} of {parts} devices; expected "
        f"{expected}; {change}{remedy}"
    )
