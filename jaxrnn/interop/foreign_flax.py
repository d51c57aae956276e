"""Cells written in flax, linen and nnx, as cells of this library."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Params
from jaxrnn.interop.foreign import (
    MissingParametersError,
    cell_of_carry,
    load_framework,
    wrong_model,
)

__all__ = ["from_flax", "from_nnx"]


def _feature_axes(cell: Any) -> int:
    """The cell's own number of feature axes; 1 where it does not say."""
    try:
        return cell.num_feature_axes
    except NotImplementedError:
        return 1


def _check_direction(cell: Any, kind: type, remedy: str, *, by: str) -> None:
    """Raises TypeError for a `Bidirectional` of flax."""
    if isinstance(cell, kind):
        msg = (
            f"{by}: got a Bidirectional; expected one direction, since a cell runs in one; read "
            f"each by itself, as in {by}({remedy}), and join them with jaxrnn.bidirectional"
        )
        raise TypeError(msg)


def _missing(error: Exception, params: Mapping, cell: Any) -> MissingParametersError:
    names, kind = sorted(params["params"]), type(cell).__name__
    own = next((name for name in names if name.startswith(kind)), f"{kind}_0")
    msg = (
        f"from_flax: got variables whose 'params' have the keys {names}; expected those of the "
        f"{kind} made alone: {error}; pick them out of those of a larger model, as in "
        f"{{'params': variables['params'][{own!r}]}}"
    )
    return MissingParametersError(msg)


def _check_variables(variables: Any) -> None:
    if isinstance(variables, Mapping) and "params" in variables:
        return
    keys = sorted(map(str, variables)) if isinstance(variables, Mapping) else None
    got = f"a mapping with the keys {keys}" if keys is not None else type(variables).__name__
    msg = (
        f"from_flax: got variables as {got}; expected what the cell's init returns, a mapping with "
        "the collection 'params'; wrap the parameters, as in {'params': params}"
    )
    raise TypeError(msg)


def _of_rnn(variables: Mapping) -> dict:
    """Picks the variables of the cell out of those of the `flax.linen.RNN` around it."""
    found = {name: tree["cell"] for name, tree in variables.items() if "cell" in tree}
    if "params" not in found:
        msg = (
            "from_flax: got variables of a flax.linen.RNN whose 'params' have no 'cell' but "
            f"{sorted(variables['params'])}; expected what the RNN's init returns; pass the cell "
            "instead, with {'params': the cell's parameters}"
        )
        raise ValueError(msg)
    return found


def from_flax(
    cell: Any, variables: Params, *, input_shape: tuple[int, ...] | None = None
) -> tuple[Cell, Params]:
    """Reads a flax.linen cell with its variables.

    Args:
      cell: an instance of ``flax.linen.RNNCellBase``, or a ``flax.linen.RNN`` around one (of which
        the cell is read: in which direction and layout it runs is up to the unroll).
      variables: what ``init`` of it returned, or training made of that: ``{"params": ...}``, other
        collections beside. None of them is changed by a step.
      input_shape: shape of one input without batch axes, ``(features,)``. It is found from the
        parameters, but for cells with several feature axes, as ``(height, width, channels)``.

    Returns:
      The cell, of `General` structure, and its parameters: `variables`, with arrays as leaves.
      Its state is flax's carry, for an LSTM the tuple ``(c, h)``, in this order; the initial
      one is what ``initialize_carry`` makes of ``jax.random.key(0)``. Its ``init`` returns these
      variables for every key; other variables of the same layout serve as parameters too.

    Raises:
      ImportError: flax is not installed.
      TypeError: `cell` or `variables` are something else.
      ValueError: the variables do not fit the cell, a step needs random numbers, or `input_shape`
        is needed.

    Example:
      >>> import jaxrnn
      >>> from flax import linen as nn
      >>> lstm = nn.OptimizedLSTMCell(16)
      >>> carry = lstm.initialize_carry(jax.random.key(0), (3,))
      >>> variables = lstm.init(jax.random.key(1), carry, jnp.ones(3))
      >>> cell, params = from_flax(lstm, variables)
      >>> (c, h), ys = jaxrnn.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 16)
    """
    linen = load_framework("flax.linen", by="from_flax")
    errors = load_framework("flax.errors", by="from_flax")
    _check_direction(
        cell,
        linen.Bidirectional,
        "module.forward_rnn, {'params': variables['params']['forward_rnn']}",
        by="from_flax",
    )
    is_rnn = isinstance(cell, linen.RNN)
    inner = cell.cell if is_rnn else cell
    if not isinstance(inner, linen.RNNCellBase):
        raise wrong_model(inner, "an instance of flax.linen.RNNCellBase", by="from_flax")
    _check_variables(variables)
    params = jax.tree.map(jnp.asarray, _of_rnn(variables) if is_rnn else variables)

    def step(params, carry, x):
        try:
            return inner.apply(params, carry, x)
        except errors.ScopeParamNotFoundError as error:
            raise _missing(error, params, inner) from error
        except errors.FlaxError as error:
            msg = (
                f"from_flax: got an input of shape {x.shape}, on which flax does not run the cell: "
                f"{error}; expected inputs and variables that fit it, and a step without random "
                "numbers"
            )
            raise ValueError(msg) from error

    def make_carry(params, shape):
        return inner.apply(params, jax.random.key(0), shape, method="initialize_carry")

    made = cell_of_carry(
        step,
        make_carry,
        params,
        input_shape=input_shape,
        input_ndim=_feature_axes(inner),
        by="from_flax",
    )
    return made, params


def from_nnx(cell: Any, *, input_shape: tuple[int, ...] | None = None) -> tuple[Cell, Params]:
    """Reads a flax.nnx cell, which holds its variables.

    Args:
      cell: an instance of ``flax.nnx.RNNCellBase``, or a ``flax.nnx.RNN`` around one.
      input_shape: shape of one input without batch axes, ``(features,)``. It is found from the
        parameters, but for cells with several feature axes, as ``(height, width, channels)``.

    Returns:
      The cell, of `General` structure, and its parameters: the ``nnx.State`` of every
      ``nnx.Param``, which ``nnx.update(cell, params)`` writes back. All other variables stay as
      they are now. The state is flax's carry, for an LSTM the tuple ``(c, h)``, in this order;
      the initial one is what ``initialize_carry`` makes with ``nnx.Rngs(0)``. Its ``init`` returns
      these parameters for every key.

    Raises:
      ImportError: flax is not installed.
      TypeError: `cell` is something else.
      ValueError: the parameters do not fit the cell, or `input_shape` is needed.

    Example:
      >>> import jaxrnn
      >>> from flax import nnx
      >>> lstm = nnx.OptimizedLSTMCell(3, 16, rngs=nnx.Rngs(0))
      >>> cell, params = from_nnx(lstm)
      >>> (c, h), ys = jaxrnn.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 16)
    """
    nnx = load_framework("flax.nnx", by="from_nnx")
    _check_direction(cell, nnx.Bidirectional, "module.forward_rnn", by="from_nnx")
    inner = cell.cell if isinstance(cell, nnx.RNN) else cell
    if not isinstance(inner, nnx.RNNCellBase):
        raise wrong_model(inner, "an instance of flax.nnx.RNNCellBase", by="from_nnx")
    graph, params, rest = nnx.split(inner, nnx.Param, ...)

    def module(params):
        return nnx.merge(graph, params, rest, copy=True)  # so that what it changes is forgotten

    def step(params, carry, x):
        return module(params)(carry, x)

    def make_carry(params, shape):
        return module(params).initialize_carry(shape, nnx.Rngs(0))

    made = cell_of_carry(
        step,
        make_carry,
        params,
        input_shape=input_shape,
        input_ndim=_feature_axes(inner),
        by="from_nnx",
    )
    return made, params
