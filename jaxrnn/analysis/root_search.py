"""Search for the roots of ``F(s) - s``: Levenberg-Marquardt steps, and Adam on the speed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn.core.types import Array

__all__ = ["Search", "adam", "levenberg", "speed_of"]

# Rejected steps in a row after which no shorter one will be accepted either: the damping has grown
# by 2^(1 + 2 + ... + 9).
_MAX_REJECTED = 9


class Search(NamedTuple):
    """Where the search for one root stands.

    Attributes:
      point: ``(D,)``.
      speed: ``||F(s) - s||^2 / 2`` there.
      damping: Levenberg's parameter over the size of the residual.
      growth: by how much a rejected step raises it.
      count: steps taken.
      done: bool, no step improves the point any more.
    """

    point: Array
    speed: Array
    damping: Array
    growth: Array
    count: Array
    done: Array


def speed_of(residual: Array) -> Array:
    """Returns ``q = ||residual||^2 / 2``."""
    return jnp.sum(residual**2) / 2


def levenberg(residual_fn: Callable[[Array], Array], start: Array, max_iters: int) -> Array:
    """Minimises ``||r(s)||^2 / 2`` from one point by damped Gauss-Newton steps.

    A step solves ``min ||J d + r||^2 + mu ||d||^2`` by QR (no normal equations, which would square
    the condition number), with ``mu`` proportional to ``||r||``: Newton's method near a root,
    gradient descent where J is singular. It ends where no step improves the point.

    Args:
      residual_fn: ``(D,) -> (D,)``.
      start: ``(D,)``.
      max_iters: the most steps.

    Returns:
      The best point, ``(D,)``.

    Reference:
      J. Fan, Y. Yuan, "On the quadratic convergence of the Levenberg-Marquardt method without
      nonsingularity assumption", 2005 (mu); H. B. Nielsen, "Damping parameter in Marquardt's
      method", 1999 (how it adapts).
    """
    eps = jnp.finfo(start.dtype).eps
    eye = jnp.eye(start.size, dtype=start.dtype) + jnp.zeros_like(start)

    def step(search: Search) -> Search:
        residual, push = jax.linearize(residual_fn, search.point)
        jacobian = jax.vmap(push, out_axes=1)(eye)
        mu = search.damping * jnp.linalg.norm(residual)
        q, r = jnp.linalg.qr(jnp.concatenate([jacobian, jnp.sqrt(mu) * eye]))
        right = -q[: start.size].T @ residual
        # An exact zero on the diagonal: mu is 0 and J singular, so that no step is to be had.
        delta = jax.scipy.linalg.solve_triangular(r, right)
        new = search.point + delta
        speed = speed_of(residual_fn(new))
        predicted = search.speed - speed_of(residual + jacobian @ delta)
        better = speed < search.speed
        gain = (search.speed - speed) / jnp.where(predicted > 0, predicted, 1)
        shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
        small = jnp.linalg.norm(delta) <= eps * (1 + jnp.linalg.norm(search.point))
        stuck = small | (~better & (search.growth >= 2.0**_MAX_REJECTED))
        return Search(
            jnp.where(better, new, search.point),
            jnp.where(better, speed, search.speed),
            search.damping * jnp.where(better, shrink, search.growth),
            jnp.where(better, 2, 2 * search.growth),
            search.count + 1,
            stuck | (better & (speed == 0)),
        )

    speed = speed_of(residual_fn(start))
    one = jnp.ones_like(speed)
    # What is not finite at the start has no Jacobian to go by.
    done = (speed == 0) | ~jnp.isfinite(speed)
    first = Search(start, speed, 0.1 * one, 2 * one, jnp.zeros_like(speed, int), done)
    last = jax.lax.while_loop(lambda s: ~s.done & (s.count < max_iters), step, first)
    return last.point


def adam(
    residual_fn: Callable[[Array], Array], start: Array, active: Array, num_steps: int
) -> Array:
    """Minimises ``||r(s)||^2 / 2`` from one point by Adam with a falling learning rate.

    Args:
      residual_fn: ``(D,) -> (D,)``.
      start: ``(D,)``.
      active: bool, whether to search at all.
      num_steps: how many steps.

    Returns:
      The last point, ``(D,)``; `start` where not active.

    Reference:
      M. Golub, D. Sussillo, "FixedPointFinder: a Tensorflow toolbox for identifying and
      characterizing fixed points in recurrent neural networks", 2018.
    """
    optimizer = optax.adam(optax.exponential_decay(0.05, num_steps, 1e-3))
    slope = jax.grad(lambda point: speed_of(residual_fn(point)))

    def step(carry):
        count, point, memory = carry
        updates, memory = optimizer.update(slope(point), memory)
        return count + 1, optax.apply_updates(point, updates), memory

    first = (jnp.where(active, 0, num_steps), start, optimizer.init(start))
    return jax.lax.while_loop(lambda carry: carry[0] < num_steps, step, first)[1]
