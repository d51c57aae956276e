"""The growth of a frame along a trajectory, orthonormalised every few steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count
from jaxrnn.analysis.flow import Flow, over_batch, read_flow, trim
from jaxrnn.analysis.frames import advance_frame, householder_qr, random_frame, reached
from jaxrnn.core.types import Array, Key

__all__ = ["Growth", "batch_interval", "frame_growth"]

# Orthonormalise before directions differ by this part of the dtype's digits (4 nats in float32, 9
# in float64); a pilot of so many steps measures how fast they part.
_SPREAD = 0.25
_PILOT = 64
_LONGEST = 32


class Growth(NamedTuple):
    """What a frame grew by.

    Attributes:
      logs: ``(T, k)`` in nats: the growth since the last orthonormalisation at the steps that end
        with one, zero at the others; ``-inf`` once a direction has died.
      rounding: ``(k,)``, sum over the counted steps of the magnification of rounding errors.
      first_bad: after how many steps the state was not finite for the first time; -1 if never.
    """

    logs: Array
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
            fresh = index % window == 0
            state, images = (
                jnp.where(fresh, jax.lax.stop_gradient(one), one) for one in (state, images)
            )
        inputs = jax.tree.map(lambda leaf: leaf[index], flow.inputs)
        state, push = jax.linearize(lambda s: flow.advance(s, [], inputs)[0], state)
        (pulled,) = jax.linear_transpose(push, state)(probe + jnp.zeros_like(state))
        images = jax.vmap(push)(images)
        columns = jnp.sum(pulled != 0).astype(jnp.int32)
        rank = jnp.minimum(rank, jnp.minimum(columns, reached(frame, images)))
        since = index + 1 - first
        ends = (since % qr_every == 0) | (since == 0) | (index == end)
        if block is not None:
            ends |= since % block == 0

        def orthonormalise(frame, images):
            frame, step = advance_frame(frame, images, rank, qr)
            return frame, frame.rows, step.log_growth, step.loss

        def keep(frame, images):
            held = jnp.where(frame.alive, 0, -jnp.inf).astype(images.dtype)
            return frame, images, held, jnp.zeros_like(held)

        frame, images, logs, loss = jax.lax.cond(ends, orthonormalise, keep, frame, images)
        rank = jnp.where(ends, size, rank)
        counted = index >= first
        logs = jnp.where(counted | jnp.isneginf(logs), logs, 0)
        rounding = rounding + jnp.where(counted, jax.lax.stop_gradient(loss), 0)
        bad = ~jnp.all(jnp.isfinite(state)) & (first_bad < 0)
        first_bad = jnp.where(bad, index + 1, first_bad)
        return (state, frame, images, rank, rounding, first_bad), logs

    start = flow.start if indices is None else flow.states[steps[0]]
    zeros = jnp.zeros_like(frame.rows[:, 0])
    rank = size + 0 * jnp.sum(start == 0)  # varies over a mesh as the states do
    bad = jnp.where(jnp.all(jnp.isfinite(start)), -1, steps[0])
    carry = (start, frame, frame.rows, rank, zeros, bad)
    (*_, rounding, first_bad), logs = jax.lax.scan(body, carry, steps)
    return Growth(logs, rounding, first_bad)


def batch_interval(cell, params, xs, state, mask, resets, k, key, *, by: str) -> Array:
    """Measures after how many steps the directions of a batch have to be made orthonormal again.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      k: number of directions, or None for all.
      key: for the directions.
      by: the function the user called.

    Returns:
      int32, 1 to 32: the steps over which the fastest and the slowest direction part by a quarter
      of the dtype's digits, in the sequence where they part fastest. One number for the whole
      batch, so that all of it is orthonormalised at the same steps.
    """
    num_steps = min(_PILOT, jax.tree.leaves(xs)[0].shape[0])

    def one(xs, state, mask, resets):
        sequence = trim((xs, mask, resets), 0, num_steps)
        flow = read_flow(cell, params, sequence[0], state, *sequence[1:], by=by, floats_only=True)
        count = check_count(k, flow.states.shape[1], by=by)
        logs = frame_growth(flow, count, key, qr_every=1).logs
        logs = jnp.where(jnp.isfinite(logs), logs, 0)
        spread = jnp.mean(jnp.max(logs, axis=1) - jnp.min(logs, axis=1))
        size = jnp.max(jnp.abs(logs))
        limit = -_SPREAD * jnp.log(jnp.finfo(logs.dtype).eps)
        steps = jnp.minimum(limit / jnp.maximum(spread, 1e-6), 10 * limit / jnp.maximum(size, 1e-6))
        return jnp.clip(jnp.floor(steps), 1, _LONGEST).astype(jnp.int32)

    return jnp.min(over_batch(one, cell, params, xs, state, mask, resets, out_axes=0, by=by))
