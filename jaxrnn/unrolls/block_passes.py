"""Both passes of a `Gated` cell over a block of steps, on lists of leaves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array
from jaxrnn.unrolls.plan import Plan, fill, floating, pick
from jaxrnn.unrolls.time_blocks import Blocks, cut

__all__ = ["Arrays", "Flags", "Kept", "backward_block", "forward_block", "recut"]


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
    """What the backward pass gets of a block.

    Attributes:
      start: leaves of the state before the block, of those that are not stored.
      states: leaves of the states before each step, of those that are stored.
      a: the pre-activations, or None.
    """

    start: list
    states: list
    a: Array | None


def _not(flags) -> list[bool]:
    return [not flag for flag in flags]


def _enter(initial, s, reset):
    return s if reset is None else select(reset, initial, s)


def _leave(s, new, y, real):
    return (new, y) if real is None else (select(real, new, s), mask_zero(real, y))


def forward_block(plan: Plan, arrays: Arrays, s: list, x: list, flags: Flags, *, keep: bool):
    """Runs a block of steps.

    Args:
      plan: the cell.
      arrays: the unroll's arrays; `xs` is not read.
      s: the state before the block.
      x: the block's inputs, ``(size, *batch, ...)`` each.
      flags: the block's.
      keep: whether a backward pass will follow.

    Returns:
      The state after the block, the outputs, and `Kept` (None unless `keep`).
    """
    if plan.hoisted:
        x = jax.vmap(plan.project, (None, 0))(arrays.params, x)

    def step(s, here):
        z, (real, reset) = here
        if not plan.hoisted:
            z = plan.project(arrays.params, z)
        stored = pick(s, plan.stored) if keep else []
        s = _enter(arrays.initial, s, reset)
        a = plan.gates(s, arrays.weights, z)
        new, y = _leave(s, *plan.pointwise(arrays.vectors, s, a), real)
        return new, (y, stored, a if keep and plan.keep_gates else None)

    loop = plan.storing if keep else plan.forward
    new, (ys, stored, a) = loop(step, s, (x, flags))
    return new, ys, Kept(pick(s, _not(plan.stored)), stored, a) if keep else None


def recut(plan: Plan, kept: Blocks, ys: list, size: int) -> Blocks:
    """Cuts what one block of all steps kept into blocks of `size` steps.

    The states between them are read off what is known of every step.
    """
    start, states, a = jax.tree.map(lambda leaf: leaf[0], kept.whole)
    steps = a.shape[0]
    outputs = [ys[j] for j in pick(plan.output, _not(plan.stored))]
    starts = [
        jnp.concatenate([first[None], y[size - 1 : steps - 1 : size]])
        for first, y in zip(start, outputs, strict=True)
    ]
    count = steps // size
    left = [leaf[count] for leaf in starts] if steps % size else None
    blocks = cut((states, a), size)
    return Blocks(
        Kept([leaf[:count] for leaf in starts], *blocks.whole),
        None if left is None else Kept(left, *blocks.left),
    )


def _states_before(plan: Plan, kept: Kept, size: int, ys: list) -> list:
    """The states before each step; of the leaves that are not known, the first at every place."""
    stored, starts = iter(kept.states), iter(kept.start)
    states = []
    for is_stored, j in zip(plan.stored, plan.output, strict=True):
        start = None if is_stored else next(starts)
        if is_stored:
            states.append(next(stored))
        elif j is not None:
            states.append(jnp.concatenate([start[None], ys[j][:-1]]))
        else:
            states.append(jnp.broadcast_to(start, (size, *start.shape)))
    return states


def _rerun(plan: Plan, arrays: Arrays, known: list[bool], states, a, flags: Flags):
    """Takes a block's steps again, without products, for the leaves that are not known."""
    unknown = _not(known)

    def step(s, here):
        values, a, (real, reset) = here
        s = fill(values, known, s)
        found = pick(s, unknown)
        s = _enter(arrays.initial, s, reset)
        new, _ = plan.pointwise(arrays.vectors, s, a)
        return (new if real is None else select(real, new, s)), found

    first = [leaf[0] for leaf in states]
    _, found = plan.forward(step, first, (pick(states, known), a, flags))
    return fill(found, unknown, states)


def backward_block(
    plan: Plan,
    arrays: Arrays,
    transposed: Array | None,
    carry,
    x,
    flags: Flags,
    kept: Kept,
    ys: list,
    dys: list,
):
    """Takes cotangents through a block, last step first.

    Args:
      plan: the cell.
      arrays: the unroll's arrays; `xs` is not read.
      transposed: the transpose of its matrix where the plan wants it so, or None.
      carry: the cotangents of the state, and the sums so far of those of the parameters that
        `plan.reads`, the matrix, the vectors and the initial state; floating leaves only.
      x: the block's inputs.
      flags: the block's.
      kept: what the forward pass kept.
      ys: the block's outputs.
      dys: the cotangents of their floating leaves.

    Returns:
      The new carry, and the cotangents of the floating leaves of x.
    """
    ds, (dp, dw, dv, di) = carry
    states = _states_before(plan, kept, jax.tree.leaves(x)[0].shape[0], ys)
    known = [
        is_stored or j is not None for is_stored, j in zip(plan.stored, plan.output, strict=True)
    ]
    entered = states
    if flags.reset is not None:
        first = [jnp.broadcast_to(i, s.shape) for i, s in zip(arrays.initial, states, strict=True)]
        entered = select(flags.reset, first, states)
    x_floats = floating(x)

    def all_gates(params, weights, x_some):
        params = fill(params, plan.reads, arrays.params)
        return plan.all_gates(entered, weights, params, fill(x_some, x_floats, x))

    some = pick(arrays.params, plan.reads), arrays.weights, pick(x, x_floats)
    a, pull_products = jax.vjp(all_gates, *some)
    if plan.keep_gates:
        a = kept.a
    if not all(known):
        states = _rerun(plan, arrays, known, states, a, flags)
    s_floats, v_floats = floating(arrays.state), floating(arrays.vectors)

    def step(carry, here):
        ds, dv, di = carry
        # XLA joins the second transposition to the product.
        weights = arrays.weights if transposed is None else transposed.T
        s, a, dy, (real, reset) = here
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

    inputs = (states, a, dys, flags)
    (ds, dv, di), da = plan.backward(step, (ds, dv, di), inputs, reverse=True)
    dp_block, dw_block, dx = pull_products(da)
    dp, dw = jax.tree.map(jnp.add, (dp, dw), (dp_block, dw_block))
    return (ds, (dp, dw, dv, di)), dx
