"""minGRU and minLSTM: a GRU and an LSTM whose gates know the input alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Array

__all__ = [
    "MIN_GRU",
    "MIN_GRU_ENTRY",
    "MIN_GRU_POSITIVE",
    "MIN_LSTM",
    "MIN_LSTM_ENTRY",
    "MIN_LSTM_POSITIVE",
    "MinGRUParams",
    "MinLSTMParams",
    "min_gru",
    "min_gru_coefficients",
    "min_gru_init",
    "min_gru_initial_state",
    "min_gru_positive_coefficients",
    "min_gru_readout",
    "min_gru_step",
    "min_lstm",
    "min_lstm_coefficients",
    "min_lstm_init",
    "min_lstm_initial_state",
    "min_lstm_positive_coefficients",
    "min_lstm_step",
    "positive_candidate",
]


class MinGRUParams(NamedTuple):
    """Parameters of `min_gru`; blocks side by side: gate z, candidate.

    Attributes:
      w_ih: ``(I, 2 H)``.
      b: ``(2 H,)``.
    """

    w_ih: Array
    b: Array


class MinLSTMParams(NamedTuple):
    """Parameters of `min_lstm`; blocks side by side: gates f, i, candidate.

    Attributes:
      w_ih: ``(I, 3 H)``.
      b: ``(3 H,)``.
    """

    w_ih: Array
    b: Array


def min_gru_init(
    key, input_size, hidden_size, *, update_bias=0.0, input_init=None, dtype=None
) -> MinGRUParams:
    """Makes the parameters of `min_gru`."""
    input_init = initializers.glorot_uniform(2) if input_init is None else input_init
    k_w, k_b = jax.random.split(key)
    w_ih = input_init(k_w, (input_size, 2 * hidden_size), initializers.float_dtype(dtype))
    b_z = initial_vector(k_b, update_bias, hidden_size, w_ih.dtype)
    return MinGRUParams(w_ih, jnp.concatenate([b_z, jnp.zeros_like(b_z)]))


def min_lstm_init(
    key, input_size, hidden_size, *, forget_bias=0.0, input_init=None, dtype=None
) -> MinLSTMParams:
    """Makes the parameters of `min_lstm`."""
    input_init = initializers.glorot_uniform(3) if input_init is None else input_init
    k_w, k_b = jax.random.split(key)
    w_ih = input_init(k_w, (input_size, 3 * hidden_size), initializers.float_dtype(dtype))
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_ih.dtype)
    zeros = jnp.zeros_like(b_f)
    b_i = -b_f if callable(forget_bias) else zeros
    return MinLSTMParams(w_ih, jnp.concatenate([b_f, b_i, zeros]))


def min_gru_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.b.shape[0] // 2), params.b.dtype)


def min_lstm_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.b.shape[0] // 3), params.b.dtype)


def positive_candidate(x):
    """Returns the paper's ``g(x)``: ``x + 1/2`` for x not negative, else ``sigmoid(x)``."""
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


def min_gru_coefficients(params, x):
    """Returns ``(1 - z, z * candidate)``, ``(*batch, H)`` each."""
    z, candidate = jnp.split(input_share(params.w_ih, params.b, x, by="min_gru"), 2, axis=-1)
    return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * candidate


def min_gru_positive_coefficients(params, x):
    """Returns ``(1 - z, z * g(candidate))``, ``(*batch, H)`` each."""
    z, candidate = jnp.split(input_share(params.w_ih, params.b, x, by="min_gru"), 2, axis=-1)
    return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * positive_candidate(candidate)


def _min_lstm_gates(params, x):
    """Returns f / (f + i), i / (f + i) and the candidate; from logarithms, so never 0 / 0."""
    share = input_share(params.w_ih, params.b, x, by="min_lstm")
    f, i, candidate = jnp.split(share, 3, axis=-1)
    log_ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
    return jax.nn.sigmoid(log_ratio), jax.nn.sigmoid(-log_ratio), candidate


def min_lstm_coefficients(params, x):
    """Returns ``(f', i' * candidate)``, ``(*batch, H)`` each."""
    f, i, candidate = _min_lstm_gates(params, x)
    return f, i * candidate


def min_lstm_positive_coefficients(params, x):
    """Returns ``(f', i' * g(candidate))``, ``(*batch, H)`` each."""
    f, i, candidate = _min_lstm_gates(params, x)
    return f, i * positive_candidate(candidate)


def min_gru_readout(params, h, x):
    """Returns the state, the output of both cells."""
    del params, x
    return h


MIN_GRU = Linear(min_gru_coefficients, min_gru_readout)
MIN_GRU_POSITIVE = Linear(min_gru_positive_coefficients, min_gru_readout)
MIN_LSTM = Linear(min_lstm_coefficients, min_gru_readout)
MIN_LSTM_POSITIVE = Linear(min_lstm_positive_coefficients, min_gru_readout)
min_gru_step = MIN_GRU.step
min_lstm_step = MIN_LSTM.step


def min_gru(
    input_size: int,
    hidden_size: int,
    *,
    positive: bool = False,
    update_bias: float | initializers.Initializer = 0.0,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the minimal gated recurrent unit that is affine in its state.

    ::

        z = sigmoid(x W_z + b_z)           update gate
        n = x W_n + b_n                    candidate; g(x W_n + b_n) with positive=True
        h' = (1 - z) * h + z * n,  y = h'

    z near 1 takes the candidate, as in the paper. Neither gate nor candidate knows h; cells called
    minGRU or MiniGRU whose gates do are others.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      positive: apply ``g(x) = x + 1/2 if x >= 0 else sigmoid(x)`` to the candidate, as the paper
        does where it computes with the logarithm of h (its appendix B).
      update_bias: initial value of b_z: a number or an initializer; negative values keep h longer.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform per block if not given (the
        paper names none).
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `MinGRUParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = min_gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", 2024,
      section 3.1.
    """
    make = sized_init(
        min_gru_init,
        input_size,
        hidden_size,
        by="min_gru",
        dtype=dtype,
        update_bias=update_bias,
        input_init=input_init,
    )
    structure = MIN_GRU_POSITIVE if positive else MIN_GRU
    return from_structure(make, min_gru_initial_state, structure)


def min_lstm(
    input_size: int,
    hidden_size: int,
    *,
    positive: bool = False,
    forget_bias: float | initializers.Initializer = 0.0,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the minimal long short-term memory that is affine in its state.

    ::

        f = sigmoid(x W_f + b_f)                        forget gate
        i = sigmoid(x W_i + b_i)                        input gate
        n = x W_n + b_n                                 candidate; g(x W_n + b_n) with positive=True
        h' = f / (f + i) * h + i / (f + i) * n,  y = h'

    The sum of the two weights is 1, so that the scale of h does not depend on the length.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      positive: apply ``g(x) = x + 1/2 if x >= 0 else sigmoid(x)`` to the candidate, as the paper
        does where it computes with the logarithm of h (its appendix B).
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given (the
        paper names none).
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `MinLSTMParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = min_lstm(3, 5, forget_bias=2.0)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", 2024,
      section 3.2.
    """
    make = sized_init(
        min_lstm_init,
        input_size,
        hidden_size,
        by="min_lstm",
        dtype=dtype,
        forget_bias=forget_bias,
        input_init=input_init,
    )
    structure = MIN_LSTM_POSITIVE if positive else MIN_LSTM
    return from_structure(make, min_lstm_initial_state, structure)


_PROVENANCE = (
    "NumPy transcription of the equations; with positive=True mingru-pytorch 0.2.1, values and "
    "gradients"
)
MIN_GRU_ENTRY = CellEntry(
    make=min_gru,
    paper="Feng et al. 2024, section 3.1",
    structure="Linear",
    state="h (H)",
    equations="z = sigmoid(x W_z + b_z)\nh' = (1 - z) * h + z * (x W_n + b_n)",
    parameters="2 H (I + 1)",
    defaults="w_ih Glorot uniform per block, b = 0",
    provenance=_PROVENANCE,
)
MIN_LSTM_ENTRY = CellEntry(
    make=min_lstm,
    paper="Feng et al. 2024, section 3.2",
    structure="Linear",
    state="h (H)",
    equations="f, i = sigmoid(x W + b)\nh' = f / (f + i) * h + i / (f + i) * (x W_n + b_n)",
    parameters="3 H (I + 1)",
    defaults="w_ih Glorot uniform per block, b = 0",
    provenance=_PROVENANCE,
)
