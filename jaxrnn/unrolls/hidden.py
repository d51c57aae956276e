"""Unrolls over a mesh axis that splits the hidden units: every device holds a part of each gate."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.local_units import check_structure, hidden_size, local_units
from jaxrnn.unrolls.mesh_axis import check_around, check_mesh_axis, find_batch_axis
from jaxrnn.unrolls.newton import newton_unroll
from jaxrnn.unrolls.sequence import read_sequence, read_state
from jaxrnn.unrolls.unit_blocks import Place, UnitBlocks

__all__ = ["hidden_sharded"]

_BY = "hidden_sharded"


def _check_unroll(unroll_fn: UnrollFn) -> None:
    if not callable(unroll_fn):
        msg = (
            f"{_BY}: got {type(unroll_fn).__name__}; expected an unroll function such as "
            f"jaxrnn.fused_unroll; for a layer write layer(cell, {_BY}(jaxrnn.fused_unroll, mesh, "
            "axis))"
        )
        raise TypeError(msg)


def _check_sequential(unroll_fn: UnrollFn, cell) -> None:
    inner = unroll_fn.func if isinstance(unroll_fn, functools.partial) else unroll_fn
    if inner is newton_unroll and isinstance(cell.parts, Gated):
        msg = (
            f"{_BY}: got newton_unroll for a Gated cell; expected an unroll that goes step by "
            "step, such as jaxrnn.fused_unroll or jaxrnn.unroll: no device knows the Jacobian of "
            "all units; split time instead, with jaxrnn.time_sharded(jaxrnn.newton_unroll, ...)"
        )
        raise TypeError(msg)


def _check_divides(hidden: int, devices: int, axis: str) -> None:
    if hidden % devices:
        more = -(-hidden // devices) * devices
        fewer = max(n for n in range(1, devices) if hidden % n == 0)
        msg = (
            f"{_BY}: got {hidden} hidden units for mesh axis {axis!r} of {devices} devices; "
            f"expected a multiple of {devices}; make the cell with hidden_size={more}, or the mesh "
            f"with {fewer} devices along {axis!r}"
        )
        raise ValueError(msg)


def _check_platform(mesh: Mesh, mapped: set[str | None], *trees) -> None:
    """Raises NotImplementedError where XLA would abort the process, in the gradient's sums."""
    free = [name for name, size in mesh.shape.items() if size > 1 and name not in mapped]
    kinds = {jnp.result_type(leaf) for leaf in jax.tree.leaves(trees)}
    short = [k.name for k in kinds if jnp.issubdtype(k, jnp.floating) and jnp.finfo(k).bits < 32]
    if free and short and mesh.devices.flat[0].platform == "cpu":
        msg = (
            f"{_BY}: got {short[0]} on CPU over a mesh whose axes {', '.join(map(repr, free))} "
            "split something else; expected single precision there, or a mesh without them: XLA "
            "aborts on such sums; cast parameters and inputs to float32, or give 'data' a batch "
            "that it divides and the other axes one device"
        )
        raise NotImplementedError(msg)


def hidden_sharded(unroll_fn: UnrollFn, mesh: Mesh, axis: str = "model") -> UnrollFn:
    """Runs a cell whose hidden units are split over the devices of a mesh axis.

    Values and derivatives are those of `unroll_fn` on one device, up to rounding. With n devices on
    the axis each holds H / n units of every gate: their columns of the matrices, their part of the
    state, of what is kept for the backward pass, and of the outputs. At every step of a `Gated`
    cell the devices exchange the part of the state that is multiplied, H numbers a sequence, and
    nothing else; backward, its cotangent. With `fused_unroll` they exchange, backward, also the
    states of a block of steps at once: it keeps a device's own units of them alone, where `unroll`
    keeps all H. `Elementwise` cells, and `Linear` cells with a diagonal map, exchange nothing.

    The matrices are brought from where they lie into units once, before the loop. Inputs are
    needed whole on every device of the axis: outputs of a layer below that is split too are
    gathered, once. The gradient of inputs is a sum over the devices, once.

    Which arrays have units is read off their shapes: those whose last axis is a multiple of H,
    gates side by side. While tracing it is checked, on two units and on one, that functions take
    each unit by itself. Where the input's share does not (it multiplies twice, as in `minimal_rnn`,
    or passes the input on), each device computes it for all units and takes its own.

    Other axes of the mesh stay free: a batch that is split over one of them remains so. If one is
    called "data" and divides the batch, the batch is split over it, and the gradients of parameters
    are added up over it once, after the loop.

    Args:
      unroll_fn: how the units of a device are run, step by step: `unroll`, `fused_unroll`, or
        `truncated` and `checkpointed` of these; for a `Linear` cell `associative_unroll` too.
      mesh: the devices. All its axes are of type Auto.
      axis: the mesh axis over which units are split.

    Returns:
      An unroll, for use inside `jax.jit` or outside. H is a multiple of the axis's size. Outputs
      and the last state are split over their last axis.

    Raises:
      NotImplementedError: when run: parameters of 16 bits on CPU, where an axis of more than one
        device is left to XLA.
      TypeError: `mesh` is no mesh, `unroll_fn` is no function, or when run: the cell is neither
        `Gated` nor `Elementwise` nor `Linear`, or its functions mix units besides in the product.
      ValueError: the mesh has no such axis, or has axes that are not Auto; when run: the axis's
        size does not divide H.
      NotImplementedError: when run: inside `jax.shard_map`, as the layers of a pipeline are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.unrolls.fused import fused_unroll
      >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> cell = lstm(3, 8)
      >>> params = cell.init(jax.random.key(0))
      >>> run = hidden_sharded(fused_unroll, mesh, "model")
      >>> state, ys = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 8)

    Reference:
      M. Shoeybi et al., "Megatron-LM: training multi-billion parameter language models using model
      parallelism", 2019, section 3: a product split by columns.
    """
    devices = check_mesh_axis(mesh, axis, by=_BY)
    _check_unroll(unroll_fn)

    @compiled_per_cell()
    def run(cell, params, xs, state=None, *, mask=None, resets=None):
        check_around(mesh, by=_BY)
        check_structure(cell, by=_BY)
        _check_sequential(unroll_fn, cell)
        params = jax.tree.map(jnp.asarray, params)
        sequence = read_sequence(cell, xs, mask, resets, by=_BY)
        state = read_state(cell, params, sequence, state, by=_BY)
        batch_shape = sequence.batch_shape(cell)
        hidden = hidden_size(cell, state, len(batch_shape), by=_BY)
        _check_divides(hidden, devices, axis)
        x = jax.eval_shape(lambda xs: jax.tree.map(lambda leaf: leaf[0], xs), sequence.xs)
        blocks = UnitBlocks(hidden, axis, devices)
        local = local_units(cell, params, state, x, blocks, batch_shape, by=_BY)

        def run_units(params, state, sequence):
            flags = {"mask": sequence.mask, "resets": sequence.resets}
            return unroll_fn(local.cell, params, sequence.xs, state, **flags)

        rows = find_batch_axis(mesh, axis, batch_shape, params, state)
        _check_platform(mesh, {axis, rows}, params, state)

        def places(tree, has_units, batch_at=None):
            batch = () if batch_at is None else (rows, batch_at)
            return jax.tree.map(lambda leaf, has: Place(leaf.ndim, has, *batch), tree, has_units)

        ys = jax.tree.map(
            lambda y: jax.ShapeDtypeStruct((sequence.num_steps, *y.shape), y.dtype), local.y
        )
        of_state = places(state, local.state, 0)
        of_params = places(local.params, local.split)._replace(initial=of_state)
        of_sequence = places(sequence, jax.tree.map(lambda _: False, sequence), 1)
        on_all = blocks.on_each(
            run_units, mesh, (of_params, of_state, of_sequence),
            (of_state, places(ys, local.split_y, 1)), exchange=isinstance(cell.parts, Gated),
        )  # fmt: skip
        return on_all(local.params, state, sequence)

    return run
