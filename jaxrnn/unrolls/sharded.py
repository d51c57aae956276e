"""Unrolls over a mesh axis that splits time: every device holds a stretch of the sequence."""

import functools

from jax.sharding import AxisType, Mesh

from jaxrnn.core.cell import check_cell_type
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.associative import associative_unroll, run_linear
from jaxrnn.unrolls.mesh_scan import TimeAxis
from jaxrnn.unrolls.sequence import Sequence, read_sequence

__all__ = ["time_sharded"]

_BY = "time_sharded"


def _run_associative(cell, params, sequence, state, *, time):
    if not isinstance(cell.parts, Linear):
        msg = (
            f"{_BY}: got a cell with {type(cell.parts).__name__} structure for associative_unroll; "
            "expected Linear; use jaxrnn.time_sharded(jaxrnn.newton_unroll, mesh, axis), which "
            "takes any cell"
        )
        raise TypeError(msg)
    return run_linear(cell, params, *_arguments(sequence, state), time=time.walk(), by=_BY)


def _arguments(sequence, state):
    return sequence.xs, state, sequence.mask, sequence.resets


_RUNS = {associative_unroll: _run_associative}


def _read_axis(mesh: Mesh, axis: str) -> TimeAxis:
    if not isinstance(mesh, Mesh):
        msg = (
            f"{_BY}: got mesh of type {type(mesh).__name__}; expected a jax.sharding.Mesh; make "
            'one with jax.make_mesh((jax.device_count(),), ("time",))'
        )
        raise TypeError(msg)
    if axis not in mesh.axis_names:
        raise unknown_name("mesh axis", axis, mesh.axis_names)
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        kinds = ", ".join(str(kind) for kind in mesh.axis_types)
        msg = (
            f"{_BY}: got a mesh with axes of type {kinds}; expected Auto alone; make it with "
            "jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(names))"
        )
        raise ValueError(msg)
    return TimeAxis(mesh, axis)


def _check_steps(sequence: Sequence, shape: tuple[int, ...], time: TimeAxis) -> None:
    steps, devices = sequence.num_steps, time.size
    if steps % devices:
        padded = -(-steps // devices) * devices
        msg = (
            f"{_BY}: got xs of {steps} steps for mesh axis {time.name!r} of {devices} devices; "
            f"expected a multiple of {devices}; pad time to {padded} steps with zeros and pass "
            f"mask=jaxrnn.length_mask(jnp.full({shape}, {steps}), {padded}); pad a mask of your "
            "own, and resets, with False"
        )
        raise ValueError(msg)


def time_sharded(unroll_fn: UnrollFn, mesh: Mesh, axis: str) -> UnrollFn:
    """Runs a cell over a sequence that is split in time over the devices of a mesh axis.

    Values and derivatives are those of `unroll_fn` on one device, up to rounding. With n devices on
    the axis each holds T / n steps and whatever is kept of them. Each composes the map of its own
    steps; of that the devices exchange one map each, O(n) in all whatever T is, and apply theirs to
    the state in which their steps begin. The derivative is a scan of the same kind, in reversed
    time for reverse mode; forward mode, reverse mode and derivatives of these work.

    Other axes of the mesh stay free: a batch that is split over one of them remains so.

    Args:
      unroll_fn: `associative_unroll`.
      mesh: the devices. All its axes are of type Auto.
      axis: the mesh axis over which time is split.

    Returns:
      An unroll, for use inside `jax.jit` or outside. Its inputs may be split over the mesh, or lie
      anywhere that JAX can move them from. T is a multiple of the axis's size. The outputs are
      split over time, the last state lies on every device of the axis.

    Raises:
      TypeError: `unroll_fn` is not one of these, `mesh` is no mesh, or when run: the cell is not
        one that `unroll_fn` takes.
      ValueError: the mesh has no such axis, or has axes that are not Auto; when run: the axis's
        size does not divide T.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lru
      >>> mesh = jax.make_mesh((1,), ("time",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> cell = lru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> run = time_sharded(associative_unroll, mesh, "time")
      >>> state, ys = run(cell, params, jnp.ones((64, 2, 3)))
      >>> ys.shape
      (64, 2, 5)

    Reference:
      G. Blelloch, "Prefix sums and their applications", 1990, section 1.2.1: sums of blocks.
    """
    options = {}
    if isinstance(unroll_fn, functools.partial) and not unroll_fn.args:
        unroll_fn, options = unroll_fn.func, unroll_fn.keywords
    if unroll_fn not in _RUNS:
        names = " or ".join(f"jaxrnn.{known.__name__}" for known in _RUNS)
        got = getattr(unroll_fn, "__name__", type(unroll_fn).__name__)
        msg = (
            f"{_BY}: got {got}; expected {names}, which are parallel in time; transformations such "
            "as checkpointed have no form of their own here"
        )
        raise TypeError(msg)
    time = _read_axis(mesh, axis)
    run_it = functools.partial(_RUNS[unroll_fn], time=time, **options)

    @compiled_per_cell()
    def run(cell, params, xs, state=None, *, mask=None, resets=None):
        check_cell_type(cell, by=_BY)
        sequence = read_sequence(cell, xs, mask, resets, by=_BY)
        _check_steps(sequence, sequence.batch_shape(cell), time)
        last, ys = run_it(cell, params, time.place(sequence), state)
        return last, time.place(ys)

    return run
