"""A cell whose initial state is a parameter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.types import Params, State

__all__ = ["LearnedStateParams", "learned_state"]


class LearnedStateParams(NamedTuple):
    """Parameters of a cell with a learned initial state.

    Attributes:
      cell: the cell's own parameters.
      state: the state of one sequence, without batch axes.
    """

    cell: Params
    state: State


def _cell_params(params):
    return params.cell


def learned_state(cell: Cell) -> Cell:
    """Makes the initial state a parameter: it starts as the cell's own and gets a gradient.

    Every sequence of a batch starts from the same learned state, and so does every reset. The
    structure is kept, and with it every fast path.

    Args:
      cell: any cell.

    Returns:
      A cell of the same structure with `LearnedStateParams`.

    Raises:
      TypeError: `cell` is no `Cell`; at `init`, a part of its state is not floating.

    Example:
      >>> import jax
      >>> from jaxrnn.cells import gru
      >>> cell = learned_state(gru(3, 5))
      >>> params = cell.init(jax.random.key(0))
      >>> params.state.shape, cell.initial_state(params, (2,)).shape
      ((5,), (2, 5))
    """
    check_cell_type(cell, by="learned_state")

    def init(key):
        params = cell.init(key)
        # Copied, so that no two leaves share a buffer and all can be donated.
        state = jax.tree.map(jnp.array, cell.initial_state(params))
        dtypes = [str(leaf.dtype) for leaf in jax.tree.leaves(state)]
        if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(state)):
            msg = (
                f"learned_state: got a state of dtypes {dtypes}; expected floating arrays alone: "
                "a counter or a key has no gradient"
            )
            raise TypeError(msg)
        return LearnedStateParams(params, state)

    def initial_state(params, batch_shape=()):
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape)), params.state
        )

    return from_structure(
        init, initial_state, cell.parts.over(_cell_params), input_ndim=cell.input_ndim
    )
