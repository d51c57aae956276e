"""Non-normality of a matrix: how far its powers can stray from what its eigenvalues say."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.eigen import check_eigen, schur_values, widen
from jaxrnn.core.types import Array

__all__ = [
    "Departure",
    "henrici_departure",
    "numerical_abscissa",
    "numerical_radius",
    "over_leading",
]


class Departure(NamedTuple):
    """Henrici's departure from normality.

    Attributes:
      absolute: ``(*batch,)``, Frobenius norm of the strict upper triangle of the Schur form;
        0 for a normal matrix.
      relative: ``(*batch,)``, the same over the Frobenius norm of the matrix, from 0 (normal) to 1
        (nilpotent); 0 for a zero matrix, which is normal.
    """

    absolute: Array
    relative: Array


def over_leading(function: Callable, matrix: Array, *, out_axes=0, by: str):
    """Applies a function of one real square matrix to all matrices ``(*batch, D, D)``."""
    matrix = jnp.asarray(matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.shape[-1]:
        msg = (
            f"{by}: got a matrix of shape {matrix.shape}; expected square matrices (*batch, D, D); "
            "step Jacobians (T, *batch, D, D) come from jaxrnn.analysis.jacobians"
        )
        raise ValueError(msg)
    if jnp.issubdtype(matrix.dtype, jnp.complexfloating):
        msg = (
            f"{by}: got a matrix of dtype {matrix.dtype}; expected a real one; write A + i B as "
            "[[A, -B], [B, A]]"
        )
        raise TypeError(msg)
    matrix = widen(matrix)
    for _ in matrix.shape[:-2]:
        function = jax.vmap(function, 0, out_axes)
    with jax.default_matmul_precision("highest"):
        return function(matrix)


@jax.jit
def henrici_departure(matrix: Array) -> Departure:
    """Computes Henrici's departure from normality.

    With the Schur form ``A = Q (D + N) Q^H``, N strictly upper triangular, it is
    ``||N||_F = sqrt(||A||_F^2 - sum |lambda_i|^2)``. It is read off N on a CPU, so that it is right
    to rounding (``eps ||A||_F``); on a GPU, where JAX has no Schur form, it comes from the right
    hand side, and departures below ``sqrt(eps) ||A||_F`` are lost in rounding.

    Args:
      matrix: real, ``(*batch, D, D)``: a recurrent matrix, or step Jacobians.

    Returns:
      The departure, absolute and relative. It has no derivative.

    Raises:
      NotImplementedError: the platform has no eigenvalues of general matrices (TPU).
      TypeError: `matrix` is complex.
      ValueError: `matrix` is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> henrici_departure(jnp.array([[0.9, 0.5], [0.0, 0.9]])).absolute.item()
      0.5

    Reference:
      P. Henrici, "Bounds for iterates, inverses, spectral variation and fields of values of
      non-normal matrices", 1962.
    """
    check_eigen("henrici_departure")

    def one(matrix):
        size = jnp.linalg.norm(matrix)
        absolute = schur_values(matrix).departure
        return Departure(absolute, absolute / jnp.where(size == 0, 1, size))

    return over_leading(one, matrix, by="henrici_departure")


@jax.jit
def numerical_abscissa(matrix: Array) -> Array:
    """Computes the numerical abscissa ``omega(A)``, the largest eigenvalue of ``(A + A^T) / 2``.

    It is the largest initial growth rate of ``exp(t A)``, and the rightmost point of the field of
    values ``{x^H A x : ||x|| = 1}``.

    Args:
      matrix: real, ``(*batch, D, D)``.

    Returns:
      ``(*batch,)``.

    Raises:
      TypeError: `matrix` is complex.
      ValueError: `matrix` is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> numerical_abscissa(jnp.array([[0.0, 1.0], [0.0, 0.0]])).item()
      0.5

    Reference:
      L. Trefethen, M. Embree, "Spectra and pseudospectra", 2005, chapter 17.
    """

    def one(matrix):
        return jnp.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]

    return over_leading(one, matrix, by="numerical_abscissa")


@jax.jit
def numerical_radius(matrix: Array) -> Array:
    """Computes the numerical radius ``r(A) = max {|x^H A x| : ||x|| = 1}``.

    ``r(A)`` is the largest eigenvalue of ``(e^{i theta} A + e^{-i theta} A^T) / 2`` over all theta.
    It bounds the powers of A at all times: ``||A^t||_2 <= 2 r(A)^t`` (Berger's inequality).

    Args:
      matrix: real, ``(*batch, D, D)``.

    Returns:
      ``(*batch,)``. Theta runs over 65 angles in [0, pi] (A is real) and is refined around the
      best: right to rounding, except where two maxima lie within 0.03 % of each other and the grid
      takes the lower one for the higher; then it is at most 0.03 % low.

    Raises:
      TypeError: `matrix` is complex.
      ValueError: `matrix` is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> round(numerical_radius(jnp.eye(3, k=1)).item(), 6)  # cos(pi / 4)
      0.707107

    Reference:
      C. Johnson, "Numerical determination of the field of values of a general complex matrix",
      1978; C. Pearcy, "An elementary proof of the power inequality for the numerical radius", 1966.
    """
    num_angles = 65

    def one(matrix):
        def support(theta):
            even, odd = (matrix + matrix.T) / 2, (matrix - matrix.T) / 2
            hermitian = jax.lax.complex(jnp.cos(theta) * even, jnp.sin(theta) * odd)
            return jnp.linalg.eigvalsh(hermitian)[-1]

        angles = jnp.linspace(0, math.pi, num_angles, dtype=matrix.dtype)
        theta = angles[jnp.argmax(jax.lax.map(support, angles))]

        def zoom(theta, width):
            near = theta + width * jnp.linspace(-2 / 3, 2 / 3, 5, dtype=matrix.dtype)
            return near[jnp.argmax(jax.lax.map(support, near))], None

        # The value is flat at its maximum: half of the digits of theta give it all of its own.
        rounds = math.ceil(math.log(num_angles / math.sqrt(jnp.finfo(matrix.dtype).eps), 3)) - 3
        widths = math.pi / (num_angles - 1) / 3.0 ** jnp.arange(rounds, dtype=matrix.dtype)
        theta, _ = jax.lax.scan(zoom, theta, widths)
        return support(jax.lax.stop_gradient(theta))

    return over_leading(one, matrix, by="numerical_radius")
