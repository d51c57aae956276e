"""Whether a run can be parallel in time, said before it is: by its leading Lyapunov exponent."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis.lyapunov import lyapunov_spectrum
from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Array, Input, Params, State
from jaxrnn.unrolls.newton import read_settings
from jaxrnn.unrolls.newton_flow import read_problem
from jaxrnn.unrolls.newton_methods import Method, dense
from jaxrnn.unrolls.newton_solve import block_bytes

__all__ = ["NewtonCertificate", "newton_certificate"]

_BY = "newton_certificate"
_PER_BLOCK, _PER_STEP = 4, 12  # arrays of a block's Jacobians, and of all states, held at once


class NewtonCertificate(NamedTuple):
    """What `newton_unroll` will do on a run. ``print(certificate)`` gives the advice.

    Attributes:
      exponent: ``(*batch,)``, the leading Lyapunov exponent along the trajectory, nats per step.
      predicted_iterations: ``(*batch,)`` int32, of Newton's method in one block of time: within a
        factor of three where the run clearly contracts; at an exponent near zero too many.
      converges: ``(*batch,)`` bool, whether that many are allowed.
      memory: int, bytes that the solution takes at once, within a factor of two or so.
      block_size: int, steps in a block of time.
      num_blocks: int.
      max_iters: int, the iterations allowed.
      exact: bool, whether the method's Jacobians are exact. If not the iterations are more than
        predicted.
    """

    exponent: Array
    predicted_iterations: Array
    converges: Array
    memory: int
    block_size: int
    num_blocks: int
    max_iters: int
    exact: bool

    @property
    def advice(self) -> str:
        """What to do, in a sentence or two, for the worst sequence of the batch."""
        worst = float(np.max(self.exponent))
        count = int(np.max(self.predicted_iterations))
        blocks = f"{self.num_blocks} block{'s' * (self.num_blocks > 1)} of {self.block_size} steps"
        cost = f"about {count} iterations in each of {blocks}, {self.memory / 1e6:.3g} MB"
        if np.all(self.converges):
            kind = f"contracting ({worst:.3g} nats per step): {cost}; newton_unroll will converge"
            return kind if self.exact else f"{kind} with method=dense, later or never with this one"
        kind = "chaotic" if worst > 0 else "hardly contracting"
        return (
            f"{kind} ({worst:.3g} nats per step): {cost}, but {self.max_iters} are allowed: "
            "newton_unroll will not converge; use jaxrnn.unroll"
        )

    def __str__(self) -> str:
        return self.advice


def newton_certificate(
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
    block_size: int | None = None,
) -> NewtonCertificate:
    """Says whether `newton_unroll` will converge, in how many iterations, with how much memory.

    With l the leading exponent, an error made at one step has grown to ``exp(l k)`` of itself k
    steps on. The sum of that over a block of S steps, ``c = sum_{k<S} exp(l k)``, is the condition
    of the equations: ``1 / (1 - exp(l))`` for a contracting run, beyond S for a chaotic one. The
    prediction is ``min(S, c + log2(-log2(tolerance)))``: as many iterations as steps are
    remembered, then those that double the digits.

    It runs the sequence step by step, as the measurement of the exponent does; measure a shorter
    one that is typical. Resets make the exponent minus infinity: measure without them.

    Args:
      cell: any cell whose state is all floats.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; padding counts as steps without growth.
      resets: bool ``(T, *batch)`` or None.
      method: as for `newton_unroll`.
      tolerance: as for `newton_unroll`.
      max_iters: as for `newton_unroll`.
      block_size: as for `newton_unroll`.

    Returns:
      The certificate; its `advice` needs concrete numbers, outside `jax.jit`.

    Raises:
      TypeError: as `lyapunov_spectrum` and `newton_unroll`.
      ValueError: as `lyapunov_spectrum` and `newton_unroll`.

    Example:
      >>> import jax
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 4)
      >>> params = cell.init(jax.random.key(0))
      >>> params = params._replace(w_hh=0.5 * params.w_hh)
      >>> xs = jax.random.normal(jax.random.key(1), (200, 2))
      >>> print(newton_certificate(cell, params, xs))
      contracting (-...; newton_unroll will converge

    Reference:
      X. Gonzalez, L. Kozachkov, D. M. Zoltowski, K. L. Clarkson, S. W. Linderman, "Predictability
      enables parallelization of nonlinear state space models", 2025: the exponent decides how well
      conditioned the equations are. The count is a fit to Elman networks.
    """
    seen = {}

    def look(params, xs, state):
        units = method is not None and method is not dense
        problem = read_problem(cell, params, xs, state, mask, resets, units=units, by=_BY)
        settings, made = read_settings(
            problem, method, tolerance, max_iters, "sequential", block_size, warm=False
        )
        seen.update(settings=settings, made=made)
        return problem.operands.start, problem.operands.inputs

    start, inputs = jax.eval_shape(look, params, xs, state)
    settings, made = seen["settings"], seen["made"]
    num_steps = jax.tree.leaves(inputs)[0].shape[0]
    spectrum = lyapunov_spectrum(cell, params, xs, state, mask=mask, resets=resets, k=1)
    exponent = spectrum.exponents[..., 0]
    steps = jnp.arange(settings.size, dtype=exponent.dtype)
    growth = jnp.exp(jnp.minimum(exponent[..., None] * jnp.maximum(steps, 1), 60))
    condition = 1 + jnp.sum(growth[..., 1:], axis=-1)
    doubling = math.log2(max(-math.log2(min(settings.tolerance, 0.5)), 1))
    predicted = jnp.ceil(jnp.minimum(condition + doubling, settings.size)).astype(jnp.int32)
    memory = _PER_BLOCK * settings.size * block_bytes(made)
    memory += _PER_STEP * num_steps * start.size * start.dtype.itemsize
    return NewtonCertificate(
        exponent,
        predicted,
        predicted <= settings.max_iters,
        memory,
        settings.size,
        -(-num_steps // settings.size),
        settings.max_iters,
        made.exact,
    )
