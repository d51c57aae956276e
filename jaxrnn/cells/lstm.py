"""Long short-term memory with a forget gate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "LSTM",
    "LSTM_ENTRY",
    "LSTMParams",
    "LSTMState",
    "lstm",
    "lstm_init",
    "lstm_initial_state",
    "lstm_pointwise",
    "lstm_project",
    "lstm_step",
]


class LSTMParams(NamedTuple):
    """Parameters of `lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 4 H)``.
      b: ``(4 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


class LSTMState(NamedTuple):
    """State of `lstm`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      c: ``(*batch, H)``, the memory cell.
    """

    h: Array
    c: Array


def lstm_init(key, input_size, hidden_size, *, forget_bias=1.0, **options) -> LSTMParams:
    """Makes the parameters of `lstm`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=4, **options)
    zeros = jnp.zeros(hidden_size, w_hh.dtype)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    b_i = -b_f if callable(forget_bias) else zeros
    return LSTMParams(w_ih, w_hh, jnp.concatenate([b_i, b_f, zeros, zeros]))


def lstm_initial_state(params, batch_shape=()) -> LSTMState:
    """Returns zeros, h and c ``(*batch, H)`` each."""
    shape, dtype = (*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype
    return LSTMState(h=jnp.zeros(shape, dtype), c=jnp.zeros(shape, dtype))


def lstm_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 4 H)``."""
    return input_share(params.w_ih, params.b, x, by="lstm")


def _lstm_weights(params):
    return params.w_hh


def _lstm_hidden(state):
    return state.h


def lstm_pointwise(vectors, state, a):
    """Applies the gates to the pre-activations `a`, ``(*batch, 4 H)``."""
    del vectors
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return LSTMState(h=h, c=c), h


LSTM = Gated(lstm_project, _lstm_weights, lstm_pointwise, hidden=_lstm_hidden)
lstm_step = LSTM.step


def lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float | initializers.Initializer = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the long short-term memory cell.

    ::

        i = sigmoid(x W_i + h U_i + b_i)      input gate
        f = sigmoid(x W_f + h U_f + b_f)      forget gate
        g = tanh(x W_g + h U_g + b_g)         candidate
        o = sigmoid(x W_o + h U_o + b_o)      output gate
        c' = f * c + i * g
        h' = o * tanh(c'),  y = h'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f (chrono initialisation).
      init: initializer of `w_hh`, ``(H, 4 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `LSTMParams` and `LSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; F. Gers, J. Schmidhuber,
      F. Cummins, "Learning to forget", 2000 (forget gate); R. Jozefowicz et al., 2015 (its bias).
    """
    make = sized_init(
        lstm_init,
        input_size,
        hidden_size,
        by="lstm",
        dtype=dtype,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, lstm_initial_state, LSTM)


LSTM_ENTRY = CellEntry(
    make=lstm,
    paper="Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate)",
    structure="Gated",
    state="h, c (H each)",
    equations=(
        "i, f, o = sigmoid(x W + h U + b)\n"
        "g = tanh(x W_g + h U_g + b_g)\n"
        "c' = f * c + i * g\n"
        "h' = o * tanh(c')"
    ),
    parameters="4 H (I + H + 1)",
    defaults="w_ih Glorot uniform per gate, w_hh orthogonal per gate, b_f = 1, else b = 0",
    provenance="NumPy float64 transcription; torch 2.13 nn.LSTM, values and gradients",
)
