"""A cell with another transition for every input: the multiplicative LSTM and its kin."""

from typing import NamedTuple

import jax

from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure, require
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Gated, Separable
from jaxrnn.core.types import Array, Params

__all__ = ["MultiplicativeParams", "multiplicative"]


class MultiplicativeParams(NamedTuple):
    """Parameters of a multiplicative cell.

    Attributes:
      cell: the cell's own parameters.
      w_mx: ``(I, H)``, from the input to m.
      w_mh: ``(H, H)``, from h to m.
    """

    cell: Params
    w_mx: Array
    w_mh: Array


def multiplicative(
    cell: Cell,
    input_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
) -> Cell:
    """Makes the cell's recurrent product read m, a product of input and state, in place of h.

    ::

        m = (x W_mx) * (h W_mh)
        a = mix(z(x), m W_hh)                 in the cell: mix(z(x), h W_hh)
        state', y = pointwise(state, a)       as in the cell

    Around `lstm` this is the multiplicative LSTM, around `elman` the multiplicative RNN.

    Args:
      cell: a `Gated` cell, such as `lstm`, `elman` or `gru`.
      input_size: I, the input size that the cell was made with.
      init: initializer of `w_mh`, ``(H, H)``; orthogonal if not given.
      input_init: initializer of `w_mx`, ``(I, H)``; Glorot uniform if not given.

    Returns:
      A `Separable` cell with `MultiplicativeParams` and the state of `cell`.

    Raises:
      TypeError: `cell` is no `Gated` cell, or the size is not an integer.
      ValueError: the size is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = multiplicative(lstm(3, 5), 3)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      B. Krause, L. Lu, I. Murray, S. Renals, "Multiplicative LSTM for sequence modelling", 2016,
      section 3; I. Sutskever, J. Martens, G. Hinton, "Generating text with recurrent neural
      networks", 2011 (the multiplicative RNN).
    """
    parts = require(cell, Gated, by="multiplicative")
    size = check_size("input_size", input_size, by="multiplicative")

    def init_params(key):
        k_cell, k_m = jax.random.split(key)
        params = cell.init(k_cell)
        weights = jax.eval_shape(parts.weights, params)
        w_mx, w_mh = init_weights(
            k_m,
            size,
            weights.shape[0],
            gates=1,
            init=init,
            input_init=input_init,
            dtype=weights.dtype,
        )
        return MultiplicativeParams(params, w_mx, w_mh)

    def initial_state(params, batch_shape=()):
        return cell.initial_state(params.cell, batch_shape)

    def project(params, x):
        share = input_share(params.w_mx, 0, x, by="multiplicative")
        return parts.project(params.cell, x), share

    def prepare(params):
        return parts.prepare(params.cell), params.w_mh

    def recur(prepared, state, z):
        (weights, vectors), w_mh = prepared
        z, share = z
        m = share * (parts.hidden(state) @ w_mh)
        return parts.pointwise(vectors, state, parts.mix(z, m @ weights))

    return from_structure(init_params, initial_state, Separable(project, recur, prepare))
