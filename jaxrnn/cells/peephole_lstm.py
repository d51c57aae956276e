"""LSTM whose gates see the memory cell, and the one with coupled input and forget gates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.lstm import LSTMState, lstm_initial_state
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "COUPLED_LSTM",
    "COUPLED_LSTM_ENTRY",
    "PEEPHOLE_LSTM",
    "PEEPHOLE_LSTM_ENTRY",
    "CoupledLSTMParams",
    "PeepholeLSTMParams",
    "coupled_lstm",
    "coupled_lstm_init",
    "coupled_lstm_pointwise",
    "coupled_lstm_project",
    "coupled_lstm_step",
    "peephole_lstm",
    "peephole_lstm_init",
    "peephole_lstm_pointwise",
    "peephole_lstm_project",
    "peephole_lstm_step",
]

_PEEPHOLE_INIT = initializers.normal(0.1)


class PeepholeLSTMParams(NamedTuple):
    """Parameters of `peephole_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 4 H)``.
      b: ``(4 H,)``.
      p_i: ``(H,)``, peephole of the input gate.
      p_f: ``(H,)``, peephole of the forget gate.
      p_o: ``(H,)``, peephole of the output gate.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    p_i: Array
    p_f: Array
    p_o: Array


class CoupledLSTMParams(NamedTuple):
    """Parameters of `coupled_lstm`; gates side by side in the order i, g, o.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 3 H)``.
      b: ``(3 H,)``.
      p_i: ``(H,)``, peephole of the input gate; None without peepholes.
      p_o: ``(H,)``, peephole of the output gate; None without peepholes.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    p_i: Array | None
    p_o: Array | None


def peephole_lstm_init(
    key, input_size, hidden_size, *, forget_bias=1.0, peephole_init=_PEEPHOLE_INIT, **options
) -> PeepholeLSTMParams:
    """Makes the parameters of `peephole_lstm`; the other options are those of `init_weights`."""
    k_w, k_b, *k_p = jax.random.split(key, 5)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=4, **options)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    zeros = jnp.zeros_like(b_f)
    b_i = -b_f if callable(forget_bias) else zeros
    peepholes = [initial_vector(k, peephole_init, hidden_size, w_hh.dtype) for k in k_p]
    return PeepholeLSTMParams(w_ih, w_hh, jnp.concatenate([b_i, b_f, zeros, zeros]), *peepholes)


def coupled_lstm_init(
    key,
    input_size,
    hidden_size,
    *,
    peepholes=True,
    forget_bias=1.0,
    peephole_init=_PEEPHOLE_INIT,
    **options,
) -> CoupledLSTMParams:
    """Makes the parameters of `coupled_lstm`; the other options are those of `init_weights`."""
    k_w, k_b, *k_p = jax.random.split(key, 4)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=3, **options)
    b_i = -initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    b = jnp.concatenate([b_i, jnp.zeros(2 * hidden_size, w_hh.dtype)])
    p = [initial_vector(k, peephole_init, hidden_size, w_hh.dtype) for k in k_p]
    return CoupledLSTMParams(w_ih, w_hh, b, *(p if peepholes else (None, None)))


def peephole_lstm_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 4 H)``."""
    return input_share(params.w_ih, params.b, x, by="peephole_lstm")


def coupled_lstm_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return input_share(params.w_ih, params.b, x, by="coupled_lstm")


def _peepholes(params):
    return params.p_i, params.p_f, params.p_o


def _coupled_peepholes(params):
    if params.p_i is None:
        zeros = jnp.zeros(params.w_hh.shape[:1], params.w_hh.dtype)
        return zeros, zeros
    return params.p_i, params.p_o


def _hidden(state):
    return state.h


def peephole_lstm_pointwise(peepholes, state, a):
    """Applies the gates to the pre-activations `a`, ``(*batch, 4 H)``."""
    p_i, p_f, p_o = peepholes
    i, f, g, o = jnp.split(a, 4, axis=-1)
    i = jax.nn.sigmoid(i + p_i * state.c)
    f = jax.nn.sigmoid(f + p_f * state.c)
    c = f * state.c + i * jnp.tanh(g)
    h = jax.nn.sigmoid(o + p_o * c) * jnp.tanh(c)
    return LSTMState(h=h, c=c), h


def coupled_lstm_pointwise(peepholes, state, a):
    """Applies the gates to the pre-activations `a`, ``(*batch, 3 H)``."""
    p_i, p_o = peepholes
    i, g, o = jnp.split(a, 3, axis=-1)
    i = jax.nn.sigmoid(i + p_i * state.c)
    c = (1 - i) * state.c + i * jnp.tanh(g)
    h = jax.nn.sigmoid(o + p_o * c) * jnp.tanh(c)
    return LSTMState(h=h, c=c), h


PEEPHOLE_LSTM = Gated(
    peephole_lstm_project,
    recurrent_matrix,
    peephole_lstm_pointwise,
    vectors=_peepholes,
    hidden=_hidden,
)
COUPLED_LSTM = Gated(
    coupled_lstm_project,
    recurrent_matrix,
    coupled_lstm_pointwise,
    vectors=_coupled_peepholes,
    hidden=_hidden,
)
peephole_lstm_step = PEEPHOLE_LSTM.step
coupled_lstm_step = COUPLED_LSTM.step


def peephole_lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float | initializers.Initializer = 1.0,
    peephole_init: float | initializers.Initializer = _PEEPHOLE_INIT,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the LSTM with peepholes: each gate also sees its own memory cell.

    ::

        i = sigmoid(x W_i + h U_i + p_i * c + b_i)      input gate
        f = sigmoid(x W_f + h U_f + p_f * c + b_f)      forget gate
        g = tanh(x W_g + h U_g + b_g)                   candidate
        c' = f * c + i * g
        o = sigmoid(x W_o + h U_o + p_o * c' + b_o)     output gate, which sees the new c'
        h' = o * tanh(c'),  y = h'

    The squashing functions are tanh, as in the "vanilla LSTM" of Greff et al.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f (chrono initialisation).
      peephole_init: initial value of p_i, p_f and p_o, ``(H,)`` each: a number or an initializer;
        normal with standard deviation 0.1 if not given.
      init: initializer of `w_hh`, ``(H, 4 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `PeepholeLSTMParams` and `LSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = peephole_lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      F. Gers, J. Schmidhuber, "Recurrent nets that time and count", 2000; F. Gers, N. Schraudolph,
      J. Schmidhuber, "Learning precise timing with LSTM recurrent networks", 2002. K. Greff et al.,
      "LSTM: a search space odyssey", 2017, section II (the equations with tanh).
    """
    make = sized_init(
        peephole_lstm_init,
        input_size,
        hidden_size,
        by="peephole_lstm",
        dtype=dtype,
        forget_bias=forget_bias,
        peephole_init=peephole_init,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, lstm_initial_state, PEEPHOLE_LSTM)


def coupled_lstm(
    input_size: int,
    hidden_size: int,
    *,
    peepholes: bool = True,
    forget_bias: float | initializers.Initializer = 1.0,
    peephole_init: float | initializers.Initializer = _PEEPHOLE_INIT,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the LSTM with coupled input and forget gates (CIFG): what is taken in is forgotten.

    ::

        i = sigmoid(x W_i + h U_i + p_i * c + b_i)      input gate; the forget gate is 1 - i
        g = tanh(x W_g + h U_g + b_g)                   candidate
        c' = (1 - i) * c + i * g
        o = sigmoid(x W_o + h U_o + p_o * c' + b_o)     output gate
        h' = o * tanh(c'),  y = h'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      peepholes: whether the gates see the memory cell. True is the paper's variant; without them,
        p_i = p_o = 0, it is what others often call CIFG.
      forget_bias: b_i starts at minus this: a number, or an initializer such as
        ``initializers.chrono(T)``.
      peephole_init: initial value of p_i and p_o, ``(H,)`` each: a number or an initializer; normal
        with standard deviation 0.1 if not given.
      init: initializer of `w_hh`, ``(H, 3 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `CoupledLSTMParams` and `LSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = coupled_lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      K. Greff, R. Srivastava, J. Koutnik, B. Steunebrink, J. Schmidhuber, "LSTM: a search space
      odyssey", 2017, section II (the equations) and the variant CIFG.
    """
    make = sized_init(
        coupled_lstm_init,
        input_size,
        hidden_size,
        by="coupled_lstm",
        dtype=dtype,
        peepholes=bool(peepholes),
        forget_bias=forget_bias,
        peephole_init=peephole_init,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, lstm_initial_state, COUPLED_LSTM)


_DEFAULTS = "w_ih Glorot uniform per gate, w_hh orthogonal per gate, peepholes normal with std 0.1"
PEEPHOLE_LSTM_ENTRY = CellEntry(
    make=peephole_lstm,
    paper="Gers & Schmidhuber 2000; Gers et al. 2002",
    structure="Gated",
    state="h, c (H each)",
    equations=(
        "i, f = sigmoid(x W + h U + p * c + b)\n"
        "g = tanh(x W_g + h U_g + b_g)\n"
        "c' = f * c + i * g\n"
        "o = sigmoid(x W_o + h U_o + p_o * c' + b_o)\n"
        "h' = o * tanh(c')"
    ),
    parameters="4 H (I + H + 1) + 3 H",
    defaults=f"{_DEFAULTS}, b_f = 1, else b = 0",
    provenance="torchrecurrent 0.2.5 PeepholeLSTMCell, values and gradients",
)
COUPLED_LSTM_ENTRY = CellEntry(
    make=coupled_lstm,
    paper="Greff et al. 2017, variant CIFG",
    structure="Gated",
    state="h, c (H each)",
    equations=(
        "i = sigmoid(x W_i + h U_i + p_i * c + b_i)\n"
        "g = tanh(x W_g + h U_g + b_g)\n"
        "c' = (1 - i) * c + i * g\n"
        "o = sigmoid(x W_o + h U_o + p_o * c' + b_o)\n"
        "h' = o * tanh(c')"
    ),
    parameters="3 H (I + H + 1) + 2 H",
    defaults=f"{_DEFAULTS}, b_i = -1, else b = 0",
    provenance=(
        "torchrecurrent 0.2.5 PeepholeLSTMCell with f = 1 - i by its weights; without peepholes "
        "torch 2.13 nn.LSTMCell likewise; values and gradients"
    ),
)
