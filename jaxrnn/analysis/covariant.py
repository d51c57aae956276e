"""Covariant Lyapunov vectors: directions that grow at each exponent's rate, both ways in time."""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count, refuse_non_finite
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.frames import advance_frame, random_frame, reached, scaled_images
from jaxrnn.analysis.lyapunov import check_warmup
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["CovariantLyapunovVectors", "covariant_lyapunov_vectors"]

_BY = "covariant_lyapunov_vectors"


class CovariantLyapunovVectors(NamedTuple):
    """Covariant Lyapunov vectors at N times, those of the largest exponent first.

    Attributes:
      times: ``(N,)``, steps taken before each.
      vectors: ``(N, *batch, D, k)``, columns of length 1; NaN for directions that die. The sign of
        each is arbitrary.
      exponents: ``(*batch, k)``, mean growth of each vector in nats per step.
      angles: ``(N, *batch, k, k)``, between each two, 0 to pi / 2.
      participation_ratio: ``(N, *batch, k)``, ``1 / sum v_d^4``: the number of units, 1 to D, that
        carry a vector.
    """

    times: Array
    vectors: Array
    exponents: Array
    angles: Array
    participation_ratio: Array


def _angles(vectors: Array) -> Array:
    """Returns the angles between columns of length 1, ``(D, k)``, small ones to full precision."""
    cosines = vectors.T @ vectors
    rest = vectors[:, None, :] - vectors[:, :, None] * cosines
    return jnp.arctan2(jnp.linalg.norm(rest, axis=0), jnp.abs(cosines))


@compiled_per_cell("k", "warmup", "cooldown")
def _vectors(cell, params, xs, state, *, mask, resets, k, warmup, cooldown, key):
    frame_key, probe_key, end_key = jax.random.split(key, 3)

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY, floats_only=True)
        like = flow.states[0]
        count = check_count(k, like.shape[0], by=_BY)
        probe = jax.random.normal(probe_key, like.shape, like.dtype) + jnp.zeros_like(like)

        def forward(frame, index):
            images = scaled_images(flow.push(index, frame.rows), jnp.zeros(count, jnp.int32))
            columns = jnp.sum(flow.pull(index, probe[None]) != 0).astype(jnp.int32)
            rank = jnp.minimum(columns, reached(frame, images.rows))
            after, step = advance_frame(frame, images, rank)
            return after, (frame.rows, step.factor * jnp.exp(step.shift))

        steps = jnp.arange(len(flow.states))
        last, (rows, factors) = jax.lax.scan(forward, random_frame(frame_key, count, like), steps)
        upper = jnp.triu(jax.random.normal(end_key, (count, count), like.dtype), 1)
        start = upper + jnp.eye(count, dtype=like.dtype) + 0 * rows[0, 0, 0]

        def backward(coordinates, factor):
            before = jax.scipy.linalg.solve_triangular(factor, coordinates)
            norms = jnp.linalg.norm(before, axis=0)
            return before / norms, (before / norms, -jnp.log(norms))

        _, (coordinates, logs) = jax.lax.scan(
            backward, start / jnp.linalg.norm(start, axis=0), factors, reverse=True
        )
        kept = slice(warmup, len(flow.states) - cooldown)
        vectors = jnp.einsum("tkd,tkj->tdj", rows[kept], coordinates[kept])
        vectors = jnp.where(last.alive, vectors, jnp.nan)
        angles = jax.lax.map(_angles, vectors)
        exponents = jnp.where(last.alive, jnp.mean(logs[kept], axis=0), -jnp.inf)
        ratio = 1 / jnp.sum(vectors**4, axis=1)
        return vectors, exponents, angles, ratio, flow.first_bad()

    axes = (1, 0, 1, 1, 0)
    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=axes, by=_BY)


def covariant_lyapunov_vectors(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    k: int | None = None,
    warmup: int = 0,
    cooldown: int = 0,
    key: Key | None = None,
) -> CovariantLyapunovVectors:
    """Computes the covariant Lyapunov vectors along a trajectory.

    ``A_{t+1} v_i(t)`` is parallel to ``v_i(t + 1)`` and grows, on average, by l_i: unlike the
    orthonormal directions of `lyapunov_spectrum` they do not depend on a scalar product. Frames are
    pushed forwards with ``A_t Q_{t-1} = Q_t R_t``, then coordinates are carried backwards by
    ``R_t^{-1}``, which aligns them.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step's Jacobian is the identity.
      resets: bool ``(T, *batch)`` or None; across a reset every direction dies.
      k: how many, from the largest exponent; all D if not given.
      warmup: steps at the beginning that align the frames and are left out.
      cooldown: steps at the end that align the coordinates and are left out.
      key: for the first frame and the last coordinates; ``jax.random.key(0)`` if not given.

    Returns:
      Vectors, exponents, angles and participation ratios at the ``N = T - warmup - cooldown`` times
      ``warmup, warmup + 1, ...``. All frames are stored: T D k numbers.

    Raises:
      TypeError: as `jaxrnn.unroll`; a part of the state is not a real floating array.
      ValueError: as `jaxrnn.unroll`; `k` out of range; `warmup` and `cooldown` leave no step;
        outside `jax.jit`, a state is not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 4)
      >>> xs = jax.random.normal(jax.random.key(1), (300, 2))
      >>> found = covariant_lyapunov_vectors(
      ...     cell, cell.init(jax.random.key(0)), xs, k=2, warmup=100, cooldown=100)
      >>> found.vectors.shape, found.angles.shape
      ((100, 4, 2), (100, 2, 2))

    Reference:
      F. Ginelli et al., "Characterizing dynamics with covariant Lyapunov vectors", 2007.
    """
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    warmup = check_warmup(warmup, num_steps, by=_BY)
    cooldown = operator.index(cooldown)
    if not 0 <= cooldown < num_steps - warmup:
        msg = (
            f"{_BY}: got cooldown={cooldown}; expected 0 to {num_steps - warmup - 1}: at least one "
            "step has to be left; pass a longer sequence"
        )
        raise ValueError(msg)
    *found, bad = _vectors(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        k=None if k is None else check_size("k", k, by=_BY),
        warmup=warmup,
        cooldown=cooldown,
        key=jax.random.key(0) if key is None else key,
    )
    refuse_non_finite(bad, by=_BY)
    return CovariantLyapunovVectors(jnp.arange(warmup, num_steps - cooldown), *found)
