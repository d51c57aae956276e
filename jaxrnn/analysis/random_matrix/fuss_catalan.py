"""The Fuss-Catalan law: squared singular values of a product of large random matrices."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrnn.analysis.random_matrix.floats import floats
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array

__all__ = ["fuss_catalan_cdf", "fuss_catalan_density", "fuss_catalan_edge", "fuss_catalan_moment"]


def _log_place(angle: Array, factors: int) -> Array:
    """Returns the logarithm of x at an angle in ``(0, pi / (L + 1))``; it falls with the angle."""
    top = jnp.log(jnp.sin((factors + 1) * angle))
    return (
        (factors + 1) * top - jnp.log(jnp.sin(angle)) - factors * jnp.log(jnp.sin(factors * angle))
    )


def _angle(x: Array, factors: int) -> Array:
    """Returns the angle at x, by bisection; x must lie inside the support."""
    log = jnp.log(x)
    low, high = jnp.zeros_like(x), jnp.full_like(x, math.pi / (factors + 1))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        right = _log_place(middle, factors) > log
        return jnp.where(right, middle, low), jnp.where(right, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(x.dtype).nmant + 8, halve, (low, high))
    return (low + high) / 2


def fuss_catalan_edge(factors: int) -> float:
    """Returns the largest squared singular value of a product of L square matrices.

    ``(L + 1)^(L + 1) / L^L`` for entries of variance 1 / N: 4, 6.75, 9.48, ...

    Args:
      factors: L, at least 1.

    Returns:
      The edge. Matrices of gain sigma multiply it by ``sigma^(2 L)``.

    Raises:
      TypeError: `factors` is not an integer.
      ValueError: `factors` is less than 1.

    Example:
      >>> fuss_catalan_edge(2)
      6.75

    Reference:
      K. Penson, K. Zyczkowski, "Product of Ginibre matrices: Fuss-Catalan and Raney distributions",
      2011.
    """
    factors = check_size("factors", factors, by="fuss_catalan_edge")
    return (factors + 1) * (1 + 1 / factors) ** factors


def fuss_catalan_moment(order: int, factors: int) -> float:
    """Returns the mean of ``x^order`` over a product's squared singular values.

    ``C((L + 1) k, k) / (L k + 1)``, the Fuss-Catalan numbers: the variance grows as L.

    Args:
      order: k, at least 1.
      factors: L, at least 1.

    Returns:
      The moment.

    Raises:
      TypeError: an argument is not an integer.
      ValueError: an argument is less than 1.

    Example:
      >>> fuss_catalan_moment(2, 10)
      11.0

    Reference:
      K. Penson, K. Zyczkowski, "Product of Ginibre matrices: Fuss-Catalan and Raney distributions",
      2011, equation 1.
    """
    order = check_size("order", order, by="fuss_catalan_moment")
    factors = check_size("factors", factors, by="fuss_catalan_moment")
    return math.comb((factors + 1) * order, order) / (factors * order + 1)


@functools.partial(jax.jit, static_argnames="factors")
def fuss_catalan_density(x: Array, factors: int) -> Array:
    """Returns the density of the squared singular values of a product of L square matrices.

    In parametric form, for ``0 < t < pi / (L + 1)``::

        x = sin((L + 1) t)^(L + 1) / (sin(t) sin(L t)^L)
        density = sin(t)^2 sin(L t)^(L - 1) / (pi sin((L + 1) t)^L)

    It holds for independent matrices, and for the L-th power of one. ``L = 1`` is the law of
    Marchenko and Pastur.

    Args:
      x: any shape, for entries of variance 1 / N.
      factors: L, at least 1.

    Returns:
      The density, of the shape of `x`; 0 outside the support and at 0, where it diverges.

    Raises:
      TypeError: `factors` is not an integer.
      ValueError: `factors` is less than 1.

    Example:
      >>> print(f"{fuss_catalan_density(1.0, 1):.4f}")
      0.2757

    Reference:
      U. Haagerup, S. Moeller, "The law of large numbers for the free multiplicative convolution",
      2013, theorem 6.
    """
    factors = check_size("factors", factors, by="fuss_catalan_density")
    x = floats(x)
    inside = (x > 0) & (x < fuss_catalan_edge(factors))
    t = _angle(jnp.where(inside, x, 1), factors)
    inner = jnp.sin(factors * t)
    density = jnp.sin(t) ** 2 * inner ** (factors - 1) / jnp.sin((factors + 1) * t) ** factors
    return jnp.where(inside, density / math.pi, 0)


@functools.partial(jax.jit, static_argnames="factors")
def fuss_catalan_cdf(x: Array, factors: int) -> Array:
    """Returns the fraction of a product's squared singular values that are at most `x`.

    ``1 - ((L + 1) t - L sin((L + 1) t) sin(t) / sin(L t)) / pi`` at the angle t of
    `fuss_catalan_density`.

    Args:
      x: any shape, for entries of variance 1 / N.
      factors: L, at least 1.

    Returns:
      The fraction, of the shape of `x`.

    Raises:
      TypeError: `factors` is not an integer.
      ValueError: `factors` is less than 1.

    Example:
      >>> print(f"{fuss_catalan_cdf(1.0, 1):.4f}")
      0.6090

    Reference:
      U. Haagerup, S. Moeller, "The law of large numbers for the free multiplicative convolution",
      2013, theorem 6, integrated.
    """
    factors = check_size("factors", factors, by="fuss_catalan_cdf")
    x = floats(x)
    edge = fuss_catalan_edge(factors)
    inside = (x > 0) & (x < edge)
    t = _angle(jnp.where(inside, x, 1), factors)
    part = factors * jnp.sin((factors + 1) * t) * jnp.sin(t) / jnp.sin(factors * t)
    fraction = 1 - ((factors + 1) * t - part) / math.pi
    return jnp.where(inside, fraction, jnp.where(x < edge, 0.0, 1.0))
