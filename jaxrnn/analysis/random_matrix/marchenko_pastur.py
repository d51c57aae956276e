"""The law of Marchenko and Pastur: squared singular values of one large random matrix."""

import math

import jax
import jax.numpy as jnp

from jaxrnn.analysis.random_matrix.floats import floats
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array

__all__ = [
    "marchenko_pastur_cdf",
    "marchenko_pastur_density",
    "marchenko_pastur_edges",
    "marchenko_pastur_moment",
]


def marchenko_pastur_edges(
    ratio: float | Array = 1.0, variance: float | Array = 1.0
) -> tuple[Array, Array]:
    """Returns the ends of the squared singular values' support.

    ``variance * (1 -+ sqrt(ratio))^2``.

    Args:
      ratio: rows over columns of the matrix, N / M.
      variance: M times the variance of an entry.

    Returns:
      The lower and the upper end. For a square matrix they are 0 and four times `variance`: the
      largest singular value is twice the gain.

    Example:
      >>> low, high = marchenko_pastur_edges(0.25)
      >>> print(f"{low:.2f} {high:.2f}")
      0.25 2.25

    Reference:
      V. Marchenko, L. Pastur, "Distribution of eigenvalues for some sets of random matrices", 1967.
    """
    root = jnp.sqrt(floats(ratio))
    return variance * (1 - root) ** 2, variance * (1 + root) ** 2


@jax.jit
def marchenko_pastur_density(
    x: Array, ratio: float | Array = 1.0, variance: float | Array = 1.0
) -> Array:
    """Returns the density of squared singular values, the N eigenvalues of ``W W^T``.

    ``sqrt((b - x) (x - a)) / (2 pi variance ratio x)`` between the edges a and b.

    Args:
      x: any shape.
      ratio: rows over columns of the matrix, N / M. Above 1 the density integrates to 1 / ratio:
        the remaining eigenvalues are zeros.
      variance: M times the variance of an entry.

    Returns:
      The density, of the shape of `x`; at 0, where it may diverge, it is 0.

    Example:
      >>> print(f"{marchenko_pastur_density(1.0):.4f}")
      0.2757

    Reference:
      V. Marchenko, L. Pastur, "Distribution of eigenvalues for some sets of random matrices", 1967.
    """
    x = floats(x)
    low, high = marchenko_pastur_edges(ratio, variance)
    inside = (x > low) & (x < high)
    safe = jnp.where(inside, x, (low + high) / 2)
    root = jnp.sqrt((high - safe) * (safe - low))
    return jnp.where(inside, root / (2 * math.pi * variance * ratio * safe), 0)


@jax.jit
def marchenko_pastur_cdf(
    x: Array, ratio: float | Array = 1.0, variance: float | Array = 1.0
) -> Array:
    """Returns the fraction of squared singular values that are at most `x`.

    Args:
      x: any shape.
      ratio: rows over columns of the matrix, N / M; above 1 the zeros, a fraction
        ``1 - 1 / ratio``, count.
      variance: M times the variance of an entry.

    Returns:
      The fraction, of the shape of `x`.

    Example:
      >>> print(f"{marchenko_pastur_cdf(1.0):.4f}")
      0.6090

    Reference:
      V. Marchenko, L. Pastur, "Distribution of eigenvalues for some sets of random matrices", 1967.
    """
    x, ratio = floats(x) / variance, floats(ratio)
    low, high = marchenko_pastur_edges(ratio)
    inner = jnp.clip(x, low, high)
    inside = (x > low) & (x < high)
    safe = jnp.where(inside, inner, (low + high) / 2)
    # The integral of the density, with x = 1 + ratio + 2 sqrt(ratio) cos(angle).
    root = jnp.sqrt((high - safe) * (safe - low))
    angle = jnp.arctan2(root, safe - (1 + ratio))
    other = jnp.arctan2((1 - ratio) ** 2 - (1 + ratio) * safe, jnp.abs(1 - ratio) * root)
    area = root + (1 + ratio) * (math.pi - angle)
    area -= jnp.abs(1 - ratio) * (math.pi / 2 - other)
    bulk = area / (2 * math.pi * ratio)
    zeros = jnp.maximum(1 - 1 / ratio, 0)
    return jnp.where(inside, zeros + bulk, jnp.where(x < low, jnp.where(x < 0, 0, zeros), 1.0))


def marchenko_pastur_moment(
    order: int, ratio: float | Array = 1.0, variance: float | Array = 1.0
) -> Array:
    """Returns the mean of ``x^order`` over the N squared singular values.

    ``variance^k sum_r ratio^r C(k, r) C(k - 1, r) / (r + 1)``.

    Args:
      order: k, at least 1.
      ratio: rows over columns of the matrix, N / M.
      variance: M times the variance of an entry.

    Returns:
      The moment, a scalar.

    Raises:
      TypeError: `order` is not an integer.
      ValueError: `order` is less than 1.

    Example:
      >>> print(marchenko_pastur_moment(2))  # a square matrix: the Catalan numbers
      2.0

    Reference:
      Z. Bai, J. Silverstein, "Spectral analysis of large dimensional random matrices", 2010,
      lemma 3.1.
    """
    order = check_size("order", order, by="marchenko_pastur_moment")
    ratio = floats(ratio)
    terms = [
        math.comb(order, r) * math.comb(order - 1, r) / (r + 1) * ratio**r for r in range(order)
    ]
    return variance**order * sum(terms)
