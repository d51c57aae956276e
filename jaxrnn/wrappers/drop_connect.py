"""DropConnect on the recurrent matrix."""

from collections.abc import Collection

import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.wrappers.named_parameters import find_named, map_named, read_other_parameters
from jaxrnn.wrappers.randomness import PerUnroll, RandomParams, check_rate, fold, keep_mask

__all__ = ["drop_connect"]


def drop_connect(cell: Cell, rate: float, names: Collection[str] | None = None) -> Cell:
    """Drops entries of the recurrent matrix, the same in all steps and all sequences of a run.

    ::

        a = mix(z, h @ (m * weights / (1 - p))),    m = 0 with probability p = rate, else 1

    The mask is drawn and applied once an unroll; the step is the cell's own, so that every fast
    path is left. Without a key, as `init` makes the parameters, nothing is dropped (evaluation);
    ``seed(params, key)`` puts one in.

    Args:
      cell: a `Gated` cell, whose recurrent matrix it is; any cell with `names`.
      rate: p in ``[0, 1)``.
      names: drop entries of the parameters of these names instead, such as ``("w_hh",)``: fields or
        keys at any depth.

    Returns:
      A cell of the same structure with `RandomParams` (`General` becomes `Separable`); its state is
      the cell's.

    Raises:
      TypeError: `cell` is no `Cell`, or not `Gated` and there are no `names`.
      ValueError: `rate` is outside ``[0, 1)``; at `init`, a name is that of no parameter.

    Example:
      >>> import jax
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.wrappers.randomness import seed
      >>> cell = drop_connect(lstm(3, 50), 0.5)
      >>> params = seed(cell.init(jax.random.key(0)), jax.random.key(1))
      >>> weights = cell.parts.weights(params)
      >>> 0.45 < float((weights == 0).mean()) < 0.55
      True

    Reference:
      S. Merity, N. Keskar, R. Socher, "Regularizing and optimizing LSTM language models", 2018,
      section 2; L. Wan et al., "Regularization of neural networks using DropConnect", 2013.
    """
    check_cell_type(cell, by="drop_connect")
    check_rate("rate", rate, by="drop_connect")
    parts = cell.parts
    names = None if names is None else tuple(names)
    if names is None and not isinstance(parts, Gated):
        msg = (
            f"drop_connect: got a cell with {type(parts).__name__} structure and no names; "
            'expected Gated, or the names of its recurrent parameters, as in names=("w_hh",)'
        )
        raise TypeError(msg)

    def init(key):
        params = cell.init(key)
        if names is not None:
            find_named(params, names, by="drop_connect")
        return RandomParams(params, PerUnroll(None))

    def initial_state(params, batch_shape=()):
        return cell.initial_state(params.cell, batch_shape)

    def dropped(key, weights):
        keep = keep_mask(key, rate, weights.shape)
        return jnp.where(keep, weights / (1 - rate), 0)

    def named_dropped(params):
        key = params.random.key
        if key is None:
            return params.cell
        order = {
            path: k for k, path in enumerate(find_named(params.cell, names, by="drop_connect"))
        }
        return map_named(
            params.cell, names, lambda path, leaf: dropped(fold(key, order[path]), leaf)
        )

    def weights(params):
        matrix, key = parts.weights(params.cell), params.random.key
        return matrix if key is None else dropped(key, matrix)

    if names is None:
        structure = parts.over(lambda params: params.cell)._replace(weights=weights)
    else:
        structure = read_other_parameters(parts, named_dropped)
    return from_structure(init, initial_state, structure, input_ndim=cell.input_ndim)
