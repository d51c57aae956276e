"""A stack of cells as one cell."""

import jax

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.structure import Separable

__all__ = ["stacked"]


def stacked(*cells: Cell) -> Cell:
    """Makes one cell of several: each reads, in the same step, what the one before put out.

    ::

        s_1', y_1 = step_1(s_1, x)
        s_l', y_l = step_l(s_l, y_{l-1})        l = 2, ..., L
        y = y_L

    It computes what ``jaxrnn.stack(layer(cell_1), ..., layer(cell_L))`` computes, from parameters
    and a state of the same layout, so that whatever takes a cell, `jaxrnn.analysis` above all,
    takes a deep network. To train, use `jaxrnn.stack`: it runs layer after layer and hoists the
    input's share of each, this cell that of the first alone.

    Args:
      *cells: at least one cell, the lowest first; each reads the output of the one before.

    Returns:
      A `Separable` cell; its parameters and its state are tuples, one entry a cell.

    Raises:
      TypeError: an argument is no `Cell`.
      ValueError: no cell.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells import gru, lstm
      >>> cell = stacked(lstm(3, 5), gru(5, 4))
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape, state[0].c.shape, state[1].shape
      ((2, 4), (2, 5), (2, 4))
    """
    if not cells:
        msg = "stacked: got no cell; expected at least one, as in stacked(lstm(3, 5), gru(5, 4))"
        raise ValueError(msg)
    for cell in cells:
        check_cell_type(cell, by="stacked")
    witnesses = [cell.parts for cell in cells]

    def init(key):
        keys = jax.random.split(key, len(cells))  # as `jaxrnn.stack` splits it
        return tuple(cell.init(k) for cell, k in zip(cells, keys, strict=True))

    def initial_state(params, batch_shape=()):
        return tuple(
            cell.initial_state(p, batch_shape) for cell, p in zip(cells, params, strict=True)
        )

    def project(params, x):
        return witnesses[0].project(params[0], x)

    def prepare(params):
        # The upper cells project within the step, for which they need their parameters as well.
        prepared = tuple(one.prepare(p) for one, p in zip(witnesses, params, strict=True))
        return prepared, tuple(params[1:])

    def recur(prepared, state, z):
        prepared, upper = prepared
        after, y = witnesses[0].recur(prepared[0], state[0], z)
        states = [after]
        for one, ready, p, s in zip(witnesses[1:], prepared[1:], upper, state[1:], strict=True):
            after, y = one.recur(ready, s, one.project(p, y))
            states.append(after)
        return tuple(states), y

    return from_structure(
        init,
        initial_state,
        Separable(project, recur, prepare),
        input_ndim=cells[0].input_ndim,
    )
