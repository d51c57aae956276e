"""Variational dropout: one mask a sequence, on the input and on the recurrent connection."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.structure import Gated, General, Linear, Separable, Structure
from jaxrnn.core.types import Array, State
from jaxrnn.wrappers.randomness import (
    PerSequence,
    RandomParams,
    check_rate,
    check_seed,
    fold,
    keep_mask,
)

__all__ = ["MaskedState", "dropout"]


class MaskedState(NamedTuple):
    """State of a cell with dropout on its recurrent connection.

    Attributes:
      cell: the state of the cell inside.
      hidden: ``(*batch, H)``, the part of it that the next step multiplies, with its mask; None
        where nothing is dropped.
    """

    cell: State
    hidden: Array | None


def _cell_params(params):
    return params.cell


def _drop(keep, rate, values):
    """Writes zeros where `keep` is False, and scales the others so that the mean stays."""

    def masked(keep, values):
        return jnp.where(keep, values / (1 - rate), 0)

    # Broadcast again in the backward pass, so that it is not the broadcast mask that is stored.
    return jax.checkpoint(masked, prevent_cse=False)(keep, values)


def _with_inputs_dropped(parts: Structure, rate: float, input_ndim: int) -> Structure:
    """Returns the witness on `RandomParams` that reads masked inputs."""
    inner = parts.over(_cell_params)
    if not rate:
        return inner

    def masked(params, x):
        leaves, treedef = jax.tree.flatten(x)
        floats = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
        if not any(floats):
            msg = (
                f"dropout: got inputs of dtype {leaves[0].dtype} with rate={rate}; expected "
                "floats, since a token has no features to drop; embed the tokens first, or pass "
                "rate=0 and a recurrent_rate"
            )
            raise TypeError(msg)
        keys = params.random.key
        if keys is None:
            return x
        for k, leaf in enumerate(leaves):
            if floats[k]:
                features = leaf.shape[leaf.ndim - input_ndim :]
                keep = keep_mask(fold(keys, k + 1), rate, features)
                leaves[k] = _drop(keep, rate, leaf)
        return treedef.unflatten(leaves)

    if isinstance(parts, Linear):
        return inner._replace(
            coefficients=lambda params, x: inner.coefficients(params, masked(params, x)),
            readout=lambda params, h, x: inner.readout(params, h, masked(params, x)),
        )
    if isinstance(parts, General):
        return Separable(masked, parts.step, _cell_params)
    return inner._replace(project=lambda params, x: inner.project(params, masked(params, x)))


def _with_recurrence_dropped(parts: Gated, outer: Gated, rate: float) -> Gated:
    """Returns `outer`, the witness of `parts` on `RandomParams`, with a mask on what it multiplies.

    The mask is applied at the end of a step, to what the next one multiplies.
    """

    def vectors(params):
        return outer.vectors(params), _hidden_mask(parts, params, rate)

    def pointwise(vectors, state, a):
        vectors, keep = vectors
        new, y = parts.pointwise(vectors, state.cell, a)
        return _masked_state(parts, keep, rate, new), y

    def hidden(state):
        return parts.hidden(state.cell) if state.hidden is None else state.hidden

    return outer._replace(vectors=vectors, pointwise=pointwise, hidden=hidden)


def _masked_state(parts, keep, rate, state):
    hidden = None if keep is None else _drop(keep, rate, parts.hidden(state))
    return MaskedState(state, hidden)


def _hidden_mask(parts: Gated, params: RandomParams, rate: float) -> Array | None:
    """Draws the mask on what a `Gated` cell multiplies: bool ``(*keys, H)``, None without keys."""
    keys = params.random.key
    if keys is None:
        return None
    size = jax.eval_shape(parts.weights, params.cell).shape[0]
    return keep_mask(fold(keys, 0), rate, (size,))


def dropout(cell: Cell, rate: float, recurrent_rate: float | None = None) -> Cell:
    """Drops the same features and the same units in all steps of a sequence.

    ::

        a = mix(project(x * m_x / (1 - p_x)), (h * m_h / (1 - p_h)) @ weights)

    with p_x = rate, p_h = recurrent_rate and masks m of zeros and ones, drawn once a sequence,
    where h is the part of the state that the cell multiplies by its recurrent matrix: one mask for
    all gates (the paper's tied weights). What else reads the state, such as a memory cell or the
    leak of a GRU, gets it whole, so that nothing is lost over time.

    Whether anything is dropped depends on the parameters: as `init` makes them, nothing is
    (evaluation); ``seed(params, key, batch_shape)`` puts keys in (training). A reset does not draw
    again: sequences packed into one row share its masks.

    Args:
      cell: any cell; a `Gated` one if `recurrent_rate` is not 0.
      rate: p_x, the probability that an input feature is dropped, in ``[0, 1)``.
      recurrent_rate: p_h, the probability that a unit is, in ``[0, 1)``; `rate` if not given.

    Returns:
      A cell of the same structure (`General` becomes `Separable`) with `RandomParams`; its state is
      a `MaskedState`, or the cell's own if `recurrent_rate` is 0. Where a state is changed after
      each step (`zoneout`, `noise`, `layer_norm`), that goes inside:
      ``dropout(zoneout(cell, ...), ...)``.

    Raises:
      TypeError: `cell` is no `Cell`; `recurrent_rate` is not 0 and the cell is not `Gated`; at the
        first step, the input is tokens alone and `rate` is not 0.
      ValueError: a rate is outside ``[0, 1)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.wrappers.randomness import seed
      >>> cell = dropout(lstm(3, 5), 0.25, recurrent_rate=0.5)
      >>> params = cell.init(jax.random.key(0))
      >>> trained = seed(params, jax.random.key(1), (2,))
      >>> state = cell.initial_state(trained, (2,))
      >>> state, y = cell.step(trained, state, jnp.ones((2, 3)))
      >>> y.shape, state.cell.c.shape, state.hidden.shape
      ((2, 5), (2, 5), (2, 5))

    Reference:
      Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural
      networks", 2016, section 4.1.
    """
    check_cell_type(cell, by="dropout")
    recurrent_rate = rate if recurrent_rate is None else recurrent_rate
    check_rate("rate", rate, by="dropout")
    check_rate("recurrent_rate", recurrent_rate, by="dropout")
    parts = cell.parts
    if recurrent_rate and not isinstance(parts, Gated):
        msg = (
            f"dropout: got recurrent_rate={recurrent_rate} for a cell with "
            f"{type(parts).__name__} structure; expected Gated, which says what part of the state "
            "is multiplied; pass recurrent_rate=0 to drop inputs alone, or use zoneout"
        )
        raise TypeError(msg)

    def init(key):
        return RandomParams(cell.init(key), PerSequence(None))

    def initial_state(params, batch_shape=()):
        check_seed(params.random, batch_shape, by="dropout")
        state = cell.initial_state(params.cell, batch_shape)
        if not recurrent_rate:
            return state
        return _masked_state(
            parts, _hidden_mask(parts, params, recurrent_rate), recurrent_rate, state
        )

    structure = _with_inputs_dropped(parts, rate, cell.input_ndim)
    if recurrent_rate:
        structure = _with_recurrence_dropped(parts, structure, recurrent_rate)
    return from_structure(init, initial_state, structure, input_ndim=cell.input_ndim)
