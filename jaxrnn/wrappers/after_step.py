"""Changing the state after each step: what `zoneout`, `noise` and `layer_norm` have in common."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Elementwise, Gated, Linear, Separable, Structure
from jaxrnn.core.types import Array, Key, Output, Params, State
from jaxrnn.wrappers.dropout import MaskedState
from jaxrnn.wrappers.randomness import CountedState, PerSequence, RandomParams, check_seed, fold

__all__ = [
    "change_after_step",
    "draw_after_step",
    "read_through",
    "spread_over_state",
    "state_of_cell",
]


def _cell_params(params):
    return params.cell


def read_through(y: Output, new: State, seen: State) -> Output:
    """Replaces every part of an output that is a part of `new`, the very array, by that of `seen`.

    For most cells ``y = h'`` is such a part; what a cell computes from its state is left alone.
    """
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(seen), strict=True)
    known = {id(one): other for one, other in pairs}
    return jax.tree.map(lambda leaf: known.get(id(leaf), leaf), y)


def change_after_step(
    parts: Structure,
    *,
    inner: Callable[[State], State],
    prepare: Callable[[Params], Any],
    change: Callable[[Any, State, State], tuple[State, State]],
    elementwise: bool,
) -> Structure:
    """Returns the witness of a wrapper whose steps end with a change of the state.

    Args:
      parts: the witness of the cell inside; its parameters are the wrapper's ``.cell``.
      inner: the cell's state in the wrapper's.
      prepare: ``(params) -> extra``, of the wrapper's parameters, once an unroll.
      change: ``(extra, state, new) -> (after, seen)``: from the wrapper's state before the step
        and the cell's after it, the wrapper's after it and the cell's that outputs read.
      elementwise: whether `change` is elementwise along the hidden axis.

    Returns:
      A witness of the same kind for `Gated` and `Elementwise` if `elementwise`; else `Separable`.
    """

    def and_extra(phase):
        return lambda params: (phase(params.cell), prepare(params))

    def end(extra, state, new, y):
        after, seen = change(extra, state, new)
        return after, read_through(y, new, seen)

    if elementwise and isinstance(parts, Gated | Elementwise):

        def pointwise(vectors, state, a):
            vectors, extra = vectors
            return end(extra, state, *parts.pointwise(vectors, inner(state), a))

        changed = parts.over(_cell_params)._replace(
            pointwise=pointwise, vectors=and_extra(parts.vectors)
        )
        if isinstance(parts, Elementwise):
            return changed
        return changed._replace(hidden=lambda state: parts.hidden(inner(state)))

    def project(params, x):
        return parts.project(params.cell, x)

    def recur(prepared, state, z):
        prepared, extra = prepared
        if not isinstance(parts, Linear):
            return end(extra, state, *parts.recur(prepared, inner(state), z))
        element, x = z
        after, seen = change(extra, state, parts.apply(element, inner(state)))
        return after, parts.readout(prepared, seen, x)

    return Separable(project, recur, and_extra(parts.prepare))


def state_of_cell(cell: Cell, params: Params, batch_shape: tuple[int, ...], *, by: str) -> State:
    """Returns the initial state of the cell inside; raises TypeError if it has a `MaskedState`."""
    state = cell.initial_state(params, batch_shape)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, MaskedState))
    if any(isinstance(node, MaskedState) for node in nodes):
        msg = (
            f"{by}: got a cell with recurrent dropout; expected dropout outside, since it masks "
            f"the state that {by} changes; write dropout({by}(cell, ...), ...)"
        )
        raise TypeError(msg)
    return state


def spread_over_state(values: Any, state: State, *, name: str, by: str) -> list[Any]:
    """Returns one of `values` for each leaf of a state.

    Args:
      values: one value for all, or a tree of them: the state's, or the beginning of it.
      state: a state of the cell inside.
      name: the argument's name, for the message.
      by: the function the user called, for the message.

    Raises:
      ValueError: the trees do not fit.
    """
    try:
        return jax.tree.leaves(jax.tree.broadcast(values, state))
    except ValueError as error:
        msg = (
            f"{by}: got {name}={values}; expected one value, or a tree of them like the cell's "
            f"state, {jax.tree.structure(state)}"
        )
        raise ValueError(msg) from error


def draw_after_step(
    cell: Cell,
    values: Any,
    mean: Callable[[Any, Array, Array], Array],
    sample: Callable[[Any, Key, Array, Array], Array],
    *,
    name: str,
    by: str,
) -> Cell:
    """Makes a cell whose steps end with a random change of the state, drawn anew in each.

    Args:
      cell: any cell.
      values: a number for each part of the state, as `spread_over_state` takes them; a part with 0,
        and one that is not floating, is not changed.
      mean: ``(value, old, new) -> new`` for one part, elementwise: evaluation.
      sample: ``(value, keys, old, new) -> new``, the same drawn with keys ``(*batch,)``.
      name: the name of `values`, for messages.
      by: the wrapper's name.

    Returns:
      A cell with `RandomParams` and `CountedState`.
    """

    def init(key):
        return RandomParams(cell.init(key), PerSequence(None))

    def initial_state(params, batch_shape=()):
        check_seed(params.random, batch_shape, by=by)
        state = state_of_cell(cell, params.cell, batch_shape, by=by)
        spread_over_state(values, state, name=name, by=by)
        drawn = params.random.key is not None
        return CountedState(state, jnp.zeros(batch_shape, jnp.int32) if drawn else None)

    def change(keys, state, new):
        old, (new, treedef) = jax.tree.leaves(state.cell), jax.tree.flatten(new)
        each = spread_over_state(values, state.cell, name=name, by=by)
        changed = [
            k for k, value in enumerate(each) if value and jnp.issubdtype(old[k].dtype, jnp.inexact)
        ]

        def sampled(keys, step, old, new):
            now = fold(keys, step)
            return [sample(each[k], fold(now, k), old[k], new[k]) for k in changed]

        if keys is not None and state.step is None:
            msg = (
                f"{by}: got a state without a counter for parameters with keys; expected that of "
                "cell.initial_state(params, batch_shape) with these parameters; learned_state "
                f"belongs inside, as in {by}(learned_state(cell), ...)"
            )
            raise TypeError(msg)
        if keys is None:
            step, found = None, [mean(each[k], old[k], new[k]) for k in changed]
        else:
            # Drawn again in the backward pass, so that what all steps drew is never stored.
            sampled = jax.checkpoint(sampled, prevent_cse=False)
            step, found = state.step + 1, sampled(keys, state.step, old, new)
        for k, leaf in zip(changed, found, strict=True):
            new[k] = leaf
        after = treedef.unflatten(new)
        return CountedState(after, step), after

    structure = change_after_step(
        cell.parts,
        inner=lambda state: state.cell,
        prepare=lambda params: params.random.key,
        change=change,
        elementwise=True,
    )
    return from_structure(init, initial_state, structure, input_ndim=cell.input_ndim)
