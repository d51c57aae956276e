"""What cells with gates have in common."""

import jax
import jax.numpy as jnp

from jaxrnn.core import initializers
from jaxrnn.core.types import Array, Key

__all__ = [
    "add_to_first",
    "initial_vector",
    "hidden_zeros",
    "keep_or_take",
    "recurrent_matrix",
]


def initial_vector(
    key: Key, value: float | initializers.Initializer, hidden_size: int, dtype
) -> Array:
    """Returns a bias or peephole at first, ``(H,)``: filled with a number, or drawn."""
    if callable(value):
        return value(key, (hidden_size,), dtype)
    return jnp.full(hidden_size, value, dtype)


def hidden_zeros(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``: the initial state of a cell whose state is one array."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def recurrent_matrix(params) -> Array:
    """Returns `w_hh`."""
    return params.w_hh


def add_to_first(z, r):
    """Adds the recurrent share, ``(*batch, R)``, to the first R of ``(*batch, G)``: a `mix`."""
    first, rest = jnp.split(z, [r.shape[-1]], axis=-1)
    return jnp.concatenate([first + r, rest], axis=-1)


def keep_or_take(gate, h, new):
    """Keeps h as far as the gate, a pre-activation, is open, and takes `new` for the rest."""
    keep = jax.nn.sigmoid(gate)
    return keep * h + (1 - keep) * new
