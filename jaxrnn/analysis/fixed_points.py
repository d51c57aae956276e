"""Fixed points and slow points of a cell whose input is held constant."""

import enum
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.eigen import check_eigen, eigen_system, widen
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.guesses import Layout, cast, computes_in, draw_guesses, read_guesses
from jaxrnn.analysis.root_search import adam, levenberg, speed_of
from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State

__all__ = ["FixedPoints", "PointKind", "fixed_points"]

_BY = "fixed_points"
# Speeds up to which a point counts as fixed: residuals of 1e-5 and 1e-10, some 100 times what
# rounding leaves of them in a state of a thousand numbers.
_TOLERANCE = {"float32": 1e-10, "float64": 1e-20}
# Largest relative change of the residual's norm per unit of distance at a slow point.
_FLAT = 1e-3


class PointKind(enum.IntEnum):
    """What a search ended at; the values in `FixedPoints.kind`."""

    NOT_CONVERGED = 0
    SLOW = 1
    FIXED = 2


class FixedPoints(NamedTuple):
    """Where n searches ended, in ascending speed, for inputs ``(*inputs, features)``.

    Attributes:
      points: ``(*inputs, n, D)``, the ravelled states (its floating arrays).
      states: the same as state trees, each leaf ``(*inputs, n, ...)``.
      speeds: ``(*inputs, n)``, ``q(s) = ||F(s) - s||^2 / 2``, ascending.
      errors: ``(*inputs, n)``, how far the exact fixed point may be: the residual, or what rounding
        leaves of it, times ``||(A - I)^{-1}||``. ``inf`` where that inverse does not exist to the
        dtype's precision, as in a continuum of fixed points, and at points that are not fixed.
      kind: ``(*inputs, n)``, integer: a `PointKind`.
      valid: bool ``(*inputs, n)``: fixed or slow, and the first of those that lie together.
      hits: ``(*inputs, n)``, how many searches ended at a valid point; 0 for other entries.
      eigenvalues: ``(*inputs, n, D)``, complex, of the Jacobian A there, largest magnitude first.
      right: ``(*inputs, n, D, D)``, complex; column k is v with ``A v = eigenvalues[k] v``, norm 1.
      left: ``(*inputs, n, D, D)``, complex; row k is u with ``u A = eigenvalues[k] u``, norm 1.
      stable: bool ``(*inputs, n)``, all eigenvalues inside the unit circle.
      num_unstable: ``(*inputs, n)``, eigenvalues outside the unit circle. One that lies on it to
        rounding (``10 eps D``, times ``||A||_F`` where that is over 1) counts as neither.
    """

    points: Array
    states: State
    speeds: Array
    errors: Array
    kind: Array
    valid: Array
    hits: Array
    eigenvalues: Array
    right: Array
    left: Array
    stable: Array
    num_unstable: Array

    def found(self) -> "FixedPoints":
        """Returns the valid points alone, outside `jax.jit`, for one input.

        Raises:
          TypeError: inside `jax.jit`, where the number of points is not known.
          ValueError: there are several inputs.
        """
        if isinstance(self.valid, jax.core.Tracer):
            msg = (
                "found: got traced arrays; expected concrete ones; use the mask `valid` inside "
                "jax.jit"
            )
            raise TypeError(msg)
        if self.valid.ndim != 1:
            msg = (
                f"found: got points for inputs of batch shape {self.valid.shape[:-1]}; expected "
                "one input; choose it first, as in jax.tree.map(lambda leaf: leaf[0], points)"
            )
            raise ValueError(msg)
        return jax.tree.map(lambda leaf: leaf[self.valid], self)


def _check_number(name: str, value: float, *, positive: bool = False) -> float:
    value = float(value)
    if not 0 <= value < float("inf") or (positive and value == 0):
        bound = "positive" if positive else "0 or more"
        msg = f"{_BY}: got {name}={value}; expected a finite number, {bound}"
        raise ValueError(msg)
    return value


def _check_count(name: str, value: int) -> int:
    count = operator.index(value)
    if count < 0:
        msg = f"{_BY}: got {name}={count}; expected 0 or more; 0 leaves that search out"
        raise ValueError(msg)
    return count


def fixed_points(
    cell: Cell,
    params: Params,
    x: Input,
    guesses: State | None = None,
    *,
    num_guesses: int | None = None,
    key: Key | None = None,
    noise: float | None = None,
    tolerance: float | None = None,
    slow_tolerance: float = 1e-4,
    max_iters: int = 100,
    adam_iters: int = 500,
    merge_distance: float = 1e-3,
) -> FixedPoints:
    """Finds fixed and slow points of ``F(s) = step(params, s, x)[0]``, the input x held constant.

    A fixed point has ``F(s) = s``; a slow point is a local minimum of the speed
    ``q(s) = ||F(s) - s||^2 / 2`` where it is small but not 0. From every guess, q is minimised by
    Levenberg-Marquardt steps; where that ends above `tolerance`, Adam starts from the guess again
    and Levenberg-Marquardt steps finish, and the better end counts. All searches run to where
    rounding stops them, whatever the tolerance. In a process with 64-bit types enabled
    (`jax.enable_x64`), parameters of fewer bits are cast to float64 for the last steps and all
    results, if the cell then computes in float64; else the results have the cell's precision (half
    precision is cast to float32). `FixedPoints.errors` says what was reached.

    Points nearer to each other than `merge_distance` are one: the one of least speed stays, and
    others join it. Of a continuum (a line attractor) this leaves a sample, spaced by at least that
    distance, its errors ``inf``.

    Args:
      cell: any cell. Parts of its state that are no floating arrays keep their initial values.
      params: its parameters.
      x: one input, ``(features,)``, or many, ``(*inputs, features)``: all from the same guesses.
      guesses: states to start from, stacked on leading axes, ``(n, ...)`` each leaf, such as a
        `jaxrnn.trajectory`; without them, random states around the initial one.
      num_guesses: with a `key`, how many guesses to draw (64, or as many as `guesses` has).
      key: for random guesses.
      noise: standard deviation of the normal noise on every guess (with a `key`): 1 around the
        initial state and 0 around `guesses`, if not given.
      tolerance: speed up to which a point is fixed; 1e-10 in float32, 1e-20 in float64, if not
        given.
      slow_tolerance: speed up to which a local minimum of it is a slow point.
      max_iters: the most Levenberg-Marquardt steps from a guess; each takes some D^3 operations
        and 10 D^2 numbers of memory a guess.
      adam_iters: steps of Adam where those do not suffice.
      merge_distance: Euclidean distance up to which two points are one.

    Returns:
      As many points as guesses, sorted by speed, with the mask `valid`; the method ``found()``
      leaves only the valid ones. It has no derivative.

    Raises:
      NotImplementedError: the platform has no eigenvalues of general matrices (TPU).
      TypeError: as `jaxrnn.unroll`; the state holds no floating array, or half precision only.
      ValueError: as `jaxrnn.unroll`; neither guesses nor a key; `num_guesses` or `noise` without a
        key; guesses that are no states of the cell; a tolerance, a distance or a number of steps
        out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 2)
      >>> params = cell.init(jax.random.key(0))._replace(w_hh=jnp.array([[1.0, -1], [-1, 1]]))
      >>> found = fixed_points(cell, params, jnp.zeros(1), key=jax.random.key(1)).found()
      >>> sorted((round(s[0].item(), 4), bool(ok)) for s, ok in zip(found.points, found.stable))
      [(-0.9575, True), (0.0, False), (0.9575, True)]

    Reference:
      D. Sussillo, O. Barak, "Opening the black box: low-dimensional dynamics in high-dimensional
      recurrent neural networks", 2013, section 2; M. Golub, D. Sussillo, "FixedPointFinder", 2018.
    """
    check_cell_type(cell, by=_BY)
    check_eigen(_BY)
    x = jax.tree.map(jnp.asarray, x)
    for leaf in jax.tree.leaves(x):
        if leaf.ndim == 0 and not jnp.issubdtype(leaf.dtype, jnp.integer):
            msg = f"{_BY}: got x of shape (); expected (*inputs, features); write x[None]"
            raise ValueError(msg)
    if guesses is None and key is None:
        msg = (
            f"{_BY}: got neither guesses nor a key; expected states to start from, such as "
            "jaxrnn.trajectory gives, or a key for random ones; pass key=jax.random.key(0)"
        )
        raise ValueError(msg)
    if key is None and (num_guesses is not None or noise is not None):
        msg = (
            f"{_BY}: got num_guesses={num_guesses}, noise={noise} and no key; expected a key, by "
            "which guesses are drawn; pass key=jax.random.key(0)"
        )
        raise ValueError(msg)
    if guesses is not None:
        guesses = read_guesses(cell, params, guesses, by=_BY)
    if num_guesses is not None:
        num_guesses = check_size("num_guesses", num_guesses, by=_BY)
    noise = None if noise is None else _check_number("noise", noise)
    if tolerance is not None:
        tolerance = _check_number("tolerance", tolerance, positive=True)
    slow_tolerance = _check_number("slow_tolerance", slow_tolerance, positive=True)
    if tolerance is not None and slow_tolerance < tolerance:
        msg = (
            f"{_BY}: got slow_tolerance={slow_tolerance} below tolerance={tolerance}; expected at "
            "least as much: slow points are faster than fixed ones"
        )
        raise ValueError(msg)
    return _search(
        cell,
        params,
        x,
        guesses,
        key,
        num_guesses=num_guesses,
        noise=noise,
        tolerance=tolerance,
        slow_tolerance=slow_tolerance,
        max_iters=check_size("max_iters", max_iters, by=_BY),
        adam_iters=_check_count("adam_iters", adam_iters),
        merge_distance=_check_number("merge_distance", merge_distance),
    )


@compiled_per_cell(
    "num_guesses",
    "noise",
    "tolerance",
    "slow_tolerance",
    "max_iters",
    "adam_iters",
    "merge_distance",
)
def _search(
    cell,
    params,
    x,
    guesses,
    key,
    *,
    num_guesses,
    noise,
    tolerance,
    slow_tolerance,
    max_iters,
    adam_iters,
    merge_distance,
) -> FixedPoints:
    leaves = jax.tree.leaves(jax.eval_shape(lambda p: cell.initial_state(p, ()), params))
    if any(leaf.dtype.itemsize < 4 for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)):
        params, x, guesses = cast((params, x, guesses), jnp.float32)
        if not computes_in(cell, params, x, jnp.float32):
            msg = (
                f"{_BY}: got a cell whose state is {[str(leaf.dtype) for leaf in leaves]} whatever "
                "its parameters are; expected float32 or float64, as half precision cannot tell a "
                "fixed point from its surroundings; make the cell without a fixed dtype"
            )
            raise TypeError(msg)
    double = jax.config.jax_enable_x64 and computes_in(cell, params, x, jnp.float64)

    def residual_of(params, xs, state):
        flow = read_flow(cell, params, xs, state, None, None, by=_BY)
        _, rest, inputs = flow.at(0)
        return lambda s: flow.advance(s, rest, inputs)[0] - s

    def one(xs, state, mask, resets):
        del mask, resets
        layout = Layout(state)
        residual = residual_of(params, xs, state)
        start = draw_guesses(layout, guesses, key, num_guesses, noise)
        limit = _TOLERANCE[str(start.dtype)] if tolerance is None else tolerance

        def speed(points):
            return jax.vmap(lambda point: speed_of(residual(point)))(points)

        def search(carry):
            """Descends from the guesses first, then from where Adam takes those that failed."""
            count, best, again = carry
            again &= count > 0
            ends = jax.vmap(lambda s, go: adam(residual, s, go, adam_iters))(start, again)
            ends = jnp.where(again[:, None] | (count == 0), ends, best)
            ends = jax.vmap(lambda s: levenberg(residual, s, max_iters))(ends)
            better = speed(ends) < speed(best)
            best = jnp.where(better[:, None], ends, best)
            return count + 1, best, ~(speed(best) <= limit)

        first = (0, start, jnp.ones(len(start), bool))
        rounds = 1 if adam_iters == 0 else 2
        _, points, _ = jax.lax.while_loop(
            lambda carry: (carry[0] < rounds) & jnp.any(carry[2]), search, first
        )
        if double and points.dtype != "float64":
            layout = Layout(cast(state, jnp.float64))
            residual = residual_of(cast(params, jnp.float64), cast(xs, jnp.float64), layout.state)
            points = points.astype(jnp.float64)
            points = jax.vmap(lambda s: levenberg(residual, s, max_iters))(points)
            limit = _TOLERANCE["float64"] if tolerance is None else tolerance
        return _classify(residual, points, limit, slow_tolerance, merge_distance, layout)

    xs = jax.tree.map(lambda leaf: leaf[None], x)
    return over_batch(one, cell, params, xs, None, None, None, out_axes=0, by=_BY)


def _classify(residual, points, tolerance, slow_tolerance, merge_distance, layout) -> FixedPoints:
    """Sorts the ends of the searches, merges those that lie together, and linearises at each."""
    speeds = jax.vmap(lambda point: speed_of(residual(point)))(points)
    order = jnp.argsort(speeds, stable=True)
    points, speeds = points[order], speeds[order]
    described = jax.vmap(lambda point: _linearise(residual, point))(points)
    system, flatness, errors, stable, num_unstable = described
    fixed = speeds <= tolerance
    slow = (speeds <= slow_tolerance) & (flatness <= _FLAT) & ~fixed
    kind = jnp.where(fixed, PointKind.FIXED, jnp.where(slow, PointKind.SLOW, 0))
    leader = _leaders(points, fixed | slow, merge_distance)
    index = jnp.arange(len(points))
    return FixedPoints(
        points,
        jax.vmap(layout.join)(points),
        speeds,
        jnp.where(fixed, errors, jnp.inf),
        kind,
        leader == index,
        jnp.sum(leader[:, None] == index, axis=0),
        *system,
        stable,
        num_unstable,
    )


def _leaders(points: Array, eligible: Array, distance: float) -> Array:
    """Returns for each point the first kept point near it; -1 where a point is not eligible.

    Greedy: a point is kept if no kept point before it is near, so that kept points are apart.
    """
    index = jnp.arange(len(points))

    def visit(kept, i):
        near = kept & (jnp.linalg.norm(points - points[i], axis=1) <= distance)
        joins = jnp.any(near)
        leader = jnp.where(eligible[i], jnp.where(joins, jnp.argmax(near), i), -1)
        return kept | ((index == i) & (leader == i)), leader

    return jax.lax.scan(visit, jnp.zeros_like(eligible), index)[1]


def _linearise(residual, point) -> tuple[Any, ...]:
    """Describes one point: eigensystem, flatness of the speed, error, stability."""
    size, eps = point.size, jnp.finfo(widen(point).dtype).eps
    eye = jnp.eye(size, dtype=point.dtype)
    at, push = jax.linearize(residual, point)
    slope = jax.vmap(push, out_axes=1)(eye)
    system = eigen_system(slope + eye)
    length = jnp.linalg.norm(at)
    flatness = jnp.linalg.norm(at @ slope) / jnp.where(length == 0, 1, length)
    singular = jnp.linalg.svdvals(widen(slope))
    regular = singular[-1] > size * eps * singular[0]
    noise = eps * (jnp.linalg.norm(point) + jnp.linalg.norm(point + at))
    error = jnp.maximum(length, noise) / jnp.where(regular, singular[-1], 1)
    margin = 10 * eps * size * jnp.maximum(jnp.linalg.norm(slope + eye), 1)
    radii = jnp.abs(system.values)
    return (
        system,
        flatness,
        jnp.where(regular, error, jnp.inf),
        jnp.all(radii < 1 - margin),
        jnp.sum(radii > 1 + margin),
    )
