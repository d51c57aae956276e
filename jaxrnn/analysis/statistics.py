"""Statistics of single steps: norms, spectral radii, determinants and eigenvalues of Jacobians."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.eigen import check_eigen, eigenvalues, schur_values, widen
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.scaled import log_scale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Params, State

__all__ = ["JacobianStatistics", "jacobian_eigenvalues", "jacobian_statistics"]


class JacobianStatistics(NamedTuple):
    """What the Jacobian A of each step does to states; logarithms in nats, all ``(T, *batch)``.

    Attributes:
      log_spectral_norm: ``log sigma_max(A)``, the growth of the state change that grows most.
      log_frobenius_norm: ``log ||A||_F``; less ``log(D) / 2``, the root-mean-square growth.
      log_spectral_radius: ``log max |lambda_i(A)|``.
      log_abs_det: ``log |det A|``, the growth of volumes; its mean over time is the sum of all
        Lyapunov exponents.
      log_condition_number: ``log(sigma_max(A) / sigma_min(A))``; ``inf`` where A is singular.
        Beyond ``-log(eps)`` (16 in float32, 36 in float64) rounding decides its value.
      departure: Henrici's departure from normality over ``||A||_F``, in [0, 1].
    """

    log_spectral_norm: Array
    log_frobenius_norm: Array
    log_spectral_radius: Array
    log_abs_det: Array
    log_condition_number: Array
    departure: Array


# Not batched: batched LAPACK calls side by side can use up the threads of XLA on CPU, and then wait
# for each other for ever (jaxlib 0.10.2, two cores).
@jax.custom_batching.sequential_vmap
def _describe(jacobian: Array) -> JacobianStatistics:
    """Describes one matrix ``(D, D)``, its common power of two apart."""
    matrix, exponent = scaled(widen(jacobian))
    size = len(matrix)
    singular = jnp.linalg.svdvals(matrix)
    frobenius = jnp.linalg.norm(matrix)
    values, departure = schur_values(matrix)
    log_det = jnp.linalg.slogdet(matrix).logabsdet
    dead = jnp.isneginf(log_det) | (singular[-1] == 0)
    bottom = jnp.where(dead, 1, singular[-1])
    condition = jnp.where(dead, jnp.inf, jnp.log(singular[0]) - jnp.log(bottom))
    return JacobianStatistics(
        log_scale(exponent, singular[0]),
        log_scale(exponent, frobenius),
        log_scale(exponent, jnp.max(jnp.abs(values))),
        log_det + size * math.log(2) * exponent.astype(matrix.dtype),
        condition,
        departure / jnp.where(frobenius == 0, 1, frobenius),
    )


@compiled_per_cell()
def jacobian_statistics(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> JacobianStatistics:
    """Describes the Jacobian ``A_t = d s_t / d s_{t-1}`` of every step along a trajectory.

    The steps are taken one after another, so that T Jacobians never stand in memory together;
    each costs some D^3.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; the Jacobian of a masked step is the identity.
      resets: bool ``(T, *batch)`` or None; the Jacobian of a step that resets is zero: its
        logarithms are ``-inf``, that of its condition number ``inf``.

    Returns:
      The statistics, ``(T, *batch)`` each. They have no derivative.

    Raises:
      NotImplementedError: the platform has no eigenvalues of general matrices (TPU).
      TypeError: as `jaxrnn.unroll`, or the state holds no floating array.
      ValueError: as `jaxrnn.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)  # orthogonal recurrent matrix: norm 1 where the state is small
      >>> found = jacobian_statistics(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
      >>> found.log_abs_det.shape, bool(jnp.all(found.log_spectral_norm < 1e-6))
      ((7, 2), True)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, section 2 (norms); P. Henrici, 1962, see `henrici_departure`.
    """
    check_eigen("jacobian_statistics")

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by="jacobian_statistics")
        eye, steps = flow.eye(), jnp.arange(len(flow.states))
        return jax.lax.map(lambda index: _describe(flow.pull(index, eye)), steps)

    by = "jacobian_statistics"
    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by=by)


@compiled_per_cell("stride")
def jacobian_eigenvalues(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    stride: int = 1,
) -> Array:
    """Computes the eigenvalues of the step Jacobians along a trajectory: a cloud in the plane.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step has D ones.
      resets: bool ``(T, *batch)`` or None; a step that resets has D zeros.
      stride: take every stride-th step, the first one included.

    Returns:
      ``(ceil(T / stride), *batch, D)``, complex, largest magnitude first.

    Raises:
      NotImplementedError: the platform has no eigenvalues of general matrices (TPU).
      TypeError: as `jaxrnn.unroll`, or `stride` is not an integer.
      ValueError: as `jaxrnn.unroll`, or `stride` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> jacobian_eigenvalues(cell, params, jnp.ones((7, 2, 3)), stride=3).shape
      (3, 2, 5)

    Reference:
      K. Krishnamurthy, T. Can, D. Schwab, "Theory of gating in recurrent neural networks", 2022.
    """
    by = "jacobian_eigenvalues"
    stride = check_size("stride", stride, by=by)
    check_eigen(by)

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=by)
        eye = flow.eye()
        steps = jnp.arange(0, len(flow.states), stride)
        return jax.lax.map(lambda index: eigenvalues(flow.pull(index, eye)), steps)

    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by=by)
