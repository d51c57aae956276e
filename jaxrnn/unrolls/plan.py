"""A `Gated` cell on lists of leaves: what to store for its backward pass, and how to loop."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxrnn.core.structure import Gated
from jaxrnn.unrolls.step_loops import Loop

__all__ = ["Plan", "fill", "floating", "make_plan", "pick"]


_FEW = 512  # numbers in a step's pre-activations


def floating(leaves) -> list[bool]:
    """Says of each leaf whether it can have a derivative."""
    return [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]


def pick(leaves, flags) -> list:
    """Returns the leaves whose flag is True.

    Args:
      leaves: a list of anything.
      flags: a bool for each.
    """
    return [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]


def fill(some, flags, rest) -> list:
    """Puts `some` where the flags are True, and what `rest` has at that place elsewhere.

    Args:
      some: as many leaves as flags are True, in order, as `pick` returns them.
      flags: a bool for each leaf of the result.
      rest: as many leaves as flags.
    """
    some = iter(some)
    return [next(some) if flag else other for flag, other in zip(flags, rest, strict=True)]


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
      forward: how the forward pass loops over steps.
      storing: how it does where a backward pass will follow.
      backward: how the backward pass does.
      transposed: whether the backward pass transposes the recurrent matrix before its loop.
      shapes: those of y, a list, and of a; None inside `jax.shard_map`, where arrays have more of
        a type than a shape and a dtype.
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
    forward: Loop
    storing: Loop
    backward: Loop
    transposed: bool
    shapes: tuple[list, Any] | None
    y_tree: Any

    @property
    def lost(self) -> list[bool]:
        """For each leaf of the state, whether nothing else holds it: neither stored nor output."""
        pairs = zip(self.stored, self.output, strict=True)
        return [not stored and j is None for stored, j in pairs]


def _rows(product: Callable, matrices, xs, batch: tuple[int, ...]):
    """Applies ``(matrices, x) -> values`` to many steps ``(steps, *batch, ...)`` at once.

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
        once = jax.jit(product, inline=True)  # traced once, though asked for twice
        try:
            shape = jax.eval_shape(once, matrices, joined).shape
        except (AssertionError, TypeError, ValueError):
            shape = ()
        if shape[:-1] == (rows, *batch[1:]):
            return once(matrices, joined).reshape(steps, *batch, shape[-1])
    return jax.vmap(product, (None, 0))(matrices, xs)


def _choose_loops(x: list, z, a, unroll_factor: int | None) -> tuple[bool, Loop, Loop, Loop]:
    """Chooses `Plan.hoisted`, `forward`, `storing` and `backward`, as measured (benchmarks/).

    On an accelerator a loop's iteration costs more than a step, and so does a write, so that
    several steps share one. On CPU products of 32 rows are as fast one by one as many at once, if
    each is large enough for two threads, and save writing and reading the result; so does an input
    much smaller than its share. Where a step has little to compute, the copies of a prefetch cost
    more than code that is not vectorised, and two steps an iteration save more where results are
    stored than where not. Of these, a single row reads its share of a block made at once, if that
    takes 4,096 multiplications or more: from 256 numbers on with a prefetch, and fewer if they are
    merely added (a GRU's are not).
    """
    if jax.default_backend() != "cpu":
        loop = Loop(False, unroll_factor or 8, stacked=True)
        return True, loop, loop, loop

    def make(prefetch, unroll=1):
        unroll = unroll_factor or unroll
        # In `shard_map` counts stay known, so that what devices send in a loop can be counted.
        return Loop(prefetch, unroll, skips=unroll == 1 and not _in_shard_map())

    rows = math.prod(z.shape[:-1])
    read = sum(leaf.size for leaf in x)
    if z.size <= _FEW:
        loop = make(False)
        many = z.size >= 256
        if rows == 1 and (many or z.shape == a.shape) and read * z.size >= 4096:
            return True, make(many), make(many), loop
        return False, loop, make(False, 2), loop
    loop = make(True)
    slow_alone = rows < 32 or read * z.size <= 5_000_000 * rows
    return slow_alone and z.size <= 16 * read, loop, loop, loop


def _transposes(weights, z) -> bool:
    """Chooses `Plan.transposed`, as measured.

    XLA on CPU transposes a second factor at every product that needs it so, which costs as much as
    the product of few rows: 1.05 to 1.3 times the training. One row it reads either way, and a
    matrix larger than the caches better as it is.
    """
    rows = math.prod(z.shape[:-1])
    return jax.default_backend() == "cpu" and 1 < rows < 64 and weights.size <= 2**18


def _in_shard_map() -> bool:
    return AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types


def _example(function, *arguments):
    """Returns a result's shapes; inside `jax.shard_map` the result, which nothing will use.

    There a shape does not say over which axes of the mesh it varies, if other axes are Auto.
    """
    return function(*arguments) if _in_shard_map() else jax.eval_shape(function, *arguments)


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
        zs = _rows(project, params, xs, batch)
        rs = _rows(lambda weights, h: h @ weights, weights, jax.vmap(hidden)(ss), batch)
        return jax.vmap(parts.mix)(zs, rs)

    def pointwise(vectors, s, a):
        new, y = parts.pointwise(v_tree.unflatten(vectors), s_tree.unflatten(s), a)
        return jax.tree.leaves(new), jax.tree.leaves(y)

    params, vectors, x, state = map(jax.tree.leaves, (params, vectors, x, state))
    z = _example(project, params, x)
    batch = z.shape[:-1]
    a = _example(gates, state, weights, z)
    r = _example(lambda s, weights: hidden(s) @ weights, state, weights)
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
    y, y_tree = jax.tree.flatten(y)
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
        *_choose_loops(x, z, a, unroll_factor),
        _transposes(weights, z),
        None if _in_shard_map() else (y, a),
        y_tree,
    )
