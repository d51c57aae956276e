"""Lyapunov exponents of long products: Newman at any size, the triangular law at infinite size."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrnn.analysis.random_matrix.floats import floats
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array

__all__ = ["newman_exponents", "newman_variances", "triangular_law_cdf", "triangular_law_density"]


def _half_degrees(size: int, by: str, sigma) -> Array:
    size = check_size("size", size, by=by)
    return jnp.arange(size, 0, -1, dtype=floats(sigma).dtype) / 2


@functools.partial(jax.jit, static_argnames="size")
def newman_exponents(size: int, sigma: float | Array = 1.0) -> Array:
    """Returns the Lyapunov exponents of products of independent Gaussian matrices, any size.

    ``lambda_i = (log 2 + digamma((N - i + 1) / 2)) / 2 + log sigma``.

    Args:
      size: N.
      sigma: deviation of an entry, not divided by N.

    Returns:
      ``(N,)``, falling, nats per factor.

    Raises:
      TypeError: `size` is not an integer.
      ValueError: `size` is less than 1.

    Example:
      >>> top, bottom = newman_exponents(2)
      >>> print(f"{top:.4f} {bottom:.4f}")
      0.0580 -0.6352

    Reference:
      C. Newman, "The distribution of Lyapunov exponents: exact results for random matrices", 1986.
    """
    half = _half_degrees(size, "newman_exponents", sigma)
    return (math.log(2) + jax.scipy.special.digamma(half)) / 2 + jnp.log(sigma)


@functools.partial(jax.jit, static_argnames="size")
def newman_variances(size: int) -> Array:
    """Returns how much the exponents of products of independent Gaussian matrices fluctuate.

    The QR decomposition's log diagonals are independent at every step, the i-th half the logarithm
    of a chi^2 variable with ``N - i + 1`` degrees of freedom. So, exactly, the sum over T steps has
    T times the variance ``trigamma((N - i + 1) / 2) / 4``, and the exponent measured over T steps
    this variance over T.

    Args:
      size: N.

    Returns:
      ``(N,)``, nats^2 per factor.

    Raises:
      TypeError: `size` is not an integer.
      ValueError: `size` is less than 1.

    Example:
      >>> top, bottom = newman_variances(2)
      >>> print(f"{top:.4f} {bottom:.4f}")  # pi^2 / 24 and pi^2 / 8
      0.4112 1.2337

    Reference:
      C. Newman, "The distribution of Lyapunov exponents: exact results for random matrices", 1986.
    """
    return jax.scipy.special.polygamma(1, _half_degrees(size, "newman_variances", 1.0)) / 4


def triangular_law_density(exponent: Array, sigma: float | Array = 1.0) -> Array:
    """Returns the density of Lyapunov exponents of long products of large matrices.

    ``2 exp(2 s) / sigma^2`` for ``s < log sigma``: the moduli ``exp(s)`` fill a triangle. It holds
    for independent matrices and for powers of one.

    Args:
      exponent: s in nats per factor, any shape.
      sigma: gain; entries have variance ``sigma^2 / N``.

    Returns:
      The density, of the shape of `exponent`; its mean is ``log sigma - 1/2``.

    Example:
      >>> print(f"{triangular_law_density(-0.5):.4f}")
      0.7358

    Reference:
      C. Newman, "The distribution of Lyapunov exponents: exact results for random matrices", 1986.
    """
    exponent = floats(exponent)
    return jnp.where(exponent < jnp.log(sigma), 2 * jnp.exp(2 * exponent) / sigma**2, 0)


def triangular_law_cdf(exponent: Array, sigma: float | Array = 1.0) -> Array:
    """Returns the fraction of Lyapunov exponents below a value, for long products.

    ``min(exp(2 s) / sigma^2, 1)``.

    Args:
      exponent: s in nats per factor, any shape.
      sigma: gain; entries have variance ``sigma^2 / N``.

    Returns:
      The fraction, of the shape of `exponent`.

    Example:
      >>> print(f"{triangular_law_cdf(-0.5):.4f}")
      0.3679

    Reference:
      C. Newman, "The distribution of Lyapunov exponents: exact results for random matrices", 1986.
    """
    return jnp.exp(2 * jnp.minimum(floats(exponent) - jnp.log(sigma), 0))
