"""Layer normalisation between the steps of any cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Params, State
from jaxrnn.wrappers.after_step import change_after_step, spread_over_state, state_of_cell

__all__ = ["LayerNormParams", "layer_norm"]


class LayerNormParams(NamedTuple):
    """Parameters of a cell with layer normalisation.

    Attributes:
      cell: the parameters of the cell inside.
      gain: a tree like the state, ``(H,)`` where a part is normalised, else None; ones at first.
      bias: such a tree; zeros at first.
    """

    cell: Params
    gain: Any
    bias: Any


def _normalize(gain, bias, values, epsilon):
    centered = values - jnp.mean(values, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    return gain * centered * jax.lax.rsqrt(variance + epsilon) + bias


def _is_none(node) -> bool:
    return node is None


def layer_norm(
    cell: Cell, parts: bool | State = True, *, where: str = "state", epsilon: float = 1e-5
) -> Cell:
    """Normalises the state over its units after each step, with a gain and a bias to learn.

    ::

        (s~, y) = step(s, x)
        LN(v) = gain * (v - mean(v)) / sqrt(var(v) + epsilon) + bias
        s' = LN(s~)                         where="state": the next step starts from it
        s' = s~                             where="output": only outputs read LN(s~)

    for every chosen part of the state apart, over its last axis. An output that is a part of the
    new state, as ``y = h'``, is that of LN(s~); another is left as the cell computes it (a `Linear`
    cell reads it off LN(s~)). The cells `layer_norm_lstm` and `layer_norm_gru` normalise inside the
    step instead, before the gates.

    Args:
      cell: any cell.
      parts: which parts of the state are normalised: True for all, or a tree of bools like the
        state, such as ``LSTMState(h=True, c=False)``.
      where: "state" or "output".
      epsilon: added to the variance; positive.

    Returns:
      A cell with `LayerNormParams`; its state is the cell's. A `Linear` cell stays so with
      ``where="output"``, others become `Separable`, since the units of a step are mixed.

    Raises:
      TypeError: `cell` is no `Cell`; a chosen part of its state is not real; it has recurrent
        dropout, which belongs outside.
      ValueError: `where` is an unknown name, `epsilon` is not positive, `parts` chooses nothing or
        is no tree like the state.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.cells.lstm import LSTMState
      >>> cell = layer_norm(lstm(3, 5), LSTMState(h=True, c=False))
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> params.gain.h.shape, params.gain.c, bool(jnp.allclose(y.mean(-1), 0, atol=1e-6))
      ((5,), None, True)

    Reference:
      J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016, equation 4 for the normalisation.
    """
    check_cell_type(cell, by="layer_norm")
    if where not in ("state", "output"):
        raise unknown_name("where", where, ("state", "output"))
    if not epsilon > 0:
        msg = f"layer_norm: got epsilon={epsilon}; expected a positive number, such as 1e-5"
        raise ValueError(msg)
    if not any(jax.tree.leaves(parts)):
        msg = f"layer_norm: got parts={parts}; expected True for at least one part of the state"
        raise ValueError(msg)

    def init(key):
        params = cell.init(key)
        state = state_of_cell(cell, params, (), by="layer_norm")
        chosen = spread_over_state(parts, state, name="parts", by="layer_norm")
        leaves, treedef = jax.tree.flatten(state)
        for leaf, on in zip(leaves, chosen, strict=True):
            if on and not (jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim):
                msg = (
                    f"layer_norm: got a part of the state of dtype {leaf.dtype} and shape "
                    f"{leaf.shape}; expected real numbers with an axis of units; choose others "
                    "with `parts`"
                )
                raise TypeError(msg)

        def made(function):
            return treedef.unflatten(
                [
                    function(leaf.shape[-1:], leaf.dtype) if on else None
                    for leaf, on in zip(leaves, chosen, strict=True)
                ]
            )

        return LayerNormParams(params, made(jnp.ones), made(jnp.zeros))

    def initial_state(params, batch_shape=()):
        return state_of_cell(cell, params.cell, batch_shape, by="layer_norm")

    def normalized(affine, state):
        def one(gain, bias, leaf):
            return leaf if gain is None else _normalize(gain, bias, leaf, epsilon)

        return jax.tree.map(one, *affine, state, is_leaf=_is_none)

    def affine(params):
        return params.gain, params.bias

    def change(affine, state, new):
        del state
        seen = normalized(affine, new)
        return (seen if where == "state" else new), seen

    structure = cell.parts
    if where == "output" and isinstance(structure, Linear):
        structure = structure._replace(
            coefficients=lambda params, x: cell.parts.coefficients(params.cell, x),
            readout=lambda params, h, x: cell.parts.readout(
                params.cell, normalized(affine(params), h), x
            ),
        )
    else:
        structure = change_after_step(
            structure,
            inner=lambda state: state,
            prepare=affine,
            change=change,
            elementwise=False,
        )
    return from_structure(init, initial_state, structure, input_ndim=cell.input_ndim)
