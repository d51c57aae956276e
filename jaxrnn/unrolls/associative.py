"""Unrolls of `Linear` cells that are parallel in time."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, require
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Linear
from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.linear_scan import Action, Time, all_states, in_chunks
from jaxrnn.unrolls.sequence import (
    Sequence,
    on_mesh,
    read_sequence,
    read_state,
    spread_over_mesh,
)

__all__ = ["associative_unroll", "chunked_unroll", "run_linear"]

# Steps a chunk by platform; None: all of them, the sequential scan. Measured by
# benchmarks/parallel.py. On CPU a step of a small cell costs 0.1 us, so nothing is gained by fewer
# steps one after the other, and the maps of chunks cost as much again. On an H200 a step costs
# 10 us: 32 was the fastest of 32, 128 and 512, and slower than `associative_unroll`.
_CHUNK_SIZES = {"cpu": None}
_CHUNK_SIZE_ELSEWHERE = 32


class _Flagged(NamedTuple):
    """A map with what the flags of its steps make of it; absent flags None.

    Attributes:
      element: the map of the real steps since the last reset.
      idle: whether there are none: then it is the identity, and `element` is not read.
      reset: whether the state before it is replaced by the initial state.
    """

    element: Any
    idle: Array | None
    reset: Array | None


def _flagged_action(parts: Linear) -> Action:
    """The cell's action, with masks and resets."""

    def combine(first, then):
        element = parts.combine(first.element, then.element)
        idle, reset = then.idle, then.reset
        if idle is not None:
            element = select(first.idle, then.element, element)
            element = select(idle, first.element, element)
            idle = first.idle & idle
        if reset is not None:
            element = select(reset, then.element, element)
            idle = None if idle is None else jnp.where(reset, then.idle, idle)
            reset = first.reset | reset
        return _Flagged(element, idle, reset)

    def apply(initial, flagged, state):
        if flagged.reset is not None:
            state = select(flagged.reset, initial, state)
        new = parts.apply(flagged.element, state)
        return new if flagged.idle is None else select(flagged.idle, state, new)

    return Action(combine, apply)


def _of_every_sequence(cell: Cell, params: Params, sequence: Sequence, elements):
    """Gives every array of the maps the batch axes, so that flags choose for each sequence."""
    batch_shape = sequence.batch_shape(cell)
    x = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1 + len(batch_shape) :], leaf.dtype),
        sequence.xs,
    )
    single = jax.eval_shape(cell.parts.coefficients, params, x)

    def widen(leaf, one):
        lacking = leaf.shape[1:] == one.shape
        leaf = leaf.reshape(-1, *(1 for _ in batch_shape), *one.shape) if lacking else leaf
        return jnp.broadcast_to(leaf, (leaf.shape[0], *batch_shape, *one.shape))

    return jax.tree.map(widen, elements, single)


def _check_state(state: State, by: str) -> None:
    odd = sorted(
        {str(x.dtype) for x in jax.tree.leaves(state) if not jnp.issubdtype(x.dtype, jnp.inexact)}
    )
    if odd:
        msg = (
            f"{by}: got a state with arrays of {', '.join(odd)}; expected floating or complex ones "
            "alone, since maps of them are composed; use jaxrnn.unroll, which takes any state"
        )
        raise TypeError(msg)


def run_linear(
    cell: Cell, params: Params, xs: Input, state, mask, resets, *, time: Time, by: str
) -> tuple[State, Output]:
    """Runs a `Linear` cell by its witness.

    Args:
      cell: as for `associative_unroll`, and so all the others.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      time: how the states are found.
      by: the function the user called, for the messages.
    """
    parts = require(cell, Linear, by=by)
    params = jax.tree.map(jnp.asarray, params)
    sequence = read_sequence(cell, xs, mask, resets, by=by)
    read = functools.partial(read_state, cell, params, sequence, by=by)
    state = read(state)
    _check_state(state, by)
    mask, resets = sequence.mask, sequence.resets
    with jax.named_scope("prepare"):
        prepared = parts.prepare(params)
    with jax.named_scope("project"):
        elements, xs = jax.vmap(parts.project, (None, 0))(params, sequence.xs)
    initial = None if resets is None else read(None)
    if mask is not None or resets is not None or on_mesh(sequence.xs):
        elements = _of_every_sequence(cell, params, sequence, elements)
        elements = spread_over_mesh(elements, sequence.xs, cell)
    flagged = _Flagged(elements, None if mask is None else ~mask, resets)
    with jax.named_scope("recur"):
        states = all_states(_flagged_action(parts), time, initial, flagged, state)
    with jax.named_scope("readout"):
        ys = jax.vmap(parts.readout, (None, 0, 0))(prepared, states, xs)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return last, ys if mask is None else mask_zero(mask, ys)


@compiled_per_cell()
def associative_unroll(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> tuple[State, Output]:
    """Runs a `Linear` cell over time with `jax.lax.associative_scan`: log T products deep.

    The values are those of `unroll`, up to rounding. The maps of all steps are computed at once,
    composed by the witness's `combine`, and applied to the first state; all outputs are read at
    once. It takes every Linear cell: diagonal, dense, or with a map of its own, as that of `mlstm`.

    The derivative is a scan of the same kind, in reversed time for reverse mode, and keeps the maps
    and the states, O(T H). Forward mode, reverse mode, derivatives of these and `jax.vmap` work.
    The derivative with respect to an array that `combine` or `apply` close over is refused by JAX:
    let it come through the coefficients.

    Products of many maps are formed, so maps that grow (``|a| > 1``) overflow where their product
    over the whole sequence does, even if every state is finite; `unroll` does not form them.

    Args:
      cell: a `Linear` cell, its state of floating or complex arrays.
      params: its parameters.
      xs: time-major inputs ``(T, *batch, features)``, as for `unroll`.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)``, as for `unroll`: a masked step is the identity.
      resets: bool ``(T, *batch)``, as for `unroll`: what came before is cut off.

    Returns:
      The state after the last step, and the outputs, ``(T, *batch, ...)``.

    Raises:
      TypeError: the cell is not `Linear`, or its state holds integers; else as `unroll`.
      ValueError: as `unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import min_gru
      >>> cell = min_gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, ys = associative_unroll(cell, params, jnp.ones((100, 2, 3)))
      >>> state, y = cell.step(params, state, jnp.ones((2, 3)))  # and on, step by step
      >>> ys.shape, y.shape
      ((100, 2, 5), (2, 5))

    Reference:
      G. Blelloch, "Prefix sums and their applications", 1990, section 1.4; E. Martin, C. Cundy,
      "Parallelizing linear recurrent neural nets over sequence length", 2018: the derivative.
    """
    by = "associative_unroll"
    return run_linear(cell, params, xs, state, mask, resets, time=Time(), by=by)


@compiled_per_cell("chunk_size")
def chunked_unroll(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    chunk_size: int | None = None,
) -> tuple[State, Output]:
    """Runs a `Linear` cell in chunks of steps, side by side, and joins the chunks.

    Within a chunk steps come one after the other, all chunks at once: first the composed map of
    each chunk, then, from the states between chunks, the states. The states between chunks are
    found one after the other where chunks are few, else by an associative scan. One chunk of all
    steps is the sequential scan; it differs from `unroll` in that the outputs are read for all
    steps at once, outside the loop.

    Values, derivatives and their limits are those of `associative_unroll`, but products of maps are
    formed over chunks alone where chunks are few, and not at all for one chunk.

    Args:
      cell: a `Linear` cell, its state of floating or complex arrays.
      params: its parameters.
      xs: time-major inputs ``(T, *batch, features)``, as for `unroll`.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)``, as for `unroll`.
      resets: bool ``(T, *batch)``, as for `unroll`.
      chunk_size: steps a chunk, at least 1; any number goes with any T. If not given, chosen for
        JAX's default backend: all steps on CPU, where that was the fastest at every size tried; 32
        elsewhere, the fastest of 32, 128 and 512 on a GPU (TPUs were not measured).

    Returns:
      The state after the last step, and the outputs, ``(T, *batch, ...)``.

    Raises:
      TypeError: the cell is not `Linear`, its state holds integers, or `chunk_size` is no whole
        number; else as `unroll`.
      ValueError: `chunk_size` is less than 1; else as `unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lru
      >>> cell = lru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> loss = lambda params, xs: jnp.sum(chunked_unroll(cell, params, xs, chunk_size=16)[1])
      >>> jax.grad(loss)(params, jnp.ones((100, 3))).nu_log.shape
      (5,)

    Reference:
      G. Blelloch, "Prefix sums and their applications", 1990, section 1.2.1: sums of blocks.
    """
    by = "chunked_unroll"
    require(cell, Linear, by=by)
    num_steps = read_sequence(cell, xs, by=by).num_steps
    if chunk_size is None:
        chunk_size = _CHUNK_SIZES.get(jax.default_backend(), _CHUNK_SIZE_ELSEWHERE)
    else:
        chunk_size = check_size("chunk_size", chunk_size, by=by)
    chunk_size = num_steps if chunk_size is None else min(chunk_size, num_steps)
    time = Time(in_chunks(chunk_size))
    return run_linear(cell, params, xs, state, mask, resets, time=time, by=by)
