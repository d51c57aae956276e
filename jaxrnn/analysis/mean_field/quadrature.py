"""Averages over Gaussian variables, by the trapezoidal rule on a uniform grid.

For an analytic function the rule's error falls exponentially with the number of nodes: for a gap h
and poles at a distance d from the real line it is about ``exp(-2 pi d / h)``. tanh(s z) has them at
``d = pi / (2 s)``. The nodes are symmetric and none is at 0, so that functions with a kink at 0,
such as the ReLU and its slope, are averaged exactly too.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array

__all__ = ["as_floats", "deviation", "mean", "nodes", "pair_mean", "ratio", "slope"]


def as_floats(*values) -> tuple[Array, ...]:
    """Returns the values as arrays of one floating dtype, float32 or wider."""
    dtype = jnp.promote_types(jnp.result_type(float, *values), jnp.float32)
    return tuple(jnp.asarray(value, dtype) for value in values)


def nodes(dtype, count: int = 2400, limit: float = 12.0) -> tuple[Array, Array]:
    """Returns nodes and weights of a standard Gaussian average, ``(count,)`` each.

    Args:
      dtype: of both.
      count: number of nodes, even.
      limit: the largest node; the Gaussian's density there is below any rounding error.
    """
    z = (np.arange(count) + 0.5) * (2 * limit / count) - limit
    weights = np.exp(-(z**2) / 2)
    return jnp.asarray(z, dtype), jnp.asarray(weights / weights.sum(), dtype)


def ratio(a: Array, b: Array, otherwise: float = 0.0) -> Array:
    """Returns ``a / b``, and `otherwise` where b is 0, with derivatives that are no NaN."""
    zero = b == 0
    return jnp.where(zero, otherwise, a / jnp.where(zero, 1, b))


def deviation(variance: Array) -> Array:
    """Returns the square root of a variance; its derivative at 0 is taken to be 0, not infinite."""
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)


def slope(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Returns the derivative of an elementwise function."""
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def mean(function: Callable[[Array], Array], variance: Array, centre: Array | float = 0) -> Array:
    """Returns ``E f(centre + sqrt(variance) z)`` for a standard Gaussian z, a scalar.

    Args:
      function: elementwise.
      variance: scalar.
      centre: scalar.
    """
    z, weights = nodes(variance.dtype)
    return jnp.sum(weights * function(centre + deviation(variance) * z))


def pair_mean(
    function: Callable[[Array], Array],
    variance: Array,
    covariance: Array,
    centre: Array | float = 0,
) -> Array:
    """Returns ``E f(a) f(b)`` for two Gaussian variables of one mean and one variance, a scalar.

    Args:
      function: elementwise.
      variance: of each, scalar.
      covariance: of the two, between minus and plus the variance.
      centre: mean of each, scalar.
    """
    z, weights = nodes(variance.dtype, 160, 8.0)
    correlation = ratio(covariance, variance, 1.0)
    rest = deviation(1 - correlation**2)
    scale = deviation(variance)
    first = function(centre + scale * z)
    second = function(centre + scale * (correlation * z[:, None] + rest * z))
    return jnp.sum((weights * first)[:, None] * weights * second)
