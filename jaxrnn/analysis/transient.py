"""Transient growth of the powers of a matrix, and the Kreiss constant that bounds it from below."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.eigen import check_eigen, eigenvalues
from jaxrnn.analysis.nonnormality import over_leading
from jaxrnn.analysis.norms import spectral_norm
from jaxrnn.analysis.scaled import log_scale, rescale, scaled
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array

__all__ = ["TransientGrowth", "kreiss_constant", "transient_growth"]


class TransientGrowth(NamedTuple):
    """Norms of the powers of a matrix, in nats.

    Attributes:
      times: ``(steps,)``, 1 to `steps`.
      log_norms: ``(steps, *batch)``, ``log ||A^t||_2``; ``-inf`` where the power is exactly zero.
      log_peak: ``(*batch,)``, the largest of them and of 0, the value at t = 0.
      peak_time: ``(*batch,)``, integer, the first time at which it is reached.
    """

    times: Array
    log_norms: Array
    log_peak: Array
    peak_time: Array


@functools.partial(jax.jit, static_argnames="steps")
def transient_growth(matrix: Array, steps: int) -> TransientGrowth:
    """Computes ``||A^t||_2`` for t = 1 to `steps`, and its maximum.

    A normal matrix has ``||A^t|| = rho(A)^t`` and never grows if its spectral radius is at most 1;
    others can grow first. A power of two is taken out at every step, so nothing overflows.

    Args:
      matrix: real, ``(*batch, D, D)``.
      steps: how many powers.

    Returns:
      Log norms in nats, the peak and its time. The peak is at least ``log kreiss_constant(A)``
      if `steps` reaches it.

    Raises:
      TypeError: `matrix` is complex, or `steps` is not an integer.
      ValueError: `matrix` is not square, or `steps` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> growth = transient_growth(jnp.array([[0.9, 5.0], [0.0, 0.8]]), 100)
      >>> growth.peak_time.item(), round(float(jnp.exp(growth.log_peak)), 2)
      (6, 13.48)

    Reference:
      L. Trefethen, M. Embree, "Spectra and pseudospectra", 2005, chapter 16.
    """
    steps = check_size("steps", steps, by="transient_growth")

    def one(matrix):
        factor = scaled(matrix)

        def multiply(power, _):
            exponent = power.exponent + factor.exponent
            power = rescale(factor.values @ power.values, exponent)
            return power, log_scale(power.exponent, spectral_norm(power.values))

        eye = jnp.eye(len(matrix), dtype=matrix.dtype) + jnp.zeros_like(matrix)
        _, log_norms = jax.lax.scan(multiply, scaled(eye), length=steps)
        logs = jnp.concatenate([jnp.zeros_like(log_norms[:1]), log_norms])
        return log_norms, jnp.max(logs), jnp.argmax(logs)

    found = over_leading(one, matrix, out_axes=(1, 0, 0), by="transient_growth")
    return TransientGrowth(jnp.arange(1, steps + 1), *found)


@functools.partial(jax.jit, static_argnames=("num_radii", "num_angles"))
def kreiss_constant(matrix: Array, *, num_radii: int = 16, num_angles: int = 33) -> Array:
    """Computes the Kreiss constant ``K(A) = sup_{|z| > 1} (|z| - 1) ||(z I - A)^{-1}||_2``.

    ``K(A) <= sup_{t >= 0} ||A^t||_2 <= e D K(A)``: whether powers grow before they decay. It is 1
    for a normal matrix of spectral radius at most 1, and infinite beyond that radius.

    Args:
      matrix: real, ``(*batch, D, D)``.
      num_radii: radii of the first grid, ``|z| - 1`` from eps^(1/3) to 10, evenly in the logarithm.
      num_angles: angles of the first grid, evenly in [0, pi] (A is real), beside those of the D
        eigenvalues.

    Returns:
      ``(*batch,)``, at least 1. The best point of the grid is refined to rounding. Whatever the
      grid misses makes the value smaller, never larger, so it stays a lower bound of the peak of
      ``||A^t||`` (to a relative rounding error of eps^(2/3)). ``|z| - 1`` stays above eps^(1/3): a
      defective eigenvalue on the unit circle gives a large number in place of infinity.

    Raises:
      NotImplementedError: the platform has no eigenvalues of general matrices (TPU).
      TypeError: `matrix` is complex, or a number of points is not an integer.
      ValueError: `matrix` is not square, or a number of points is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> round(kreiss_constant(jnp.array([[0.0, 8.0], [0.0, 0.0]])).item(), 4)  # 8 / 4 + 1 / 8
      2.125

    Reference:
      H.-O. Kreiss, "Ueber die Stabilitaetsdefinition fuer Differenzengleichungen die partielle
      Differentialgleichungen approximieren", 1962; L. Trefethen, M. Embree, "Spectra and
      pseudospectra", 2005, chapter 18.
    """
    by = "kreiss_constant"
    num_radii = check_size("num_radii", num_radii, by=by)
    num_angles = check_size("num_angles", num_angles, by=by)
    check_eigen(by)

    def one(matrix):
        dtype, eps = matrix.dtype, float(jnp.finfo(matrix.dtype).eps)
        low, high = math.log(eps) / 3, math.log(10)
        values = eigenvalues(matrix)

        def value(point):
            """``(|z| - 1) / sigma_min(z I - A)`` at ``(log(|z| - 1), arg z)``."""
            beyond, angle = jnp.exp(point[0]), point[1]
            z = (1 + beyond) * jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
            resolved = z * jnp.eye(len(matrix), dtype=z.dtype) - matrix
            return beyond / jnp.linalg.svdvals(resolved)[-1]

        def best(radii, angles):
            points = jnp.stack(jnp.meshgrid(radii, angles), -1).reshape(-1, 2)
            return points[jnp.argmax(jax.lax.map(value, points))]

        def zoom(point, shrink):
            near = jnp.linspace(-2 / 3, 2 / 3, 5, dtype=dtype) * shrink
            radii = jnp.clip(point[0] + near * (high - low) / max(num_radii - 1, 1), low, high)
            return best(radii, point[1] + near * math.pi / max(num_angles - 1, 1)), None

        even = jnp.linspace(0, math.pi, num_angles, dtype=dtype)
        angles = jnp.concatenate([even, jnp.abs(jnp.angle(values))])
        point = best(jnp.linspace(low, high, num_radii, dtype=dtype), angles)
        # A step of 1/2, not 1/3: the ridge can lie across both axes.
        rounds = math.ceil(-math.log2(eps) / 2) + 2
        shrinks = 0.5 ** jnp.arange(rounds, dtype=dtype)
        point, _ = jax.lax.scan(zoom, point, shrinks)
        # Rounding may put an eigenvalue of modulus 1 outside the circle.
        radius = jnp.max(jnp.abs(values))
        margin = 8 * len(matrix) * eps * jnp.maximum(jnp.linalg.norm(matrix), 1)
        found = jnp.maximum(value(point), 1)
        return jnp.where(radius > 1 + margin, jnp.inf, found)

    return over_leading(one, matrix, by=by)
