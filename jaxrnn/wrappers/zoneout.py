"""Zoneout: units that keep their value for a step, at random."""

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.types import State
from jaxrnn.wrappers.after_step import draw_after_step
from jaxrnn.wrappers.randomness import check_rate, keep_mask

__all__ = ["zoneout"]


def _mean(rate, old, new):
    return rate * old + (1 - rate) * new


def _choose(rate, keys, old, new):
    zoned = ~keep_mask(keys, rate, new.shape[keys.ndim :])
    return jnp.where(zoned, old, new)


def zoneout(cell: Cell, rate: float | State) -> Cell:
    """Lets every unit of the state keep its old value in a step, with some probability.

    ::

        (s~, y) = step(s, x)
        s' = d * s + (1 - d) * s~           training: d = 1 with probability p, drawn anew a step
        s' = p * s + (1 - p) * s~           evaluation: the mean of it

    for every part of the state apart, such as h and c of an LSTM: the output gate acts on the c
    that was not zoned. An output that is a part of the new state, as ``y = h'``, is that of s';
    another is left as the cell computes it (a `Linear` cell reads it off s').

    The masks of step t come from the sequence's key and t, and are drawn again where a derivative
    needs them: a counter in the state is all that is kept of them. A reset sets it back, so that
    sequences packed into one row meet the masks that each would meet alone.

    Whether it is training depends on the parameters: as `init` makes them it is evaluation;
    ``seed(params, key, batch_shape)`` puts keys in.

    Args:
      cell: any cell.
      rate: p in ``[0, 1)``: one number for all parts of the state, or a tree like the state, such
        as ``LSTMState(h=0.05, c=0.5)``. Parts that are not floating take their new value.

    Returns:
      A cell with `RandomParams` and `CountedState`; `Gated` and `Elementwise` cells stay so, others
      become `Separable`.

    Raises:
      TypeError: `cell` is no `Cell`; at `initial_state`, it has recurrent dropout, which belongs
        outside.
      ValueError: a rate is outside ``[0, 1)``; at `initial_state`, `rate` is no tree like the
        state, or the parameters are seeded for another batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.cells.lstm import LSTMState
      >>> from jaxrnn.wrappers.randomness import seed
      >>> cell = zoneout(lstm(3, 5), LSTMState(h=0.05, c=0.5))
      >>> params = seed(cell.init(jax.random.key(0)), jax.random.key(1), (2,))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.cell.c.shape, state.step.tolist()
      ((2, 5), [1, 1])

    Reference:
      D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations",
      2017, section 3.
    """
    check_cell_type(cell, by="zoneout")
    for one in jax.tree.leaves(rate):
        check_rate("rate", one, by="zoneout")
    return draw_after_step(cell, rate, _mean, _choose, name="rate", by="zoneout")
