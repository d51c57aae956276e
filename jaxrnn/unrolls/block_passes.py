"""Both passes of a `Gated` cell over time, block by block, on lists of leaves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array
from jaxrnn.unrolls.plan import Plan, fill, floating, pick
from jaxrnn.unrolls.step_loops import Span, count_blocks, each_block, put, read

__all__ = ["Arrays", "Flags", "Kept", "backward_pass", "forward_pass", "plain_pass"]


class Flags(NamedTuple):
    """Which steps are real, and before which the state is reset; None where nobody asked."""

    real: Array | None
    reset: Array | None


class Arrays(NamedTuple):
    """What a derivative is taken of: lists of leaves, but for the recurrent matrix."""

    params: list
    weights: Array
    vectors: list
    xs: list
    state: list
    initial: list | None


class Kept(NamedTuple):
    """What the forward pass keeps for the backward pass.

    Attributes:
      states: leaves of the states before each step, of those that are stored.
      a: the pre-activations of each step, or None.
      starts: leaves of the states before the first step that each block takes, of those that only
        steps can make again.
    """

    states: list
    a: Array | None
    starts: list


def _not(flags) -> list[bool]:
    return [not flag for flag in flags]


def _enter(initial, s, reset):
    return s if reset is None else select(reset, initial, s)


def _leave(s, new, y, real):
    return (new, y) if real is None else (select(real, new, s), mask_zero(real, y))


def _empty(leaf, num_steps: int) -> Array:
    """Zeros ``(T, ...)`` of a leaf's type; the leaf may be a shape."""
    return jnp.broadcast_to(jnp.zeros_like(leaf), (num_steps, *leaf.shape))


def _one_step(plan: Plan, arrays: Arrays, flags: Flags):
    """Returns the y and the a of some step, or their shapes."""
    if plan.shapes is not None:
        return plan.shapes
    real, reset = read(flags, 0)
    s = _enter(arrays.initial, arrays.state, reset)
    a = plan.gates(s, arrays.weights, plan.project(arrays.params, read(arrays.xs, 0)))
    return _leave(s, *plan.pointwise(arrays.vectors, s, a), real)[1], a


def _num_steps(xs: list) -> int:
    return jax.tree.leaves(xs)[0].shape[0]


def plain_pass(plan: Plan, arrays: Arrays, flags: Flags):
    """Runs a cell over time by one scan, of which every derivative takes time in proportion to T.

    Args:
      plan: the cell.
      arrays: what it runs on, xs ``(T, *batch, ...)``.
      flags: of all steps, ``(T, *batch)``.

    Returns:
      The last state, leaves ``(*batch, ...)``, and the outputs, leaves ``(T, *batch, ...)``.
    """

    def step(s, here):
        x, (real, reset) = here
        s = _enter(arrays.initial, s, reset)
        a = plan.gates(s, arrays.weights, plan.project(arrays.params, x))
        return _leave(s, *plan.pointwise(arrays.vectors, s, a), real)

    return jax.lax.scan(step, arrays.state, (arrays.xs, flags))


def forward_pass(plan: Plan, arrays: Arrays, flags: Flags, size: int, *, keep: bool):
    """Runs a cell over time.

    Args:
      plan: the cell.
      arrays: what it runs on.
      flags: of all steps.
      size: steps a block.
      keep: whether a backward pass will follow.

    Returns:
      The last state, the outputs, and `Kept` (None unless `keep`).
    """
    num_steps = _num_steps(arrays.xs)
    loop = plan.storing if keep else plan.forward
    if not plan.hoisted and (plan.keep_gates or not keep):
        size = num_steps  # blocks are for what is projected, or made again, at once

    def advance(s, z, real, reset):
        if not plan.hoisted:
            z = plan.project(arrays.params, z)
        stored = pick(s, plan.stored) if keep else []
        s = _enter(arrays.initial, s, reset)
        a = plan.gates(s, arrays.weights, z)
        new, y = _leave(s, *plan.pointwise(arrays.vectors, s, a), real)
        return new, (y, stored, a if keep and plan.keep_gates else None)

    def run_block(carry, span, index):
        s, outs, starts = carry
        if keep:
            starts = put(starts, pick(s, plan.lost), index)
        if plan.hoisted:
            zs = jax.vmap(plan.project, (None, 0))(arrays.params, span.cut(arrays.xs))

        def at(k):
            t = span.start + k
            return read(zs, k) if plan.hoisted else read(arrays.xs, t), read(flags, t)

        def step(s, here):
            return advance(s, here[0], *here[1])

        return *loop(step, s, at, outs, span), starts

    y, a = _one_step(plan, arrays, flags)
    stored = pick(arrays.state, plan.stored) if keep else []
    one = y, stored, a if keep and plan.keep_gates else None
    outs = jax.tree.map(lambda leaf: _empty(leaf, num_steps), one)
    lost = pick(arrays.state, plan.lost) if keep else []
    starts = [_empty(leaf, count_blocks(size, num_steps)) for leaf in lost]
    carry = arrays.state, outs, starts
    last, (ys, states, a), starts = each_block(size, num_steps, run_block, carry)
    return last, ys, Kept(states, a, starts) if keep else None


def _states_before(plan: Plan, arrays: Arrays, kept: Kept, ys: list, span: Span, starts: list):
    """The states before each step; of the leaves that are lost, the first at every place."""
    stored, starts = iter(kept.states), iter(starts)
    states = []
    for first, is_stored, j in zip(arrays.state, plan.stored, plan.output, strict=True):
        if is_stored:
            states.append(span.cut(next(stored)))
        elif j is not None:
            if span.size < ys[j].shape[0]:
                before = read(ys[j], jnp.maximum(span.start - 1, 0))
                first = jnp.where(span.start > 0, before, first)
            states.append(jnp.concatenate([first[None], span.cut(ys[j])[:-1]]))
        else:
            start = next(starts)
            states.append(jnp.broadcast_to(start, (span.size, *start.shape)))
    return states


def _rerun(plan: Plan, arrays: Arrays, states: list, a, flags: Flags, span: Span) -> list:
    """Takes a block's steps again, without products, for the leaves that are lost."""
    known = _not(plan.lost)

    def at(k):
        return read((pick(states, known), a), k), read(flags, span.start + k)

    def step(s, here):
        (values, a), (real, reset) = here
        before = fill(values, known, s)
        s = _enter(arrays.initial, before, reset)
        new, _ = plan.pointwise(arrays.vectors, s, a)
        return new if real is None else select(real, new, s), pick(before, plan.lost)

    first = [leaf[0] for leaf in states]
    outs = pick(states, plan.lost)
    found = plan.forward(step, first, at, outs, span._replace(start=0))[1]
    return fill(found, plan.lost, states)


def backward_pass(
    plan: Plan, arrays: Arrays, flags: Flags, size: int, kept: Kept, ys: list, carry, dys: list
):
    """Takes cotangents through a run, last step first.

    Args:
      plan: the cell.
      arrays: what it ran on.
      flags: of all steps.
      size: steps a block.
      kept: what the forward pass kept.
      ys: the outputs.
      carry: the cotangents of the last state, and what those of the parameters that `plan.reads`,
        the matrix, the vectors and the initial state are added to; floating leaves only.
      dys: the cotangents of the outputs' floating leaves.

    Returns:
      The new carry, its state the first one, and the cotangents of the floating leaves of xs.
    """
    num_steps = _num_steps(arrays.xs)
    x_floats, s_floats, v_floats = map(floating, (arrays.xs, arrays.state, arrays.vectors))
    # A barrier, or XLA would see that it is transposed back in the loop.
    transposed = jax.lax.optimization_barrier(arrays.weights.T) if plan.transposed else None

    def step_back(carry, s, a, dy, real, reset):
        ds, dv, di = carry
        # XLA joins the second transposition to the product.
        weights = arrays.weights if transposed is None else transposed.T
        s = _enter(arrays.initial, s, reset)

        def end(v, s_some, a):
            whole = fill(s_some, s_floats, s)
            new, y = plan.pointwise(fill(v, v_floats, arrays.vectors), whole, a)
            new, y = _leave(whole, new, y, real)
            return pick(new, s_floats), pick(y, floating(y))

        def product(s_some):
            return plan.hidden(fill(s_some, s_floats, s)) @ weights

        s_some = pick(s, s_floats)
        _, pull = jax.vjp(end, pick(arrays.vectors, v_floats), s_some, a)
        more, through, da = pull((ds, dy))
        _, pull = jax.vjp(product, s_some)
        ds = jax.tree.map(jnp.add, through, pull(plan.split(da)[1])[0])
        dv = jax.tree.map(jnp.add, dv, more)
        if reset is not None:
            none = jax.tree.map(jnp.zeros_like, ds)
            di = jax.tree.map(jnp.add, di, select(reset, ds, none))
            ds = select(reset, none, ds)
        return (ds, dv, di), da

    def run_block(carry, span, index):
        (ds, (dp, dw, dv, di)), das, dxs = carry
        starts = read(kept.starts, index)
        states = _states_before(plan, arrays, kept, ys, span, starts)
        xs = span.cut(arrays.xs)

        def all_gates(params, weights, x_some):
            entered = states
            if flags.reset is not None:
                pairs = zip(arrays.initial, states, strict=True)
                first = [jnp.broadcast_to(i, s.shape) for i, s in pairs]
                entered = select(span.cut(flags.reset), first, states)
            params = fill(params, plan.reads, arrays.params)
            return plan.all_gates(entered, weights, params, fill(x_some, x_floats, xs))

        some = pick(arrays.params, plan.reads), arrays.weights, pick(xs, x_floats)
        a, pull_products = jax.vjp(all_gates, *some)
        if any(plan.lost):
            states = _rerun(plan, arrays, states, a, flags, span)
        rest = _not(plan.stored)

        def at(k):
            t = span.start + k
            s, dy = read((kept.states, dys), t)
            s = fill(s, plan.stored, fill(read(pick(states, rest), k), rest, states))
            here = read(a, k) if kept.a is None else read(kept.a, t)
            return s, here, dy, read(flags, t)

        def step(carry, here):
            return step_back(carry, *here[:-1], *here[-1])

        to = span._replace(start=0)
        (ds, dv, di), das = plan.backward(step, (ds, dv, di), at, das, to, reverse=True)
        dp_block, dw_block, dx = pull_products(das)
        dp, dw = jax.tree.map(jnp.add, (dp, dw), (dp_block, dw_block))
        return (ds, (dp, dw, dv, di)), das, span.paste(dxs, dx)

    # Only the last block has steps that are done, and is taken first: their rows stay zero.
    das = _empty(_one_step(plan, arrays, flags)[1], size)
    dxs = jax.tree.map(jnp.zeros_like, pick(arrays.xs, x_floats))
    carry, _, dxs = each_block(size, num_steps, run_block, (carry, das, dxs), reverse=True)
    return carry, dxs
