"""The xLSTM's sLSTM: an LSTM with an exponential input gate and a normaliser."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.mlstm import check_heads, small_init
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "SLSTM",
    "SLSTM_ENTRY",
    "SLSTMParams",
    "SLSTMState",
    "slstm",
    "slstm_init",
    "slstm_initial_state",
    "slstm_pointwise",
    "slstm_project",
    "slstm_step",
    "slstm_weights",
]


class SLSTMParams(NamedTuple):
    """Parameters of `slstm` with N heads; gates side by side in the order i, f, z, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(N, H / N, 4 H / N)``, one recurrent matrix a head.
      b: ``(4 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


class SLSTMState(NamedTuple):
    """State of `slstm`, ``(*batch, H)`` each: cell and normaliser are ``c, n`` times ``exp(m)``.

    Attributes:
      h: the output of the last step.
      c: the memory cell.
      n: the normaliser; 0 before the first step.
      m: the logarithm of the scale, which keeps c and n from overflowing.
    """

    h: Array
    c: Array
    n: Array
    m: Array


def _power_law(heads, size, dtype) -> Array:
    """Returns ``5 - 12 (j / (size - 1))**0.3`` for unit j of each head, ``(heads * size,)``."""
    spread = jnp.linspace(0, 1, size, dtype=dtype) ** 0.3
    return jnp.tile(5 - 12 * spread, heads)


def slstm_init(
    key,
    input_size,
    hidden_size,
    *,
    heads=1,
    forget_bias=None,
    init=None,
    input_init=None,
    dtype=None,
) -> SLSTMParams:
    """Makes the parameters of `slstm`; `init` is the initializer of one head's matrix."""
    init = initializers.constant(0) if init is None else init
    input_init = small_init if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_b = jax.random.split(key, 3)
    size = hidden_size // heads
    blocks = [init(k, (size, 4 * size), dtype) for k in jax.random.split(k_hh, heads)]
    if forget_bias is None:
        b_f = _power_law(heads, size, dtype)
    else:
        b_f = initial_vector(k_b, forget_bias, hidden_size, dtype)
    zeros = jnp.zeros_like(b_f)
    return SLSTMParams(
        w_ih=input_init(k_ih, (input_size, 4 * hidden_size), dtype),
        w_hh=jnp.stack(blocks),
        b=jnp.concatenate([zeros, b_f, zeros, zeros]),
    )


def slstm_initial_state(params, batch_shape=()) -> SLSTMState:
    """Returns zeros."""
    zeros = jnp.zeros((*batch_shape, params.b.shape[0] // 4), params.b.dtype)
    return SLSTMState(zeros, zeros, zeros, zeros)


def slstm_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 4 H)``."""
    return input_share(params.w_ih, params.b, x, by="slstm")


def slstm_weights(params):
    """Returns the heads' matrices on the diagonal of each gate's block, ``(H, 4 H)``."""
    heads, size, _ = params.w_hh.shape
    blocks = params.w_hh.reshape(heads, size, 4, size)
    apart = jnp.eye(heads, dtype=blocks.dtype)
    return jnp.einsum("nigj,nm->nigmj", blocks, apart).reshape(heads * size, -1)


def _slstm_hidden(state):
    return state.h


def slstm_pointwise(vectors, state, a):
    """Applies the gates to the pre-activations `a`, ``(*batch, 4 H)``."""
    del vectors
    i, f, z, o = jnp.split(a, 4, axis=-1)
    log_f = jax.nn.log_sigmoid(f) + state.m
    m = jnp.where(state.n == 0, i, jnp.maximum(log_f, i))  # an empty cell has no scale yet
    f, i = jnp.exp(jnp.minimum(log_f - m, 0)), jnp.exp(i - m)
    c = f * state.c + i * jnp.tanh(z)
    n = f * state.n + i
    h = jax.nn.sigmoid(o) * c / n
    return SLSTMState(h=h, c=c, n=n, m=m), h


SLSTM = Gated(slstm_project, slstm_weights, slstm_pointwise, hidden=_slstm_hidden)
slstm_step = SLSTM.step


def slstm(
    input_size: int,
    hidden_size: int,
    *,
    heads: int = 1,
    forget_bias: float | initializers.Initializer | None = None,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the scalar long short-term memory of the xLSTM.

    ::

        i = exp(x W_i + h R_i + b_i)              input gate
        f = sigmoid(x W_f + h R_f + b_f)          forget gate
        z = tanh(x W_z + h R_z + b_z)             cell input
        o = sigmoid(x W_o + h R_o + b_o)          output gate
        c' = f * c + i * z
        n' = f * n + i
        h' = o * c' / n',  y = h'

    c and n are kept divided by exp(m) with ``m' = max(log f + m, log i)``, which changes no output.
    Where n is 0, before the first step, ``m' = log i``: then n' is 1 or more ever after, and the
    division is safe. (The authors' code does so where n is 0 in the whole batch.) The paper allows
    an exponential forget gate too; the authors' code has the sigmoid.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      heads: N; each mixes its own ``H / N`` units alone, so that the matrices R are block-diagonal.
      forget_bias: initial value of b_f: a number or an initializer;
        ``5 - 12 (j / (H / N - 1))**0.3`` for unit j of each head if not given, as the authors'
        code starts its first block: memories of many lengths.
      init: initializer of a head's ``(H / N, 4 H / N)`` of `w_hh`; zeros if not given, as in the
        authors' code.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; normal with variance 2 / (5 I) if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `SLSTMParams` and `SLSTMState`.

    Raises:
      TypeError: a size or `heads` is not an integer, or `dtype` is not floating.
      ValueError: a size or `heads` is less than 1, or `heads` does not divide `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = slstm(3, 6, heads=2)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (5,)), jnp.ones((5, 3)))
      >>> params.w_hh.shape, state.c.shape, y.shape
      ((2, 3, 12), (5, 6), (5, 6))

    Reference:
      M. Beck et al., "xLSTM: extended long short-term memory", 2024, equations 8 to 17.
    """
    heads = check_heads(heads, hidden_size, by="slstm")
    make = sized_init(
        slstm_init,
        input_size,
        hidden_size,
        by="slstm",
        dtype=dtype,
        heads=heads,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, slstm_initial_state, SLSTM)


SLSTM_ENTRY = CellEntry(
    make=slstm,
    paper="Beck et al. 2024, equations 8 to 17",
    structure="Gated",
    state="h, c, n, m (H each)",
    equations=(
        "i = exp(x W_i + h R_i + b_i)\n"
        "f, o = sigmoid(x W + h R + b), z = tanh(x W_z + h R_z + b_z)\n"
        "c' = f * c + i * z, n' = f * n + i\n"
        "h' = o * c' / n'"
    ),
    parameters="4 H (I + H + 1) (1 head)",
    defaults=(
        "w_ih normal with variance 2/(5 I), w_hh = 0, b_f = 5 - 12 (j/(H-1))^0.3 for unit j, "
        "else b = 0"
    ),
    provenance="xlstm 2.0.6 (the authors), vanilla backend, values and gradients",
)
