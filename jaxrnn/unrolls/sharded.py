"""Unrolls over a mesh axis that splits time: every device holds a stretch of the sequence."""

import functools

from jax.sharding import Mesh

from jaxrnn.core.cell import check_cell_type
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.associative import associative_unroll, run_linear
from jaxrnn.unrolls.mesh_axis import check_around, check_mesh_axis
from jaxrnn.unrolls.mesh_scan import TimeAxis
from jaxrnn.unrolls.newton import newton_unroll, newton_unroll_with_info, solve_run
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
    flags = sequence.mask, sequence.resets
    return run_linear(cell, params, sequence.xs, state, *flags, time=time.walk(), by=_BY)


def _run_newton_with_info(
    cell, params, sequence, state, *, time,
    method=None, tolerance=None, max_iters=None, guess=None, on_failure="sequential",
):  # fmt: skip
    return solve_run(
        cell, params, sequence.xs, state, guess, mask=sequence.mask, resets=sequence.resets,
        method=method, tolerance=tolerance, max_iters=max_iters, on_failure=on_failure,
        block_size=sequence.num_steps, time=time.walk(),
    )  # fmt: skip


def _run_newton(*arguments, **options):
    return _run_newton_with_info(*arguments, **options)[:2]


_RUNS = {
    associative_unroll: _run_associative,
    newton_unroll: _run_newton,
    newton_unroll_with_info: _run_newton_with_info,
}
_NEWTON_OPTIONS = ("method", "tolerance", "max_iters", "guess", "on_failure")
_OPTIONS = {
    associative_unroll: (),
    newton_unroll: _NEWTON_OPTIONS,
    newton_unroll_with_info: _NEWTON_OPTIONS,
}


def _read_unroll(unroll_fn: UnrollFn) -> UnrollFn:
    """Returns the form of an unroll that goes along a `TimeAxis`, its options filled in."""
    options = {}
    if isinstance(unroll_fn, functools.partial) and not unroll_fn.args:
        unroll_fn, options = unroll_fn.func, unroll_fn.keywords
    if not any(unroll_fn is known for known in _RUNS):
        names = " or ".join(f"jaxrnn.{known.__name__}" for known in _RUNS)
        got = getattr(unroll_fn, "__name__", type(unroll_fn).__name__)
        msg = (
            f"{_BY}: got {got}; expected {names}, which are parallel in time; checkpointed and "
            f"truncated go along time block by block: write truncated({_BY}(...), window)"
        )
        raise TypeError(msg)
    odd = sorted(set(options) - set(_OPTIONS[unroll_fn]))
    if odd:
        known = ", ".join(_OPTIONS[unroll_fn]) or "none"
        msg = (
            f"{_BY}: got {unroll_fn.__name__} with {', '.join(odd)}; expected of its options "
            f"{known}; all steps are one block here, and flags are passed when it is run"
        )
        raise ValueError(msg)
    return functools.partial(_RUNS[unroll_fn], **options)


def _read_axis(mesh: Mesh, axis: str) -> TimeAxis:
    check_mesh_axis(mesh, axis, by=_BY)
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
    the axis each holds T / n steps and whatever is kept of them. Each composes the maps of its own
    steps; of these the devices exchange one each, n in all whatever T is, and apply their own to
    the state in which their steps begin. The derivative is a scan of the same kind, in reversed
    time for reverse mode; forward mode, reverse mode and derivatives of these work.

    Every iteration of `newton_unroll` is such a scan, of the steps' linearised maps, and so is its
    derivative; each device knows its neighbour's last state. All steps are one block: the Jacobians
    of T / n steps must fit on a device. What goes step by step is not split: the sequential run
    after a failure and derivatives by approximate Jacobians collect the sequence on every device.

    Other axes of the mesh stay free: a batch that is split over one of them remains so. Of
    ``truncated(time_sharded(...), window)`` windows run one after the other, each on all devices.

    Args:
      unroll_fn: `associative_unroll`, `newton_unroll`, or `newton_unroll_with_info`; the latter two
        also as a `functools.partial` with their `method`, `tolerance`, `max_iters`, `guess` or
        `on_failure`.
      mesh: the devices. All its axes are of type Auto.
      axis: the mesh axis over which time is split.

    Returns:
      An unroll, for use inside `jax.jit` or outside. Its inputs may be split over the mesh, or lie
      anywhere that JAX can move them from. T is a multiple of the axis's size. The outputs are
      split over time, the last state lies on every device of the axis; so does the `NewtonInfo`,
      which comes third with `newton_unroll_with_info`, its `states` of all T + 1 steps included.

    Raises:
      TypeError: `unroll_fn` is not one of these, `mesh` is no mesh, or when run: the cell is not
        one that `unroll_fn` takes.
      ValueError: the mesh has no such axis, or has axes that are not Auto; an option such as
        `block_size` is given; when run: the axis's size does not divide T.

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
    run_along = _read_unroll(unroll_fn)
    time = _read_axis(mesh, axis)

    @compiled_per_cell()
    def run(cell, params, xs, state=None, *, mask=None, resets=None):
        check_around(mesh, by=_BY)
        check_cell_type(cell, by=_BY)
        sequence = read_sequence(cell, xs, mask, resets, by=_BY)
        _check_steps(sequence, sequence.batch_shape(cell), time)
        last, ys, *info = run_along(cell, params, time.place(sequence), state, time=time)
        return last, time.place(ys), *info

    return run
