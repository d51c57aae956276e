"""The clockwork RNN: modules that tick at different periods."""

import functools
import itertools
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "CLOCKWORK",
    "CLOCKWORK_ENTRY",
    "ClockworkParams",
    "ClockworkState",
    "clockwork",
    "clockwork_init",
    "clockwork_initial_state",
    "clockwork_pointwise",
    "clockwork_project",
    "clockwork_step",
    "clockwork_weights",
]

_PERIODS = (1, 2, 4, 8)


class ClockworkParams(NamedTuple):
    """Parameters of `clockwork`; M modules side by side, the fastest first.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: M arrays, one for each module m = 0, 1, ...: ``(H - m H / M, H / M)``, the weights from
        the module itself and from all slower ones.
      b: ``(H,)``.
    """

    w_ih: Array
    w_hh: tuple[Array, ...]
    b: Array


class ClockworkState(NamedTuple):
    """State of `clockwork`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      step: ``(*batch,)``, integers: the number of steps taken.
    """

    h: Array
    step: Array


def clockwork_init(
    key, input_size, hidden_size, *, modules=4, init=None, input_init=None, dtype=None
) -> ClockworkParams:
    """Makes the parameters of `clockwork`."""
    normal = initializers.normal(0.1)
    w_ih, w_hh = init_weights(
        key, input_size, hidden_size, gates=1, init=init or normal, input_init=input_init or normal,
        dtype=dtype,
    )  # fmt: skip
    columns = jnp.split(w_hh, modules, axis=1)
    blocks = tuple(one[m * one.shape[1] :] for m, one in enumerate(columns))
    return ClockworkParams(w_ih, blocks, jnp.zeros(hidden_size, w_hh.dtype))


def clockwork_initial_state(params, batch_shape=()) -> ClockworkState:
    """Returns zeros, ``(*batch, H)``, and 0 steps."""
    zeros = jnp.zeros((*batch_shape, params.b.shape[0]), params.b.dtype)
    return ClockworkState(zeros, jnp.zeros(batch_shape, jnp.int32))


def clockwork_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="clockwork")


def clockwork_weights(params) -> Array:
    """Returns the whole recurrent matrix, ``(H, H)``: zeros from the faster to the slower."""
    size = params.b.shape[0]
    columns = [jnp.pad(one, ((size - one.shape[0], 0), (0, 0))) for one in params.w_hh]
    return jnp.concatenate(columns, axis=1)


def _clockwork_hidden(state):
    return state.h


def clockwork_pointwise(periods, state, a):
    """Updates the units whose period divides the number of steps; `periods` is ``(H,)``."""
    active = state.step[..., None] % periods == 0
    h = jnp.where(active, jnp.tanh(a), state.h)
    return ClockworkState(h, state.step + 1), h


@functools.lru_cache(maxsize=256)
def _structure(periods: tuple[int, ...]) -> Gated:
    """Returns one and the same witness for the same periods, so that a jit cache can key on it."""

    def clockwork_periods(params):
        units = params.b.shape[0] // len(periods)
        return jnp.repeat(jnp.asarray(periods, jnp.int32), units)

    return Gated(
        clockwork_project,
        clockwork_weights,
        clockwork_pointwise,
        vectors=clockwork_periods,
        hidden=_clockwork_hidden,
    )


CLOCKWORK = _structure(_PERIODS)
clockwork_step = CLOCKWORK.step


def clockwork(
    input_size: int,
    hidden_size: int,
    *,
    periods: tuple[int, ...] = _PERIODS,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the clockwork RNN.

    ::

        h'_m = tanh(x W_m + sum_{n >= m} h_n U_nm + b_m)     where t mod T_m = 0
        h'_m = h_m                                           elsewhere
        y = h'

    Module m reads itself and the slower modules n > m, never a faster one. t counts the steps from
    0, so every module is active in the first.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, a multiple of the number of modules.
      periods: T, the period of each module in steps, increasing.
      init: initializer of the recurrent matrix, ``(H, H)``, of which the blocks from faster to
        slower modules are dropped; normal with standard deviation 0.1 if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `ClockworkParams` and `ClockworkState`.

    Raises:
      TypeError: a size or a period is not an integer, or `dtype` is not floating.
      ValueError: a size or a period is less than 1, the periods do not increase, or their number
        does not divide H.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = clockwork(3, 6, periods=(1, 4, 16))
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape, state.step.tolist()
      ((2, 6), [1, 1])

    Reference:
      J. Koutnik, K. Greff, F. Gomez, J. Schmidhuber, "A clockwork RNN", 2014, section 3.
    """
    periods = tuple(check_size("periods", period, by="clockwork") for period in periods)
    if not periods or any(a >= b for a, b in itertools.pairwise(periods)):
        msg = (
            f"clockwork: got periods={periods}; expected increasing periods, one a module; sort "
            "them, fastest first, as in (1, 2, 4, 8)"
        )
        raise ValueError(msg)
    if check_size("hidden_size", hidden_size, by="clockwork") % len(periods):
        msg = (
            f"clockwork: got hidden_size={hidden_size} with {len(periods)} periods; expected a "
            "multiple of the number of modules; change hidden_size, or pass other periods"
        )
        raise ValueError(msg)
    make = sized_init(
        clockwork_init,
        input_size,
        hidden_size,
        by="clockwork",
        dtype=dtype,
        modules=len(periods),
        init=init,
        input_init=input_init,
    )
    return from_structure(make, clockwork_initial_state, _structure(periods))


CLOCKWORK_ENTRY = CellEntry(
    make=clockwork,
    paper="Koutnik et al. 2014, A clockwork RNN, section 3",
    structure="Gated",
    state="h (H), step",
    equations=(
        "h'_m = tanh(x W_m + sum_{n >= m} h_n U_nm + b_m) where t mod T_m = 0\nh'_m = h_m elsewhere"
    ),
    parameters="H (I + 1) + 5 H^2 / 8",
    defaults="T = 1, 2, 4, 8; w_ih and w_hh normal with std 0.1, b = 0",
    provenance="NumPy transcription of the equations, values and gradients",
    sizes=(2, 4),
)
