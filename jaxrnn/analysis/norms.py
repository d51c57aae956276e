"""Norms of products of Jacobians, by name, and the rows that they are measured on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxrnn.analysis.flow import Flow
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.trees import largest
from jaxrnn.core.types import Array, Key

__all__ = ["read_norm", "spectral_norm", "start_rows"]


def _leading_vector(gram: Array) -> Array:
    """Returns the leading eigenvector of a symmetric positive matrix of trace 1.

    By repeated squaring: LAPACK starts threads, which wait by spinning and made it 20 times slower
    on cores that other work used too (2 cores, 8 matrices of 128).
    """
    if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
        return jnp.linalg.eigh(gram)[1][:, -1]  # JAX maps no while loop over an explicit axis
    precision = jnp.finfo(gram.dtype)

    def square(carry):
        count, power, _ = carry
        new = power @ power
        share = jnp.trace(new)  # of the leading eigenvalues of `power`; 1 where one is left
        return count + 1, new / share, share

    # Of the other eigenvectors a part r is left in `power`, r**2 in its square, at most n r**4 in
    # the eigenvalue of the square's largest column. Where eigenvalues lie so close that they stay
    # mixed, k squarings leave an error of at most 2**-k in the eigenvalue, whatever the gaps.
    part = (precision.eps / gram.shape[0]) ** 0.25

    def mixed(carry):
        count, _, share = carry
        return (count < precision.nmant + 2) & (share < 1 - part)

    start = (0, gram, 0 * gram[0, 0])  # under `shard_map` all of it varies as `gram` does
    power = jax.lax.while_loop(mixed, square, start)[1]
    vector = power[:, jnp.argmax(jnp.diagonal(power))]
    return vector / jnp.linalg.norm(vector)


def spectral_norm(matrix: Array) -> Array:
    """Returns the largest singular value of ``(m, n)``, to the dtype's precision.

    Its derivative is that of the singular value, also where others are equal to it.
    """
    matrix = matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))
    top = largest(matrix)
    scale = jnp.where(top == 0, 1, top)
    matrix = matrix / scale
    rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    fixed = jax.lax.stop_gradient(rows)
    gram = fixed @ fixed.T
    vector = _leading_vector(gram / jnp.where(top == 0, 1, jnp.trace(gram)))
    return jnp.where(top == 0, 0, scale * jnp.linalg.norm(vector @ rows))


_NORMS = {"frobenius": jnp.linalg.norm, "spectral": spectral_norm}


def read_norm(
    norm: str, num_probes: int | None = None, key: Key | None = None, *, by: str
) -> tuple[Callable[[Array], Array], int | None]:
    """Checks the arguments that say what is measured.

    Args:
      norm: the norm's name.
      num_probes: number of random rows in place of the D unit rows, or None.
      key: for the probes, or None.
      by: the function the user called.

    Returns:
      ``(m, n) -> ()``, the norm, and the number of probes.

    Raises:
      TypeError: the number of probes is not an integer.
      ValueError: an unknown norm, less than one probe, probes without a key or with another norm
        than the one that they estimate.
    """
    if norm not in _NORMS:
        raise unknown_name("norm", norm, _NORMS)
    if num_probes is not None:
        num_probes = check_size("num_probes", num_probes, by=by)
        if key is None or norm != "frobenius":
            msg = (
                f"{by}: got num_probes={num_probes} with norm={norm!r} and "
                f"{'no key' if key is None else 'a key'}; expected norm='frobenius' and a key: "
                "probes estimate that norm alone"
            )
            raise ValueError(msg)
    return _NORMS[norm], num_probes


def start_rows(flow: Flow, num_probes: int | None, key: Key | None) -> Array:
    """Returns the rows to pull back: the identity, or probes of unit covariance."""
    if num_probes is None:
        return flow.eye()
    like = flow.states[0]
    rows = jax.random.rademacher(key, (num_probes, *like.shape), like.dtype)
    return rows / num_probes**0.5 + jnp.zeros_like(like)
