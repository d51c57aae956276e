"""Where a batch lies on a mesh: time over "time", the batch over "data"."""

from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxrnn.sharding.axes import shape_of
from jaxrnn.sharding.overrides import path_name, read_overrides
from jaxrnn.sharding.specs import check_mesh, place_leaves

__all__ = ["batch_specs"]

_BY = "batch_specs"


def _time_and_batch(leaves) -> tuple[str, int | None, int | None]:
    """Returns T and B of a batch, and the leaf they are read off: the first with most axes."""
    shapes = [(path_name(path), shape_of(leaf)) for path, leaf in leaves]
    name, shape = max(shapes, key=lambda one: len(one[1]), default=("", ()))
    return (
        (name, *shape[:2]) if len(shape) > 1 else ("", None, *shape) if shape else ("", None, None)
    )


def _axes(shape, steps, size, *, what: str, known: str) -> PartitionSpec:
    """Returns the spec of one leaf of a batch of `size` sequences of `steps` steps."""
    if not shape:
        return PartitionSpec()
    if len(shape) > 1 and shape[1] == size and (shape[0] == steps or shape[0] != size):
        return PartitionSpec("time", "data")
    if shape[0] == size:
        return PartitionSpec("data")
    msg = (
        f"{_BY}: got {what} of shape {shape}, in a batch of {size} sequences of {steps} steps (see "
        f"{known}); expected (T, B, ...), or (B, ...) for one entry a sequence; say what its axes "
        f"are with overrides, such as PartitionSpec('time') or PartitionSpec()"
    )
    raise ValueError(msg)


def batch_specs(mesh: Mesh, batch: Any, *, overrides: Any = None) -> Any:
    """Says where a batch lies on a mesh: time is split over "time", the batch over "data".

    T and B are read off the leaf with the most axes, ``(T, B, ...)``: the inputs. A leaf that
    begins with T and B, or with another time and B, is split over both axes; one that begins with
    B alone, such as ``(B,)`` lengths or ``(B, O)`` targets, is one entry a sequence and split over
    "data"; a number stays whole. Where all leaves have one axis it is the batch.

    Args:
      mesh: made by `mesh`.
      batch: a `jaxrnn.tasks.Batch` or `StreamBatch`, or any tree of arrays; or of their shapes.
      overrides: as in `param_specs`. One spec alone holds for every leaf: a batch that is not
        time-major is ``overrides=PartitionSpec("data", "time")``.

    Returns:
      A tree of `jax.sharding.NamedSharding` like `batch`.

    Raises:
      TypeError: `mesh` is no mesh, or an override no spec.
      ValueError: the mesh does not divide the batch or the number of steps; a leaf begins with
        neither; an override fits no leaf or not its shape.

    Example:
      >>> import jax, jaxrnn
      >>> batch = jaxrnn.tasks.adding(length=6, batch_size=4).sample(jax.random.key(0))
      >>> specs = batch_specs(jaxrnn.sharding.mesh(), batch)
      >>> specs.xs.spec, specs.mask.spec
      (P('time', 'data'), P('time', 'data'))
    """
    check_mesh(mesh, by=_BY)
    leaves = jax.tree.leaves_with_path(batch)
    given = read_overrides(overrides, [path for path, _ in leaves], mesh, by=_BY)
    known, steps, size = _time_and_batch([one for one in leaves if one[0] not in given])

    def choose(index, path, leaf):
        del index
        return _axes(shape_of(leaf), steps, size, what=path_name(path), known=known), None

    return place_leaves(batch, mesh, choose, overrides, by=_BY)
