"""Where, when and along which paths gradients flow: what the report measures beside rates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis import lyapunov_spectrum
from jaxrnn.analysis.anatomy import GateAnatomy, gate_anatomy
from jaxrnn.analysis.contributions import parameter_gradient_by_lag
from jaxrnn.analysis.decay import fit_rate
from jaxrnn.analysis.lags import LagMatrix, lag_matrix
from jaxrnn.core.cell import Cell
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array, Input, Output, Params

__all__ = [
    "Contributions",
    "FlowReport",
    "GatePaths",
    "LagMap",
    "flow_report",
    "gate_paths",
    "has_real_state",
    "lag_map",
    "measure_flow",
    "measure_lags",
]

_EXPONENTS = 16
_SEQUENCES = 4  # of those measured; the pictures show medians
_END_TIMES = 50
_PROBES = 16


class LagMap(NamedTuple):
    """Norms ``|| d s_t / d s_{t-lag} ||`` (Frobenius) over the root of the state's size.

    Attributes:
      times: ``(N,)`` in steps.
      lags: ``(M,)`` in steps.
      log_norms: ``(N, M)`` in nats, median over the sequences; NaN where there is none.
    """

    times: np.ndarray
    lags: np.ndarray
    log_norms: np.ndarray


class GatePaths(NamedTuple):
    """The paths through a gated cell's step; log norms are over the root of the state's size.

    Attributes:
      whole: ``(T, sequences)`` in nats, of each step's Jacobian.
      carry: ``(T, sequences)`` in nats, of its part that the gates hand on.
      product: ``(T, sequences)`` in nats, of its part through the recurrent product.
      time_constants: ``(T, sequences, units)`` in steps, of the units that carry something.
      carry_rate: nats per step, median over the sequences: how the gradient decays through the
        carry alone; ``-inf`` where it dies.
      product_rate: the same of all that passes through the recurrent product at least once.
    """

    whole: np.ndarray
    carry: np.ndarray
    product: np.ndarray
    time_constants: np.ndarray
    carry_rate: float
    product_rate: float


class Contributions(NamedTuple):
    """Through which lags the gradient of the parameters flows, and its horizon.

    Attributes:
      lags: ``(T,)``, 0 to T - 1 steps.
      share: ``(T,)``, of each lag; they add up to 1.
      cumulative: ``(T,)``, the shares' running sum.
      horizon: n such that 90 % of the gradient comes from the last n steps.
    """

    lags: np.ndarray
    share: np.ndarray
    cumulative: np.ndarray
    horizon: int


class FlowReport(NamedTuple):
    """What is measured of one network at one time, beside the rates.

    Attributes:
      exponents: ``(sequences, k)`` in nats per step, the Lyapunov exponents along the sequences
        measured; None where the state is not made of real numbers.
      lags: by time and lag.
      paths: through the gates; None where no gate hands the state on.
      contributions: to the gradient of the parameters, by lag.
    """

    exponents: np.ndarray | None
    lags: LagMap
    paths: GatePaths | None
    contributions: Contributions


def has_real_state(cell: Cell, params: Params) -> bool:
    """Says whether all of the state are real floating numbers."""
    state = jax.eval_shape(cell.initial_state, params)
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(state))


def _state_size(cell: Cell, params: Params) -> int:
    state = jax.eval_shape(cell.initial_state, params)
    # A complex number counts twice, as it does in the Jacobian.
    return sum(
        leaf.size * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
        for leaf in jax.tree.leaves(state)
    )


def measure_lags(cell: Cell, params: Params, xs: Input, state=None) -> LagMatrix:
    """Measures at about fifty end times, with probes where the state is larger than their number.

    The norms are divided by the root of the state's size, which makes the identity's norm 1.
    """
    num_steps = jax.tree.leaves(xs)[0].shape[0]
    size = _state_size(cell, params)
    probes = {} if size <= _PROBES else {"num_probes": _PROBES, "key": jax.random.key(0)}
    stride = -(-num_steps // _END_TIMES)
    found = lag_matrix(cell, params, xs, state, stride=stride, **probes)
    return found._replace(log_norms=found.log_norms - np.log(size) / 2)


def measure_flow(
    loss_fn: Callable[[Output], Array], cell: Cell, params: Params, xs: Input
) -> tuple[Array | None, LagMatrix, GateAnatomy | None, tuple]:
    """Returns the arrays of a `FlowReport`; meant for `jax.jit`.

    Args:
      loss_fn: of the cell's outputs.
      cell: any cell.
      params: its parameters.
      xs: ``(T, sequences, ...)``.

    Returns:
      For `flow_report`.
    """
    few = jax.tree.map(lambda leaf: leaf[:, :_SEQUENCES], xs)
    num_steps = jax.tree.leaves(xs)[0].shape[0]
    exponents = None
    if has_real_state(cell, params):
        k = min(_EXPONENTS, _state_size(cell, params))
        exponents = lyapunov_spectrum(
            cell, params, few, k=k, qr_every=1, warmup=num_steps // 4
        ).exponents
    paths = gate_anatomy(cell, params, few) if isinstance(cell.parts, Gated) else None
    parts = parameter_gradient_by_lag(loss_fn, cell, params, xs)
    return exponents, measure_lags(cell, params, few), paths, (parts, parts.horizon())


def lag_map(found: LagMatrix) -> LagMap:
    """Takes the median over the sequences."""
    times, lags, log_norms = (np.asarray(one) for one in found)
    with np.errstate(invalid="ignore"):
        return LagMap(times, lags, np.median(log_norms, axis=2))


def gate_paths(found: GateAnatomy) -> GatePaths | None:
    """Sums the anatomy up; None where no unit ever carries anything.

    Args:
      found: of arrays ``(T, sequences, ...)``.
    """
    carry = np.asarray(found.carry)
    used = np.any(carry != 0, axis=(0, 1))
    if not used.any():
        return None
    unit = np.log(carry.shape[2]) / 2

    def rate(by_lag):
        rates, _ = jax.vmap(fit_rate, in_axes=1)(jnp.asarray(by_lag))
        return float(np.median(np.asarray(rates)))

    return GatePaths(
        np.asarray(found.log_norms) - unit,
        np.asarray(found.carry_log_norms) - unit,
        np.asarray(found.product_log_norms) - unit,
        np.asarray(found.time_constants)[..., used],
        rate(found.carry_decay),
        rate(found.product_decay),
    )


def flow_report(measured: tuple) -> FlowReport:
    """Makes the report of what `measure_flow` returned."""
    exponents, lags, paths, (parts, horizon) = measured
    arrays = (parts.lags, parts.share, parts.cumulative_share)
    return FlowReport(
        None if exponents is None else np.asarray(exponents),
        lag_map(lags),
        None if paths is None else gate_paths(paths),
        Contributions(*map(np.asarray, arrays), int(horizon)),
    )
