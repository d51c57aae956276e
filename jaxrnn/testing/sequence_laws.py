"""Laws of a cell over time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.cell import Cell
from jaxrnn.core.structure import Gated, Linear
from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import UnrollFn
from jaxrnn.testing.law import as_given, in_double, require
from jaxrnn.testing.probe import (
    Flags,
    Probe,
    compare,
    inexact,
    inner,
    make_flags,
    merge,
    plain,
    quick_jit,
    weights,
)
from jaxrnn.unrolls import (
    associative_unroll,
    checkpointed,
    chunked_unroll,
    fused_unroll,
    trajectory,
    truncated,
    unroll,
)

__all__ = [
    "adjoint_identity",
    "agrees_with_unroll",
    "batch_is_vmap",
    "gradient_is_finite_difference",
    "halves_make_the_whole",
    "library_unrolls",
    "no_retrace",
    "padding_never_matters",
    "resets_separate",
    "trajectory_is_the_states",
    "unroll_is_the_loop",
    "unrolls_agree",
]


@in_double
def batch_is_vmap(probe):
    """A step of a batch gives what `jax.vmap` of the step gives."""
    each = probe.cell.step
    for _ in probe.batch_shape:
        each = jax.vmap(each, in_axes=(None, 0, 0))
    arguments = probe.params, probe.state, probe.x(0)
    compare(
        probe.step(*arguments),
        quick_jit(each)(*arguments),
        "(state, y) of a batch",
        "the step mixes the sequences of a batch, as a mean or a product over axis 0 does; write "
        "it for the last axes (axis=-1)",
    )


def _loop(probe, flags):
    """Runs the cell by calling its step in a Python loop: all states and all outputs."""

    @quick_jit
    def flagged(params, state, x, flags):
        if flags.resets is not None:
            initial = probe.cell.initial_state(params, probe.batch_shape)
            state = select(flags.resets, initial, state)
        if flags.mask is not None:
            x = mask_zero(flags.mask, x)
        new, y = probe.cell.step(params, state, x)
        if flags.mask is not None:
            new, y = select(flags.mask, new, state), mask_zero(flags.mask, y)
        return new, y

    state, states, ys = probe.state, [probe.state], []
    for t in range(probe.num_steps):
        if flags == Flags():
            state, y = probe.step(probe.params, state, probe.x(t))
        else:
            now = jax.tree.map(lambda leaf, t=t: np.asarray(leaf)[t], flags)
            state, y = flagged(probe.params, state, probe.x(t), now)
        states.append(state)
        ys.append(y)
    return tuple(
        jax.tree.map(lambda *leaves: np.stack([plain(leaf) for leaf in leaves]), *part)
        for part in (states, ys)
    )


@in_double
def unroll_is_the_loop(probe):
    """`unroll` gives what a Python loop of the step gives."""
    for kind in ("plain", "both"):
        flags = make_flags(probe, kind)
        states, ys = _loop(probe, flags)
        compare(
            probe.run(unroll, probe.params, probe.xs, probe.state, flags),
            (jax.tree.map(lambda leaf: leaf[-1], states), ys),
            f"(state, ys) of unroll ({kind})",
            "the step is not a pure function of its arguments: it counts its calls or reads a "
            "global; or the structure's phases depend on the order of the steps",
        )


@in_double
def trajectory_is_the_states(probe):
    """Entry t of `trajectory` is the state after t steps."""
    for kind in ("plain", "both"):
        flags = make_flags(probe, kind)
        compare(
            probe.run(trajectory, probe.params, probe.xs, probe.state, flags),
            _loop(probe, flags)[0],
            f"trajectory ({kind})",
            "the step is not a pure function of its arguments",
        )


@in_double
def halves_make_the_whole(probe):
    """Running on from a state gives what running through gives."""
    half = probe.num_steps // 2

    def two(cell, params, xs, state, **flags):
        first, second = (
            jax.tree.map(lambda leaf, part=part: leaf[part], xs)
            for part in (slice(half), slice(half, None))
        )
        state, ys = unroll(cell, params, first, state, **flags)
        state, zs = unroll(cell, params, second, state, **flags)
        return state, jax.tree.map(lambda y, z: jnp.concatenate([y, z]), ys, zs)

    arguments = probe.params, probe.xs, probe.state
    compare(
        probe.run(two, *arguments),
        probe.run(unroll, *arguments),
        "(state, ys) of two halves",
        "something besides the state passes from step to step, or the step depends on the time",
    )


def library_unrolls(num_steps: int, cell: Cell | None = None) -> dict[str, UnrollFn]:
    """Returns the library's unrolls that equal `unroll` on `num_steps` steps, by name.

    With a cell, those that run it; else all.
    """
    third = -(-num_steps // 3)
    gated = {
        "fused": functools.partial(fused_unroll, block_size=4),
        "fused_outputs": functools.partial(fused_unroll, block_size=4, storage="outputs"),
        "checkpointed_fused": checkpointed(fused_unroll, 4),
    }
    linear = {
        "associative": associative_unroll,
        "chunked": functools.partial(chunked_unroll, chunk_size=4),
    }
    return {
        **(gated if cell is None or isinstance(cell.parts, Gated) else {}),
        **(linear if cell is None or isinstance(cell.parts, Linear) else {}),
        "unroll_factor": functools.partial(unroll, unroll_factor=2),
        "truncated": truncated(unroll, num_steps),
        "truncated_every": truncated(unroll, 3 * third, third),
        "checkpointed": checkpointed(unroll, 4),
        "checkpointed_sqrt": checkpointed(unroll),
    }


def agrees_with_unroll(
    probe: Probe, name: str, run: UnrollFn, kind: str, *, gradient: bool = True
) -> None:
    """Raises unless `run` equals `unroll` in value and gradient; `kind` as for `make_flags`."""
    arguments = probe.params, probe.xs, probe.state, make_flags(probe, kind)
    cause = (
        "the step is not a pure function of its arguments, or the unroll is wrong; if the other "
        "laws hold without this one (skip=['unrolls_agree']), it is the unroll"
    )
    values = f"(state, ys) of {name} ({kind})"
    if not gradient:
        compare(probe.run(run, *arguments), probe.run(unroll, *arguments), values, cause)
        return
    got, expected = probe.pull(run, *arguments), probe.pull(unroll, *arguments)
    compare(got[0], expected[0], values, cause)
    compare(got[1], expected[1], f"gradient of {name} ({kind}) ", cause)


@in_double
def unrolls_agree(probe):
    """Every other unroll gives the values and gradients of `unroll`, with masks and resets."""
    for name, run in (library_unrolls(probe.num_steps, probe.cell) | dict(probe.unrolls)).items():
        agrees_with_unroll(probe, name, run, "both")


def _fill(mask, leaf, number):
    """Writes a number where the mask is False; in NumPy, for JAX would compile it."""
    leaf = plain(leaf)
    where = mask.reshape(mask.shape + (1,) * (leaf.ndim - mask.ndim))
    return np.where(where, leaf, np.asarray(number).astype(leaf.dtype))


@in_double
def padding_never_matters(probe):
    """Padding holds the state, outputs zeros, and its content reaches no value or gradient."""
    mask = np.array(make_flags(probe, "mask").mask)
    last = (slice(None), *(-1 for _ in probe.batch_shape))
    mask[last] = False  # a sequence of length 0

    def poison(leaf):
        tokens = jnp.issubdtype(leaf.dtype, jnp.integer)
        return _fill(mask, leaf, jnp.iinfo(leaf.dtype).max if tokens else jnp.nan)

    cause = (
        "the step or its derivative is not finite at an input of zeros, which stand for padding "
        "(a norm, a logarithm, a division by the input)"
    )
    flags = Flags(mask)
    ones = jax.tree.map(lambda leaf: _fill(mask, leaf, 1), probe.xs)
    nans = jax.tree.map(poison, probe.xs)
    expected, slopes = probe.pull(unroll, probe.params, ones, probe.state, flags)
    (after, ys), again = probe.pull(unroll, probe.params, nans, probe.state, flags)
    compare((after, ys), expected, "(state, ys) with NaN in the padding", cause, rtol=1e-12)
    compare(again, slopes, "gradient with NaN in the padding ", cause, rtol=1e-12)
    zeros = jax.tree.map(lambda leaf: _fill(mask, leaf, 0), again["xs"])
    compare(again["xs"], zeros, "gradient of padded inputs", cause, rtol=0)
    silent = jax.tree.map(lambda leaf: _fill(mask, leaf, 0), ys)
    compare(ys, silent, "outputs on padding", cause, rtol=0)
    initial = probe.cell.initial_state(probe.params, probe.batch_shape)
    fresh, _ = probe.run(unroll, probe.params, nans, None, flags)
    held = (after, probe.state), (fresh, initial)
    empty = jax.tree.map(lambda leaf: plain(leaf)[last[1:]], held)
    for got, first in empty:
        compare(got, first, "state of an empty sequence", "initial_state is not pure", rtol=0)
    _lengths(probe)


def _lengths(probe):
    """A padded sequence ends where the sequence alone ends."""
    half = probe.num_steps // 2
    mask = np.zeros((probe.num_steps, *probe.batch_shape), bool)
    mask[:half] = True
    got = probe.run(unroll, probe.params, probe.xs, probe.state, Flags(mask))
    states, ys = _loop(probe, Flags())
    expected = (
        jax.tree.map(lambda leaf: leaf[half], states),
        jax.tree.map(lambda leaf: _fill(mask, leaf, 0), ys),
    )
    compare(got, expected, "(state, ys) of a padded sequence", "the step is not pure")


@in_double
def resets_separate(probe):
    """Sequences packed end to end with resets give what each gives alone, gradients included."""
    half = probe.num_steps // 2
    resets = np.zeros((probe.num_steps, *probe.batch_shape), bool)
    resets[0] = resets[half] = True

    def separate(cell, params, xs, state, **flags):
        del state, flags
        runs = [
            unroll(cell, params, jax.tree.map(lambda leaf, part=part: leaf[part], xs))
            for part in (slice(half), slice(half, None))
        ]
        ys = jax.tree.map(lambda y, z: jnp.concatenate([y, z]), runs[0][1], runs[1][1])
        return runs[1][0], ys

    arguments = probe.params, probe.xs, probe.state, Flags(resets=resets)
    got, expected = probe.pull(unroll, *arguments), probe.pull(separate, *arguments)
    cause = "something besides the state passes from step to step"
    compare(got[0], expected[0], "(state, ys) of packed sequences", cause)
    compare(got[1], expected[1], "gradient of packed sequences ", cause)


@as_given
def no_retrace(probe):
    """Running on from the state that the first call returned compiles nothing anew."""
    traces = []

    @jax.jit
    def run(params, xs, state):
        traces.append(state)
        return unroll(probe.cell, params, xs, state)

    state = probe.cell.initial_state(probe.params, probe.batch_shape)
    for _ in range(2):
        state, _ = run(probe.params, probe.xs, state)
    require(
        len(traces) == 1,
        f"{len(traces)} traces of two calls, the second with the state that the first returned",
        "1",
        "initial_state makes a leaf of weak type or a Python number; give it a dtype, as in "
        "jnp.zeros(shape, dtype)",
    )


def _directions(probe, tree, count):
    """Yields trees like the floating part of `tree`, of standard normal numbers."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(probe.key)))
    for _ in range(count):
        yield jax.tree.map(
            lambda leaf: jnp.asarray(random.standard_normal(leaf.shape), leaf.dtype), inexact(tree)
        )


@in_double
def gradient_is_finite_difference(probe):
    """The gradient along random directions is the central difference of the values."""
    primals = {"params": probe.params, "xs": probe.xs, "state": probe.state}
    _, slopes = probe.pull(unroll, **primals)

    @quick_jit
    def value(floats, direction, size):
        moved = jax.tree.map(lambda x, v: x + size * v, floats, direction)
        out = inexact(unroll(probe.cell, **merge(moved, primals)))
        return inner(weights(out), out)

    size = 1e-6
    floats = inexact(primals)
    for direction in _directions(probe, primals, 3):
        slope = (value(floats, direction, size) - value(floats, direction, -size)) / (2 * size)
        got = float(quick_jit(inner)(slopes, direction))
        scale = sum(np.sum(np.abs(leaf)) for leaf in jax.tree.leaves(slopes))
        require(
            abs(got - slope) <= 1e-6 * (1e-3 + scale),
            f"slope {got:.9g} by reverse mode",
            f"{slope:.9g} by central differences",
            "a custom derivative (jax.custom_jvp, custom_vjp, stop_gradient) is wrong, or the step "
            "jumps (round, argmax, a comparison)",
        )


@in_double
def adjoint_identity(probe):
    """Forward and reverse mode are transposes: ``<u, J v> == <J^T u, v>``."""
    primals = {"params": probe.params, "xs": probe.xs, "state": probe.state}
    _, slopes = probe.pull(unroll, **primals)

    @quick_jit
    def forward(direction):
        def outputs(floats):
            return inexact(unroll(probe.cell, **merge(floats, primals)))

        out, pushed = jax.jvp(outputs, (inexact(primals),), (direction,))
        return inner(weights(out), pushed)

    for direction in _directions(probe, primals, 2):
        got, expected = float(quick_jit(inner)(slopes, direction)), float(forward(direction))
        scale = sum(np.sum(np.abs(leaf)) for leaf in jax.tree.leaves(slopes))
        require(
            abs(got - expected) <= 1e-10 * (1e-3 + scale),
            f"<J^T u, v> = {got:.12g}",
            f"<u, J v> = {expected:.12g}",
            "a custom derivative has a forward and a reverse rule that disagree",
        )
