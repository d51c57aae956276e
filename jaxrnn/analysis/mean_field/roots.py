"""Roots of scalar functions under `jax.jit`, differentiable by the implicit function theorem."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array

__all__ = ["bracketed_root", "falling_root", "refine"]

_MAX_STEPS = 100


def refine(
    function: Callable[[Array], Array],
    ends: Array,
    values: Array,
    tolerance: float | None = None,
    near: Array | float = 0.0,
) -> tuple[Array, Array]:
    """Finds a root between two points where the function has opposite signs (or one is a root).

    Chandrupatla's method: inverse quadratic interpolation where it is safe, else bisection; about
    ten evaluations for a smooth function.

    Args:
      function: from scalar to scalar.
      ends: ``(2,)``, the points.
      values: ``(2,)``, the function there.
      tolerance: how near to a sign change, relative to its place; the dtype's precision if not
        given.
      near: how small a value of the function is small enough.

    Returns:
      The point of the two last ones where the function is nearer 0, and the function there.

    Reference:
      T. Chandrupatla, "A new hybrid quadratic/bisection algorithm for finding the zero of a
      nonlinear function without using derivatives", 1997.
    """
    precision = jnp.finfo(ends.dtype)
    tolerance = 2 * precision.eps if tolerance is None else tolerance

    def move(carry):
        step, at, new, new_value, old, old_value, _, _, _ = carry
        x = new + at * (old - new)
        value = function(x)
        same = jnp.sign(value) == jnp.sign(new_value)
        last, last_value = jnp.where(same, new, old), jnp.where(same, new_value, old_value)
        old, old_value = jnp.where(same, old, new), jnp.where(same, old_value, new_value)
        new, new_value = x, value
        nearer = jnp.abs(new_value) < jnp.abs(old_value)
        best = jnp.where(nearer, new, old)
        best_value = jnp.where(nearer, new_value, old_value)
        gap = jnp.abs(old - new)
        width = (tolerance * jnp.abs(best) + precision.tiny) / jnp.where(gap == 0, 1, gap)
        done = (width > 0.5) | (gap == 0) | (jnp.abs(best_value) <= near) | jnp.isnan(value)
        # Interpolate through the three points if they allow a monotone parabola, else bisect.
        xi = (new - old) / (last - old)
        phi = (new_value - old_value) / (last_value - old_value)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        step_new = new_value / (old_value - new_value) * last_value / (old_value - last_value)
        step_last = new_value / (last_value - new_value) * old_value / (last_value - old_value)
        quadratic = step_new + (last - new) / (old - new) * step_last
        at = jnp.where(safe & jnp.isfinite(quadratic), quadratic, 0.5)
        at = jnp.clip(at, jnp.minimum(width, 0.5), jnp.maximum(1 - width, 0.5))
        return step + 1, at, new, new_value, old, old_value, best, best_value, done

    (low, high), (low_value, high_value) = ends, values
    nearer = jnp.abs(low_value) < jnp.abs(high_value)
    best, best_value = jnp.where(nearer, low, high), jnp.where(nearer, low_value, high_value)
    opposite = jnp.sign(low_value) * jnp.sign(high_value) < 0
    found = ~opposite | (jnp.abs(best_value) <= near)
    half = jnp.full_like(low, 0.5)
    start = (0, half, high, high_value, low, low_value, best, best_value, found)
    carry = jax.lax.while_loop(lambda c: ~c[-1] & (c[0] < _MAX_STEPS), move, start)
    return carry[-3], carry[-2]


def bracketed_root(
    function: Callable[[Array], Array], low: Array, high: Array, values: Array | None = None
) -> Array:
    """Finds a root between two points of opposite signs, with derivatives by implicit functions.

    Args:
      function: from scalar to scalar; it may close over what is differentiated.
      low: scalar.
      high: scalar.
      values: ``(2,)``, the function at the two, if it is known.

    Returns:
      The root, a scalar; one of the two ends if the signs are the same.
    """
    ends = jnp.stack([low, high])
    # One loop over both ends, where two calls would compile the function twice.
    values = jax.lax.map(function, ends) if values is None else values
    ends, values = jax.lax.stop_gradient((ends, values))

    def solve(function, start):
        del start
        return refine(function, ends, values)[0]

    def tangent_solve(linear, y):
        return y / linear(jnp.ones_like(y))

    return jax.lax.custom_root(function, ends[0], solve, tangent_solve)


def falling_root(
    function: Callable[[Array], Array], points: Array, *, below: Array, above: Array
) -> Array:
    """Finds where a function first falls through 0: a stable fixed point of ``x + function(x)``.

    A dip below 0 between the points is not missed where the points show a minimum: its surroundings
    are searched again with as many points.

    Args:
      function: from scalar to scalar.
      points: ``(n,)``, increasing: where to look first.
      below: what to return where the function is not positive at the first point.
      above: what to return where the function is positive at every point.

    Returns:
      The root, a scalar, with derivatives by implicit functions.
    """

    def look(points, _):
        values = jax.lax.map(function, points)
        inner = values[1:-1]
        dips = (inner < values[:-2]) & (inner <= values[2:]) & (inner > 0)
        at = jnp.argmax(dips)
        more = jnp.linspace(points[at], points[at + 2], len(points), dtype=points.dtype)
        return more, (points, values)

    # A loop over both rounds compiles the function once.
    points = jax.lax.stop_gradient(points)
    _, (points, values) = jax.lax.stop_gradient(jax.lax.scan(look, points, length=2))
    points, values = points.ravel(), values.ravel()
    order = jnp.argsort(points)
    points, values = points[order], values[order]
    count = points.shape[0]
    first = jnp.where(values > 0, count, jnp.arange(count)).min()
    low = jnp.clip(first - 1, 0, count - 2)
    ends = points[low], points[low + 1]
    root = bracketed_root(function, *ends, jnp.stack([values[low], values[low + 1]]))
    return jnp.where(first == 0, below, jnp.where(first == count, above, root))
