"""The circular law: eigenvalues of one large random matrix."""

import math

import jax.numpy as jnp

from jaxrnn.analysis.random_matrix.floats import floats
from jaxrnn.core.types import Array

__all__ = ["circular_law_cdf", "circular_law_density"]


def circular_law_density(z: Array, sigma: float | Array = 1.0) -> Array:
    """Returns the density of the eigenvalues in the complex plane, at complex or real `z`.

    ``1 / (pi sigma^2)`` for ``|z| <= sigma``, else 0.

    Args:
      z: any shape.
      sigma: entries have variance ``sigma^2 / N``; also the radius of the disc.

    Returns:
      The density per area, of the shape of `z`.

    Example:
      >>> print(f"{circular_law_density(0.5j):.4f}")
      0.3183

    Reference:
      V. Girko, "Circular law", 1984.
    """
    radius = jnp.abs(jnp.asarray(z))
    return jnp.where(radius <= sigma, 1 / (math.pi * sigma**2), 0)


def circular_law_cdf(radius: Array, sigma: float | Array = 1.0) -> Array:
    """Returns the fraction of eigenvalues with a magnitude below `radius`.

    ``min(radius / sigma, 1)^2``; the mean of ``|z|^(2 k)`` is ``sigma^(2 k) / (k + 1)``.

    Args:
      radius: not negative, any shape.
      sigma: entries have variance ``sigma^2 / N``.

    Returns:
      The fraction, of the shape of `radius`.

    Example:
      >>> print(f"{circular_law_cdf(0.5):.2f}")
      0.25

    Reference:
      V. Girko, "Circular law", 1984.
    """
    return jnp.clip(floats(radius) / sigma, 0, 1) ** 2
