"""Products of triangular factors whose rows differ by any number of nats, and their exact SVD."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis.frames import Step
from jaxrnn.core.types import Array

__all__ = ["DEAD", "Graded", "graded_identity", "graded_svd", "multiply"]

# Stands for the log size of a row that is exactly zero; far from any sum of logs.
DEAD = -1e30
_MAX_SWEEPS = 20


class Graded(NamedTuple):
    """Stands for the matrix ``diag(exp(log_sizes + low)) @ rows``.

    Attributes:
      log_sizes: ``(k,)`` in nats, ``-1e30`` for a row of zeros.
      low: ``(k,)``, what the sum of logs lost to rounding (compensated summation).
      rows: ``(k, k)``, of moderate size.
      reversal: ``(k, k)``, how far row j was above row i, in nats, at its highest.
    """

    log_sizes: Array
    low: Array
    rows: Array
    reversal: Array


def graded_identity(size: int, like: Array) -> Graded:
    """Returns the identity, of the dtype of `like`, varying over a mesh as `like` does."""
    zero = jnp.zeros(size, like.dtype) + 0 * jnp.sum(jnp.zeros_like(like))
    eye = jnp.eye(size, dtype=like.dtype) + zero
    return Graded(zero, zero, eye, jnp.zeros_like(eye))


def multiply(step: Step, product: Graded) -> Graded:
    """Multiplies a product from the left by one triangular factor."""
    log_sizes, low, rows, reversal = product
    old, low = log_sizes[step.order], low[step.order]
    dead = jnp.isneginf(step.log_growth)
    # Kahan's sum: in float32 thousands of logs would otherwise cost three digits.
    growth = jnp.where(dead, 0, step.log_growth) + low
    new = old + growth
    low = growth - (new - old)
    new = jnp.where(dead, DEAD, new)
    gap = jnp.where(dead | dead[:, None], 0, (old - old[:, None]) + (step.shift - growth[:, None]))
    limit = -math.log(jnp.finfo(new.dtype).eps)
    coupling = jnp.where(gap > limit, 0, step.factor * jnp.exp(jnp.minimum(gap, limit)))
    # On the diagonal this is 1 by the definition of `new`; rounding would add up over the steps.
    coupling = jnp.where(jnp.eye(len(new), dtype=bool), 1, coupling)
    reversal = jnp.maximum(reversal[step.order][:, step.order], gap)
    return Graded(new, jnp.where(dead, 0, low), coupling @ rows[step.order], reversal)


def _rounds(size: int) -> np.ndarray:
    """Returns a tournament: ``(size - 1, size / 2, 2)``, every pair once, disjoint in a round."""
    ring = list(range(1, size))
    rounds = []
    for _ in range(size - 1):
        players = [0, *ring]
        rounds.append([(players[i], players[-1 - i]) for i in range(size // 2)])
        ring = ring[1:] + ring[:1]
    return np.array(rounds)


def _rotate(pairs, vectors):
    """Makes disjoint pairs of columns orthogonal: one-sided Jacobi, with sizes kept as logs."""
    sizes, shifts, u, v, worst = vectors
    first, second = pairs[:, 0], pairs[:, 1]
    swap = sizes[second] + shifts[second] > sizes[first] + shifts[first]
    high, low = jnp.where(swap, second, first), jnp.where(swap, first, second)
    ratio = jnp.exp((sizes[low] - sizes[high]) + (shifts[low] - shifts[high]))
    cosine = jnp.sum(u[high] * u[low], axis=1)
    nonzero = cosine != 0
    eta = (ratio**2 - 1) / (2 * jnp.where(nonzero, cosine, 1))
    sign = jnp.where(eta < 0, -1, 1).astype(eta.dtype)
    root = sign / (jnp.abs(eta) + jnp.sqrt(ratio**2 + eta**2))
    over = jnp.where(nonzero, root, 0)[:, None]  # tan of the angle, over the ratio of sizes
    ratio = ratio[:, None]
    tan = over * ratio
    cos = 1 / jnp.sqrt(1 + tan**2)
    u_high, u_low = cos * (u[high] - tan * ratio * u[low]), cos * (u[low] + over * u[high])
    v_high, v_low = cos * (v[high] - tan * v[low]), cos * (v[low] + tan * v[high])
    both = jnp.concatenate([high, low])
    u = u.at[both].set(jnp.concatenate([u_high, u_low]))
    v = v.at[both].set(jnp.concatenate([v_high, v_low]))
    u, shifts = _normalise(u, shifts)
    return sizes, shifts, u, v, jnp.maximum(worst, jnp.max(jnp.abs(cosine)))


def _normalise(u, shifts):
    norms = jnp.linalg.norm(u, axis=1)
    safe = jnp.where(norms == 0, 1, norms)
    # Of two equal rows a rotation leaves one that is exactly zero.
    return u / safe[:, None], jnp.where(norms == 0, 4 * DEAD, shifts + jnp.log(safe))


@jax.custom_jvp
def _without_derivative(log_sizes, rows):
    return log_sizes, rows


@_without_derivative.defjvp
def _refuse_derivative(primals, tangents):
    del primals, tangents
    msg = (
        "singular_spectrum: got a derivative to take; expected none: the rotations that make it "
        "exact have none; use method='dense' for short products, or lyapunov_spectrum"
    )
    raise NotImplementedError(msg)


def graded_svd(log_sizes: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Computes the singular value decomposition of ``diag(exp(log_sizes)) @ rows``.

    One-sided Jacobi rotations on the rows, whose sizes stay logarithms: every singular value comes
    out to the relative precision of the dtype however far apart they are, as long as the rows
    themselves, scaled to length 1, are well-conditioned. Not differentiable.

    Args:
      log_sizes: ``(k,)`` in nats; ``-1e30`` or less for a row of zeros.
      rows: ``(k, n)``.

    Returns:
      ``(log_values, left, right)``: ``(k,)`` in nats, decreasing, ``-inf`` for zeros, and the
      singular vectors as rows, ``(k, k)`` and ``(k, n)``.

    Reference:
      J. Demmel, K. Veselic, "Jacobi's method is more accurate than QR", 1992.
    """
    log_sizes, rows = _without_derivative(log_sizes, rows)
    count = rows.shape[0]
    if count % 2:
        rows = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
        log_sizes = jnp.concatenate([log_sizes, jnp.full_like(log_sizes[:1], 4 * DEAD)])
    size = rows.shape[0]
    pairs = jnp.asarray(_rounds(size))
    tolerance = 4 * jnp.finfo(rows.dtype).eps
    log_sizes = jnp.where(jnp.any(rows != 0, axis=1), log_sizes, 4 * DEAD)
    u, shifts = _normalise(rows, jnp.zeros_like(log_sizes))
    v = jnp.eye(size, dtype=rows.dtype) + 0 * u[0, 0]

    def sweep(carry):
        number, (sizes, shifts, u, v, _) = carry
        vectors = sizes, shifts, u, v, jnp.zeros_like(u[0, 0])
        vectors = jax.lax.fori_loop(
            0, size - 1, lambda index, vectors: _rotate(pairs[index], vectors), vectors
        )
        return number + 1, vectors

    def unfinished(carry):
        number, (*_, worst) = carry
        return (number < _MAX_SWEEPS) & (worst > tolerance)

    start = (0, (log_sizes, shifts, u, v, jnp.full_like(u[0, 0], jnp.inf)))
    _, (sizes, shifts, u, v, _) = jax.lax.while_loop(unfinished, sweep, start)
    logs = sizes + shifts
    order = jnp.argsort(-logs)[:count]
    logs = jnp.where(logs <= DEAD / 2, -jnp.inf, logs)
    return logs[order], v[order][:, :count], u[order]
