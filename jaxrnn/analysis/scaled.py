"""Arrays with a common power of two taken out, so that products neither overflow nor underflow."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.core.trees import largest
from jaxrnn.core.types import Array

__all__ = ["Scaled", "add", "log_scale", "rescale", "scaled"]

# The exponent of an all-zero array: below any that a product can reach, and far from int32's end.
_DEAD = -(2**30)
# A number this many powers of two below another adds nothing to it, in any dtype.
_FAR = 4096


class Scaled(NamedTuple):
    """Stands for ``values * 2**exponent``.

    Powers of two are exact, and their exponents are integers, so that rescaling at every step of a
    long product adds no rounding error.

    Attributes:
      values: array whose largest entry in magnitude lies in ``[0.5, 1)``, or zeros.
      exponent: int32 scalar.
    """

    values: Array
    exponent: Array


def rescale(values: Array, exponent: Array) -> Scaled:
    """Moves the size of `values` into the exponent; inf and NaN stay where they are."""
    top = largest(values)
    _, shift = jnp.frexp(top)
    shift = jnp.where(jnp.isfinite(top), shift, 0)
    exponent = jnp.where(top == 0, _DEAD, exponent + shift)
    return Scaled(jnp.ldexp(values, -shift), exponent.astype(jnp.int32))


def scaled(values: Array) -> Scaled:
    """Returns an array as a `Scaled`."""
    return rescale(values, jnp.int32(0))


def add(a: Scaled, b: Scaled) -> Scaled:
    """Adds two scaled arrays of one shape."""
    top = jnp.maximum(a.exponent, b.exponent)

    def at_top(one):
        return jnp.ldexp(one.values, jnp.maximum(one.exponent - top, -_FAR))

    return rescale(at_top(a) + at_top(b), top)


def log_scale(exponent: Array, size: Array) -> Array:
    """Returns ``log(size * 2**exponent)`` in nats, ``-inf`` where `size` is 0, float32 at least."""
    size = size.astype(jnp.promote_types(size.dtype, jnp.float32))
    dead = size == 0
    log = jnp.log(jnp.where(dead, 1, size)) + exponent.astype(size.dtype) * math.log(2)
    return jnp.where(dead, -jnp.inf, log)
