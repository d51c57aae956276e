"""Orthonormal frames pushed through a product of Jacobians, and what they grow by."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array, Key

__all__ = [
    "Frame",
    "Images",
    "Step",
    "advance_frame",
    "cholesky_qr",
    "householder_qr",
    "images_of",
    "random_frame",
    "reached",
    "scaled_images",
]


class Frame(NamedTuple):
    """Orthonormal directions in state space; those that died exactly stand last.

    Attributes:
      rows: ``(k, D)``, orthonormal.
      alive: ``(k,)`` bool, True first.
    """

    rows: Array
    alive: Array


class Images(NamedTuple):
    """Where the rows of a frame have come to: ``rows * 2**exponents``.

    The powers of two keep what shrinks over several steps from underflow, which would look like
    death, and what grows from overflow; they add no rounding error.

    Attributes:
      rows: ``(k, D)``.
      exponents: ``(k,)``, int32.
    """

    rows: Array
    exponents: Array


class Step(NamedTuple):
    """What one orthonormalisation of a frame found.

    Attributes:
      factor: ``(k, k)``, upper triangular with positive diagonal: the images are
        ``exp(shift) * factor.T @ rows``. Rows and columns of dead directions are those of the
        identity.
      shift: ``(k,)`` in nats, the logs of the images' powers of two.
      log_growth: ``(k,)`` in nats, ``-inf`` for dead directions.
      loss: ``(k,)``, how many times larger an image is than its part orthogonal to those before:
        the factor by which rounding errors are magnified.
      order: ``(k,)``, the places in the old frame that the directions came from.
    """

    factor: Array
    shift: Array
    log_growth: Array
    loss: Array
    order: Array


def images_of(frame: Frame) -> Images:
    """Returns a frame as the images after no step."""
    return Images(frame.rows, jnp.zeros_like(frame.alive, jnp.int32))


def scaled_images(rows: Array, exponents: Array) -> Images:
    """Moves the size of each row into its exponent."""
    top = jnp.max(jnp.abs(rows), axis=1)
    _, shift = jnp.frexp(top)
    shift = jnp.where(jnp.isfinite(top) & (top > 0), shift, 0)
    return Images(jnp.ldexp(rows, -shift[:, None]), (exponents + shift).astype(jnp.int32))


def random_frame(key: Key, count: int, like: Array) -> Frame:
    """Draws `count` orthonormal directions uniformly, for states such as `like`, ``(D,)``."""
    draw = jax.random.normal(key, (like.shape[0], count), like.dtype)
    rows = householder_qr(draw)[0].T + jnp.zeros_like(like)
    return Frame(rows, jnp.ones(count, bool) | jnp.isnan(rows[:, 0]))


def householder_qr(columns: Array) -> tuple[Array, Array]:
    """Returns Q and R of ``(D, k)`` with a positive diagonal of R, by Householder reflections."""
    q, r = jnp.linalg.qr(columns)
    signs = jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(r.dtype)
    return q * signs, r * signs[:, None]


def cholesky_qr(columns: Array) -> tuple[Array, Array]:
    """Returns Q and R of ``(D, k)`` by Cholesky factors of the Gram matrix, twice.

    Large products and no reflections: fast for tall matrices on accelerators. NaN where the
    columns' condition number is beyond ``eps ** -1/2``.

    Reference:
      Y. Yamamoto, Y. Nakatsukasa, Y. Yanagisawa, T. Fukaya, "Roundoff error analysis of the
      CholeskyQR2 algorithm", 2015.
    """

    def once(columns):
        r = jnp.linalg.cholesky(columns.T @ columns).T
        q = jax.lax.linalg.triangular_solve(r, columns, left_side=False, lower=False)
        return q, r

    q, first = once(columns)
    q, second = once(q)
    return q, second @ first


def reached(frame: Frame, images: Array) -> Array:
    """Returns how many numbers of the state the images of the living directions, ``(k, D)``, reach.

    A matrix has no higher rank than it has rows that are not exactly zero, or columns.
    """
    nonzero = jnp.any(jnp.where(frame.alive[:, None], images, 0) != 0, axis=0)
    return jnp.sum(nonzero).astype(jnp.int32)


def advance_frame(frame: Frame, images: Images, rank: Array, qr=householder_qr):
    """Orthonormalises the images of a frame.

    Args:
      frame: the frame before.
      images: its rows after one or more steps.
      rank: how many directions can be alive, see `reached`; the others are dead. What is merely
        below the rounding of the step is not dead but shows in `loss`.
      qr: ``(D, k) -> (Q, R)``.

    Returns:
      The frame after, and a `Step`.
    """
    alive = frame.alive & jnp.any(images.rows != 0, axis=1)
    order = jnp.argsort(~alive, stable=True)
    alive = alive[order] & (jnp.arange(len(order)) < rank)
    shift = jnp.where(alive, images.exponents[order], 0).astype(frame.rows.dtype) * math.log(2)
    images = jnp.where(alive[:, None], images.rows[order], frame.rows[order])
    rows, factor = qr(images.T)
    # A zero that rounding fills would hide, at the next step, that a direction has died.
    filled = alive[:, None] & ~jnp.any(alive[:, None] & (images != 0), axis=0)
    rows = jnp.where(filled.T, 0, rows)
    sizes = jnp.diagonal(factor)
    lengths = jnp.linalg.norm(images, axis=1)
    both = alive[:, None] & alive
    growth = jnp.log(jnp.where(alive, sizes, 1)) + shift
    step = Step(
        jnp.where(both, factor, jnp.eye(len(order), dtype=factor.dtype)),
        shift,
        jnp.where(alive, growth, -jnp.inf),
        jnp.where(alive, lengths / sizes, 1),
        order,
    )
    return Frame(rows.T, alive), step
