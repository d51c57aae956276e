"""A stack whose layers lie on several devices and work on several blocks of time at once."""

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxrnn.core.checks import check_size
from jaxrnn.layers.layer import Layer, check_layers
from jaxrnn.layers.parts import Dropout, Readout, Recurrent, Residual, Stack, layer_parts
from jaxrnn.unrolls.mesh_axis import (
    check_around,
    check_mesh_axis,
    enter_varying,
    find_batch_axis,
)
from jaxrnn.unrolls.sequence import check_flags
from jaxrnn.unrolls.time_blocks import Blocks, uncut

__all__ = ["pipelined"]

_BY = "pipelined"


class _Sequence(NamedTuple):
    """Inputs and flags over time, or ``(K, size, *batch, ...)`` in blocks; absent flags None."""

    xs: Any
    mask: Any
    resets: Any


def _check_causal(inner: Layer) -> None:
    """Raises TypeError unless it is known that a layer can go over time block by block."""
    parts = layer_parts(inner)
    if isinstance(parts, Stack):
        for one in parts.layers:
            _check_causal(one)
    elif isinstance(parts, Residual):
        _check_causal(parts.inner)
    elif not isinstance(parts, Dropout | Readout | Recurrent):
        kind = "a layer of unknown parts" if parts is None else type(parts).__name__.lower()
        msg = (
            f"{_BY}: got {kind} in the stack; expected layers that go forwards in time, block by "
            "block, made of jaxrnn.layer, residual, stack, readout and dropout; leave the others "
            "outside, as in stack(bidirectional(...), pipelined(stack(...), mesh, axis))"
        )
        raise TypeError(msg)


def _layers_of(network: Layer) -> tuple[Layer, ...]:
    check_layers((network,), by=_BY)
    parts = layer_parts(network)
    if not isinstance(parts, Stack):
        kind = "unknown parts" if parts is None else type(parts).__name__.lower()
        msg = (
            f"{_BY}: got a layer of {kind}; expected a stack; pass jaxrnn.stack(*layers) of equal "
            "layers"
        )
        raise TypeError(msg)
    _check_causal(network)
    return parts.layers


def _check_count(count: int, devices: int, axis: str) -> None:
    if count % devices:
        more = -(-count // devices) * devices
        fewer = max(n for n in range(1, devices) if count % n == 0)
        msg = (
            f"{_BY}: got {count} layers for mesh axis {axis!r} of {devices} devices; expected a "
            f"multiple of {devices}; stack {more} layers, or make the mesh with {fewer} devices "
            f"along {axis!r}"
        )
        raise ValueError(msg)


def _types(tree) -> Any:
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)


def _check_alike(name: str, trees, count: int) -> None:
    """Raises ValueError unless the layers' trees have one structure, shapes and dtypes."""
    if not isinstance(trees, tuple) or len(trees) != count:
        size = f" of {len(trees)}" if isinstance(trees, tuple | list) else ""
        msg = (
            f"{_BY}: got {name} that are a {type(trees).__name__}{size}; expected a tuple of "
            f"{count}, one a layer, as of the stack"
        )
        raise ValueError(msg)
    first, *others = map(_types, trees)
    for index, other in enumerate(others, 1):
        if other != first:
            msg = (
                f"{_BY}: got layers with different {name}: layer 0 has {first}, layer {index} has "
                f"{other}; expected equal layers; put a layer of another size before the pipeline, "
                "as in stack(layer(lstm(3, 5)), pipelined(stack(layer(lstm(5, 5)), ...), ...))"
            )
            raise ValueError(msg)


def _read_input(xs, input_ndim: int) -> tuple[int, ...]:
    """Returns the batch axes of inputs over time."""
    if not isinstance(xs, jax.Array) or xs.ndim <= input_ndim or not xs.shape[0]:
        got = f"an array of shape {xs.shape}" if hasattr(xs, "shape") else type(xs).__name__
        msg = f"{_BY}: got {got}; expected one array (T, *batch, features) of at least one step"
        raise ValueError(msg)
    return xs.shape[1 : xs.ndim - input_ndim]


def _apply(inner: Layer, params, state, sequence: _Sequence):
    return inner.apply(params, sequence.xs, state, mask=sequence.mask, resets=sequence.resets)


def _program(inner: Layer, params, state, sequence: _Sequence) -> tuple[str, list]:
    """Returns what a layer computes, as text, and the arrays that it closes over."""
    jaxpr = jax.make_jaxpr(functools.partial(_apply, inner))(params, state, sequence)
    return re.sub(r"0x[0-9a-f]+", "", str(jaxpr.jaxpr)), jaxpr.consts


def _identity(inner: Layer) -> Any:
    """Returns something that is equal for layers that are known to compute the same, or None."""
    parts = layer_parts(inner)
    if not isinstance(parts, Recurrent) or parts.cell.structure is None:
        return None
    cell = parts.cell
    return cell.initial_state, cell.structure, cell.input_ndim, parts.unroll_fn


def _check_programs(layers, params, state, sequence: _Sequence) -> None:
    """Raises ValueError unless all layers compute the same with their parameters."""
    known = [_identity(one) for one in layers]
    if known[0] is not None and all(one == known[0] for one in known):
        return
    rows = zip(layers, params, state, strict=True)
    first, *others = (_program(*row, sequence) for row in rows)
    for index, (text, consts) in enumerate(others, 1):
        if text != first[0] or not _equal(consts, first[1]):
            msg = (
                f"{_BY}: got layers 0 and {index} that compute different things with their "
                "parameters; expected equal layers, which differ in their parameters alone; make "
                "all with the same factory and options, or put the others before the pipeline"
            )
            raise ValueError(msg)


def _check_output(layers, params, state, sequence: _Sequence):
    """Returns the dtype of the outputs; raises ValueError unless they can be the next's inputs."""
    of_layer = functools.partial(_apply, layers[0])
    ys = jax.eval_shape(of_layer, params[0], state[0], sequence)[1]
    if getattr(ys, "shape", None) != sequence.xs.shape:
        got = f"outputs of shape {ys.shape}" if hasattr(ys, "shape") else type(ys).__name__
        msg = (
            f"{_BY}: got inputs of shape {sequence.xs.shape} and {got} of the first layer; "
            "expected equal shapes; put a layer of another size before the pipeline, as in "
            "stack(layer(lstm(3, 5)), pipelined(stack(layer(lstm(5, 5)), ...), ...))"
        )
        raise ValueError(msg)
    _check_programs(layers, params, state, sequence._replace(xs=sequence.xs.astype(ys.dtype)))
    return ys.dtype


def _equal(these, those) -> bool:
    if len(these) != len(those) or any(isinstance(x, jax.core.Tracer) for x in [*these, *those]):
        return len(these) == len(those) == 0
    return all(
        a.shape == b.shape and a.dtype == b.dtype and bool(jnp.all(a == b))
        for a, b in zip(these, those, strict=True)
    )


def _input_ndim(inner: Layer) -> int:
    """Returns the feature axes of a layer's input."""
    parts = layer_parts(inner)
    if isinstance(parts, Stack):
        return max(map(_input_ndim, parts.layers))
    if isinstance(parts, Residual):
        return _input_ndim(parts.inner)
    return parts.cell.input_ndim if isinstance(parts, Recurrent) else 1


def _choose_blocks(num_steps: int, devices: int) -> int:
    """Chooses about four blocks a device, so many that no step is left over where that can be."""
    aim = min(4 * devices, num_steps)
    near = [n for n in range(-(-aim // 2), min(2 * aim, num_steps) + 1) if num_steps % n == 0]
    return min(near, key=lambda n: abs(n - aim), default=aim)


def _cut(sequence: _Sequence, batch_shape, blocks: int) -> _Sequence:
    """Cuts time into `blocks` blocks; masked steps fill what is left of them."""
    num_steps = sequence.xs.shape[0]
    size = -(-num_steps // blocks)
    extra = blocks * size - num_steps
    if extra and sequence.mask is None:
        sequence = sequence._replace(mask=jnp.ones((num_steps, *batch_shape), bool))

    def cut(leaf):
        leaf = jnp.pad(leaf, [(0, extra)] + [(0, 0)] * (leaf.ndim - 1))
        return leaf.reshape(blocks, size, *leaf.shape[1:])

    return jax.tree.map(cut, sequence)


def _stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _unstacked(tree, count: int) -> list:
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]


def _run(inner: Layer, mesh: Mesh, axis: str, rows: str | None, params, state, cut: _Sequence):
    """Runs stacked layers ``(L, ...)`` over the blocks; returns stacked states, and the outputs.

    The batch is split over the mesh axis `rows`, unless that is None.

    At tick t device d works on block t - d: what device d - 1 put out at the tick before.
    """
    devices, blocks = mesh.shape[axis], cut.xs.shape[0]
    count = jax.tree.leaves((params, state))[0].shape[0] // devices
    to_next = [(i, i + 1) for i in range(devices - 1)]

    def work(params, state, block):
        after, xs = [], block.xs
        for own, before in zip(params, _unstacked(state, count), strict=True):
            new, xs = _apply(inner, own, before, block._replace(xs=xs))
            after.append(new)
        return _stacked(after), xs

    def on_each(params, state, cut):
        device = jax.lax.axis_index(axis)
        by_rows = () if rows is None else (rows,)
        params = [
            jax.tree.map(lambda leaf: enter_varying(leaf, by_rows), own)
            for own in _unstacked(params, count)
        ]
        xs = enter_varying(cut.xs, (axis,))
        nothing = jnp.zeros_like(xs[0])
        # The first device alone reads them: at its ticks after the last block it reads nothing.
        xs = jnp.concatenate([xs, jnp.broadcast_to(nothing, (devices - 1, *nothing.shape))])

        def tick(carry, now):
            state, arrived = carry
            t, x = now
            index = t - device
            x = jnp.where(device == 0, x, arrived)
            flags = jax.tree.map(
                lambda leaf: leaf[jnp.clip(index, 0, blocks - 1)], (cut.mask, cut.resets)
            )
            state, y = jax.lax.cond(
                (index >= 0) & (index < blocks),
                lambda state, x: work(params, state, _Sequence(x, *flags)),
                lambda state, x: (state, x),
                state,
                x,
            )
            return (state, jax.lax.ppermute(y, axis, to_next)), y

        ticks = jnp.arange(blocks + devices - 1)
        (state, _), ys = jax.lax.scan(tick, (state, nothing), (ticks, xs))
        return state, ys[None, devices - 1 :]

    of_state, of_ys = PartitionSpec(axis, rows), PartitionSpec(axis, None, None, rows)
    if rows is None:
        of_state = of_ys = PartitionSpec(axis)  # whatever axes there are
    state, ys = jax.shard_map(
        on_each,
        mesh=mesh,
        axis_names={axis} if rows is None else {axis, rows},
        in_specs=(PartitionSpec(axis), of_state, PartitionSpec(*of_ys[1:])),
        out_specs=(of_state, of_ys),
    )(params, state, cut)
    return state, ys[-1]  # of the last device


def pipelined(network: Layer, mesh: Mesh, axis: str, *, blocks: int | None = None) -> Layer:
    """Runs a stack as a pipeline: each device of a mesh axis holds some layers, in their order.

    The sequence is cut into K blocks of time. While a device runs its layers on a block, the device
    before it works on the next block, and the one behind on the last. With n devices a call takes
    K + n - 1 ticks, of which each device works in K: of the time ::

        K / (K + n - 1)

    is used, if a tick costs a K-th of the whole; the rest, the bubble, is spent waiting at both
    ends. More blocks make it smaller, until a block's own costs outweigh it. Backward, the same
    happens in reverse. At every tick a device sends the outputs of a block to the next, and
    nothing else.

    Values and gradients are those of the stack on one device. What works on many steps at once
    works on those of a block: `truncated` windows begin anew in each, and their gradients pass
    between blocks; a `dropout` that draws its mask for each step draws it for each block, as for a
    stream that is cut into calls.

    Parameters and state are the stack's, so that checkpoints and weights of others fit both. JAX
    wants each array of a program on all its devices; for each device to hold as much as its layers
    have, split every array over the axis (``jaxrnn.sharding.param_specs`` does, if it is the
    "model" axis). The devices then exchange those parts for whole layers once a call.

    Args:
      network: ``stack(*layers)`` of L equal layers: one kind and size, the input's size that of the
        output. n divides L.
      mesh: the devices. All its axes are of type Auto; others than `axis` stay free. If one is
        called "data" and divides the batch, the batch is split over it.
      axis: the mesh axis along which layers lie.
      blocks: K, at least 1. About 4 n if not given, rather a divisor of T. Where K does not divide
        T, masked steps fill the last block or blocks.

    Returns:
      The layer; its parameters and state are those of `network`.

    Raises:
      TypeError: `network` is no stack, or has layers that need the whole sequence at once, such as
        `reverse`; `mesh` is no mesh; `blocks` is not an integer.
      ValueError: the mesh has no such axis, or axes that are not Auto; n does not divide L; at the
        call: layers are not equal, or their output's shape is not that of their input.
      NotImplementedError: a call inside `jax.shard_map`, another pipeline among them; layers that
        run with `hidden_sharded` or `time_sharded`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.layers import layer, stack
      >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> deep = stack(*(layer(lstm(5, 5)) for _ in range(4)))
      >>> net = stack(layer(lstm(3, 5)), pipelined(deep, mesh, "model", blocks=3))
      >>> params = net.init(jax.random.key(0))
      >>> state, ys = net.apply(params, jnp.ones((12, 2, 3)))
      >>> ys.shape, len(params[1])
      ((12, 2, 5), 4)

    Reference:
      Y. Huang et al., "GPipe: efficient training of giant neural networks using pipeline
      parallelism", 2019, section 2.3 (the bubble); J. Appleyard, T. Kocisky, P. Blunsom,
      "Optimizing performance of recurrent neural networks on GPUs", 2016 (a layer's steps beside
      the next layer's).
    """
    devices = check_mesh_axis(mesh, axis, by=_BY)
    layers = _layers_of(network)
    _check_count(len(layers), devices, axis)
    if blocks is not None:
        blocks = check_size("blocks", blocks, by=_BY)

    @functools.partial(jax.jit, inline=True)
    def apply(params, xs, state=None, *, mask=None, resets=None):
        check_around(mesh, by=_BY)
        params, xs = jax.tree.map(jnp.asarray, (params, xs))
        batch_shape = _read_input(xs, _input_ndim(network))
        num_steps = xs.shape[0]
        count = _choose_blocks(num_steps, devices) if blocks is None else blocks
        mask = check_flags("mask", mask, (num_steps, *batch_shape), by=_BY)
        resets = check_flags("resets", resets, (num_steps, *batch_shape), by=_BY)
        if state is None:
            state = network.initial_state(params, batch_shape)
        state = jax.tree.map(jnp.asarray, state)
        for name, trees in (("parameters", params), ("states", state)):
            _check_alike(name, trees, len(layers))
        sequence = _Sequence(xs, mask, resets)
        sequence = sequence._replace(xs=xs.astype(_check_output(layers, params, state, sequence)))
        cut = _cut(sequence, batch_shape, count)
        rows = find_batch_axis(mesh, axis, batch_shape, params, state)
        stacked = _stacked(params), _stacked(state)
        state, ys = _run(layers[0], mesh, axis, rows, *stacked, cut)
        ys = uncut(Blocks(ys, None))[:num_steps]
        return tuple(_unstacked(state, len(layers))), ys

    return Layer(network.init, network.initial_state, apply, Stack(apply, layers))
