"""A run as equations between flat states, which Newton's method solves for all steps at once."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.closures import with_constants
from jaxrnn.core.structure import (
    Elementwise,
    Gated,
    Linear,
    Separable,
    Structure,
    diagonal_apply,
    diagonal_combine,
)
from jaxrnn.core.types import Array, Input, Params, State
from jaxrnn.unrolls.scan import read_recurrence
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["FlatState", "Operands", "Problem", "read_problem"]


class FlatState(NamedTuple):
    """How a state is written as one vector for each sequence.

    A complex leaf counts as its real beside its imaginary part, each a component. Leaves that are
    no floats (counters, keys) are no unknowns: they are the rest.

    Attributes:
      tree: the structure of a state.
      leaves: the shape and dtype of each leaf.
      batch_ndim: number of batch axes.
    """

    tree: Any
    leaves: list[jax.ShapeDtypeStruct]
    batch_ndim: int

    @property
    def components(self) -> list[tuple[int, ...]]:
        """The shapes, without batch, of the real arrays that make up the vector, in order."""
        return [
            leaf.shape[self.batch_ndim :]
            for leaf in self.leaves
            if _inexact(leaf)
            for _ in range(1 + jnp.issubdtype(leaf.dtype, jnp.complexfloating))
        ]

    @property
    def epsilon(self) -> float:
        """The relative rounding of the coarsest leaf."""
        return max(float(jnp.finfo(leaf.dtype).eps) for leaf in self.leaves if _inexact(leaf))

    def split(self, state: State) -> tuple[Array, list[Array]]:
        """Returns the vector, ``(*batch, D)``, and the rest."""
        leaves = jax.tree.leaves(state)
        parts = []
        for leaf in leaves:
            if _inexact(leaf):
                pair = (leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else (leaf,)
                lead = leaf.shape[: self.batch_ndim]
                parts += [part.reshape(*lead, -1) for part in pair]
        return jnp.concatenate(parts, axis=-1), [leaf for leaf in leaves if not _inexact(leaf)]

    def join(self, flat: Array, rest: list[Array]) -> State:
        """Returns the state again; leading axes before the batch (time) are kept."""
        rest, found, start = iter(rest), [], 0

        def take(shape, dtype):
            nonlocal start
            lead, size = flat.shape[:-1], math.prod(shape)
            part = flat[..., start : start + size].reshape(*lead, *shape).astype(dtype)
            start += size
            return part

        for leaf in self.leaves:
            shape = leaf.shape[self.batch_ndim :]
            if not _inexact(leaf):
                found.append(next(rest))
            elif jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                real = jnp.finfo(leaf.dtype).dtype
                found.append(jax.lax.complex(take(shape, real), take(shape, real)))
            else:
                found.append(take(shape, leaf.dtype))
        return jax.tree.unflatten(self.tree, found)


class Operands(NamedTuple):
    """All arrays that the equations depend on, so that they can be differentiated.

    Attributes:
      consts: what the step reads besides its arguments: the cell's prepared parameters, the state
        that resets return to, and whatever else the user's functions close over.
      unit_consts: the same for the step whose units do not mix.
      start: ``(*batch, D)``, the state before the first step.
      rest: the leaves of the state that are no floats, before each step, ``(T, *batch, ...)``.
      inputs: tree with T on axis 0.
    """

    consts: list[Array]
    unit_consts: list[Array]
    start: Array
    rest: list[Array]
    inputs: Any


class Problem(NamedTuple):
    """The equations ``s_t = step(s_{t-1})`` of a run.

    Attributes:
      advance: ``(state, inputs) -> (state, y)``, the step itself, with its mask and reset.
      step: ``(flat, rest, inputs, *consts) -> flat``.
      unit_step: a step of the same value whose Jacobian keeps no more than how each unit depends
        on itself; None if that is not known.
      separable: whether units do not mix at all, so that `unit_step` is `step`.
      operands: what they depend on.
      state: how states are written as vectors.
    """

    advance: Callable
    step: Callable
    unit_step: Callable | None
    separable: bool
    operands: Operands
    state: FlatState

    def after(self, operands: Operands, before: Array) -> Array:
        """Takes every step from its own state: ``(T, *batch, D)`` to the same."""
        return _over_time(self.step, operands.consts, operands, before)

    def units_after(self, operands: Operands, before: Array) -> Array:
        """Takes every step by `unit_step`."""
        return _over_time(self.unit_step, operands.unit_consts, operands, before)


def _over_time(step, consts, operands, before):
    many = jax.vmap(lambda flat, rest, inputs: step(flat, rest, inputs, *consts))
    return many(before, operands.rest, operands.inputs)


def _inexact(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _keeps_units_apart(parts: Structure, state: FlatState) -> bool:
    """Says whether the witness promises that no unit's next state depends on another unit."""
    alike = len(set(state.components)) == 1
    if isinstance(parts, Linear):
        diagonal = parts.combine is diagonal_combine and parts.apply is diagonal_apply
        return alike and diagonal and len(state.leaves) == 1
    return alike and isinstance(parts, Elementwise)


def _with_units_apart(cell: Cell) -> Cell:
    """Returns the Gated cell with what units send to each other held constant.

    The recurrent matrix has its gates side by side, each a square block, so that its part that
    keeps units apart is the diagonal of each block.
    """
    parts = cell.parts

    def recur(prepared, state, z):
        weights, vectors = prepared
        h = parts.hidden(state)
        size = weights.shape[0]
        own = jnp.einsum("igi->gi", weights.reshape(size, -1, size))
        own = (h[..., None, :] * own).reshape(*h.shape[:-1], -1)
        others = jax.lax.stop_gradient(h @ weights - own)
        return parts.pointwise(vectors, state, parts.mix(z, others + own))

    return cell._replace(structure=Separable(parts.project, recur, parts.prepare))


def _blocks_are_square(cell: Cell, params: Params, state: FlatState) -> bool:
    if not isinstance(cell.parts, Gated):
        return False
    shape = jax.eval_shape(cell.parts.weights, params).shape
    return shape[1] % shape[0] == 0 and set(state.components) == {(shape[0],)}


def _rest_needs_floats(advance_rest, flat, rest, inputs) -> bool:
    """Says whether the parts of the state that are no floats may depend on those that are."""
    jaxpr = jax.make_jaxpr(advance_rest)(flat, rest, inputs).jaxpr
    moved = {id(jaxpr.invars[0])}
    for eqn in jaxpr.eqns:
        if any(id(v) in moved for v in eqn.invars):
            moved |= {id(v) for v in eqn.outvars}
    return any(id(v) in moved for v in jaxpr.outvars)


def read_problem(
    cell: Cell, params: Params, xs: Input, state, mask, resets, *, units: bool, by: str
) -> Problem:
    """Checks the arguments of an unroll and returns its equations.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      units: whether the step that keeps units apart is wanted.
      by: the function the user called, for the messages.

    Raises:
      TypeError: as `unroll`; the state has no floats, or a part of it that is none depends on them.
      ValueError: as `unroll`.
    """
    arguments = {"mask": mask, "resets": resets, "by": by}
    run = read_recurrence(cell, params, xs, state, **arguments)
    leaves, tree = jax.tree.flatten(run.state)
    named = jax.tree.leaves_with_path(run.state)
    if not any(map(_inexact, leaves)):
        msg = (
            f"{by}: got a state of {[str(leaf.dtype) for leaf in leaves]}; expected floating "
            "arrays, which Newton's method solves for; use jaxrnn.unroll"
        )
        raise TypeError(msg)
    batch_ndim = len(read_sequence(cell, xs, by=by).batch_shape(cell))
    specs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    flat_state = FlatState(tree, specs, batch_ndim)
    start, first_rest = flat_state.split(run.state)

    def flat_step(advance):
        def step(flat, rest, inputs):
            return flat_state.split(advance(flat_state.join(flat, rest), inputs)[0])[0]

        return step

    def advance_rest(flat, rest, inputs):
        return flat_state.split(run.advance(flat_state.join(flat, rest), inputs)[0])[1]

    first = jax.tree.map(lambda leaf: leaf[0], run.inputs)
    rest = []
    if first_rest:
        if _rest_needs_floats(advance_rest, start, first_rest, first):
            names = [jax.tree_util.keystr(path) for path, leaf in named if not _inexact(leaf)]
            msg = (
                f"{by}: got a state whose {', '.join(names)} (no floats) follow from its floats; "
                "expected parts such as counters, which follow from themselves and the input; use "
                "jaxrnn.unroll"
            )
            raise TypeError(msg)

        def record(rest, inputs):
            return advance_rest(start, rest, inputs), rest

        _, rest = jax.lax.scan(record, first_rest, run.inputs)
    step, consts = with_constants(flat_step(run.advance), start, first_rest, first)
    separable = _keeps_units_apart(cell.parts, flat_state)
    unit_step, unit_consts = (step, consts) if separable else (None, [])
    if units and not separable and _blocks_are_square(cell, params, flat_state):
        apart = read_recurrence(_with_units_apart(cell), params, xs, state, **arguments)
        advance = flat_step(apart.advance)
        unit_step, unit_consts = with_constants(advance, start, first_rest, first)
    operands = Operands(list(consts), list(unit_consts), start, rest, run.inputs)
    return Problem(run.advance, step, unit_step, separable, operands, flat_state)
