"""Both passes of a `Gated` cell over a block of steps, on lists of leaves."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.structure import Gated
from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array
from jaxrnn.unrolls.time_blocks import Blocks, cut, prefetching_scan

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
    "recut",
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
      hidden: ``(s) -> h``, the part of a state that is multiplied.
      split: ``(a_bar) -> (z_bar, r_bar)``, the transpose of `mix`.
      gates: ``(s, weights, z) -> a``.
      all_gates: ``(ss, weights, params, xs) -> as``, for many steps by one product each.
      pointwise: ``(vectors, s, a) -> (s, y)``.
      reads: for each leaf of the parameters, whether it is floating and `project` depends on it.
      output: for each leaf of the state, the leaf of y that is the same array, or None.
      stored: for each leaf of the state, whether it is stored for every step.
      keep_gates: whether `a` is stored for every step.
      hoisted: whether the forward pass projects the inputs of a block at once.
      forward: how the forward pass loops over steps, as `jax.lax.scan`.
      backward: how the backward pass does.
      y_tree: the structure of an output.
    """

    project: Callable
    hidden: Callable
    split: Callable
    gates: Callable
    all_gates: Callable
    pointwise: Callable
    reads: list[bool]
    output: list[int | None]
    stored: list[bool]
    keep_gates: bool
    hoisted: bool
    forward: Callable
    backward: Callable
    y_tree: Any


def _rows(product: Callable, xs, batch: tuple[int, ...]):
    """Applies a function of one step's batch to many steps ``(steps, *batch, ...)`` at once.

    The steps join the first axis of the batch, which makes plain matrices of all operands: of a
    product that sums over two axes XLA copies an operand. Where that cannot be (no batch, an axis
    on a mesh, a cell that holds something for each sequence) the function is mapped over time.
    """
    leaves = jax.tree.leaves(xs)
    steps = leaves[0].shape[0]
    whole = all(axis is None for leaf in leaves for axis in jax.typeof(leaf).sharding.spec)
    if batch and whole:
        rows = steps * batch[0]
        joined = jax.tree.map(lambda leaf: leaf.reshape(rows, *leaf.shape[2:]), xs)
        try:
            shape = jax.eval_shape(product, joined).shape
        except (AssertionError, TypeError, ValueError):
            shape = ()
        if shape[:-1] == (rows, *batch[1:]):
            return product(joined).reshape(steps, *batch, shape[-1])
    return jax.vmap(product)(xs)


def _choose_loops(x: list, z, unroll_factor: int | None) -> tuple[bool, Callable, Callable]:
    """Chooses `Plan.hoisted`, `Plan.forward` and `Plan.backward`, as measured (benchmarks/).

    On an accelerator a loop's iteration costs more than a step, so that several steps share one.
    On CPU products of 32 rows are as fast one by one as many at once, and save writing and reading
    the result; so does an input much smaller than its share. Where a step has little to compute,
    the copies of a prefetch cost more than code that is not vectorised.
    """
    if jax.default_backend() != "cpu":
        scan = functools.partial(jax.lax.scan, unroll=unroll_factor or 8)
        return True, scan, scan
    backward = functools.partial(prefetching_scan, unroll=unroll_factor or 1)
    if z.size <= 512:
        return False, functools.partial(jax.lax.scan, unroll=unroll_factor or 1), backward
    rows = math.prod(z.shape[:-1])
    return rows < 32 and z.size <= 16 * sum(leaf.size for leaf in x), backward, backward


def _depends(function, leaves, *others) -> list[bool]:
    """Says of each leaf whether ``function(leaves, *others)`` depends on it."""
    jaxpr = jax.make_jaxpr(function)(leaves, *others).jaxpr
    used = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
    return [id(v) in used for v in jaxpr.invars[: len(leaves)]]


def make_plan(
    parts: Gated,
    params,
    weights,
    vectors,
    x,
    state,
    *,
    masked: bool,
    keep_gates: bool,
    unroll_factor: int | None,
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
      unroll_factor: steps an iteration of the loops; chosen by platform if None.

    Returns:
      The plan.

    Raises:
      ValueError: `parts.mix` is not linear.
    """
    p_tree, v_tree, x_tree, s_tree = map(jax.tree.structure, (params, vectors, x, state))

    def project(params, x):
        return parts.project(p_tree.unflatten(params), x_tree.unflatten(x))

    def hidden(s):
        return parts.hidden(s_tree.unflatten(s))

    def gates(s, weights, z):
        return parts.mix(z, hidden(s) @ weights)

    def all_gates(ss, weights, params, xs):
        zs = _rows(functools.partial(project, params), xs, batch)
        rs = _rows(lambda h: h @ weights, jax.vmap(hidden)(ss), batch)
        return jax.vmap(parts.mix)(zs, rs)

    def pointwise(vectors, s, a):
        new, y = parts.pointwise(v_tree.unflatten(vectors), s_tree.unflatten(s), a)
        return jax.tree.leaves(new), jax.tree.leaves(y)

    params, vectors, x, state = map(jax.tree.leaves, (params, vectors, x, state))
    z = jax.eval_shape(project, params, x)
    batch = z.shape[:-1]
    a = jax.eval_shape(gates, state, weights, z)
    r = jax.eval_shape(lambda s, weights: hidden(s) @ weights, state, weights)
    split = jax.linear_transpose(parts.mix, z, r)
    try:
        jax.eval_shape(split, a)
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        msg = (
            f"fused_unroll: got a Gated cell whose mix {getattr(parts.mix, '__name__', parts.mix)} "
            "has no transpose; expected mix(z, r) to be linear in the two shares together, such as "
            "their sum; use jaxrnn.unroll, or move what multiplies them into pointwise"
        )
        raise ValueError(msg) from error
    _, y = jax.eval_shape(parts.pointwise, v_tree.unflatten(vectors), s_tree.unflatten(state), a)
    y_tree = jax.tree.structure(y)
    reads = _depends(project, params, x)
    outs = jax.make_jaxpr(pointwise)(vectors, state, a).jaxpr.outvars
    new, ys = outs[: len(state)], outs[len(state) :]
    output = [next((j for j, y in enumerate(ys) if y is leaf and not masked), None) for leaf in new]
    needed = [True] * len(state) if keep_gates else _depends(gates, state, weights, z)
    return Plan(
        project,
        hidden,
        split,
        gates,
        all_gates,
        pointwise,
        [flag and is_float for flag, is_float in zip(reads, floating(params), strict=True)],
        output,
        [flag and j is None for flag, j in zip(needed, output, strict=True)],
        keep_gates,
        *_choose_loops(x, z, unroll_factor),
        y_tree,
    )


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

    new, (ys, stored, a) = plan.forward(step, s, (x, flags))
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
        s, a, dy, (real, reset) = here
        s = _enter(arrays.initial, s, reset)

        def end(v, s_some, a):
            whole = fill(s_some, s_floats, s)
            new, y = plan.pointwise(fill(v, v_floats, arrays.vectors), whole, a)
            new, y = _leave(whole, new, y, real)
            return pick(new, s_floats), pick(y, floating(y))

        def product(s_some):
            return plan.hidden(fill(s_some, s_floats, s)) @ arrays.weights

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
