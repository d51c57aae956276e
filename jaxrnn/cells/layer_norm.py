"""LSTM and GRU with layer normalisation inside the recurrence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gru import gru_init, gru_mix, gru_pointwise
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.lstm import LSTMState, lstm_init
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "LAYER_NORM_GRU",
    "LAYER_NORM_GRU_ENTRY",
    "LAYER_NORM_LSTM",
    "LAYER_NORM_LSTM_ENTRY",
    "LayerNormGRUParams",
    "LayerNormLSTMParams",
    "layer_norm_gru",
    "layer_norm_gru_init",
    "layer_norm_gru_initial_state",
    "layer_norm_gru_project",
    "layer_norm_gru_recur",
    "layer_norm_gru_step",
    "layer_norm_lstm",
    "layer_norm_lstm_init",
    "layer_norm_lstm_initial_state",
    "layer_norm_lstm_project",
    "layer_norm_lstm_recur",
    "layer_norm_lstm_step",
    "standardized",
]

_EPSILON = 1e-5  # as in the authors' code; it bounds the derivative where all units are equal


def standardized(a: Array, groups: int = 1) -> Array:
    """Returns ``(a - mean) / sqrt(variance + 1e-5)`` along the last axis.

    Args:
      a: ``(*batch, groups * N)``.
      groups: number of blocks side by side, each of which has its own mean and variance.

    Returns:
      An array of the same shape.
    """
    blocks = a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)
    blocks = blocks - jnp.mean(blocks, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(blocks), axis=-1, keepdims=True)
    return (blocks * jax.lax.rsqrt(variance + _EPSILON)).reshape(a.shape)


# ------------------------------------------------------------------------- LSTM
class LayerNormLSTMParams(NamedTuple):
    """Parameters of `layer_norm_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 4 H)``.
      b: ``(4 H,)``; stands for the sum of the paper's b, beta_1 and beta_2.
      g_ih: ``(4 H,)``, gain of the input's share (alpha_2).
      g_hh: ``(4 H,)``, gain of the recurrent share (alpha_1).
      g_c: ``(H,)``, gain of the memory cell (alpha_3).
      b_c: ``(H,)``, bias of the memory cell (beta_3).
    """

    w_ih: Array
    w_hh: Array
    b: Array
    g_ih: Array
    g_hh: Array
    g_c: Array
    b_c: Array


def layer_norm_lstm_init(
    key, input_size, hidden_size, *, forget_bias=0.0, **options
) -> LayerNormLSTMParams:
    """Makes the parameters of `layer_norm_lstm`; the options are those of `lstm_init`."""
    lstm = lstm_init(key, input_size, hidden_size, forget_bias=forget_bias, **options)
    return LayerNormLSTMParams(
        *lstm,
        g_ih=jnp.ones_like(lstm.b),
        g_hh=jnp.ones_like(lstm.b),
        g_c=jnp.ones(hidden_size, lstm.b.dtype),
        b_c=jnp.zeros(hidden_size, lstm.b.dtype),
    )


def layer_norm_lstm_initial_state(params, batch_shape=()) -> LSTMState:
    """Returns zeros, h and c ``(*batch, H)`` each."""
    shape, dtype = (*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype
    return LSTMState(h=jnp.zeros(shape, dtype), c=jnp.zeros(shape, dtype))


def layer_norm_lstm_project(params, x):
    """Returns the normalised ``x @ w_ih``, scaled and shifted, ``(*batch, 4 H)``."""
    zero = jnp.zeros((), params.w_ih.dtype)
    share = input_share(params.w_ih, zero, x, by="layer_norm_lstm")
    return standardized(share) * params.g_ih + params.b


def layer_norm_lstm_recur(params, state, z):
    """Normalises the recurrent share, applies the gates, normalises the memory cell."""
    a = z + standardized(state.h @ params.w_hh) * params.g_hh
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(standardized(c) * params.g_c + params.b_c)
    return LSTMState(h=h, c=c), h


LAYER_NORM_LSTM = Separable(layer_norm_lstm_project, layer_norm_lstm_recur)
layer_norm_lstm_step = LAYER_NORM_LSTM.step


def layer_norm_lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the LSTM with layer normalisation.

    ::

        LN(a) = (a - mean(a)) / sqrt(variance(a) + 1e-5)
        (i, f, g, o) = alpha_1 * LN(h U) + alpha_2 * LN(x W) + b      LN over all 4 H numbers
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(alpha_3 * LN(c') + beta_3),  y = h'

    The paper adds beta_1, beta_2 and b, of which only the sum matters: here it is one vector. Many
    implementations normalise each gate by itself, or the sum of both shares; the paper does not.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, at least 2 for the cell to do anything: of one number nothing is left.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f (chrono initialisation).
      init: initializer of `w_hh`, ``(H, 4 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `LayerNormLSTMParams` and `LSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = layer_norm_lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016, equations 20 to 22; the 1e-5 from the
      authors' code.
    """
    make = sized_init(
        layer_norm_lstm_init,
        input_size,
        hidden_size,
        by="layer_norm_lstm",
        dtype=dtype,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, layer_norm_lstm_initial_state, LAYER_NORM_LSTM)


# ------------------------------------------------------------------------- GRU
class LayerNormGRUParams(NamedTuple):
    """Parameters of `layer_norm_gru`; gates side by side in the order r, z, n.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 3 H)``.
      b: ``(3 H,)``; stands for the sum of the paper's beta_1 and beta_2 (r, z), and beta_3 (n).
      b_hn: ``(H,)``, inside the reset gate's product (beta_4).
      g_ih: ``(3 H,)``, gains of the input's share (alpha_2, alpha_3).
      g_hh: ``(3 H,)``, gains of the recurrent share (alpha_1, alpha_4).
    """

    w_ih: Array
    w_hh: Array
    b: Array
    b_hn: Array
    g_ih: Array
    g_hh: Array


def layer_norm_gru_init(key, input_size, hidden_size, **options) -> LayerNormGRUParams:
    """Makes the parameters of `layer_norm_gru`; the options are those of `gru_init`."""
    gru = gru_init(key, input_size, hidden_size, **options)
    return LayerNormGRUParams(*gru, g_ih=jnp.ones_like(gru.b), g_hh=jnp.ones_like(gru.b))


def layer_norm_gru_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def _gates_and_candidate(a):
    """Normalises the two gates together and the candidate by itself."""
    gates, n = jnp.split(a, [2 * a.shape[-1] // 3], axis=-1)
    return jnp.concatenate([standardized(gates), standardized(n)], axis=-1)


def layer_norm_gru_project(params, x):
    """Returns the normalised ``x @ w_ih``, scaled and shifted, ``(*batch, 3 H)``."""
    zero = jnp.zeros((), params.w_ih.dtype)
    share = input_share(params.w_ih, zero, x, by="layer_norm_gru")
    return _gates_and_candidate(share) * params.g_ih + params.b


def layer_norm_gru_recur(params, h, z):
    """Normalises the recurrent share and applies the gates of `gru`."""
    r = _gates_and_candidate(h @ params.w_hh) * params.g_hh
    return gru_pointwise(params.b_hn, h, gru_mix(z, r))


LAYER_NORM_GRU = Separable(layer_norm_gru_project, layer_norm_gru_recur)
layer_norm_gru_step = LAYER_NORM_GRU.step


def layer_norm_gru(
    input_size: int,
    hidden_size: int,
    *,
    update_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the GRU with layer normalisation.

    ::

        LN(a) = (a - mean(a)) / sqrt(variance(a) + 1e-5)
        (r, z) = sigmoid(alpha_1 * LN(h U) + alpha_2 * LN(x W) + b)      LN over both gates
        n = tanh(alpha_3 * LN(x W_n) + beta_3 + r * (alpha_4 * LN(h U_n) + beta_4))
        h' = (1 - z) * n + z * h,  y = h'

    z near 1 keeps the state, as in `gru` and in the authors' code; the paper's equation has 1 - z
    for z, which is the same cell with z's gains and bias negated.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, at least 2 for the candidate to do anything: of one number nothing is left.
      update_bias: initial value of b_z: a number, or an initializer such as
        ``initializers.chrono(T)``.
      init: initializer of `w_hh`, ``(H, 3 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `LayerNormGRUParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = layer_norm_gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016, supplementary equations of the GRU;
      the 1e-5 from the authors' code.
    """
    make = sized_init(
        layer_norm_gru_init,
        input_size,
        hidden_size,
        by="layer_norm_gru",
        dtype=dtype,
        update_bias=update_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, layer_norm_gru_initial_state, LAYER_NORM_GRU)


_DEFAULTS = "w_ih Glorot uniform per gate, w_hh orthogonal per gate, gains 1, biases 0"
_PROVENANCE = "NumPy transcription of the equations, values and gradients"
LAYER_NORM_LSTM_ENTRY = CellEntry(
    make=layer_norm_lstm,
    paper="Ba et al. 2016, Layer normalization, equations 20 to 22",
    structure="Separable",
    state="h, c (H each)",
    equations=(
        "i, f, g, o = alpha_1 * LN(h U) + alpha_2 * LN(x W) + b\n"
        "c' = sigmoid(f) * c + sigmoid(i) * tanh(g)\n"
        "h' = sigmoid(o) * tanh(alpha_3 * LN(c') + beta_3)"
    ),
    parameters="4 H (I + H) + 14 H",
    defaults=_DEFAULTS,
    provenance=_PROVENANCE,
)
LAYER_NORM_GRU_ENTRY = CellEntry(
    make=layer_norm_gru,
    paper="Ba et al. 2016, Layer normalization, supplement",
    structure="Separable",
    state="h (H)",
    equations=(
        "r, z = sigmoid(alpha_1 * LN(h U) + alpha_2 * LN(x W) + b)\n"
        "n = tanh(alpha_3 * LN(x W_n) + beta_3 + r * (alpha_4 * LN(h U_n) + beta_4))\n"
        "h' = (1 - z) * n + z * h"
    ),
    parameters="3 H (I + H) + 10 H",
    defaults=_DEFAULTS,
    provenance=_PROVENANCE,
)
