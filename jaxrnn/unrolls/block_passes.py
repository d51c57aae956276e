"""Both passes of a `Gated` cell over a block of steps, on lists of leaves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.structure import Gated
from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array
from jaxrnn.unrolls.time_blocks import prefetching_scan

__all__ = [
    "Arrays",
    "Flags",
    "Kept",
    "Plan",
    "backward_block",
    "fill",
    "floating",
    "forward_block",
    "make_plan",
    "pick",
]


def floating(leaves) -> list[bool]:
    """Says of each leaf whether it can have a derivative."""
    return [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]


def pick(leaves, flags) -> list:
    """Returns the leaves whose flag is True."""
    return [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]


def fill(some, flags, rest) -> list:
    """Puts `some` where the flags are True, and what `rest` has at that place elsewhere."""
    some = iter(some)
    return [next(some) if flag else other for flag, other in zip(flags, rest, strict=True)]


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


class Plan(NamedTuple):
    """A cell on lists of leaves, and what its backward pass can read off what was stored.

    Attributes:
      project: ``(params, x) -> z``.
      gates: ``(s, weights, z) -> a``.
      pointwise: ``(vectors, s, a) -> (s, y)``.
      reads: for each leaf of the parameters, whether it is floating and `project` depends on it.
      output: for each leaf of the state, the leaf of y that is the same array, or None.
      stored: for each leaf of the state, whether it is stored for every step.
      keep_gates: whether `a` is stored for every step.
      y_tree: the structure of an output.
    """

    project: Callable
    gates: Callable
    pointwise: Callable
    reads: list[bool]
    output: list[int | None]
    stored: list[bool]
    keep_gates: bool
    y_tree: Any


def _depends(function, leaves, *others) -> list[bool]:
    """Says of each leaf whether ``function(leaves, *others)`` depends on it."""
    jaxpr = jax.make_jaxpr(function)(leaves, *others).jaxpr
    used = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
    return [id(v) in used for v in jaxpr.invars[: len(leaves)]]


def make_plan(
    parts: Gated, params, weights, vectors, x, state, *, masked: bool, keep_gates: bool
) -> Plan:
    """Looks at a cell's functions and decides what has to be stored.

    Args:
      parts: the witness.
      params: what `parts.project` reads.
      weights: the recurrent matrix.
      vectors: what `parts.pointwise` reads.
      x: one step's input.
      state: a state.
      masked: whether steps can be masked: such a step puts zeros out while it holds its state.
      keep_gates: store `a`; else only what one product for a block needs to make it again.
    """
    p_tree, v_tree, x_tree, s_tree = map(jax.tree.structure, (params, vectors, x, state))

    def project(params, x):
        return parts.project(p_tree.unflatten(params), x_tree.unflatten(x))

    def gates(s, weights, z):
        return parts.mix(z, parts.hidden(s_tree.unflatten(s)) @ weights)

    def pointwise(vectors, s, a):
        new, y = parts.pointwise(v_tree.unflatten(vectors), s_tree.unflatten(s), a)
        return jax.tree.leaves(new), jax.tree.leaves(y)

    params, vectors, x, state = map(jax.tree.leaves, (params, vectors, x, state))
    z = jax.eval_shape(project, params, x)
    a = jax.eval_shape(gates, state, weights, z)
    _, y = jax.eval_shape(parts.pointwise, v_tree.unflatten(vectors), s_tree.unflatten(state), a)
    y_tree = jax.tree.structure(y)
    reads = _depends(project, params, x)
    outs = jax.make_jaxpr(pointwise)(vectors, state, a).jaxpr.outvars
    new, ys = outs[: len(state)], outs[len(state) :]
    output = [next((j for j, y in enumerate(ys) if y is leaf and not masked), None) for leaf in new]
    needed = [True] * len(state) if keep_gates else _depends(gates, state, weights, z)
    return Plan(
        project,
        gates,
        pointwise,
        [flag and is_float for flag, is_float in zip(reads, floating(params), strict=True)],
        output,
        [flag and j is None for flag, j in zip(needed, output, strict=True)],
        keep_gates,
        y_tree,
    )


class Kept(NamedTuple):
    """What the backward pass gets of a block.

    Attributes:
      start: leaves of the state before the block.
      states: leaves of the states before each step, of those that are stored.
      a: the pre-activations, or None.
    """

    start: list
    states: list
    a: Array | None


def _enter(initial, s, reset):
    return s if reset is None else select(reset, initial, s)


def _leave(s, new, y, real):
    return (new, y) if real is None else (select(real, new, s), mask_zero(real, y))


def forward_block(plan: Plan, arrays: Arrays, s: list, x: list, flags: Flags, *, keep: bool):
    """Runs a block of steps: one product for the input's share of all, then step by step.

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
    zs = jax.vmap(plan.project, (None, 0))(arrays.params, x)

    def step(s, here):
        z, (real, reset) = here
        stored = pick(s, plan.stored) if keep else []
        s = _enter(arrays.initial, s, reset)
        a = plan.gates(s, arrays.weights, z)
        new, y = _leave(s, *plan.pointwise(arrays.vectors, s, a), real)
        return new, (y, stored, a if keep and plan.keep_gates else None)

    new, (ys, stored, a) = prefetching_scan(step, s, (zs, flags))
    return new, ys, Kept(s, stored, a) if keep else None


def _states_before(plan: Plan, kept: Kept, ys: list) -> list:
    """The states before each step; of the leaves that are not known, the first at every place."""
    stored = iter(kept.states)
    size = ys[0].shape[0]
    states = []
    for is_stored, j, start in zip(plan.stored, plan.output, kept.start, strict=True):
        if is_stored:
            states.append(next(stored))
        elif j is not None:
            states.append(jnp.concatenate([start[None], ys[j][:-1]]))
        else:
            states.append(jnp.broadcast_to(start, (size, *start.shape)))
    return states


def _rerun(plan: Plan, arrays: Arrays, known: list[bool], kept: Kept, states, a, flags: Flags):
    """Takes a block's steps again, without products, for the leaves that are not known."""
    unknown = [not flag for flag in known]

    def step(s, here):
        values, a, (real, reset) = here
        s = fill(values, known, s)
        found = pick(s, unknown)
        s = _enter(arrays.initial, s, reset)
        new, _ = plan.pointwise(arrays.vectors, s, a)
        return (new if real is None else select(real, new, s)), found

    _, found = prefetching_scan(step, kept.start, (pick(states, known), a, flags))
    return fill(found, unknown, states)


def backward_block(plan: Plan, arrays: Arrays, carry, x, flags: Flags, kept: Kept, ys, dys):
    """Takes cotangents through a block, last step first.

    Args:
      plan: the cell.
      arrays: the unroll's arrays; `xs` is not read.
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
    states = _states_before(plan, kept, ys)
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
        zs = jax.vmap(plan.project, (None, 0))(params, fill(x_some, x_floats, x))
        return jax.vmap(plan.gates, (0, None, 0))(entered, weights, zs), zs[0]

    some = pick(arrays.params, plan.reads), arrays.weights, pick(x, x_floats)
    a, pull_products, z = jax.vjp(all_gates, *some, has_aux=True)
    if plan.keep_gates:
        a = kept.a
    if not all(known):
        states = _rerun(plan, arrays, known, kept, states, a, flags)
    s_floats, v_floats = floating(kept.start), floating(arrays.vectors)
    no_z = jnp.zeros_like(z)  # `mix` is linear, so the state's share does not depend on the input's

    def step(carry, here):
        ds, dv, di = carry
        s, a, dy, (real, reset) = here
        s = _enter(arrays.initial, s, reset)

        def end(v, s_some, a):
            whole = fill(s_some, s_floats, s)
            new, y = plan.pointwise(fill(v, v_floats, arrays.vectors), whole, a)
            new, y = _leave(whole, new, y, real)
            return pick(new, s_floats), pick(y, floating(y))

        def product(s_some):
            return plan.gates(fill(s_some, s_floats, s), arrays.weights, no_z)

        s_some = pick(s, s_floats)
        _, pull = jax.vjp(end, pick(arrays.vectors, v_floats), s_some, a)
        more, through, da = pull((ds, dy))
        _, pull = jax.vjp(product, s_some)
        ds = jax.tree.map(jnp.add, through, pull(da)[0])
        dv = jax.tree.map(jnp.add, dv, more)
        if reset is not None:
            none = jax.tree.map(jnp.zeros_like, ds)
            di = jax.tree.map(jnp.add, di, select(reset, ds, none))
            ds = select(reset, none, ds)
        return (ds, dv, di), da

    inputs = (states, a, dys, flags)
    (ds, dv, di), da = prefetching_scan(step, (ds, dv, di), inputs, reverse=True)
    dp_block, dw_block, dx = pull_products(da)
    dp, dw = jax.tree.map(jnp.add, (dp, dw), (dp_block, dw_block))
    return (ds, (dp, dw, dv, di)), dx
