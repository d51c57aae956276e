"""Newton's iterations on the equations of a run, and derivatives of their solution."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.trees import spread
from jaxrnn.core.types import Array
from jaxrnn.unrolls.linear_scan import Time
from jaxrnn.unrolls.newton_flow import Operands, Problem
from jaxrnn.unrolls.newton_methods import Linearization, Method, Steps
from jaxrnn.unrolls.newton_recurrence import solve_backward, solve_damped, solve_forward
from jaxrnn.unrolls.time_blocks import cut, map_blocks, over_blocks, uncut

__all__ = [
    "Settings",
    "Solution",
    "block_bytes",
    "choose_size",
    "failure_text",
    "look_at",
    "make_solver",
]

_BLOCK_BYTES = 2**25  # of Jacobians in one block of time: what a block needs is a few times that
_LEAST_DAMPING, _MOST_DAMPING = 1e-8, 1e8


class Settings(NamedTuple):
    """How to solve.

    Attributes:
      method: which entries of Jacobians are kept.
      tolerance: largest residual of a solution.
      max_iters: iterations a block at most.
      on_failure: "sequential", "nan" or "error".
      size: steps a block.
      warm: whether a guess was given; else each block starts from a step from the state before it.
      time: how to go along time; with another than this, there is one block.
    """

    method: Method
    tolerance: float
    max_iters: int
    on_failure: str
    size: int
    warm: bool
    time: Time = Time()


class Solution(NamedTuple):
    """States after each step, ``(T, *batch, D)``, and for each sequence what came of it."""

    states: Array
    converged: Array
    iterations: Array
    residual: Array


class _Iterate(NamedTuple):
    states: Array  # (S, *batch, D)
    rest: Array  # the equations' residuals, the same shape
    size: Array  # (*batch,), the largest residual
    count: Array  # (*batch,), iterations so far
    alive: Array  # (*batch,), whether everything was finite
    weight: Array  # (*batch,), of the trust region
    turn: Array


def _linearize(problem: Problem, method: Method, operands: Operands, before: Array):
    """Returns the method's Jacobians of many steps."""
    units_after = None
    if problem.unit_step is not None:
        units_after = functools.partial(problem.units_after, operands)
    after = functools.partial(problem.after, operands)
    components = problem.state.components
    return method(Steps(after, units_after, problem.separable, before, components))


def look_at(problem: Problem, method: Method, *, by: str) -> Linearization:
    """Returns the shapes of what a method makes of one step; checks that it is a method."""
    operands = problem.operands
    one = operands._replace(
        rest=jax.tree.map(lambda leaf: leaf[:1], operands.rest),
        inputs=jax.tree.map(lambda leaf: leaf[:1], operands.inputs),
    )
    flags = {}

    def run(operands):
        made = _linearize(problem, method, operands, operands.start[None])
        if not isinstance(made, Linearization):
            msg = (
                f"{by}: got a method that returns {type(made).__name__}; expected a function from "
                "Steps to a Linearization, such as jaxrnn.unrolls.newton.dense"
            )
            raise TypeError(msg)
        flags.update(exact=made.exact, damping=made.damping)
        return made.jacobians

    return Linearization(jax.eval_shape(run, one), **flags)


def block_bytes(made: Linearization) -> int:
    """Returns the bytes of one step's Jacobians; damping keeps three matrices in place of one."""
    shape = made.jacobians
    bytes_each = shape.size * shape.dtype.itemsize
    return bytes_each * (1 if made.damping is None else 3)


def choose_size(made: Linearization, num_steps: int) -> int:
    """Chooses steps a block by memory, so that no steps are left over where that can be."""
    most = min(max(_BLOCK_BYTES // block_bytes(made), 1), num_steps)
    whole = [n for n in range(max(most * 2 // 3, 1), most + 1) if num_steps % n == 0]
    return max(whole, default=most)


def _size_of(rest: Array, states: Array) -> Array:
    """Returns the largest residual of each sequence, against the larger of 1 and the state."""
    axes = (0, rest.ndim - 1)
    largest = jnp.max(jnp.abs(rest) / jnp.maximum(jnp.abs(states), 1), axis=axes)
    # XLA's maximum on CPU can lose a NaN, so it is looked for.
    return jnp.where(jnp.all(jnp.isfinite(rest), axis=axes), largest, jnp.inf)


def _finite_until(change: Array) -> Array:
    """Says of each step, ``(S, *batch, 1)``, whether it and all steps before it are finite."""
    bad = ~jnp.all(jnp.isfinite(change), axis=-1, keepdims=True)
    first = jnp.where(jnp.any(bad, axis=0), jnp.argmax(bad, axis=0), len(change))
    return spread(jnp.arange(len(change)), bad) < first


def _solve_block(problem, settings, operands, start, guess, failed, damping) -> _Iterate:
    """Iterates on one block of time from a guess."""
    time = settings.time

    def residual(states):
        rest = problem.after(operands, time.later(start, states)) - states
        return rest, _size_of(rest, states)

    def wanted(now):
        return now.alive & (now.size > settings.tolerance)

    def improve(now):
        made = _linearize(problem, settings.method, operands, time.later(start, now.states))
        if damping is None:
            change = solve_forward(time, made.jacobians, now.rest, jnp.zeros_like(start))
        else:
            change = solve_damped(time, made.jacobians, now.rest, now.weight)
        # Behind an overflow nothing is known but what each step makes of its own state.
        states = now.states + jnp.where(_finite_until(change), change, now.rest)
        rest, size = residual(states)
        active = wanted(now)
        finite = jnp.isfinite(size)
        if damping is None:
            taken, alive, weight = active & finite, now.alive & (finite | ~active), now.weight
        else:
            better = _energy(rest) < _energy(now.rest)
            taken = active & finite & better
            weight = jnp.where(taken, now.weight / 4, now.weight * 4)
            weight = jnp.where(active, jnp.maximum(weight, _LEAST_DAMPING), now.weight)
            alive = now.alive & (weight < _MOST_DAMPING)

        def choose(new, old):
            flags = jnp.broadcast_to(spread(taken, start), start.shape)
            return jnp.where(flags, new, old)

        return _Iterate(
            choose(states, now.states),
            choose(rest, now.rest),
            jnp.where(taken, size, now.size),
            now.count + active,
            alive,
            weight,
            now.turn + 1,
        )

    rest, size = residual(guess)
    count = jnp.zeros_like(size, jnp.int32)
    alive = jnp.isfinite(size) & ~failed
    weight = jnp.full_like(size, 0.0 if damping is None else damping)
    first = _Iterate(guess, rest, size, count, alive, weight, jnp.int32(0))
    return jax.lax.while_loop(
        lambda now: jnp.any(wanted(now)) & (now.turn < settings.max_iters), improve, first
    )


def _energy(rest: Array) -> Array:
    return jnp.sum(rest**2, axis=(0, rest.ndim - 1))


def _iterate(problem, settings, operands: Operands, guess, damping) -> Solution:
    """Solves block after block of time."""

    def body(carry, block):
        start, failed = carry
        rest, inputs, guess = block
        ours = operands._replace(start=start, rest=rest, inputs=inputs)
        if not settings.warm:
            steps = jax.tree.leaves(inputs)[0].shape[0]
            guess = problem.after(ours, jnp.broadcast_to(start, (steps, *start.shape)))
        now = _solve_block(problem, settings, ours, start, guess, failed, damping)
        failed |= ~(now.size <= settings.tolerance)
        return (now.states[-1], failed), (now.states, now.count, now.size)

    failed = jnp.zeros_like(operands.start[..., 0], bool)
    blocks = cut((operands.rest, operands.inputs, guess), settings.size)
    (_, failed), found = over_blocks(body, (operands.start, failed), blocks)
    states = uncut(map_blocks(lambda out: out[0], found))
    count, size = (jnp.max(part, axis=0) for part in found.whole[1:])
    if found.left is not None:
        count, size = jnp.maximum(count, found.left[1]), jnp.maximum(size, found.left[2])
    return Solution(states, ~failed, count, size)


def _if_needed(needed: Array, otherwise: Any, compute) -> Any:
    """Returns ``compute()`` where `needed`, a scalar bool, else `otherwise`.

    A loop of one turn at most, and no `jax.lax.cond`: of that `jax.vmap` runs both sides always.
    """
    return jax.lax.while_loop(
        lambda now: now[0], lambda now: (now[0] & False, compute()), (needed, otherwise)
    )[1]


def _sequential(problem: Problem, operands: Operands) -> Array:
    """Returns all states by the plain scan."""

    def advance(flat, step):
        flat = problem.step(flat, *step, *operands.consts).astype(flat.dtype)
        return flat, flat

    return jax.lax.scan(advance, operands.start, (operands.rest, operands.inputs))[1]


def _refuse(converged, iterations, residual):
    if not np.all(converged):
        raise RuntimeError(failure_text(converged, iterations, residual))
    return np.asarray(converged)


def failure_text(converged, iterations, residual) -> str:
    """Says how many sequences did not converge, and what to do."""
    converged = np.asarray(converged)
    return (
        f"newton_unroll: got no convergence of {np.sum(~converged)} of {converged.size} sequences "
        f"after {np.max(iterations)} iterations (residual {np.max(residual):.3g}); expected every "
        "residual below the tolerance; see jaxrnn.analysis.newton_certificate; take more "
        'max_iters, a smaller block_size or method=damped(), or on_failure="sequential"'
    )


def _handle_failure(problem, settings, operands, found: Solution) -> Solution:
    lost = ~found.converged
    if settings.on_failure == "sequential":

        def again():
            return jnp.where(lost[..., None], _sequential(problem, operands), found.states)

        return found._replace(states=_if_needed(jnp.any(lost), found.states, again))
    converged = found.converged
    if settings.on_failure == "error":
        spec = jax.ShapeDtypeStruct(converged.shape, converged.dtype)
        converged = jax.pure_callback(
            _refuse, spec, converged, found.iterations, found.residual, vmap_method="sequential"
        )
    return found._replace(states=jnp.where(converged[..., None], found.states, jnp.nan))


def make_solver(problem: Problem, settings: Settings, made: Linearization):
    """Returns ``solve(operands, guess) -> Solution``, differentiable in the operands.

    The derivative is that of the implicit function: with A the steps' Jacobians at the solution and
    b the change of each step's result at fixed states, ``ds_t = A_t ds_{t-1} + b_t``; in reverse
    mode its transpose. Where the method's Jacobians are exact both are solved in parallel, in
    blocks of time; else step by step, so that the derivative is exact all the same.

    Args:
      problem: the equations.
      settings: how to solve them.
      made: what the method makes of a step.
    """
    # Damping changes the way to the solution, not the solution.
    parallel = made.exact
    method, time = settings.method, settings.time

    def blocks_of(operands, states, b):
        return time.later(operands.start, states), operands.rest, operands.inputs, b

    def jacobians(operands, block):
        before, rest, inputs, _ = block
        ours = operands._replace(rest=rest, inputs=inputs)
        return _linearize(problem, method, ours, before).jacobians

    def forward(operands, states, b):
        def body(d, block):
            found = solve_forward(time, jacobians(operands, block), block[-1], d)
            return found[-1], found

        blocks = cut(blocks_of(operands, states, b), settings.size)
        return uncut(over_blocks(body, jnp.zeros_like(b[0]), blocks)[1])

    def backward(operands, states, b):
        def body(last, block):
            found, last = solve_backward(time, jacobians(operands, block), block[-1], last)
            return last, found

        blocks = cut(blocks_of(operands, states, b), settings.size)
        return uncut(over_blocks(body, jnp.zeros_like(b[0]), blocks, reverse=True)[1])

    def one_step(operands, rest, inputs):
        return lambda flat: problem.step(flat, rest, inputs, *operands.consts)

    def forward_by_step(operands, states, b):
        def advance(d, step):
            before, rest, inputs, b = step
            d = jax.jvp(one_step(operands, rest, inputs), (before,), (d,))[1].astype(b.dtype) + b
            return d, d

        return jax.lax.scan(advance, jnp.zeros_like(b[0]), blocks_of(operands, states, b))[1]

    def backward_by_step(operands, states, b):
        def advance(last, step):
            before, rest, inputs, b = step
            here = last + b
            return jax.vjp(one_step(operands, rest, inputs), before)[1](here)[0], here

        blocks = blocks_of(operands, states, b)
        return jax.lax.scan(advance, jnp.zeros_like(b[0]), blocks, reverse=True)[1]

    def linear_solve(operands, found, b):
        states, lost = found.states, ~jnp.all(found.converged > 0)

        def matvec(d):
            before = time.later(operands.start, states)
            after = functools.partial(problem.after, operands)
            return d - jax.jvp(after, (before,), (time.later(jnp.zeros_like(d[0]), d),))[1]

        def either(at_once, by_step):
            # JAX lowers a linear solve by running its equations again, which under `shard_map` it
            # can do only with those inside another program.
            @jax.jit
            def run(operands, states, lost, b):
                if not parallel:
                    return by_step(operands, states, b)
                # Products of many Jacobians of a run that does not converge overflow.
                found = at_once(operands, states, b)
                return _if_needed(lost, found, lambda: by_step(operands, states, b))

            return lambda _, b: run(operands, states, lost, b)

        return jax.lax.custom_linear_solve(
            matvec, b, either(forward, forward_by_step), either(backward, backward_by_step)
        )

    @jax.custom_jvp
    def solve(operands, guess):
        found = _iterate(problem, settings, operands, guess, made.damping)
        return _as_floats(_handle_failure(problem, settings, operands, found))

    @solve.defjvp
    def solve_jvp(primals, tangents):
        operands, guess = primals
        found = solve(operands, guess)

        def direct(operands):
            return problem.after(operands, time.later(operands.start, found.states))

        _, b = jax.jvp(direct, (operands,), (tangents[0],))
        moved = linear_solve(operands, found, b)
        return found, Solution(moved, *map(jnp.zeros_like, found[1:]))

    return lambda operands, guess: _from_floats(solve(operands, guess))


def _as_floats(found: Solution) -> Solution:
    """Makes all of it floats: under `shard_map` a custom derivative has no zeros for the others."""
    return Solution(found.states, *(part.astype(jnp.float32) for part in found[1:]))


def _from_floats(found: Solution) -> Solution:
    _, converged, iterations, residual = map(jax.lax.stop_gradient, found)
    return Solution(found.states, converged > 0, iterations.astype(jnp.int32), residual)
