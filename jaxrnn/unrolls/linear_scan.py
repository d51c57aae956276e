"""All states of a recurrence whose maps compose, in parallel, with a derivative of the same kind.

The recurrence is ``s_t = apply(e_t, s_{t-1})`` with ``apply(combine(e_1, e_2), s) ==
apply(e_2, apply(e_1, s))``. Its derivative is the linear recurrence ``ds_t = J_t ds_{t-1} + g_t``,
where the Jacobian of many steps is that of their composed map at the state before them. So neither
the derivative nor its transpose asks for anything but `combine`, `apply` and the states.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

__all__ = [
    "Action",
    "Scan",
    "Time",
    "all_states",
    "at_once",
    "in_chunks",
    "one_by_one",
    "shift_earlier",
    "shift_later",
]

_FEW = 64  # so many chunks at most are joined one after the other


class Action(NamedTuple):
    """Maps of states that compose.

    Attributes:
      combine: ``(first, then) -> element``, associative.
      apply: ``(constants, element, state) -> state``.
      alone: ``element -> state``, what `apply` makes of a state of zeros; None if that is not free.
    """

    combine: Callable[[Any, Any], Any]
    apply: Callable[[Any, Any, Any], Any]
    alone: Callable[[Any], Any] | None = None


class Scan(Protocol):
    """A way to find the states after each step, ``s_t = apply(constants, e_t, s_{t-1})``.

    `elements` has steps on axis 0; `reverse` begins with the last of them.
    """

    def __call__(self, action: Action, constants, elements, state, *, reverse: bool = False): ...


class _Affine(NamedTuple):
    """The map ``ds -> J ds + shift``, J the Jacobian of `element` at the state `before`."""

    element: Any
    before: Any
    shift: Any


def _add(a, b):
    return jax.tree.map(jnp.add, a, b)


def shift_later(first, rest):
    """Moves things one step later: `first` comes at the beginning, and the last is dropped."""
    return jax.tree.map(lambda one, leaf: jnp.concatenate([one[None], leaf[:-1]]), first, rest)


def shift_earlier(rest, last):
    """Moves things one step earlier: `last` comes at the end, and the first is dropped."""
    return jax.tree.map(lambda leaf, one: jnp.concatenate([leaf[1:], one[None]]), rest, last)


def _at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def at_once(action: Action, constants, elements, state, *, reverse: bool = False):
    """Finds all states by `jax.lax.associative_scan`: a `Scan`."""
    prefixes = jax.lax.associative_scan(jax.vmap(action.combine), elements, reverse=reverse)
    if action.alone is not None:
        return action.alone(prefixes)
    return jax.vmap(lambda element: action.apply(constants, element, state))(prefixes)


def one_by_one(action: Action, constants, elements, state, *, reverse: bool = False):
    """Finds one state after the other: a `Scan`."""

    def advance(state, element):
        state = action.apply(constants, element, state)
        return state, state

    return jax.lax.scan(advance, state, elements, reverse=reverse)[1]


def _chunked(size: int, action: Action, constants, elements, state, *, reverse: bool = False):
    num_steps = jax.tree.leaves(elements)[0].shape[0]
    count = -(-num_steps // size)
    if count == 1:
        return one_by_one(action, constants, elements, state, reverse=reverse)
    extra = count * size - num_steps

    def to_chunks(leaf):
        # What is added comes after the last step that is taken, and is dropped again.
        end = leaf[:1] if reverse else leaf[-1:]
        more = jnp.broadcast_to(end, (extra, *leaf.shape[1:]))
        leaf = jnp.concatenate([more, leaf] if reverse else [leaf, more])
        return jnp.swapaxes(leaf.reshape(count, size, *leaf.shape[1:]), 0, 1)

    def from_chunks(leaf):
        leaf = jnp.swapaxes(leaf, 0, 1).reshape(count * size, *leaf.shape[2:])
        return leaf[extra:] if reverse else leaf[:num_steps]

    def compose(total, element):
        return jax.vmap(action.combine)(total, element), None

    chunks = jax.tree.map(to_chunks, elements)
    first, rest = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
    whole, _ = jax.lax.scan(compose, _at(chunks, first), _at(chunks, rest), reverse=reverse)
    join = one_by_one if count <= _FEW else at_once
    ends = join(action, constants, whole, state, reverse=reverse)
    starts = shift_earlier(ends, state) if reverse else shift_later(state, ends)

    def advance(states, element):
        states = jax.vmap(action.apply, (None, 0, 0))(constants, element, states)
        return states, states

    _, states = jax.lax.scan(advance, starts, chunks, reverse=reverse)
    return jax.tree.map(from_chunks, states)


class Time(NamedTuple):
    """How to go along time, which is axis 0 of arrays.

    Attributes:
      scan: how all states are found.
      later: `shift_later`, or a function of the same values.
      earlier: `shift_earlier`, or a function of the same values.
    """

    scan: Scan = at_once
    later: Callable[[Any, Any], Any] = shift_later
    earlier: Callable[[Any, Any], Any] = shift_earlier


def in_chunks(size: int) -> Scan:
    """Returns a scan of chunks side by side, the steps of each one after the other.

    It goes through the chunks twice: for their composed maps, then for the states.

    Args:
      size: steps a chunk; one chunk of all steps is the sequential scan.
    """
    return functools.partial(_chunked, size)


def _derivatives(action: Action, constants):
    """Returns the linear actions of the tangents, and of the cotangents in reversed time."""

    def push(element, before, ds):
        return jax.jvp(lambda s: action.apply(constants, element, s), (before,), (ds,))[1]

    def pull(element, before, ds):
        return jax.vjp(lambda s: action.apply(constants, element, s), before)[1](ds)[0]

    def shift(affine):
        return affine.shift

    def push_both(first, then):
        shift = _add(then.shift, push(then.element, then.before, first.shift))
        return _Affine(action.combine(first.element, then.element), first.before, shift)

    def pull_both(later, earlier):
        shift = _add(earlier.shift, pull(earlier.element, earlier.before, later.shift))
        return _Affine(action.combine(earlier.element, later.element), earlier.before, shift)

    def push_one(_, affine, ds):
        return _add(affine.shift, push(affine.element, affine.before, ds))

    def pull_one(_, affine, ds):
        return _add(affine.shift, pull(affine.element, affine.before, ds))

    return push, Action(push_both, push_one, shift), Action(pull_both, pull_one, shift)


def _solve_tangents(action: Action, time: Time, constants, elements, before, shifts):
    """Returns ``ds_t = J_t ds_{t-1} + shift_t`` from ``ds_0 = 0``, as a linear function of shifts.

    It is the solution of a linear system, of which JAX then knows the transpose, the derivative
    with respect to the system, and their derivatives.
    """
    push, forward, backward = _derivatives(action, constants)

    def zeros(shifts):
        return jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), shifts)

    def system(ds):
        steps = jax.vmap(push)(elements, before, time.later(zeros(ds), ds))
        return jax.tree.map(jnp.subtract, ds, steps)

    def solve(_, shifts):
        maps = _Affine(elements, before, shifts)
        return time.scan(forward, constants, maps, zeros(shifts))

    def solve_transposed(_, shifts):
        # A cotangent passes from the state after a step to the state before it; what stands after
        # the last step meets zeros.
        maps = time.earlier((elements, before), _at((elements, before), -1))
        maps = _Affine(*maps, shifts)
        return time.scan(backward, constants, maps, zeros(shifts), reverse=True)

    return jax.lax.custom_linear_solve(system, shifts, solve, solve_transposed)


def all_states(action: Action, time: Time, constants, elements, state):
    """Returns the states after each step.

    The derivative keeps the elements and the states, nothing else: forward mode is one more scan
    of the same kind, reverse mode one in reversed time. Derivatives of any order and mode work.

    Args:
      action: how maps compose and act.
      time: how the states are found; the derivatives are found in the same way.
      constants: tree, the first argument of ``action.apply``.
      elements: tree of ``(T, ...)``.
      state: the state before the first step, a tree of floating or complex arrays.

    Returns:
      The states, each leaf ``(T, ...)``.
    """

    @jax.custom_jvp
    def run(constants, elements, state):
        return time.scan(action, constants, elements, state)

    @run.defjvp
    def run_jvp(primals, tangents):
        constants, elements, state = primals
        states = run(*primals)
        before = time.later(state, states)
        d_constants, d_elements, d_state = tangents
        d_before = time.later(d_state, jax.tree.map(jnp.zeros_like, states))
        steps = jax.vmap(action.apply, (None, 0, 0))
        _, shifts = jax.jvp(
            steps, (constants, elements, before), (d_constants, d_elements, d_before)
        )
        return states, _solve_tangents(action, time, constants, elements, before, shifts)

    return run(constants, elements, state)
