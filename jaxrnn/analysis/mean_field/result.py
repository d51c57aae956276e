"""What a mean-field theory says of a random recurrent network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.mean_field.quadrature import mean, pair_mean, ratio
from jaxrnn.analysis.mean_field.roots import falling_root
from jaxrnn.core.types import Array

__all__ = [
    "MeanField",
    "correlation",
    "gate_mean",
    "gate_pair_mean",
    "gate_slope",
    "moments",
    "positive_root",
    "relative_variance",
    "time_scale",
]


class MeanField(NamedTuple):
    """Statistics of a wide random network in its stationary state.

    Attributes:
      q: variance of a pre-activation, ``()``, or one for each gate in the cell's order, ``(G,)``.
      second_moment: mean square of the state, ``()``; of h and of c, ``(2,)``, for the LSTM.
      c: correlation of two sequences that got inputs of the given correlation and began in
        different states, ``()``; 1 where they become the same. None for the LSTM.
      chi: growth of the mean square of a gradient per step, ``()``: below 1 it vanishes, above 1 it
        explodes. `jaxrnn.analysis.gradient_decay` measures ``log(chi) / 2``.
      mean_square: mean squared singular value of the step's Jacobian, ``()``. It equals `chi` but
        for the LSTM, whose two states grow at different rates.
      xi: steps over which the mean square falls (or grows) by a factor e, ``-1 / log chi``:
        positive in the ordered phase, negative in the chaotic one, inf where ``chi == 1``.
      isometry: variance of the step Jacobian's squared singular values over the square of their
        mean, ``()``, for orthogonal recurrent matrices of the same gain (0: every direction grows
        alike). None for the LSTM.
    """

    q: Array
    second_moment: Array
    c: Array | None
    chi: Array
    mean_square: Array
    xi: Array
    isometry: Array | None


def time_scale(chi: Array) -> Array:
    """Returns ``-1 / log chi``, inf at 1."""
    log = jnp.log(jnp.where(chi == 1, 0.5, chi))
    return jnp.where(chi == 1, jnp.inf, -1 / log)


def gate_slope(x: Array) -> Array:
    """Returns the logistic function's derivative, right where it saturates."""
    return jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)


def gate_mean(keep: int, close: int, variance: Array, centre: Array) -> Array:
    """Returns ``E u^keep (1 - u)^close`` for a gate u = sigmoid(centre + sqrt(variance) z)."""

    def power(x):
        return jax.nn.sigmoid(x) ** keep * jax.nn.sigmoid(-x) ** close

    return mean(power, variance, centre)


def gate_pair_mean(sign: int, variance: Array, covariance: Array, centre: Array) -> Array:
    """Returns ``E u v`` of two correlated gates, or with ``sign=-1`` ``E (1 - u)(1 - v)``."""
    return pair_mean(lambda x: jax.nn.sigmoid(sign * x), variance, covariance, centre)


def positive_root(update, upper: Array, num_points: int = 48) -> Array:
    """Returns the fixed point of a variance in ``[0, upper]`` that a small state grows to.

    Where there are several stable ones this is the smallest: networks begin at a state of zero.

    Args:
      update: variance to variance, one step.
      upper: scalar that `update` does not exceed; where it does, the result is inf.
      num_points: where to look first, from 1e-12 of `upper` on.

    Returns:
      The fixed point; 0 where a small state shrinks.
    """
    upper = jax.lax.stop_gradient(upper)
    third = num_points // 3
    small = jnp.logspace(-12, -3, third, endpoint=False, dtype=upper.dtype)
    middle = jnp.logspace(-3, -1, third, endpoint=False, dtype=upper.dtype)
    points = jnp.concatenate([small, middle, jnp.linspace(0.1, 1, third, dtype=upper.dtype)])
    zero, inf = jnp.zeros_like(upper), jnp.full_like(upper, jnp.inf)
    scale = jnp.where(upper > 0, upper, 1)
    root = falling_root(lambda q: update(q) - q, scale * points, below=zero, above=inf)
    return jnp.where(upper > 0, root, zero)


def correlation(update, variance: Array) -> Array:
    """Returns the smallest fixed point of a correlation in [0, 1], the one that is stable.

    The map's Hermite coefficients are positive, so it is convex, and from 0 on it rises to that
    point.

    Args:
      update: covariance to covariance, one step.
      variance: of each of the two sequences; where it is 0 they are the same, and the result is 1.
    """
    # How far from 1 rounding lets the map's sign be told, since it leaves 1 quadratically.
    end = 1 - jnp.finfo(variance.dtype).eps ** 0.5 * 16
    points = jnp.concatenate(
        [
            jnp.linspace(0, 0.9, 4, dtype=variance.dtype),
            jnp.array([0.99, end], variance.dtype),
        ]
    )
    one, zero = jnp.ones_like(variance), jnp.zeros_like(variance)

    def rise(c):
        return ratio(update(c * variance), variance) - c

    c = falling_root(rise, points, below=zero, above=one)
    return jnp.where(variance > 0, c, one)


def moments(gains: Array, squares: Array, products: Array) -> tuple[Array, Array]:
    """Returns the first two moments of the squared singular values of ``sum_k D_k O_k``.

    For independent orthogonal matrices O_k, times sqrt(gain_k), and diagonal matrices D_k whose
    entries depend on one another, at infinite size::

        mu_1 = sum_k g_k E d_k^2
        mu_2 = sum_kl g_k g_l (E d_k^2 d_l^2 + [k != l] E d_k^2 E d_l^2)

    The identity may be one of the O_k.

    Args:
      gains: ``(K,)``, squared gains g_k.
      squares: ``(K,)``, E d_k^2.
      products: ``(K, K)``, E d_k^2 d_l^2.
    """
    first = gains * squares
    pairs = products * gains[:, None] * gains + first[:, None] * first
    return jnp.sum(first), jnp.sum(pairs) - jnp.sum(first**2)


def relative_variance(first: Array, second: Array) -> Array:
    """Returns ``second / first^2 - 1`` of the squared singular values' two moments."""
    return ratio(second, first**2, jnp.nan) - 1
