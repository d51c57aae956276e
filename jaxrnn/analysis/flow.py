"""A cell on one sequence as a flow of flat state vectors, linearised along its trajectory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrnn.analysis.accurate import accurate
from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Array, Input, Params, State
from jaxrnn.unrolls.scan import read_recurrence
from jaxrnn.unrolls.sequence import read_sequence, read_state

__all__ = ["Flow", "over_batch", "read_flow", "read_input_flow", "trim"]


class Flow(NamedTuple):
    """One sequence, ready to be linearised.

    Attributes:
      advance: ``(s, rest, inputs) -> (s, y)``: one step on the flat state, with its mask and reset.
      states: ``(T, D)``, the flat state before each step; a complex number counts as two.
      rest: tree with T on axis 0: the parts of the state that are no floats, before each step.
      inputs: tree with T on axis 0.
      start: ``(D,)``, the flat state before the first step, for who runs the state along and needs
        no stored trajectory.
      last: ``(D,)``, the flat state after the last step.
    """

    advance: Callable[[Array, Any, Any], tuple[Array, Any]]
    states: Array
    rest: Any
    inputs: Any
    start: Array
    last: Array

    @property
    def num_steps(self) -> int:
        """T."""
        return self.states.shape[0]

    def pull(self, index: Array, rows: Array) -> Array:
        """Returns ``rows @ A`` for the step's Jacobian A (reverse mode), rows ``(k, D)``.

        Rows are covectors, as gradients are: this is one step back in time.
        """
        state, rest, inputs = self.at(index)
        after, pull = jax.vjp(lambda s: self.advance(s, rest, inputs)[0], state)
        # Under `shard_map` a cotangent has to vary over the mesh as the state does.
        return jax.vmap(lambda row: pull(row)[0])(rows + jnp.zeros_like(after))

    def push(self, index: Array, rows: Array) -> Array:
        """Returns ``rows @ A.T``, the images of state vectors (forward mode), rows ``(k, D)``."""
        state, rest, inputs = self.at(index)
        _, push = jax.linearize(lambda s: self.advance(s, rest, inputs)[0], state)
        return jax.vmap(push)(rows + jnp.zeros_like(state))

    def eye(self) -> Array:
        """Returns the identity on states, ``(D, D)``, varying over a mesh as the states do."""
        eye = jnp.eye(self.states.shape[1], dtype=self.states.dtype)
        return eye + jnp.zeros_like(self.states[0])

    def first_bad(self) -> Array:
        """Returns after how many steps the state is not finite for the first time; -1 if never."""
        bad = ~jnp.all(jnp.isfinite(jnp.concatenate([self.states, self.last[None]])), axis=1)
        return jnp.where(jnp.any(bad), jnp.argmax(bad), -1)

    def at(self, index: Array) -> tuple[Array, Any, Any]:
        """Returns the state, its rest and the inputs of one step."""
        return jax.tree.map(lambda leaf: leaf[index], (self.states, self.rest, self.inputs))


def _is_inexact(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _split(state: State) -> tuple[list[Array], list[Array]]:
    """Returns the floats, a complex leaf as its real beside its imaginary part, and the rest."""
    leaves = jax.tree.leaves(state)
    floats = [
        jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf
        for leaf in leaves
        if _is_inexact(leaf)
    ]
    return floats, [leaf for leaf in leaves if not _is_inexact(leaf)]


def _check_leaves(state: State, *, floats_only: bool, by: str) -> None:
    """Raises TypeError where a state has leaves that cannot be differentiated, naming them."""
    kinds = {
        jax.tree_util.keystr(path) or "state": leaf.dtype
        for path, leaf in jax.tree.leaves_with_path(state)
    }
    floats = [name for name, kind in kinds.items() if jnp.issubdtype(kind, jnp.inexact)]
    refused = {name: kind for name, kind in kinds.items() if floats_only and name not in floats}
    if not floats or refused:
        named = ", ".join(f"{name}: {kind}" for name, kind in (refused or kinds).items())
        msg = (
            f"{by}: got a state with leaves {named}; expected floating arrays; hold counters in "
            "the input"
        )
        raise TypeError(msg)


def read_flow(
    cell: Cell,
    params: Params,
    xs: Input,
    state,
    mask,
    resets,
    *,
    by: str,
    floats_only: bool = False,
) -> Flow:
    """Runs one sequence and returns its flow.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, features)``: no batch axes.
      state: the state to start from, or None.
      mask: bool ``(T,)`` or None. A masked step's Jacobian is the identity.
      resets: bool ``(T,)`` or None. The Jacobian of a step that resets is zero.
      by: the function the user called.
      floats_only: whether leaves that are no floats are refused; else they count as constants.

    Raises:
      TypeError: the state has no floating leaf, or one that is refused.
    """
    run = read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by=by)
    _check_leaves(run.state, floats_only=floats_only, by=by)
    first, unravel = ravel_pytree(_split(run.state)[0])
    narrow = first.dtype  # half precision is measured in float32: the step alone rounds to it
    leaves, tree = jax.tree.flatten(run.state)

    def flatten(state):
        floats, rest = _split(state)
        flat = ravel_pytree(floats)[0]
        return flat.astype(jnp.promote_types(flat.dtype, jnp.float32)), rest

    def join(flat, rest):
        floats, rest = iter(unravel(flat.astype(narrow))), iter(rest)
        found = [next(floats if _is_inexact(leaf) else rest) for leaf in leaves]
        whole = [
            jax.lax.complex(*one) if jnp.iscomplexobj(leaf) else one
            for one, leaf in zip(found, leaves, strict=True)
        ]
        return jax.tree.unflatten(tree, whole)

    def one_step(flat, rest, inputs):
        state, y = run.advance(join(flat, rest), inputs)
        return flatten(state)[0], y

    def record(state, inputs):
        return run.advance(state, inputs)[0], flatten(state)

    end, (states, rest) = jax.lax.scan(record, run.state, run.inputs)
    start, last = flatten(run.state)[0], flatten(end)[0]
    return Flow(accurate(one_step), states, rest, run.inputs, start, last)


def read_input_flow(cell: Cell, params: Params, xs: Array, flow: Flow) -> Callable[[Array], Array]:
    """Returns ``index -> d s / d x`` of one step, ``(D, F)``, for inputs that are one array.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, F)``, floats.
      flow: the flow on the same sequence.
    """

    def one_step(x, flat, rest, flags):
        return flow.advance(flat, rest, (cell.parts.project(params, x), *flags))[0]

    one_step = accurate(one_step)

    def at(index):
        state, rest, (_, *flags) = flow.at(index)
        return jax.jacrev(one_step)(xs[index], state, rest, flags)

    return at


def over_batch(function: Callable, cell, params, xs, state, mask, resets, *extra, out_axes, by):
    """Applies a function of one sequence to every sequence of a batch.

    Args:
      function: ``(xs, state, mask, resets, *extra) -> result`` without batch axes.
      cell: the cell, for the checks.
      params: its parameters.
      xs: ``(T, *batch, ...)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      *extra: further trees of arrays ``(T, *batch, ...)``.
      out_axes: where the batch axes go in the result, a tree as for `jax.vmap`.
      by: the function the user called.

    Returns:
      The result, computed with matrix products of precision "highest".
    """
    with jax.default_matmul_precision("highest"):
        sequence = read_sequence(cell, xs, mask, resets, by=by)
        state = read_state(cell, params, sequence, state, by=by)
        for _ in sequence.batch_shape(cell):
            function = jax.vmap(function, (1, 0, 1, 1, *[1] * len(extra)), out_axes)
        return function(sequence.xs, state, sequence.mask, sequence.resets, *extra)


def trim(tree: Any, start: int, stop: int) -> Any:
    """Cuts every leaf of a tree to the steps from `start` to `stop`; None stays None."""
    return jax.tree.map(lambda leaf: leaf[start:stop], tree)
