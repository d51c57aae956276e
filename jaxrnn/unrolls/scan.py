"""The reference unroll: `jax.lax.scan` over prepare / project / recur, for any cell."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.closures import with_constants
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import General, Linear
from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.sequence import read_sequence, read_state

__all__ = ["Recurrence", "read_recurrence", "trajectory", "unroll"]

_FEW = 256  # numbers a step reads


class Recurrence(NamedTuple):
    """A cell on a sequence, with all but the sequential part already done.

    Attributes:
      advance: ``(state, inputs) -> (state, y)``, one step with its mask and reset.
      state: the state before the first step.
      inputs: tree of arrays with time on axis 0: the projected inputs and the flags.
    """

    advance: Callable[[State, Any], tuple[State, Output]]
    state: State
    inputs: Any


def read_recurrence(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    by: str,
) -> Recurrence:
    """Checks the arguments of an unroll, prepares, and projects all inputs at once.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      by: the function the user called, for the messages.

    Returns:
      The recurrence: ``jax.lax.scan(r.advance, r.state, r.inputs)`` is the unroll.
    """
    sequence = read_sequence(cell, xs, mask, resets, by=by)
    state = read_state(cell, params, sequence, state, by=by)
    parts = cell.parts
    with jax.named_scope("prepare"):
        prepared = parts.prepare(params)
    with jax.named_scope("project"):
        zs = jax.vmap(parts.project, (None, 0))(params, sequence.xs)
    initial = None
    if sequence.resets is not None:
        initial = read_state(cell, params, sequence, None, by=by)

    def advance(state, inputs):
        z, real, reset = inputs
        if reset is not None:
            state = select(reset, initial, state)
        with jax.named_scope("recur"):
            new, y = parts.recur(prepared, state, z)
        if real is not None:
            new, y = select(real, new, state), mask_zero(real, y)
        return new, y

    return Recurrence(advance, state, (zs, sequence.mask, sequence.resets))


def _prefetches(cell: Cell, run: Recurrence) -> bool:
    """Says whether values are computed faster with a prefetch, as measured (benchmarks/).

    On CPU a slice at a running index keeps the pointwise code that reads it from being vectorised.
    General cells read it by a product; the maps of Linear ones take less time than the copy, and so
    does a step of few numbers.
    """
    if jax.default_backend() != "cpu" or isinstance(cell.parts, (General, Linear)):
        return False
    size = sum(leaf[0].size for leaf in jax.tree.leaves(run.inputs))
    return isinstance(size, int) and size > _FEW  # none where an export leaves sizes open


def _prefetched(run: Recurrence, unroll_factor: int) -> tuple[State, Output]:
    """Scans with a prefetch where only values are asked for; the derivative is the plain scan's.

    Of a derivative the prefetch would make copies and larger residuals.
    """
    first = jax.tree.map(lambda leaf: leaf[0], run.inputs)
    advance, closed_over = with_constants(run.advance, run.state, first)

    def scan(state, inputs, closed_over):
        def step(state, here):
            return advance(state, here, *closed_over)

        return jax.lax.scan(step, state, inputs, unroll=unroll_factor)

    @jax.custom_jvp
    def prefetched_scan(state, inputs, closed_over):  # `analysis.accurate` knows this name
        def step(carry, following):
            state, here = carry
            state, y = advance(state, here, *closed_over)
            return (state, following), y

        first = jax.tree.map(lambda leaf: leaf[0], inputs)
        rest = jax.tree.map(lambda leaf: jnp.concatenate([leaf[1:], leaf[:1]]), inputs)
        (state, _), ys = jax.lax.scan(step, (state, first), rest, unroll=unroll_factor)
        return state, ys

    @prefetched_scan.defjvp
    def derivative(primals, tangents):
        return jax.jvp(scan, primals, tangents)

    return prefetched_scan(run.state, run.inputs, closed_over)


@compiled_per_cell("unroll_factor")
def unroll(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    unroll_factor: int = 1,
) -> tuple[State, Output]:
    """Runs any cell over time with `jax.lax.scan`: the reference for every other unroll.

    The inputs' share of all steps is computed at once, what depends on parameters alone once.
    Supports forward mode, reverse mode, derivatives of derivatives, and `jax.vmap` over anything.

    Args:
      cell: the cell.
      params: its parameters.
      xs: time-major inputs ``(T, *batch, features)``, or a tree of such; an integer leaf holds
        tokens, ``(T, *batch)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)``, True where the step is real. A masked step holds the state and
        outputs zeros; whatever stands in the padding, NaN included, reaches no value and no
        gradient.
      resets: bool ``(T, *batch)``: where True the state returns to ``cell.initial_state`` before
        the input is consumed. On a masked step the state is reset, then held.
      unroll_factor: steps a loop iteration, as `unroll` of `jax.lax.scan`. Large values compile
        slowly and can run slower.

    Returns:
      The state after the last step, and the outputs, ``(T, *batch, ...)``.

    Raises:
      TypeError: `cell` is no `Cell`, a flag is not bool, or a step changes the state's dtype.
      ValueError: a shape does not fit, or `xs` has no step.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, ys = unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.c.shape
      ((7, 2, 5), (2, 5))
    """
    run = read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by="unroll")
    if _prefetches(cell, run):
        return _prefetched(run, unroll_factor)
    return jax.lax.scan(run.advance, run.state, run.inputs, unroll=unroll_factor)


@compiled_per_cell()
def trajectory(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> State:
    """Returns every state of a run, the first one included.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``, as for `unroll`.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None. A reset acts at the beginning of its step, so entry t
        still holds the state that step t - 1 left.

    Returns:
      The states, each leaf ``(T + 1, *batch, ...)``; entry t is the state after t steps.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(3, 5)
      >>> trajectory(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))).shape
      (8, 2, 5)
    """
    run = read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by="trajectory")

    def advance(state, inputs):
        new, _ = run.advance(state, inputs)
        return new, new

    _, states = jax.lax.scan(advance, run.state, run.inputs)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), run.state, states)
