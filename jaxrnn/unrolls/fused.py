"""The fast path for training: blocks of steps, and a derivative that is not the scan's own."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, require
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.block_passes import Arrays, Flags, backward_pass, forward_pass, plain_pass
from jaxrnn.unrolls.plan import Plan, fill, floating, make_plan, pick
from jaxrnn.unrolls.sequence import read_sequence, read_state

__all__ = ["fused_unroll"]

_BY = "fused_unroll"
_STORAGES = ("gates", "outputs")


def _sum(leaf) -> Array:
    """Where cotangents are added up: zeros, of single precision at least."""
    return jnp.zeros_like(leaf, dtype=jnp.promote_types(leaf.dtype, jnp.float32))


def _cast(values, leaves):
    return jax.tree.map(lambda value, leaf: value.astype(leaf.dtype), values, leaves)


def _floats(plan: Plan, arrays: Arrays) -> Arrays:
    """The leaves that get a cotangent."""
    s_floats = floating(arrays.state)
    return Arrays(
        pick(arrays.params, plan.reads),
        arrays.weights,
        pick(arrays.vectors, floating(arrays.vectors)),
        pick(arrays.xs, floating(arrays.xs)),
        pick(arrays.state, s_floats),
        [] if arrays.initial is None else pick(arrays.initial, s_floats),
    )


def _fill(plan: Plan, floats: Arrays, arrays: Arrays, rest: Arrays) -> Arrays:
    """Puts `floats` where `arrays` has leaves that get a cotangent, and `rest` elsewhere."""
    s_floats = floating(arrays.state)
    return Arrays(
        fill(floats.params, plan.reads, rest.params),
        floats.weights,
        fill(floats.vectors, floating(arrays.vectors), rest.vectors),
        fill(floats.xs, floating(arrays.xs), rest.xs),
        fill(floats.state, s_floats, rest.state),
        None if rest.initial is None else fill(floats.initial, s_floats, rest.initial),
    )


def _nothing(leaf):
    """The cotangent of a leaf that nothing depends on."""
    return jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else None


def _derived_as(function, arguments, values):
    """Returns `values`, which are ``function(arguments)``, with the derivative of the function."""

    @jax.custom_jvp
    def same(arguments, values):
        del arguments
        return values

    @same.defjvp
    def derivative(primals, tangents):
        return primals[1], jax.jvp(function, primals[:1], tangents[:1])[1]

    return same(arguments, jax.lax.stop_gradient(values))


def _make_run(plan: Plan, size: int):
    """Returns ``run(arrays, flags) -> (state, ys)`` on leaves, with its derivative by blocks.

    Derivatives of that derivative are a plain scan's: those of a loop that carries whole arrays and
    writes into them would copy them at every step.
    """

    def plain(given):
        return plain_pass(plan, *given)

    def plain_slopes(given):
        arrays, flags, cotangents = given

        def values(floats):
            last, ys = plain((_fill(plan, floats, arrays, arrays), flags))
            return pick(last, floating(last)), pick(ys, floating(ys))

        return jax.vjp(values, _floats(plan, arrays))[1](cotangents)[0]

    @jax.custom_vjp
    def run(*given):
        return forward_pass(plan, *given, size, keep=False)[:2]

    def run_forward(*given):
        fixed = jax.lax.stop_gradient(given)
        last, ys, kept = forward_pass(plan, *fixed, size, keep=True)
        out = _derived_as(plain, given, (last, ys))
        return out, (given, kept, ys)

    def run_backward(residuals, cotangents):
        given, kept, ys = residuals
        arrays = given[0]
        d_last, d_ys = cotangents
        cotangents = pick(d_last, floating(arrays.state)), pick(d_ys, floating(ys))
        fixed, (d_last, d_ys) = jax.lax.stop_gradient((given, cotangents))
        floats = _floats(plan, arrays)
        sums = jax.tree.map(_sum, (floats.params, floats.weights, floats.vectors, floats.initial))
        carry, dxs = backward_pass(plan, *fixed, size, kept, ys, (d_last, sums), d_ys)
        ds, (dp, dw, dv, di) = carry
        found = _cast(Arrays(dp, dw, dv, dxs, ds, di), floats)
        found = _derived_as(plain_slopes, (*given, cotangents), found)
        rest = Arrays(*(jax.tree.map(_nothing, leaves) for leaves in arrays))
        return _fill(plan, found, arrays, rest), None

    run.defvjp(run_forward, run_backward)
    return run


def _given(params, z):
    del params
    return z


def _best_size(num_steps: int, rows: int, columns: int, storage: str) -> int:
    """Chooses steps a block, so that no blocks overlap where that can be, else by few steps.

    Measured: on two CPU cores blocks of 640 to 1,024 rows, not far over 2 MB of float32 if they are
    more than 640; smaller ones make slow products and more sums of gradients, larger ones leave the
    caches. Where outputs are stored, for the sake of memory, about a twelfth of the sequence: a
    block keeps 14 to 19 numbers a unit and step, a scan of JAX's 13 of every step. Not where the
    whole sequence has fewer rows than the layer units: there the sums of gradients weigh more. On a
    GPU the loop over blocks costs most.
    """
    if jax.default_backend() == "cpu":
        aim = max(640, min(1024, 2**19 // columns)) // max(rows, 1)
        if storage == "outputs" and 4 * rows * num_steps > columns:
            aim = min(aim, num_steps // 12)
        aim = min(max(aim, 5), 128)
    else:
        aim = min(max(16384 // max(rows, 1), 32), 256)
    if num_steps <= aim:
        return num_steps
    near = [n for n in range(aim * 2 // 3, aim * 3 // 2 + 1) if num_steps % n == 0]
    if near:
        return min(near, key=lambda n: abs(n - aim))
    blocks = -(-num_steps // aim)
    return -(-num_steps // blocks)


@compiled_per_cell("block_size", "storage", "unroll_factor")
def fused_unroll(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    block_size: int | None = None,
    storage: str = "gates",
    unroll_factor: int | None = None,
) -> tuple[State, Output]:
    """Runs a `Gated` cell over time with a derivative made for training.

    The values are those of `unroll`. The backward pass is made for the structure
    ``a = mix(z, hidden(state) @ weights)``, ``(state, y) = pointwise(vectors, state, a)``. It goes
    back in blocks of steps: in the loop stand one small product and the pointwise part; the
    gradients of matrices and inputs are one large product each for a block, where the derivative
    of `jax.lax.scan` adds to every matrix at every step.

    It has reverse mode, and derivatives of that, which are those of a plain scan whatever is
    stored. Forward mode (`jax.jvp`, `jax.jacfwd`) of it is
    refused by JAX: use `unroll`. So is the derivative with respect to an array that the cell's
    functions close over: let it come through the parameters.

    The loops and the size of blocks are chosen for JAX's default backend.

    Args:
      cell: a `Gated` cell.
      params: its parameters.
      xs: time-major inputs ``(T, *batch, features)``, as for `unroll`.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)``, as for `unroll`.
      resets: bool ``(T, *batch)``, as for `unroll`.
      block_size: steps a block, at least 1; any number goes with any T: the last block overlaps the
        one before, and what is made of a block at once is made twice for those steps (all is on an
        accelerator, and where several steps make an iteration). Chosen by the sizes, on CPU by
        `storage` too, if not given.
      storage: what is kept for the backward pass: "gates", the pre-activations and those parts of
        the state that are no output; or "outputs", the outputs and one state a block: the
        pre-activations of a block are made again by one product, which takes less memory where
        the outputs outweigh the matrices.
      unroll_factor: steps an iteration of the loops inside a block; if not given 8 on an
        accelerator, and 1 on CPU (2 where a small step stores). Large values compile slowly.

    Returns:
      The state after the last step, and the outputs, ``(T, *batch, ...)``.

    Raises:
      TypeError: the cell is not `Gated`, or `block_size` or `unroll_factor` is no whole number;
        else as `unroll`.
      ValueError: `block_size` or `unroll_factor` is less than 1, `storage` is an unknown name, or
        the cell's `mix` is not linear; else as `unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> loss = lambda params, xs: jnp.sum(fused_unroll(cell, params, xs)[1])
      >>> jax.grad(loss)(params, jnp.ones((7, 2, 3))).w_hh.shape
      (5, 20)

    Reference:
      J. Appleyard, T. Kocisky, P. Blunsom, "Optimizing performance of recurrent neural networks on
      GPUs", 2016: products of many steps at once.
    """
    parts = require(cell, Gated, by=_BY)
    params = jax.tree.map(jnp.asarray, params)
    if storage not in _STORAGES:
        raise unknown_name("storage", storage, _STORAGES)
    if block_size is not None:
        block_size = check_size("block_size", block_size, by=_BY)
    if unroll_factor is not None:
        unroll_factor = check_size("unroll_factor", unroll_factor, by=_BY)
    sequence = read_sequence(cell, xs, mask, resets, by=_BY)
    read = functools.partial(read_state, cell, params, sequence, by=_BY)
    state = read(state)
    initial = None if resets is None else jax.tree.leaves(read(None))
    num_steps = sequence.num_steps
    with jax.named_scope("prepare"):
        weights, vectors = parts.prepare(params)
    if block_size is None:
        rows = math.prod(sequence.batch_shape(cell))
        block_size = _best_size(num_steps, rows, weights.shape[-1], storage)
    size = min(block_size, num_steps)
    xs = sequence.xs
    if not all(floating(jax.tree.leaves(xs))):
        # The gradient of a table is not added up block by block.
        with jax.named_scope("project"):
            xs = jax.vmap(parts.project, (None, 0))(params, xs)
        parts, params = parts._replace(project=_given), ()
    x = jax.tree.map(lambda leaf: leaf[0], xs)
    plan = make_plan(
        parts, params, weights, vectors, x, state,
        masked=mask is not None, keep_gates=storage == "gates", unroll_factor=unroll_factor,
    )  # fmt: skip
    arrays = Arrays(
        jax.tree.leaves(params),
        weights,
        jax.tree.leaves(vectors),
        jax.tree.leaves(xs),
        jax.tree.leaves(state),
        initial,
    )
    with jax.named_scope("recur"):
        last, ys = _make_run(plan, size)(arrays, Flags(sequence.mask, sequence.resets))
    return jax.tree.structure(state).unflatten(last), plan.y_tree.unflatten(ys)
