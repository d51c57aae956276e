"""What cells with gates have in common beside the LSTM's and the GRU's own parts."""

import jax
import jax.numpy as jnp

from jaxrnn.core import initializers
from jaxrnn.core.types import Array, Key

__all__ = [
    "add_to_first",
    "initial_vector",
    "hidden_zeros",
    "init_blocks",
    "keep_or_take",
    "recurrent_matrix",
]


def init_blocks(
    key: Key,
    input_size: int,
    hidden_size: int,
    *,
    inputs: int,
    recurrent: int,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> tuple[Array, Array]:
    """Draws both matrices of a cell of which some parts see the input alone.

    Args:
      key: the key.
      input_size: I.
      hidden_size: H.
      inputs: G, the number of blocks of the input matrix.
      recurrent: R, the number of blocks of the recurrent matrix.
      init: of the recurrent matrix; orthogonal per block if not given.
      input_init: of the input matrix; Glorot uniform per block if not given.
      dtype: of both; JAX's default floating dtype if not given.

    Returns:
      ``(I, G * H)`` and ``(H, R * H)``.
    """
    init = initializers.orthogonal() if init is None else init
    input_init = initializers.glorot_uniform(inputs) if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh = jax.random.split(key)
    w_ih = input_init(k_ih, (input_size, inputs * hidden_size), dtype)
    return w_ih, init(k_hh, (hidden_size, recurrent * hidden_size), dtype)


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
    n = r.shape[-1]
    return jnp.concatenate([z[..., :n] + r, z[..., n:]], axis=-1)


def keep_or_take(gate, h, new):
    """Keeps h as far as the gate, a pre-activation, is open, and takes `new` for the rest."""
    keep = jax.nn.sigmoid(gate)
    return keep * h + (1 - keep) * new
