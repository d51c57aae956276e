"""The phased LSTM: a time gate opens each unit for a part of its own period."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import add_to_first, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.lstm import LSTMState, lstm_initial_state, lstm_pointwise
from jaxrnn.cells.peephole_lstm import peephole_lstm_init, peephole_lstm_pointwise
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "PHASED_LSTM",
    "PHASED_LSTM_ENTRY",
    "PhasedLSTMParams",
    "PhasedLSTMState",
    "phased_lstm",
    "phased_lstm_init",
    "phased_lstm_initial_state",
    "phased_lstm_pointwise",
    "phased_lstm_project",
    "phased_lstm_step",
    "phased_lstm_time_gate",
]

_LEAK = 0.001


class PhasedLSTMParams(NamedTuple):
    """Parameters of `phased_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 4 H)``.
      b: ``(4 H,)``.
      p_i: ``(H,)``, peephole of the input gate; None without peepholes, as the other two.
      p_f: ``(H,)``, peephole of the forget gate.
      p_o: ``(H,)``, peephole of the output gate.
      tau: ``(H,)``, the period, in the unit of the times.
      s: ``(H,)``, the shift of the phase, in the same unit.
      r_on: ``(H,)``, the part of the period in which the gate is open.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    p_i: Array | None
    p_f: Array | None
    p_o: Array | None
    tau: Array
    s: Array
    r_on: Array


class PhasedLSTMState(NamedTuple):
    """State of `phased_lstm`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      c: ``(*batch, H)``, the memory cell.
      step: ``(*batch,)``, integers: the number of steps taken, the time where the input has none.
    """

    h: Array
    c: Array
    step: Array


def phased_lstm_init(
    key,
    input_size,
    hidden_size,
    *,
    period=(math.e, math.e**6),
    r_on=0.05,
    peepholes=True,
    **options,
) -> PhasedLSTMParams:
    """Makes the parameters of `phased_lstm`; the others are options of `peephole_lstm_init`."""
    k_lstm, k_tau, k_s = jax.random.split(key, 3)
    lstm = peephole_lstm_init(k_lstm, input_size, hidden_size, **options)
    if not peepholes:
        lstm = lstm._replace(p_i=None, p_f=None, p_o=None)
    dtype = lstm.b.dtype
    low, high = map(math.log, period)
    tau = jnp.exp(jax.random.uniform(k_tau, (hidden_size,), dtype, low, high))
    s = tau * jax.random.uniform(k_s, (hidden_size,), dtype)
    return PhasedLSTMParams(*lstm, tau=tau, s=s, r_on=jnp.full_like(tau, r_on))


def phased_lstm_initial_state(params, batch_shape=()) -> PhasedLSTMState:
    """Returns zeros, h and c ``(*batch, H)`` each, and 0 steps."""
    h, c = lstm_initial_state(params, batch_shape)
    return PhasedLSTMState(h, c, jnp.zeros(batch_shape, jnp.int32))


def phased_lstm_time_gate(params, t, *, leak=_LEAK) -> Array:
    """Returns k, ``(*batch, H)``, for times t, ``(*batch, 1)``; at least in float32."""
    t = t.astype(jnp.promote_types(jnp.result_type(t, params.tau), jnp.float32))
    phase = jnp.mod(t - params.s, params.tau) / params.tau
    rise = 2 * phase / params.r_on
    closing = jnp.where(phase < params.r_on, 2 - rise, leak * phase)
    return jnp.where(phase < params.r_on / 2, rise, closing)


def phased_lstm_project(params, x, *, leak=_LEAK):
    """Returns the gates' share, ``(*batch, 4 H)``, and beside it k if x holds the times."""
    if not isinstance(x, tuple):
        return input_share(params.w_ih, params.b, x, by="phased_lstm")
    x, t = x
    share = input_share(params.w_ih, params.b, x, by="phased_lstm")
    if t.shape != (*share.shape[:-1], 1):
        msg = (
            f"phased_lstm: got times t of shape {t.shape}; expected {(*share.shape[:-1], 1)}, one "
            "for each x of the batch; pass x = (features, t), as in (features, t[..., None])"
        )
        raise ValueError(msg)
    k = phased_lstm_time_gate(params, t, leak=leak)
    return jnp.concatenate([share, k.astype(share.dtype)], axis=-1)


def _vectors(params):
    return params._replace(w_ih=None, w_hh=None, b=None)


def _hidden(state):
    return state.h


def phased_lstm_pointwise(vectors, state, a, *, leak=_LEAK):
    """Applies the gates to `a`, ``(*batch, 4 H)`` or, with the time gate, ``(*batch, 5 H)``."""
    h, c, step = state
    a, k = jnp.split(a, [4 * h.shape[-1]], axis=-1)
    if not k.size:
        k = phased_lstm_time_gate(vectors, step[..., None], leak=leak).astype(a.dtype)
    lstm = lstm_pointwise if vectors.p_i is None else peephole_lstm_pointwise
    proposed, _ = lstm((vectors.p_i, vectors.p_f, vectors.p_o), LSTMState(h, c), a)
    c = k * proposed.c + (1 - k) * c
    h = k * proposed.h + (1 - k) * h
    return PhasedLSTMState(h, c, step + 1), h


@functools.lru_cache(maxsize=256)
def _structure(leak: float) -> Gated:
    """Returns one and the same witness for one leak, so that a jit cache can key on it."""
    return Gated(
        functools.partial(phased_lstm_project, leak=leak),
        recurrent_matrix,
        functools.partial(phased_lstm_pointwise, leak=leak),
        add_to_first,
        _vectors,
        _hidden,
    )


PHASED_LSTM = _structure(_LEAK)
phased_lstm_step = PHASED_LSTM.step


def phased_lstm(
    input_size: int,
    hidden_size: int,
    *,
    leak: float = _LEAK,
    period: tuple[float, float] = (math.e, math.e**6),
    r_on: float = 0.05,
    peepholes: bool = True,
    forget_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the phased LSTM, for long sequences and for events at irregular times.

    ::

        phi = ((t - s) mod tau) / tau                            phase, in [0, 1)
        k = 2 phi / r_on            where phi < r_on / 2         time gate: opens,
            2 - 2 phi / r_on        where r_on / 2 < phi < r_on  closes,
            alpha phi               elsewhere                    leaks
        i = sigmoid(x W_xi + h W_hi + p_i * c + b_i)
        f = sigmoid(x W_xf + h W_hf + p_f * c + b_f)
        c~ = f * c + i * tanh(x W_xc + h W_hc + b_c)
        o = sigmoid(x W_xo + h W_ho + p_o * c~ + b_o)
        h~ = o * tanh(c~)
        c' = k * c~ + (1 - k) * c
        h' = k * h~ + (1 - k) * h,  y = h'

    The time t travels inside the input: x is the pair ``(features, t)`` with t ``(*batch, 1)``, in
    any unit. An x that is no pair has the number of steps before it as its time: 0, 1, 2, ....

    tau, s and r_on are parameters. In the paper's experiments r_on stays fixed, which takes a mask
    of the optimiser; tau and r_on must not become 0.

    Args:
      input_size: I, the number of input features, or of tokens for integer features ``(*batch,)``.
      hidden_size: H.
      leak: alpha, how far the closed gate lets through; for evaluation make the cell with 0, as the
        paper does, and run it on the same parameters.
      period: the initial tau lie log-uniformly between these two; e to e^6 steps if not given, as
        in the authors' code.
      r_on: the initial r_on of all units.
      peepholes: use p_i, p_f, p_o.
      forget_bias: initial value of b_f: a number, or an initializer as for `lstm`.
      init: initializer of `w_hh`, ``(H, 4 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `PhasedLSTMParams` and `PhasedLSTMState`. The peepholes are drawn normally
      with standard deviation 0.1 and s uniformly from one period, as in the authors' code.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, a period is not positive or the two are in the wrong order,
        r_on lies outside (0, 1], or the leak outside [0, 1].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = phased_lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> x = (jnp.ones((2, 3)), jnp.array([[0.7], [31.5]]))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), x)
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      D. Neil, M. Pfeiffer, S.-C. Liu, "Phased LSTM: Accelerating recurrent network training for
      long or event-based sequences", 2016, equations 1 to 10.
    """
    low = check_number("period[0]", period[0], by="phased_lstm", above=0)
    high = check_number("period[1]", period[1], by="phased_lstm", least=low)
    r_on = check_number("r_on", r_on, by="phased_lstm", above=0, most=1)
    leak = check_number("leak", leak, by="phased_lstm", least=0, most=1)
    make = sized_init(
        phased_lstm_init,
        input_size,
        hidden_size,
        by="phased_lstm",
        dtype=dtype,
        period=(low, high),
        r_on=r_on,
        peepholes=bool(peepholes),
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, phased_lstm_initial_state, _structure(leak))


PHASED_LSTM_ENTRY = CellEntry(
    make=phased_lstm,
    paper="Neil et al. 2016, Phased LSTM, equations 1 to 10",
    structure="Gated",
    state="h, c (H each), step",
    equations=(
        "phi = ((t - s) mod tau) / tau\n"
        "k = 2 phi / r_on, then 2 - 2 phi / r_on, then alpha phi\n"
        "c~, h~ = LSTM with peepholes\n"
        "c' = k * c~ + (1 - k) * c\n"
        "h' = k * h~ + (1 - k) * h"
    ),
    parameters="4 H (I + H + 1) + 6 H",
    defaults=(
        "w_ih Glorot uniform per gate, w_hh orthogonal per gate, b = 0, peepholes normal with std "
        "0.1, tau log-uniform in [e, e^6], s uniform in [0, tau], r_on = 0.05, alpha = 0.001"
    ),
    provenance=(
        "the authors' torch code (without peepholes); NumPy transcription of the equations; values "
        "and gradients"
    ),
)
