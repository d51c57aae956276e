"""Cells written in equinox, as cells of this library."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.trees import batch_shape_of
from jaxrnn.core.types import InitialStateFn, Output, Params, State
from jaxrnn.interop.foreign import init_of, load_framework, parameter_dtype, wrong_model

__all__ = ["from_equinox"]


def _first(state: State) -> Output:
    """The hidden state: the state itself, or its first entry."""
    return state[0] if isinstance(state, tuple) else state


def _zeros(cell: Any, number: int) -> InitialStateFn:
    def initial_state(params, batch_shape=()):
        shape = (*batch_shape, cell.hidden_size)
        state = tuple(jnp.zeros(shape, parameter_dtype(params)) for _ in range(number))
        return state if number > 1 else state[0]

    return initial_state


def _check_features(x: Any, size: int) -> None:
    """Raises ValueError unless an input has as many features as the module reads."""
    if x.shape[-1:] != (size,):
        msg = (
            f"from_equinox: got an input of shape {x.shape}; expected {size} features on the last "
            "axis, the module's input_size; make the module with the data's input size, or check "
            "the order of the axes"
        )
        raise ValueError(msg)


def from_equinox(
    cell: Any,
    *,
    initial_state: InitialStateFn | None = None,
    output: Callable[[State], Output] | None = None,
    input_ndim: int = 1,
) -> tuple[Cell, Params]:
    """Reads an equinox cell, which holds its weights.

    Args:
      cell: an ``equinox.nn.LSTMCell`` or ``GRUCell``, or an ``equinox.Module`` of your own that is
        called as they are: ``cell(x, state) -> state``, without batch axes.
      initial_state: ``(params, batch_shape=()) -> state`` as in `Cell`; needed for a module of
        your own, zeros for equinox's.
      output: ``(state) -> y``; h if not given: the state, or its first entry if it is a tuple.
      input_ndim: number of feature axes of a float input, more than 1 for images.

    Returns:
      The cell, of `General` structure, and its parameters: the module with its floating arrays
      and None for the rest, so that ``equinox.combine(params, cell)`` is a module again. Its
      state is equinox's, for an LSTM the tuple ``(h, c)``, in this order. Batch axes are mapped
      over. Its ``init`` returns these parameters for every key.

    Raises:
      ImportError: equinox is not installed.
      TypeError: `cell` is something else, or a module of your own without `initial_state`.
      ValueError: an input has another size than the LSTMCell or GRUCell reads (seen when it runs).

    Example:
      >>> import equinox as eqx
      >>> import jaxrnn
      >>> lstm = eqx.nn.LSTMCell(3, 16, key=jax.random.key(0))
      >>> cell, params = from_equinox(lstm)
      >>> (h, c), ys = jaxrnn.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 16)
    """
    eqx = load_framework("equinox", by="from_equinox")
    if not isinstance(cell, eqx.Module) or not callable(cell):
        expected = "an equinox.Module that is called as cell(x, state)"
        raise wrong_model(cell, expected, by="from_equinox")
    check_size("input_ndim", input_ndim, by="from_equinox")
    if initial_state is None:
        if not isinstance(cell, eqx.nn.LSTMCell | eqx.nn.GRUCell):
            msg = (
                f"from_equinox: got a module {type(cell).__name__} without initial_state; expected "
                "an equinox LSTMCell or GRUCell, whose state is known; pass initial_state=lambda "
                "params, batch_shape=(): jnp.zeros((*batch_shape, hidden_size))"
            )
            raise TypeError(msg)
        initial_state = _zeros(cell, 2 if isinstance(cell, eqx.nn.LSTMCell) else 1)
    read = _first if output is None else output
    params, rest = eqx.partition(cell, eqx.is_inexact_array)

    def step(params, state, x):
        module = eqx.combine(params, rest)
        if type(cell) in (eqx.nn.LSTMCell, eqx.nn.GRUCell):  # another class may embed its inputs
            _check_features(x, cell.input_size)

        def one(state, x):
            new = module(x, state)
            return new, read(new)

        for _ in batch_shape_of(x, input_ndim):
            one = jax.vmap(one)
        return one(state, x)

    return Cell(init_of(params), initial_state, step, input_ndim=input_ndim), params
