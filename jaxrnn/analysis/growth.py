"""The growth of a frame along a trajectory, orthonormalised every few steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import Flow
from jaxrnn.analysis.frames import advance_frame, exact_rank, householder_qr, random_frame
from jaxrnn.core.types import Array, Key

__all__ = ["Growth", "frame_growth", "safe_interval"]

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
    """

    logs: Array
    rounding: Array


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
    like = flow.states[0]
    steps = jnp.arange(len(flow.states)) if indices is None else indices
    probe = jax.random.normal(probe_key, like.shape, like.dtype)
    frame = random_frame(frame_key, k, jax.lax.stop_gradient(like))
    end, size = steps[-1], jnp.int32(like.shape[0])

    def body(carry, index):
        state, frame, images, rank, rounding = carry
        if window is not None:
            fresh = index % window == 0
            state, images = (
                jnp.where(fresh, jax.lax.stop_gradient(one), one) for one in (state, images)
            )
        _, rest, inputs = flow.at(index)
        state, push = jax.linearize(lambda s: flow.advance(s, rest, inputs)[0], state)
        (pulled,) = jax.linear_transpose(push, state)(probe + jnp.zeros_like(state))
        images = jax.vmap(push)(images)
        rank = jnp.minimum(rank, exact_rank(frame, images, pulled))
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
        return (state, frame, images, rank, rounding), logs

    start = flow.states[steps[0]]
    zeros = jnp.zeros_like(frame.rows[:, 0])
    rank = size + 0 * jnp.sum(start == 0)  # varies over a mesh as the states do
    carry = (start, frame, frame.rows, rank, zeros)
    (*_, rounding), logs = jax.lax.scan(body, carry, steps)
    return Growth(logs, rounding)


def safe_interval(flow: Flow, k: int, key: Key) -> Array:
    """Measures after how many steps directions have to be made orthonormal again.

    Args:
      flow: the linearised sequence.
      k: number of directions.
      key: for the directions.

    Returns:
      int32, 1 to 32: the steps over which the fastest and the slowest direction part by a quarter
      of the dtype's digits.
    """
    length = min(_PILOT, len(flow.states))
    growth = frame_growth(flow, k, key, qr_every=1, indices=jnp.arange(length))
    logs = jnp.where(jnp.isfinite(growth.logs), growth.logs, 0)
    spread = jnp.mean(jnp.max(logs, axis=1) - jnp.min(logs, axis=1))
    growing = jnp.max(jnp.abs(logs))
    limit = -_SPREAD * jnp.log(jnp.finfo(logs.dtype).eps)
    steps = jnp.minimum(limit / jnp.maximum(spread, 1e-6), 10 * limit / jnp.maximum(growing, 1e-6))
    return jnp.clip(jnp.floor(jax.lax.stop_gradient(steps)), 1, _LONGEST).astype(jnp.int32)
