"""Gaussian noise on the state."""

import jax

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.types import State
from jaxrnn.wrappers.after_step import draw_after_step
from jaxrnn.wrappers.randomness import draw

__all__ = ["noise"]


def _none(scale, old, new):
    del scale, old
    return new


def _add(scale, keys, old, new):
    del old
    shape = new.shape[keys.ndim :]
    return new + scale * draw(keys, lambda key: jax.random.normal(key, shape, new.dtype))


def noise(cell: Cell, scale: float | State) -> Cell:
    """Adds Gaussian noise to the state after each step.

    ::

        (s~, y) = step(s, x)
        s' = s~ + scale * xi,    xi ~ N(0, 1), drawn anew in every step

    An output that is a part of the new state, as ``y = h'``, is that of s'; another is left as the
    cell computes it (a `Linear` cell reads it off s'). The noise of step t comes from the
    sequence's key and t; no derivative needs it, so nothing of it is kept. A reset sets t back.

    Without keys, as `init` makes the parameters, there is no noise (evaluation);
    ``seed(params, key, batch_shape)`` puts keys in.

    Args:
      cell: any cell.
      scale: standard deviation of the noise, at least 0: one number for all parts of the state, or
        a tree like the state, such as ``LSTMState(h=0.1, c=0.0)``. Parts that are not floating get
        none. For the Euler-Maruyama scheme with steps dt it is ``sigma * sqrt(dt)``.

    Returns:
      A cell with `RandomParams` and `CountedState`; `Gated` and `Elementwise` cells stay so, others
      become `Separable`.

    Raises:
      TypeError: `cell` is no `Cell`; at `initial_state`, it has recurrent dropout, which belongs
        outside.
      ValueError: a scale is negative or not finite; at `initial_state`, `scale` is no tree like the
        state, or the parameters are seeded for another batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> from jaxrnn.wrappers.randomness import seed
      >>> cell = noise(gru(3, 5), 0.1)
      >>> params = seed(cell.init(jax.random.key(0)), jax.random.key(1), (2,))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> bool((state.cell == y).all())
      True

    Reference:
      S. H. Lim, N. B. Erichson, L. Hodgkinson, M. W. Mahoney, "Noisy recurrent neural networks",
      2021 (additive noise).
    """
    check_cell_type(cell, by="noise")
    for one in jax.tree.leaves(scale):
        if not 0 <= one < float("inf"):
            msg = f"noise: got scale={one}; expected a finite standard deviation, at least 0"
            raise ValueError(msg)
    return draw_after_step(cell, scale, _none, _add, name="scale", by="noise")
