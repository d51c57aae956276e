"""Any cell in parallel over time: Newton's method on the states of all steps at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.trees import mask_zero, spread
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.linear_scan import Time
from jaxrnn.unrolls.newton_flow import Problem, read_problem
from jaxrnn.unrolls.newton_methods import (
    Linearization,
    Method,
    Steps,
    block_diagonal,
    damped,
    default_method,
    dense,
    diagonal,
)
from jaxrnn.unrolls.newton_solve import (
    Settings,
    choose_size,
    failure_text,
    look_at,
    make_solver,
)

__all__ = [
    "Linearization",
    "NewtonInfo",
    "Steps",
    "block_diagonal",
    "damped",
    "dense",
    "diagonal",
    "newton_unroll",
    "newton_unroll_with_info",
    "read_settings",
    "solve_run",
]

_BY = "newton_unroll"
_ON_FAILURE = ("sequential", "nan", "error")
_MAX_ITERS = 100
_HERE = Time()


class NewtonInfo(NamedTuple):
    """What came of the iterations, for each sequence of the batch.

    Attributes:
      converged: ``(*batch,)`` bool: every block of time reached the tolerance.
      iterations: ``(*batch,)`` int32, the most that a block of time took.
      residual: ``(*batch,)``, the largest ``|f(s_{t-1}) - s_t| / max(1, |s_t|)`` that the
        iterations left. After a failure it tells of the iterations,
        not of the sequential result.
      num_blocks: int32, the blocks of time, solved one after another.
      states: the states before the first and after each step, ``(T + 1, *batch, ...)``, to be the
        next call's `guess`.
    """

    converged: Array
    iterations: Array
    residual: Array
    num_blocks: Array
    states: State


def _read_tolerance(tolerance, epsilon: float) -> float:
    floor = 4 * epsilon
    usual = max(epsilon**0.75, floor)
    if tolerance is None:
        return usual
    if not isinstance(tolerance, (int, float)) or not tolerance >= floor:
        msg = (
            f"{_BY}: got tolerance={tolerance}; expected at least {floor:.3g}, four times the "
            "rounding of the state's dtype, which no iteration can pass; leave it out for "
            f"{usual:.3g}"
        )
        raise ValueError(msg)
    return float(tolerance)


def _read_guess(guess: State, problem: Problem, num_steps: int) -> Array:
    """Returns the guessed states after each step, ``(T, *batch, D)``."""
    start = jax.tree.unflatten(problem.state.tree, problem.state.leaves)

    def spec(leaf):
        return jax.ShapeDtypeStruct((num_steps + 1, *leaf.shape), leaf.dtype)

    expected = jax.tree.map(spec, start)
    guess = jax.tree.map(jnp.asarray, guess)
    same = jax.tree.structure(guess) == jax.tree.structure(expected)
    if not same or [a.shape for a in jax.tree.leaves(guess)] != [
        a.shape for a in jax.tree.leaves(expected)
    ]:
        got = jax.tree.map(lambda leaf: leaf.shape, guess)
        wanted = jax.tree.map(lambda leaf: leaf.shape, expected)
        msg = (
            f"{_BY}: got a guess of shapes {got}; expected {wanted}, (T + 1, *batch, ...): the "
            "states of a run, as jaxrnn.trajectory or NewtonInfo.states give them"
        )
        raise ValueError(msg)
    flat = jax.vmap(lambda state: problem.state.split(state)[0])(guess)
    return flat[1:].astype(problem.operands.start.dtype)


def _poison(good: Array, tree):
    """Writes NaN into the floats ``(T, *batch, ...)`` of the sequences that are not good."""

    def write(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jnp.where(spread(good[None], leaf), leaf, jnp.nan)

    return jax.tree.map(write, tree)


def read_settings(
    problem: Problem, method, tolerance, max_iters, on_failure, block_size, *, warm: bool
) -> tuple[Settings, Linearization]:
    """Fills in what was not given, as `newton_unroll` says.

    Returns:
      The settings, and the shapes of what the method makes of one step.

    Raises:
      TypeError: `method` is no function, or not one of `Steps`.
      ValueError: as `newton_unroll`.
    """
    if on_failure not in _ON_FAILURE:
        raise unknown_name("on_failure", on_failure, _ON_FAILURE)
    if method is not None and not callable(method):
        msg = (
            f"{_BY}: got method={method!r}; expected a function such as "
            "jaxrnn.unrolls.newton.dense; leave it out for the cheapest that is exact"
        )
        raise TypeError(msg)
    if max_iters is not None:
        max_iters = check_size("max_iters", max_iters, by=_BY)
    if block_size is not None:
        block_size = check_size("block_size", block_size, by=_BY)
    method = default_method(problem.separable) if method is None else method
    made = look_at(problem, method, by=_BY)
    num_steps = jax.tree.leaves(problem.operands.inputs)[0].shape[0]
    size = min(block_size or choose_size(made, num_steps), num_steps)
    settings = Settings(
        method=method,
        tolerance=_read_tolerance(tolerance, problem.state.epsilon),
        max_iters=min(_MAX_ITERS, size) if max_iters is None else max_iters,
        on_failure=on_failure,
        size=size,
        warm=warm,
    )
    return settings, made


@compiled_per_cell("method", "tolerance", "max_iters", "on_failure", "block_size", "time")
def solve_run(
    cell, params, xs, state, guess, *,
    mask, resets, method, tolerance, max_iters, on_failure, block_size, time=_HERE,
):  # fmt: skip
    """Does what `newton_unroll_with_info` does, along any `Time`."""
    units = method is not None and method is not dense
    problem = read_problem(cell, params, xs, state, mask, resets, units=units, by=_BY)
    operands = jax.tree.map(jnp.asarray, problem.operands)
    num_steps = jax.tree.leaves(operands.inputs)[0].shape[0]
    settings, made = read_settings(
        problem, method, tolerance, max_iters, on_failure, block_size, warm=guess is not None
    )
    settings = settings._replace(time=time)
    start = None if guess is None else _read_guess(guess, problem, num_steps)
    with jax.named_scope("newton"):
        found = make_solver(problem, settings, made)(operands, start)
    before = time.later(operands.start, found.states)
    join = problem.state.join

    def take(flat, rest, inputs):
        return problem.advance(join(flat, rest), inputs)

    after, ys = jax.vmap(take)(before, operands.rest, operands.inputs)
    if on_failure != "sequential":
        after, ys = _poison(found.converged, (after, ys))
    if mask is not None:
        ys = mask_zero(jnp.asarray(mask), ys)
    states = jax.tree.map(
        lambda first, others: jnp.concatenate([first[None], others]),
        join(operands.start, jax.tree.map(lambda leaf: leaf[0], operands.rest)),
        after,
    )
    info = NewtonInfo(
        found.converged,
        found.iterations,
        found.residual,
        jnp.int32(-(-num_steps // settings.size)),
        jax.lax.stop_gradient(states),
    )
    return jax.tree.map(lambda leaf: leaf[-1], after), ys, info


def newton_unroll_with_info(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    method: Method | None = None,
    tolerance: float | None = None,
    max_iters: int | None = None,
    guess: State | None = None,
    on_failure: str = "sequential",
    block_size: int | None = None,
) -> tuple[State, Output, NewtonInfo]:
    """Does what `newton_unroll` does and says what came of the iterations.

    Args:
      cell: as for `newton_unroll`, and so all the others.
      params: the cell's parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      method: which entries of the Jacobians are kept, or None.
      tolerance: largest residual of a solution, or None.
      max_iters: iterations a block at most, or None.
      guess: states ``(T + 1, *batch, ...)`` to start from, or None.
      on_failure: "sequential", "nan" or "error".
      block_size: steps a block of time, or None.

    Returns:
      The state after the last step, the outputs ``(T, *batch, ...)``, and the `NewtonInfo`.

    Raises:
      TypeError: as `newton_unroll`.
      ValueError: as `newton_unroll`.
      RuntimeError: as `newton_unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(2, 3)
      >>> params = cell.init(jax.random.key(0))
      >>> _, _, info = newton_unroll_with_info(cell, params, jnp.ones((20, 2)))
      >>> bool(info.converged), info.states.shape
      (True, (21, 3))
    """
    check_cell_type(cell, by=_BY)
    # Outside a trace the error needs no callback.
    arrays = jax.tree.leaves((params, xs, state, guess, mask, resets))
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in arrays)
    outside = on_failure == "error" and not traced
    state, ys, info = solve_run(
        cell, params, xs, state, guess, mask=mask, resets=resets, method=method,
        tolerance=tolerance, max_iters=max_iters, block_size=block_size,
        on_failure="nan" if outside else on_failure,
    )  # fmt: skip
    if outside and not bool(jnp.all(info.converged)):
        raise RuntimeError(failure_text(info.converged, info.iterations, info.residual))
    return state, ys, info


def newton_unroll(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    method: Method | None = None,
    tolerance: float | None = None,
    max_iters: int | None = None,
    guess: State | None = None,
    on_failure: str = "sequential",
    block_size: int | None = None,
) -> tuple[State, Output]:
    """Runs any cell in parallel over time, by Newton's method on the states of all steps.

    The states solve ``s_t = f(s_{t-1}, x_t)`` for all t. Each iteration takes every step from the
    states guessed so far, with Jacobians A_t, and solves ``d_t = A_t d_{t-1} + f(s_{t-1}) - s_t``
    for the changes d, a linear recurrence, by an associative scan. The first i states are exact
    after i iterations at the latest. A run that forgets its past (negative Lyapunov exponent) needs
    few, however long it is; a chaotic one about as many as it has steps.
    `jaxrnn.analysis.newton_certificate` says beforehand which it is, `newton_unroll_with_info`
    afterwards. Where the scan overflows, the steps behind take a plain step from their own guess.

    It pays where an accelerator waits for the steps of a long sequence and the state is small. The
    Jacobians of D x D numbers (`dense`) take ``O(T D^3)`` operations in place of ``O(T D^2)``; a
    cell whose units do not mix (`Elementwise`, diagonal `Linear`) needs k x k numbers a unit, k the
    number of its state's arrays. A `Linear` cell needs no iterations: `associative_unroll`.

    Time is cut into blocks that are solved one after another, so that the Jacobians of a block stay
    below 32 MB for the whole batch; altogether a block takes about four times that.

    The derivative is that of the implicit function: one linear recurrence in forward mode, one
    transposed in reverse mode, in parallel where the method's Jacobians are exact, else step by
    step; always exact at the solution found, of any order. A batch goes in leading axes: `jax.vmap`
    does too, but then a failure of one sequence costs all of them the sequential run.

    Args:
      cell: any cell whose state holds floats. Other parts of the state (counters, keys) may not
        depend on them; they are run step by step beforehand.
      params: its parameters.
      xs: time-major inputs ``(T, *batch, features)``, as for `unroll`.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)``, as for `unroll`.
      resets: bool ``(T, *batch)``, as for `unroll`.
      method: which entries of the Jacobians the iterations keep: `dense` (all: DEER), `diagonal`
        (quasi-DEER), `block_diagonal` (ParaRNN), `damped(dense)` or `damped(diagonal)` (ELK, a
        trust region), all in `jaxrnn.unrolls.newton`, or a function of your own from `Steps` to a
        `Linearization`. If not given the cheapest that is exact: `block_diagonal` where the
        structure keeps units apart, else `dense`.
      tolerance: a block is solved when ``|f(s_{t-1}) - s_t| / max(1, |s_t|)`` is at most this for
        every number of every state. At least 4 epsilon of the state's coarsest dtype;
        ``epsilon ** 0.75`` if not given (6e-6 in single, 2e-12 in double precision). A residual is
        what each step is off by; the states are off by that times what the run makes of it.
      max_iters: iterations a block at most; 100 or the steps of a block if not given.
      guess: states to begin with, ``(T + 1, *batch, ...)`` as `trajectory` returns them, such as
        those of the parameters before an update; entry 0 is not used. If not given, each block
        begins with one step of every input from the state before the block.
      on_failure: what a sequence becomes that does not converge: "sequential", the plain scan
        (never a wrong answer, and slower than `unroll`); "nan", in all its floats; or "error".
        Inside `jax.jit` the error comes from a callback while the program runs, and JAX wraps it in
        one of its own; outside it is a RuntimeError.
      block_size: steps a block of time; chosen by memory if not given. Smaller blocks converge more
        surely.

    Returns:
      The state after the last step, and the outputs, ``(T, *batch, ...)``.

    Raises:
      TypeError: as `unroll`; the state holds no float, or other parts of it depend on floats;
        `method` is no function.
      ValueError: as `unroll`; `tolerance` below its floor, `guess` of another structure or shape,
        `max_iters` or `block_size` less than 1, an unknown `on_failure`.
      RuntimeError: no convergence with ``on_failure="error"``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> from jaxrnn.unrolls.scan import unroll
      >>> cell = elman(2, 3)
      >>> params = cell.init(jax.random.key(0))
      >>> xs = jax.random.normal(jax.random.key(1), (50, 2))
      >>> _, ys = newton_unroll(cell, params, xs)
      >>> bool(jnp.allclose(ys, unroll(cell, params, xs)[1], atol=1e-5))
      True

    Reference:
      Y. H. Lim, Q. Zhu, J. Selfridge, M. F. Kasim, "Parallelizing non-linear sequential models over
      the sequence length", 2024; X. Gonzalez, A. Warrington, J. T. H. Smith, S. W. Linderman,
      "Towards scalable and stable parallelization of nonlinear RNNs", 2024; F. Danieli et al.,
      "ParaRNN", 2025; X. Gonzalez, L. Kozachkov, D. M. Zoltowski, K. L. Clarkson, S. W. Linderman,
      "Predictability enables parallelization of nonlinear state space models", 2025.
    """
    state, ys, _ = newton_unroll_with_info(
        cell, params, xs, state, mask=mask, resets=resets, method=method, tolerance=tolerance,
        max_iters=max_iters, guess=guess, on_failure=on_failure, block_size=block_size,
    )  # fmt: skip
    return state, ys
