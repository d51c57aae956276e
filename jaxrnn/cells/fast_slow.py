"""The Fast-Slow RNN: several fast cells in a row within a step, and a slow one beside them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.lstm import lstm
from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Params, State

__all__ = ["FAST_SLOW_ENTRY", "FastSlowParams", "FastSlowState", "fast_slow"]


class FastSlowParams(NamedTuple):
    """Parameters of `fast_slow`.

    Attributes:
      fast: those of the fast cells F_1, ..., F_k, a tuple.
      slow: those of the slow cell S.
    """

    fast: tuple[Params, ...]
    slow: Params


class FastSlowState(NamedTuple):
    """State of `fast_slow`.

    Attributes:
      fast: the state that the fast cells hand on to each other.
      slow: the state of the slow cell.
    """

    fast: State
    slow: State


class _Prepared(NamedTuple):
    ready: FastSlowParams  # what each cell prepared
    params: FastSlowParams  # all but the first cell project within the step


@functools.lru_cache(maxsize=256)
def _fast_slow(fast: tuple[Cell, ...], slow: Cell) -> Cell:
    """Joins cells; equal calls give one cell, so that a jit cache can key on it."""

    def init(key):
        *keys, k_slow = jax.random.split(key, len(fast) + 1)
        params = tuple(cell.init(k) for cell, k in zip(fast, keys, strict=True))
        return FastSlowParams(params, slow.init(k_slow))

    def initial_state(params, batch_shape=()):
        return FastSlowState(
            fast=fast[0].initial_state(params.fast[0], batch_shape),
            slow=slow.initial_state(params.slow, batch_shape),
        )

    def prepare(params):
        ready = tuple(c.parts.prepare(p) for c, p in zip(fast, params.fast, strict=True))
        return _Prepared(FastSlowParams(ready, slow.parts.prepare(params.slow)), params)

    def project(params, x):
        return fast[0].parts.project(params.fast[0], x)

    def recur(prepared, state, z):
        ready, params = prepared

        def take(k, state, x):
            parts = fast[k].parts
            return parts.recur(ready.fast[k], state, parts.project(params.fast[k], x))

        of_fast, y = fast[0].parts.recur(ready.fast[0], state.fast, z)
        z = slow.parts.project(params.slow, y)
        of_slow, y = slow.parts.recur(ready.slow, state.slow, z)
        of_fast, y = take(1, of_fast, y)
        for k in range(2, len(fast)):
            of_fast, y = take(k, of_fast, jnp.zeros_like(y[..., :1]))
        return FastSlowState(of_fast, of_slow), y

    return from_structure(init, initial_state, Separable(project, recur, prepare))


def fast_slow(
    input_size: int,
    hidden_size: int,
    *,
    fast_cells: int = 2,
    slow_size: int | None = None,
    cell: Callable[..., Cell] = lstm,
    dtype=None,
) -> Cell:
    """Makes the Fast-Slow RNN of cells of any kind; of LSTMs, the FS-LSTM.

    ::

        h_F1 = F_1(h, x)                  the fast cells hand one state on
        h_S' = S(h_S, h_F1)               the slow cell has its own, once a step
        h_F2 = F_2(h_F1, h_S')
        h_Fi = F_i(h_F{i-1})              i = 3, ..., k, without input
        h' = h_Fk,  y = its output

    A cell without input gets one feature that is always zero, as in the authors' code: the weights
    on it never matter.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the size of the fast cells.
      fast_cells: k, the number of fast cells, at least 2; 2 and 4 in the paper.
      slow_size: the size of the slow cell; H if not given.
      cell: makes a cell, ``(input_size, hidden_size) -> Cell``, whose output has `hidden_size`
        features, such as `lstm`, `gru` or the paper's choice, `layer_norm_lstm`.
      dtype: of the parameters, handed to `cell`; its own choice if not given.

    Returns:
      A `Separable` cell with `FastSlowParams` and `FastSlowState`.

    Raises:
      TypeError: a size is not an integer, or `cell` is no function that makes a `Cell`.
      ValueError: a size is less than 1, or there are fewer than 2 fast cells.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = fast_slow(3, 5, slow_size=4)
      >>> params = model.init(jax.random.key(0))
      >>> state, y = model.step(params, model.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.fast.c.shape, state.slow.c.shape, y.shape
      ((2, 5), (2, 4), (2, 5))

    Reference:
      A. Mujika, F. Meier, A. Steger, "Fast-slow recurrent neural networks", 2017, section 3.
    """
    by = "fast_slow"
    slow_size = hidden_size if slow_size is None else slow_size
    if check_size("fast_cells", fast_cells, by=by) < 2:
        msg = (
            f"{by}: got fast_cells={fast_cells}; expected at least 2, one before and one after the "
            "slow cell; pass fast_cells=2, or use jaxrnn.stacked(fast, slow)"
        )
        raise ValueError(msg)
    if not callable(cell) or isinstance(cell, Cell):
        msg = f"{by}: got cell={cell!r}; expected a function that makes a cell, such as jaxrnn.lstm"
        raise TypeError(msg)
    check_size("hidden_size", hidden_size, by=by)
    check_size("slow_size", slow_size, by=by)
    options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    inputs = [check_size("input_size", input_size, by=by), slow_size] + [1] * (fast_cells - 2)
    fast = tuple(cell(size, hidden_size, **options) for size in inputs)
    slow = cell(hidden_size, slow_size, **options)
    for one in (*fast, slow):
        check_cell_type(one, by=by)
    return _fast_slow(fast, slow)


FAST_SLOW_ENTRY = CellEntry(
    make=fast_slow,
    paper="Mujika et al. 2017, Fast-slow recurrent neural networks, section 3",
    structure="Separable",
    state="h, c of the fast cells, h, c of the slow cell (H each)",
    equations=(
        "h_F1 = F_1(h, x)\n"
        "h_S' = S(h_S, h_F1)\n"
        "h_F2 = F_2(h_F1, h_S')\n"
        "h' = h_F2, with F_1, F_2 and S LSTMs"
    ),
    parameters="4 H (I + 5 H + 3)",
    defaults="as lstm",
    provenance="NumPy transcription of the equations, values and gradients",
)
