"""The growth of a frame along a trajectory, orthonormalised every few steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count
from jaxrnn.analysis.flow import Flow, over_batch, read_flow
from jaxrnn.analysis.frames import (
    advance_frame,
    householder_qr,
    images_of,
    random_frame,
    reached,
    scaled_images,
)
from jaxrnn.core.types import Array, Key

__all__ = ["Growth", "batch_interval", "frame_growth"]

# Orthonormalise before directions differ by this part of the dtype's digits (4 nats in float32, 9
# in float64), and after so many steps at the latest.
_SPREAD = 0.25
_LONGEST = 32
# How fast they part is measured on so many pieces of so many steps.
_PIECES = 8
_PIECE = 8


class Growth(NamedTuple):
    """What a frame grew by.

    Attributes:
      logs: ``(T, k)`` in nats: the growth since the last orthonormalisation at the steps that end
        with one, zero at the others; ``-inf`` once a direction has died.
      ends: ``(T,)`` bool, the steps that end with an orthonormalisation.
      rounding: ``(k,)``, sum over the counted steps of the magnification of rounding errors.
      first_bad: after how many steps the state was not finite for the first time; -1 if never.
    """

    logs: Array
    ends: Array
    rounding: Array
    first_bad: Array


def frame_growth(
    flow: Flow,
    k: int,
    key: Key,
    *,
    qr_every: Array | int,
    first: int = 0,
    indices: Array | None = None,
    window: int | None = None,
    block: int | None = None,
    qr=householder_qr,
) -> Growth:
    """Pushes k random directions through the steps and records what they grow by.

    The state runs along, so that nothing is stored over time but the logs, and derivatives with
    respect to the parameters pass through the trajectory.

    Args:
      flow: the linearised sequence; it holds no state but floating arrays.
      k: number of directions.
      key: for the directions and for the test of exact rank.
      qr_every: steps between orthonormalisations, a traced number too; one ends at each step that
        is a multiple of it away from `first`.
      first: the first step that is counted; those before align the frame.
      indices: ``(length,)``, the steps to take; all if not given.
      window: derivatives pass through this many steps at most; all if not given.
      block: one orthonormalisation ends at each multiple of this from `first`, too.
      qr: ``(D, k) -> (Q, R)``.

    Returns:
      The logs of the steps taken, and the rounding.
    """
    frame_key, probe_key = jax.random.split(key)
    like = flow.start
    steps = jnp.arange(flow.num_steps) if indices is None else indices
    probe = jax.random.normal(probe_key, like.shape, like.dtype)
    frame = random_frame(frame_key, k, jax.lax.stop_gradient(like))
    end, size = steps[-1], jnp.int32(like.shape[0])

    def body(carry, index):
        state, frame, images, rank, rounding, first_bad = carry
        if window is not None:
            fresh = (index % window == 0) & (index > steps[0])
            state, images = jax.tree.map(
                lambda one: jnp.where(fresh, jax.lax.stop_gradient(one), one), (state, images)
            )
        inputs = jax.tree.map(lambda leaf: leaf[index], flow.inputs)
        state, push = jax.linearize(lambda s: flow.advance(s, [], inputs)[0], state)
        (pulled,) = jax.linear_transpose(push, state)(probe + jnp.zeros_like(state))
        images = scaled_images(jax.vmap(push)(images.rows), images.exponents)
        columns = jnp.sum(pulled != 0).astype(jnp.int32)
        rank = jnp.minimum(rank, jnp.minimum(columns, reached(frame, images.rows)))
        since = index + 1 - first
        ends = (since % qr_every == 0) | (since == 0) | (index == end)
        if block is not None:
            ends |= since % block == 0

        def orthonormalise(frame, images):
            frame, step = advance_frame(frame, images, rank, qr)
            return frame, images_of(frame), step.log_growth, step.loss

        def keep(frame, images):
            held = jnp.where(frame.alive, 0, -jnp.inf).astype(images.rows.dtype)
            return frame, images, held, jnp.zeros_like(held)

        frame, images, logs, loss = jax.lax.cond(ends, orthonormalise, keep, frame, images)
        rank = jnp.where(ends, size, rank)
        counted = index >= first
        logs = jnp.where(counted | jnp.isneginf(logs), logs, 0)
        rounding = rounding + jnp.where(counted, jax.lax.stop_gradient(loss), 0)
        bad = ~jnp.all(jnp.isfinite(state)) & (first_bad < 0)
        first_bad = jnp.where(bad, index + 1, first_bad)
        return (state, frame, images, rank, rounding, first_bad), (logs, ends)

    start = flow.start if indices is None else flow.states[steps[0]]
    if window is not None and indices is not None:
        start = jax.lax.stop_gradient(start)  # it depends on all steps before
    zeros = jnp.zeros_like(frame.rows[:, 0])
    rank = size + 0 * jnp.sum(start == 0)  # varies over a mesh as the states do
    bad = jnp.where(jnp.all(jnp.isfinite(start)), -1, steps[0])
    carry = (start, frame, images_of(frame), rank, zeros, bad)
    (*_, rounding, first_bad), (logs, ends) = jax.lax.scan(body, carry, steps)
    return Growth(logs, ends, rounding, first_bad)


def batch_interval(
    cell, params, xs, state, mask, resets, k, key, *, first: int, stop: int, by: str
) -> Array:
    """Measures after how many steps the directions of a batch have to be made orthonormal again.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None; masked steps do not count.
      resets: bool ``(T, *batch)`` or None.
      k: number of directions, or None for all.
      key: for the directions.
      first: the first step of interest.
      stop: the step after the last.
      by: the function the user called.

    Returns:
      int32, 1 to 32: the steps over which the fastest and the slowest direction part by a quarter
      of the dtype's digits, in that of eight short pieces of each sequence where they part fastest.
      One number for the whole batch, so that all of it is orthonormalised at the same steps.
    """
    length = min(_PIECE, stop - first)
    starts = jnp.linspace(first, stop - length, _PIECES).astype(jnp.int32)

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=by, floats_only=True)
        count = check_count(k, flow.states.shape[1], by=by)

        def spread_from(start):
            indices = start + jnp.arange(length)
            logs = frame_growth(flow, count, key, qr_every=1, first=start, indices=indices).logs
            spread = jnp.max(logs, axis=1) - jnp.min(logs, axis=1)
            real = jnp.isfinite(spread)
            if mask is not None:
                real &= mask[indices]
            return jnp.sum(jnp.where(real, spread, 0)) / jnp.maximum(jnp.sum(real), 1)

        return jnp.max(jax.vmap(spread_from)(starts))

    spread = jnp.max(over_batch(one, cell, params, xs, state, mask, resets, out_axes=0, by=by))
    limit = -_SPREAD * jnp.log(jnp.finfo(spread.dtype).eps)
    steps = jnp.floor(limit / jnp.maximum(spread, 1e-6))
    return jnp.clip(steps, 1, _LONGEST).astype(jnp.int32)
