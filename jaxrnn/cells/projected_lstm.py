"""Long short-term memory with a recurrent projection."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.lstm import lstm_init, lstm_pointwise
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "PROJECTED_LSTM",
    "PROJECTED_LSTM_ENTRY",
    "ProjectedLSTMParams",
    "ProjectedLSTMState",
    "projected_lstm",
    "projected_lstm_init",
    "projected_lstm_initial_state",
    "projected_lstm_project",
    "projected_lstm_recur",
    "projected_lstm_step",
]


class ProjectedLSTMParams(NamedTuple):
    """Parameters of `projected_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(P, 4 H)``.
      b: ``(4 H,)``.
      w_hr: ``(H, P)``, the projection.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    w_hr: Array


class ProjectedLSTMState(NamedTuple):
    """State of `projected_lstm`.

    Attributes:
      h: ``(*batch, P)``, the output of the last step.
      c: ``(*batch, H)``, the memory cell.
    """

    h: Array
    c: Array


def projected_lstm_init(
    key, input_size, hidden_size, *, projection_size, init=None, **options
) -> ProjectedLSTMParams:
    """Makes the parameters of `projected_lstm`; the other options are those of `lstm_init`."""
    k_lstm, k_hh, k_hr = jax.random.split(key, 3)
    init = initializers.glorot_uniform(gates=4) if init is None else init
    w_ih, _, b = lstm_init(
        k_lstm, input_size, hidden_size, init=initializers.constant(0.0), **options
    )
    w_hh = init(k_hh, (projection_size, 4 * hidden_size), b.dtype)
    w_hr = initializers.glorot_uniform()(k_hr, (hidden_size, projection_size), b.dtype)
    return ProjectedLSTMParams(w_ih, w_hh, b, w_hr)


def projected_lstm_initial_state(params, batch_shape=()) -> ProjectedLSTMState:
    """Returns zeros, h ``(*batch, P)`` and c ``(*batch, H)``."""
    hidden_size, projection_size = params.w_hr.shape
    return ProjectedLSTMState(
        h=jnp.zeros((*batch_shape, projection_size), params.w_hr.dtype),
        c=jnp.zeros((*batch_shape, hidden_size), params.w_hr.dtype),
    )


def projected_lstm_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 4 H)``."""
    return input_share(params.w_ih, params.b, x, by="projected_lstm")


def projected_lstm_recur(params, state, z):
    """Takes an LSTM step from the projected h and projects the result."""
    after, m = lstm_pointwise((), state, z + state.h @ params.w_hh)
    h = m @ params.w_hr
    return ProjectedLSTMState(h=h, c=after.c), h


PROJECTED_LSTM = Separable(projected_lstm_project, projected_lstm_recur)
projected_lstm_step = PROJECTED_LSTM.step


def projected_lstm(
    input_size: int,
    hidden_size: int,
    *,
    projection_size: int | None = None,
    forget_bias: float | initializers.Initializer = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the LSTM with a recurrent projection (LSTMP): few numbers feed back, many remember.

    ::

        i = sigmoid(x W_i + h U_i + b_i)      input gate
        f = sigmoid(x W_f + h U_f + b_f)      forget gate
        g = tanh(x W_g + h U_g + b_g)         candidate
        o = sigmoid(x W_o + h U_o + b_o)      output gate
        c' = f * c + i * g
        h' = (o * tanh(c')) W_hr,  y = h'     h has P numbers, c has H

    This is the form of torch's ``nn.LSTM(proj_size=P)``; the paper's cell has peepholes as well.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the size of the memory cell.
      projection_size: P, the size of the output, at most H; H // 2 (at least 1) if not given.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f (chrono initialisation).
      init: initializer of `w_hh`, ``(P, 4 H)``; Glorot uniform per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `ProjectedLSTMParams` and `ProjectedLSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `projection_size` is larger than `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = projected_lstm(3, 6, projection_size=2)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (4,)), jnp.ones((4, 3)))
      >>> state.c.shape, y.shape
      ((4, 6), (4, 2))

    Reference:
      H. Sak, A. Senior, F. Beaufays, "Long short-term memory based recurrent neural network
      architectures for large vocabulary speech recognition", 2014, section 2.2.
    """
    by = "projected_lstm"
    if projection_size is None:
        projection_size = max(1, check_size("hidden_size", hidden_size, by=by) // 2)
    make = sized_init(
        projected_lstm_init,
        input_size,
        hidden_size,
        by=by,
        dtype=dtype,
        projection_size=check_size("projection_size", projection_size, by=by),
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    if projection_size > hidden_size:
        msg = (
            f"{by}: got projection_size={projection_size}; expected at most hidden_size="
            f"{hidden_size}; pass a smaller projection, or use lstm, which has none"
        )
        raise ValueError(msg)
    return from_structure(make, projected_lstm_initial_state, PROJECTED_LSTM)


PROJECTED_LSTM_ENTRY = CellEntry(
    make=projected_lstm,
    paper="Sak et al. 2014, LSTM based RNN architectures for LVCSR, section 2.2",
    structure="Separable",
    state="h (P = H // 2, at least 1), c (H)",
    equations=(
        "i, f, o = sigmoid(x W + h U + b)\n"
        "g = tanh(x W_g + h U_g + b_g)\n"
        "c' = f * c + i * g\n"
        "h' = (o * tanh(c')) W_hr"
    ),
    parameters="4 H (I + P + 1) + H P",
    defaults="w_ih, w_hh Glorot uniform per gate, w_hr Glorot uniform, b_f = 1, else b = 0",
    provenance="torch 2.13 nn.LSTM with proj_size, values and gradients",
)
