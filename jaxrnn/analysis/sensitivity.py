"""How much the last state depends on the inputs before it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_float_inputs
from jaxrnn.analysis.flow import over_batch, read_flow, read_input_flow
from jaxrnn.analysis.norms import read_norm
from jaxrnn.analysis.scaled import log_scale, rescale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Params, State

__all__ = ["InputSensitivity", "input_sensitivity"]

_BY = "input_sensitivity"


class InputSensitivity(NamedTuple):
    """How ``|| d s_T / d x_{T-lag} ||`` changes with the lag.

    Attributes:
      lags: ``(T,)``, 0 to T - 1 steps; lag 0 is the input that the last step reads.
      log_norms: ``(T, *batch)`` in nats; ``-inf`` where the Jacobian is exactly zero.
    """

    lags: Array
    log_norms: Array


@compiled_per_cell("norm")
def input_sensitivity(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    norm: str = "frobenius",
) -> InputSensitivity:
    """Measures how strongly the last state depends on each input.

    The log norm at each lag is that of ``d s_T / d x_{T-lag} = A_T ... A_{T-lag+1} B_{T-lag}``,
    where x_t is what step t reads, and ``A_t`` and ``B_t`` are the Jacobians of that step with
    respect to state and input. It is exact, and in range for any T. Where `gradient_decay` says how
    long a state is remembered, this says how long what was read is.

    Args:
      cell: any cell.
      params: its parameters.
      xs: one floating array, ``(T, *batch, F)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; nothing depends on the input of a masked step.
      resets: bool ``(T, *batch)`` or None; nothing after a reset depends on an input before it.
      norm: "frobenius" or "spectral" (largest singular value).

    Returns:
      Lags and log norms.

    Raises:
      TypeError: `xs` is not one floating array (make tokens one-hot: `jax.nn.one_hot`); as
        `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`, or an unknown norm.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)
      >>> found = input_sensitivity(cell, cell.init(jax.random.key(0)), jnp.ones((9, 2, 3)))
      >>> found.lags.tolist(), found.log_norms.shape
      ([0, 1, 2, 3, 4, 5, 6, 7, 8], (9, 2))

    Reference:
      S. Ganguli, D. Huh, H. Sompolinsky, "Memory traces in dynamical systems", 2008: what a state
      keeps of an input k steps ago, there for linear networks.
    """
    measure, _ = read_norm(norm, by=_BY)
    check_float_inputs(xs, by=_BY)

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY)
        input_jacobian = read_input_flow(cell, params, xs, flow)

        def back(product, index):
            share = rescale(product.values @ input_jacobian(index), product.exponent)
            product = rescale(flow.pull(index, product.values), product.exponent)
            return product, log_scale(share.exponent, measure(share.values))

        steps = jnp.arange(len(flow.states) - 1, -1, -1)
        return jax.lax.scan(back, scaled(flow.eye()), steps)[1]

    log_norms = over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by=_BY)
    return InputSensitivity(jnp.arange(log_norms.shape[0]), log_norms)
