"""The convolutional LSTM: a grid of one to three dimensions with a state at every position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.convolution import (
    check_shapes,
    check_space,
    conv_input_share,
    convolve,
    grid_zeros,
    init_kernels,
    on_grid,
)
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.lstm import LSTMState, lstm_pointwise
from jaxrnn.cells.peephole_lstm import peephole_lstm_pointwise
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "CONV_LSTM",
    "CONV_LSTM_ENTRY",
    "ConvLSTMParams",
    "conv_lstm",
    "conv_lstm_init",
    "conv_lstm_initial_state",
    "conv_lstm_project",
    "conv_lstm_recur",
    "conv_lstm_step",
]


class ConvLSTMParams(NamedTuple):
    """Parameters of `conv_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(*kernel, I, 4 H)``.
      w_hh: ``(*kernel, H, 4 H)``.
      b: ``(4 H,)``.
      p_i: ``(*space, H)``, peephole of the input gate; None without peepholes, as the other two.
      p_f: ``(*space, H)``, peephole of the forget gate.
      p_o: ``(*space, H)``, peephole of the output gate.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    p_i: Array | None
    p_f: Array | None
    p_o: Array | None


def conv_lstm_init(
    key, input_size, hidden_size, *, spatial_shape, peepholes=True, forget_bias=1.0, **options
) -> ConvLSTMParams:
    """Makes the parameters of `conv_lstm`; the other options are those of `init_kernels`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_kernels(k_w, input_size, hidden_size, gates=4, **options)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    zeros = jnp.zeros_like(b_f)
    b_i = -b_f if callable(forget_bias) else zeros
    b = jnp.concatenate([b_i, b_f, zeros, zeros])
    shape = (*spatial_shape, hidden_size)
    p_i, p_f, p_o = (jnp.zeros(shape, w_hh.dtype) if peepholes else None for _ in "ifo")
    return ConvLSTMParams(w_ih, w_hh, b, p_i, p_f, p_o)


def conv_lstm_initial_state(params, batch_shape=(), *, spatial_shape) -> LSTMState:
    """Returns zeros, h and c ``(*batch, *space, H)`` each."""
    h, c = (grid_zeros(params, batch_shape, spatial_shape=spatial_shape) for _ in "hc")
    return LSTMState(h, c)


def conv_lstm_project(params, x):
    """Returns the input's convolution plus b, ``(*batch, *space, 4 H)``."""
    return conv_input_share(params, x, by="conv_lstm")


def conv_lstm_recur(params, state, z):
    """Convolves h and applies the gates; without peepholes those of `lstm`."""
    check_space(z, state.h, by="conv_lstm")
    pointwise = lstm_pointwise if params.p_i is None else peephole_lstm_pointwise
    peepholes = params.p_i, params.p_f, params.p_o
    return pointwise(peepholes, state, z + convolve(state.h, params.w_hh))


CONV_LSTM = Separable(conv_lstm_project, conv_lstm_recur)
conv_lstm_step = CONV_LSTM.step


def conv_lstm(
    input_size: int,
    hidden_size: int,
    *,
    spatial_shape: tuple[int, ...] = (8, 8),
    kernel_size: int | tuple[int, ...] = 3,
    peepholes: bool = True,
    forget_bias: float | initializers.Initializer = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the convolutional LSTM, for images and other grids over time.

    ::

        i = sigmoid(x (*) W_i + h (*) U_i + p_i * c + b_i)
        f = sigmoid(x (*) W_f + h (*) U_f + p_f * c + b_f)
        g = tanh(x (*) W_g + h (*) U_g + b_g)
        c' = f * c + i * g
        o = sigmoid(x (*) W_o + h (*) U_o + p_o * c' + b_o)
        h' = o * tanh(c'),  y = h'

    with the convolution ``(*)``, which keeps the grid: zeros lie around it. A peephole has a weight
    for every position and channel; flax, haiku and Keras have no peepholes.

    Args:
      input_size: I, the number of input channels; inputs are ``(*batch, *space, I)``.
      hidden_size: H, the number of channels of the state.
      spatial_shape: the sizes of the grid, 1 to 3.
      kernel_size: the size of the kernels along every axis of space, or one for each.
      peepholes: whether the gates see the memory cell; p_i, p_f, p_o start at 0.
      forget_bias: initial value of b_f: a number, or an initializer as for `lstm`.
      init: initializer of `w_hh`, ``(*kernel, H, 4 H)``; Glorot uniform per gate if not given.
      input_init: initializer of `w_ih`, ``(*kernel, I, 4 H)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `ConvLSTMParams` and `LSTMState`, h and c ``(*batch, *space, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or the numbers of axes do not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = conv_lstm(3, 5, spatial_shape=(4, 6))
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 4, 6, 3)))
      >>> state.c.shape, y.shape
      ((2, 4, 6, 5), (2, 4, 6, 5))

    Reference:
      X. Shi et al., "Convolutional LSTM network: A machine learning approach for precipitation
      nowcasting", 2015, equation 3.
    """
    space, kernel = check_shapes(spatial_shape, kernel_size, by="conv_lstm")
    make = sized_init(
        conv_lstm_init,
        input_size,
        hidden_size,
        by="conv_lstm",
        dtype=dtype,
        spatial_shape=space,
        kernel_size=kernel,
        peepholes=bool(peepholes),
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    initial_state = on_grid(conv_lstm_initial_state, space)
    return from_structure(make, initial_state, CONV_LSTM, input_ndim=1 + len(space))


def _small_conv_lstm(input_size: int, hidden_size: int) -> Cell:
    return conv_lstm(input_size, hidden_size, spatial_shape=(3, 2))


CONV_LSTM_ENTRY = CellEntry(
    make=_small_conv_lstm,
    paper="Shi et al. 2015, Convolutional LSTM network, equation 3",
    structure="Separable",
    state="h, c (3, 2, H) each, on a grid of 3 x 2",
    equations=(
        "i, f = sigmoid(x (*) W + h (*) U + p * c + b)\n"
        "g = tanh(x (*) W_g + h (*) U_g + b_g)\n"
        "c' = f * c + i * g\n"
        "o = sigmoid(x (*) W_o + h (*) U_o + p_o * c' + b_o)\n"
        "h' = o * tanh(c')"
    ),
    parameters="4 H (9 I + 9 H + 1) + 18 H",
    defaults=(
        "kernels Glorot uniform per gate, peepholes 0, b_f = 1, else b = 0; grid 8 x 8, kernel 3 x "
        "3"
    ),
    provenance=(
        "NumPy transcription of the equations; without peepholes flax ConvLSTMCell and Keras "
        "ConvLSTM3D; values and gradients"
    ),
)
