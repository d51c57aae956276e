"""What Newton's method may know of a step's Jacobian: all, the diagonal, blocks; and damping.

A method is a function from `Steps` to a `Linearization`. It keeps some entries of the Jacobian of
every step; whatever it keeps, the solution is the same, only the number of iterations is not.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array

__all__ = [
    "Linearization",
    "Method",
    "Steps",
    "block_diagonal",
    "damped",
    "default_method",
    "dense",
    "diagonal",
]


class Steps(NamedTuple):
    """Many steps, each taken from a state of its own.

    Attributes:
      after: ``(S, *batch, D) -> (S, *batch, D)``, all steps at once.
      units_after: a function of the same values whose derivative keeps only how each unit depends
        on itself; None if the cell's structure does not tell.
      separable: whether units do not mix at all, so that `units_after` is `after`.
      before: ``(S, *batch, D)``, the states.
      components: the shapes of the real arrays that make up a state, such as h and c of an LSTM.
    """

    after: Callable[[Array], Array]
    units_after: Callable[[Array], Array] | None
    separable: bool
    before: Array
    components: list[tuple[int, ...]]


class Linearization(NamedTuple):
    """The Jacobian of every step, or an approximation, as n blocks of k x k with n k = D.

    Attributes:
      jacobians: ``(S, *batch, n, k, k)``. Block i acts on entries i, n + i, 2 n + i, ... of the
        state; (n, k) is (1, D) for a dense matrix, (D, 1) for a diagonal.
      exact: whether nothing was left out.
      damping: None for Newton's method; else the weight of the trust region at first.
    """

    jacobians: Array
    exact: bool
    damping: float | None = None


Method = Callable[[Steps], Linearization]


def _columns(function: Callable, at: Array, directions: Array) -> Array:
    """Returns the derivative along each of ``(m, D)`` directions, ``(m, S, *batch, D)``."""
    _, push = jax.linearize(function, at)
    # Zeros of the states give a direction the states' sharding, where there is a mesh.
    return jax.vmap(lambda one: push(one + jnp.zeros_like(at)))(directions)


def dense(steps: Steps) -> Linearization:
    """Keeps the whole Jacobian of every step (DEER): quadratic convergence, D^2 numbers a step.

    Args:
      steps: the steps.

    Returns:
      One block of D x D for each step.

    Reference:
      Y. H. Lim, Q. Zhu, J. Selfridge, M. F. Kasim, "Parallelizing non-linear sequential models over
      the sequence length", 2024 (DEER).
    """
    size = steps.before.shape[-1]
    columns = _columns(steps.after, steps.before, jnp.eye(size, dtype=steps.before.dtype))
    return Linearization(jnp.moveaxis(columns, 0, -1)[..., None, :, :], exact=True)


def _units_of(columns: Array, n: int, k: int) -> Array:
    """Turns the columns of all blocks, ``(k, S, *batch, D)``, into ``(S, *batch, n, k, k)``."""
    columns = jnp.moveaxis(columns, 0, -1)  # (S, *batch, D, k)
    return jnp.moveaxis(columns.reshape(*columns.shape[:-2], k, n, k), -2, -3)


def block_diagonal(steps: Steps) -> Linearization:
    """Keeps how the k numbers of a unit depend on each other, such as h and c of an LSTM's unit.

    Exact where units do not mix (`Elementwise` cells, diagonal `Linear` ones). Elsewhere it is an
    approximation that needs more iterations, with k^2 n numbers a step in place of D^2.

    Args:
      steps: the steps.

    Returns:
      n blocks of k x k for each step, k the number of the state's real arrays of n numbers each (a
      complex array counts as two).

    Raises:
      ValueError: the state's arrays have different shapes, so that there are no units.

    Reference:
      F. Danieli et al., "ParaRNN: unlocking parallel training of nonlinear RNNs for large language
      models", 2025.
    """
    if len(set(steps.components)) > 1:
        msg = (
            f"block_diagonal: got a state of arrays {steps.components}; expected equal shapes, one "
            "number of each for every unit; use method=dense or method=diagonal"
        )
        raise ValueError(msg)
    size, k = steps.before.shape[-1], len(steps.components)
    n, dtype = size // k, steps.before.dtype
    components = jnp.repeat(jnp.eye(k, dtype=dtype), n, axis=1)  # (k, D): ones on one component
    if steps.units_after is not None:
        columns = _columns(steps.units_after, steps.before, components)
        return Linearization(_units_of(columns, n, k), steps.separable)
    _, push = jax.linearize(steps.after, steps.before)

    def one_unit(i):
        """Returns the block of one unit, ``(S, *batch, k, k)``."""
        unit = jnp.zeros((k, n), dtype).at[:, i].set(1).reshape(size)
        columns = jax.vmap(lambda one: push(one + jnp.zeros_like(steps.before)))(components * unit)
        columns = columns.reshape(*columns.shape[:-1], k, n)[..., i]
        return jnp.moveaxis(columns, 0, -1)

    blocks = jax.lax.map(one_unit, jnp.arange(n))  # a unit at a time: n times the memory otherwise
    return Linearization(jnp.moveaxis(blocks, 0, -3), exact=False)


def diagonal(steps: Steps) -> Linearization:
    """Keeps how each number of the state depends on itself (quasi-DEER): D numbers a step.

    Exact for a cell whose units do not mix and whose state is one real array. Elsewhere it is an
    approximation that converges linearly, if at all.

    Args:
      steps: the steps.

    Returns:
      D blocks of 1 x 1 for each step.

    Reference:
      X. Gonzalez, A. Warrington, J. T. H. Smith, S. W. Linderman, "Towards scalable and stable
      parallelization of nonlinear RNNs", 2024 (quasi-DEER).
    """
    alike = len(set(steps.components)) == 1
    parts = steps if alike else steps._replace(components=[(steps.before.shape[-1],)])
    blocks = block_diagonal(parts if alike else parts._replace(units_after=None))
    entries = jnp.diagonal(blocks.jacobians, axis1=-2, axis2=-1)  # (S, *batch, n, k)
    entries = jnp.swapaxes(entries, -1, -2).reshape(steps.before.shape)
    return Linearization(entries[..., None, None], blocks.exact and len(parts.components) == 1)


@functools.lru_cache(maxsize=256)
def damped(method: Method = dense, damping: float = 1.0) -> Method:
    """Adds a trust region to a method (ELK): every iteration stays near the one before.

    An iteration minimises ``sum_t |d_t - A_t d_{t-1} - r_t|^2 + w |d_t|^2`` over the changes d of
    the states, with r the residuals: a Kalman smoother, which is parallel in time too. An iteration
    that does not make the sum of the squared residuals smaller is not taken and w grows fourfold;
    otherwise w falls to a quarter, so that near the solution the iteration is `method`'s own.

    Args:
      method: `dense` (ELK), `diagonal` (quasi-ELK), `block_diagonal` or one of your own.
      damping: w at first, above 0.

    Returns:
      The damped method; one and the same for the same arguments.

    Raises:
      ValueError: `damping` is not above 0.

    Example:
      >>> damped(diagonal, 0.1) is damped(diagonal, 0.1)
      True

    Reference:
      X. Gonzalez, A. Warrington, J. T. H. Smith, S. W. Linderman, "Towards scalable and stable
      parallelization of nonlinear RNNs", 2024 (ELK); S. Sarkka, A. Garcia-Fernandez, "Temporal
      parallelization of Bayesian smoothers", 2021.
    """
    if not damping > 0:
        msg = f"damped: got damping={damping}; expected a number above 0; without it use the method"
        raise ValueError(msg)

    def damped_method(steps: Steps) -> Linearization:
        return method(steps)._replace(damping=float(damping))

    return damped_method


def default_method(separable: bool) -> Method:
    """Returns the cheapest method that is exact: `block_diagonal` where units do not mix."""
    return block_diagonal if separable else dense
