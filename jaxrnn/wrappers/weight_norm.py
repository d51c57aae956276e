"""Weight normalisation: matrices as directions and lengths."""

from collections.abc import Collection
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.types import Array, Params
from jaxrnn.wrappers.named_parameters import find_named, map_named, read_other_parameters

__all__ = ["WeightNormParams", "weight_norm"]


class WeightNormParams(NamedTuple):
    """Parameters of a cell with weight normalisation.

    Attributes:
      cell: the parameters of the cell inside, with v in the place of w.
      gain: g of each matrix, ``(columns,)``, by the path of the matrix, such as "w_hh".
    """

    cell: Params
    gain: dict[str, Array]


def _lengths(v):
    """Returns the Euclidean length of each column; its slope at a column of zeros is 0."""
    squares = jnp.sum(jnp.square(v), axis=tuple(range(v.ndim - 1)))
    empty = squares == 0
    return jnp.where(empty, 0, jnp.sqrt(jnp.where(empty, 1, squares)))


def _weights(gain, v):
    lengths = _lengths(v)
    return v * (gain / jnp.where(lengths == 0, 1, lengths))


def weight_norm(cell: Cell, names: Collection[str] = ("w_ih", "w_hh")) -> Cell:
    """Learns the direction and the length of every column of a cell's matrices apart.

    ::

        w = g * v / ||v||,    a length g and a vector v for every column of a matrix (in, out)

    so for every unit and gate. It is done outside the loop over time: for the recurrent matrix once
    an unroll, for the input matrix where inputs are projected. g starts at ||v||, so that the new
    cell begins as the old one.

    Args:
      cell: any cell.
      names: the names of the matrices in its parameters, fields or keys at any depth.

    Returns:
      A cell of the same structure with `WeightNormParams` (`General` becomes `Separable`).

    Raises:
      TypeError: `cell` is no `Cell`.
      ValueError: at `init`, a name is that of no parameter, or of one that is no matrix.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = weight_norm(gru(3, 5))
      >>> params = cell.init(jax.random.key(0))
      >>> params.gain["w_hh"].shape, params.cell.w_hh.shape
      ((15,), (5, 15))

    Reference:
      T. Salimans, D. Kingma, "Weight normalization: a simple reparameterization to accelerate
      training of deep neural networks", 2016, equation 2. Its data-dependent initialisation is not
      made.
    """
    check_cell_type(cell, by="weight_norm")
    names = tuple(names)

    def init(key):
        params = cell.init(key)
        gain = {}
        for path, v in find_named(params, names, by="weight_norm").items():
            if v.ndim < 2:
                msg = (
                    f"weight_norm: got {path} of shape {v.shape}; expected a matrix, (in, out); "
                    "name the matrices alone"
                )
                raise ValueError(msg)
            gain[path] = _lengths(v)
        return WeightNormParams(params, gain)

    def normalized(params):
        return map_named(params.cell, names, lambda path, v: _weights(params.gain[path], v))

    def initial_state(params, batch_shape=()):
        return cell.initial_state(normalized(params), batch_shape)

    structure = read_other_parameters(cell.parts, normalized)
    return from_structure(init, initial_state, structure, input_ndim=cell.input_ndim)
