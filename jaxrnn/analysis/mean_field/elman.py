"""Mean-field theory of the plain recurrent network."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.accurate import accurate
from jaxrnn.analysis.mean_field.quadrature import as_floats, mean, pair_mean, slope
from jaxrnn.analysis.mean_field.result import (
    MeanField,
    correlation,
    positive_root,
    relative_variance,
    time_scale,
)
from jaxrnn.core.types import Array

__all__ = ["CriticalPoint", "LyapunovExponents", "critical_line", "elman", "lyapunov_exponents"]

Activation = Callable[[Array], Array]


class CriticalPoint(NamedTuple):
    """A point of the critical line ``chi = 1``.

    Attributes:
      sigma_w: deviation of a recurrent weight times the square root of the width, ``()``.
      sigma_b: deviation of bias and input share together, ``()``; NaN where the line has no such q.
    """

    sigma_w: Array
    sigma_b: Array


class LyapunovExponents(NamedTuple):
    """Exponents of a wide random network, nats per step.

    Attributes:
      largest: ``()``.
      mean: over all of them, ``()``.
    """

    largest: Array
    mean: Array


def _slope(activation: Activation) -> Activation:
    return slope(accurate(activation))


def _log_slope(activation: Activation) -> Activation:
    if activation is jnp.tanh:
        # log sech(x)^2 where sech(x)^2 itself underflows
        return lambda x: 2 * (jnp.log(2.0) - jnp.abs(x) - jnp.log1p(jnp.exp(-2 * jnp.abs(x))))
    return lambda x: jnp.log(jnp.abs(_slope(activation)(x)))


def _variance(activation: Activation, sigma_w: Array, rest: Array) -> Array:
    def update(q):
        return sigma_w**2 * mean(lambda x: activation(x) ** 2, q) + rest

    # Beyond any fixed point, if the activation is bounded or q* is finite.
    return positive_root(update, update(1e6 * (1 + sigma_w**2 + rest)))


@functools.partial(jax.jit, static_argnames="activation")
def elman(
    sigma_w,
    sigma_b=0.0,
    *,
    activation: Activation = jnp.tanh,
    input_variance=0.0,
    input_correlation=1.0,
) -> MeanField:
    """Computes the mean field of the plain recurrent network in the limit of infinite width.

    ::

        q* = sigma_w^2 E phi(sqrt(q*) z)^2 + sigma_b^2 + input_variance
        chi = sigma_w^2 E phi'(sqrt(q*) z)^2
        isometry = mu_2 / mu_1^2 - 1,   mu_k = E phi'(sqrt(q*) z)^(2 k)
        c* q* = sigma_w^2 E phi(a) phi(b) + sigma_b^2 + input_correlation * input_variance

    for ``h' = phi(h @ w_hh + b + x @ w_ih)`` with entries of `w_hh` from N(0, sigma_w^2 / N),
    biases from N(0, sigma_b^2), and a, b Gaussian of variance q* and correlation c*. Averages are
    exact to about 1e-12 (float64) up to q* of 500. Gaussian matrices add 1 to `isometry`; over L
    steps both grow by the factor L. All numbers may be traced: a phase diagram is one `jax.vmap`,
    and what it does not ask for (such as `c`) costs nothing under `jax.jit`.

    Args:
      sigma_w: gain of the recurrent weights, ``()``. `jaxrnn.initializers.orthogonal(sigma_w)` has
        the same mean field.
      sigma_b: deviation of the biases, ``()``.
      activation: phi, an elementwise function; q* is inf where an unbounded one diverges.
      input_variance: variance of the input's share ``x @ w_ih`` of a pre-activation, ``()``.
      input_correlation: of the inputs of two sequences, from 0 to 1; 1 is one and the same input,
        so that `c` tells whether it makes the network forget where it began.

    Returns:
      The mean field; `q` and `c` are those of pre-activations.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> gains = jnp.array([0.9, 1.5])
      >>> field = jax.vmap(lambda sigma_w: elman(sigma_w))(gains)
      >>> bool(field.chi[0] < 1 < field.chi[1])  # ordered, chaotic
      True
      >>> print(f"{field.c[0]:.2f} {field.c[1]:.2f}")  # what becomes of two initial states
      1.00 0.00

    Reference:
      B. Poole et al., "Exponential expressivity in deep neural networks through transient chaos",
      2016, equations 3 to 8; J. Pennington, S. Schoenholz, S. Ganguli, "Resurrecting the sigmoid in
      deep learning through dynamical isometry", 2017, equation 22 (isometry).
    """
    sigma_w, sigma_b, input_variance, input_correlation = as_floats(
        sigma_w, sigma_b, input_variance, input_correlation
    )
    q = _variance(activation, sigma_w, sigma_b**2 + input_variance)
    slope = _slope(activation)
    mu_1, mu_2 = (mean(lambda x, k=k: slope(x) ** (2 * k), q) for k in (1, 2))
    chi = sigma_w**2 * mu_1

    def update(covariance):
        shared = sigma_b**2 + input_correlation * input_variance
        return sigma_w**2 * pair_mean(activation, q, covariance) + shared

    return MeanField(
        q=q,
        second_moment=mean(lambda x: activation(x) ** 2, q),
        c=correlation(update, q),
        chi=chi,
        mean_square=chi,
        xi=time_scale(chi),
        isometry=relative_variance(mu_1, mu_2),
    )


@functools.partial(jax.jit, static_argnames="activation")
def critical_line(q, *, activation: Activation = jnp.tanh) -> CriticalPoint:
    """Returns the point of the plain network's critical line at a given variance q*.

    ``sigma_w^2 = 1 / E phi'(sqrt(q) z)^2``, ``sigma_b^2 = q - sigma_w^2 E phi(sqrt(q) z)^2``.

    Args:
      q: variance of a pre-activation, ``()``.
      activation: phi, an elementwise function.

    Returns:
      The two deviations; of `sigma_b`, any part may be an input of that variance in its place.

    Example:
      >>> point = critical_line(0.25)
      >>> print(f"{point.sigma_w:.4f} {point.sigma_b:.4f}")
      1.1807 0.0901

    Reference:
      J. Pennington, S. Schoenholz, S. Ganguli, "Resurrecting the sigmoid in deep learning through
      dynamical isometry", 2017, section 2.2.
    """
    (q,) = as_floats(q)
    slope = _slope(activation)
    sigma_w = mean(lambda x: slope(x) ** 2, q) ** -0.5
    return CriticalPoint(sigma_w, jnp.sqrt(q - sigma_w**2 * mean(lambda x: activation(x) ** 2, q)))


@functools.partial(jax.jit, static_argnames=("activation", "orthogonal"))
def lyapunov_exponents(
    sigma_w,
    sigma_b=0.0,
    *,
    activation: Activation = jnp.tanh,
    input_variance=0.0,
    orthogonal: bool = False,
) -> LyapunovExponents:
    """Computes the largest and the mean Lyapunov exponent of the plain network, infinitely wide.

    ::

        lambda_1 = log(chi) / 2
        mean = log sigma_w - 1/2 + E log |phi'(sqrt(q*) z)|

    Args:
      sigma_w: gain of the recurrent weights, ``()``.
      sigma_b: deviation of the biases, ``()``.
      activation: phi, an elementwise function.
      input_variance: variance of the input's share of a pre-activation, ``()``; the input is white.
      orthogonal: the recurrent matrix is sigma_w times an orthogonal one: the mean has no -1/2.

    Returns:
      The exponents, nats per step.

    Example:
      >>> print(f"{lyapunov_exponents(2.0).largest:.4f}")
      0.1547

    Reference:
      L. Molgedey, J. Schuchhardt, H. Schuster, "Suppressing chaos in neural networks by noise",
      1992; C. Newman, "The distribution of Lyapunov exponents: exact results for random matrices",
      1986 (the mean).
    """
    sigma_w, sigma_b, input_variance = as_floats(sigma_w, sigma_b, input_variance)
    q = _variance(activation, sigma_w, sigma_b**2 + input_variance)
    slope = _slope(activation)
    largest = jnp.log(sigma_w) + jnp.log(mean(lambda x: slope(x) ** 2, q)) / 2
    average = jnp.log(sigma_w) + mean(_log_slope(activation), q)
    return LyapunovExponents(largest, average if orthogonal else average - 0.5)
