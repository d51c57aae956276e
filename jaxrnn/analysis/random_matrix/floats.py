"""The dtype of a law's argument."""

import jax.numpy as jnp

from jaxrnn.core.types import Array

__all__ = ["floats"]


def floats(x) -> Array:
    """Returns x as an array of a floating dtype, float32 or wider."""
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(float, x), jnp.float32))
