"""Eigenvalues and singular values of real square matrices, on the platforms that have them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.scaled import scaled
from jaxrnn.core.types import Array

__all__ = [
    "EigenSystem",
    "SchurValues",
    "check_eigen",
    "eigen_system",
    "eigenvalues",
    "schur_values",
    "widen",
]

# No power of two that a dtype holds is further from 1.
_FAR = 2048


class EigenSystem(NamedTuple):
    """Eigenvalues and eigenvectors of one matrix A, largest magnitude first.

    Attributes:
      values: ``(D,)``, complex.
      right: ``(D, D)``, complex; column k is v with ``A v = values[k] v``, of norm 1.
      left: ``(D, D)``, complex; row k is u with ``u A = values[k] u``, of norm 1.
    """

    values: Array
    right: Array
    left: Array


class SchurValues(NamedTuple):
    """What can be read from a Schur form.

    Attributes:
      values: ``(D,)``, complex, the eigenvalues.
      departure: Frobenius norm of what stands above the diagonal of the triangular form.
    """

    values: Array
    departure: Array


def check_eigen(by: str) -> None:
    """Raises NotImplementedError where JAX has no eigenvalues of general matrices (TPU)."""
    chosen = jax.config.jax_default_device
    platform = jax.default_backend() if chosen is None else getattr(chosen, "platform", chosen)
    if platform not in ("cpu", "gpu", "cuda", "rocm"):
        msg = (
            f"{by}: got platform {platform!r}; expected 'cpu' or 'gpu': JAX computes eigenvalues "
            "of general matrices only there; run it under "
            "jax.default_device(jax.devices('cpu')[0])"
        )
        raise NotImplementedError(msg)


def widen(matrix: Array) -> Array:
    """Returns an array in float32 at least, which is the least that LAPACK knows."""
    return matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))


def _at_scale(values: Array, exponent: Array) -> Array:
    """Multiplies by a power of two; by none for the exponent of an all-zero matrix."""
    exponent = jnp.where(jnp.abs(exponent) > _FAR, 0, exponent)
    if not jnp.iscomplexobj(values):
        return jnp.ldexp(values, exponent)
    return jax.lax.complex(jnp.ldexp(values.real, exponent), jnp.ldexp(values.imag, exponent))


# Some builds of LAPACK (that of SciPy 1.17) return wrong eigenvalues of matrices whose norm lies
# beyond 1e12 or below 1e-12 in float32, so it is handed matrices with entries of size 1.


def eigenvalues(matrix: Array) -> Array:
    """Computes the eigenvalues of ``(D, D)``, largest magnitude first; NaN gives NaN."""
    matrix, exponent = scaled(widen(matrix))
    values = jnp.linalg.eigvals(matrix)
    return _at_scale(values[jnp.argsort(-jnp.abs(values), stable=True)], exponent)


def eigen_system(matrix: Array) -> EigenSystem:
    """Computes the eigenvalues and both kinds of eigenvectors of ``(D, D)``; NaN gives NaN."""
    matrix, exponent = scaled(widen(matrix))
    values, left, right = jax.lax.linalg.eig(matrix)
    order = jnp.argsort(-jnp.abs(values), stable=True)
    return EigenSystem(_at_scale(values[order], exponent), right[:, order], left[:, order].conj().T)


def _from_schur(matrix: Array) -> tuple[Array, Array]:
    """Reads eigenvalues and departure off the real Schur form, without cancellation."""
    triangle = jax.lax.linalg.schur(matrix, compute_schur_vectors=False)[0]
    diagonal = jnp.diagonal(triangle)
    below, above = jnp.diagonal(triangle, -1), jnp.diagonal(triangle, 1)
    # LAPACK leaves a complex pair a +- i sqrt(-bc) as the block [[a, b], [c, a]], bc < 0.
    imag = jnp.where(below == 0, 0, jnp.sqrt(jnp.abs(above)) * jnp.sqrt(jnp.abs(below)))
    imag = jnp.pad(imag, (0, 1)) - jnp.pad(imag, (1, 0))
    # The triangular form of such a block has |b| - |c| above its diagonal.
    excess = jnp.where(below == 0, above, jnp.abs(above) - jnp.abs(below))
    rest = jnp.linalg.norm(jnp.triu(triangle, 2))
    return jax.lax.complex(diagonal, imag), jnp.hypot(rest, jnp.linalg.norm(excess))


def _from_eigenvalues(matrix: Array) -> tuple[Array, Array]:
    """The same by Henrici's formula, which loses half of the digits of a small departure."""
    values = jnp.linalg.eigvals(matrix)
    squares = jnp.sum(matrix**2) - jnp.sum(jnp.abs(values) ** 2)
    return values, jnp.sqrt(jnp.maximum(squares, 0))


def schur_values(matrix: Array) -> SchurValues:
    """Computes eigenvalues and departure from normality of ``(D, D)``.

    By the Schur form where JAX has one (CPU), else (GPU) from the eigenvalues alone.
    """
    matrix, exponent = scaled(widen(matrix))
    values, departure = jax.lax.platform_dependent(
        matrix, cpu=_from_schur, default=_from_eigenvalues
    )
    return SchurValues(_at_scale(values, exponent), _at_scale(departure, exponent))
