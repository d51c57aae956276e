"""The numbers of `jaxrnn spectrum`: one network's spectra, decay, bounds and paths."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis import (
    LyapunovSpectrum,
    bounds,
    gradient_decay,
    lyapunov_spectrum,
    singular_spectrum,
)
from jaxrnn.analysis.anatomy import gate_anatomy
from jaxrnn.analysis.decay import fit_rate
from jaxrnn.cli.flows import GatePaths, LagMap, gate_paths, lag_map, measure_lags
from jaxrnn.cli.measure import Curve, Rate, rate_of
from jaxrnn.core.cell import Cell
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Input, Params
from jaxrnn.unrolls import unroll

__all__ = ["SingularValues", "SpectrumReport", "measure_spectrum"]

_STOPS = 8


class SingularValues(NamedTuple):
    """Log singular values of products of growing length, after the warm-up.

    Attributes:
      steps: ``(n,)``, the products' numbers of factors; the last is all.
      logs: ``(n, sequences, k)`` in nats.
      error_bound: ``(n, sequences, k)`` in nats.
      reliable: bool ``(n, sequences, k)``.
    """

    steps: np.ndarray
    logs: np.ndarray
    error_bound: np.ndarray
    reliable: np.ndarray


class SpectrumReport(NamedTuple):
    """All about one network.

    Attributes:
      state_size: D, the number of directions.
      warmup: steps not counted.
      lyapunov: of each sequence.
      singular: of each sequence.
      decay: the norm of the Jacobian by lag.
      pascanu: ``(N,)`` in nats, or None where that bound does not speak of the cell.
      pascanu_rate: nats per step, or None.
      data_dependent: ``(N,)`` in nats, median over the sequences.
      data_dependent_rate: over the sequences.
      lags: norms by time and lag.
      paths: through the gates; None where no gate hands the state on.
    """

    state_size: int
    warmup: int
    lyapunov: LyapunovSpectrum
    singular: SingularValues
    decay: Curve
    pascanu: np.ndarray | None
    pascanu_rate: float | None
    data_dependent: np.ndarray
    data_dependent_rate: Rate
    lags: LagMap
    paths: GatePaths | None


def _singular_values(cell: Cell, params: Params, xs: Input, state, k: int) -> SingularValues:
    num_steps, count = jax.tree.leaves(xs)[0].shape[:2]
    steps = np.unique(np.linspace(1, num_steps, min(_STOPS, num_steps)).round().astype(int))

    def repeat(leaf, axis):
        return jnp.repeat(jnp.expand_dims(leaf, axis), len(steps), axis)

    # A masked step's Jacobian is the identity, so products of all lengths are one batch.
    real = np.arange(num_steps)[:, None] < steps
    found = singular_spectrum(
        cell,
        params,
        jax.tree.map(lambda leaf: repeat(leaf, 1), xs),
        jax.tree.map(lambda leaf: repeat(leaf, 0), state),
        mask=jnp.broadcast_to(real[:, :, None], (num_steps, len(steps), count)),
        k=k,
    )
    values = (found.log_singular_values, found.error_bound, found.reliable)
    return SingularValues(steps, *map(np.asarray, values))


def measure_spectrum(
    cell: Cell, params: Params, xs: Input, *, k: int, warmup: int
) -> SpectrumReport:
    """Measures one network along a few sequences.

    Args:
      cell: any cell whose state is made of real numbers.
      params: its parameters.
      xs: ``(T, sequences, ...)``.
      k: how many exponents and singular values.
      warmup: steps that come before all that is measured.

    Returns:
      The report.

    Raises:
      ValueError: the trajectory is not finite.
    """
    lyapunov = lyapunov_spectrum(cell, params, xs, k=k, warmup=warmup)
    before, after = (
        jax.tree.map(lambda leaf, part=part: leaf[part], xs)
        for part in (slice(None, warmup), slice(warmup, None))
    )
    batch_shape = lyapunov.exponents.shape[:1]
    state = cell.initial_state(params, batch_shape)
    if warmup:
        state, _ = unroll(cell, params, before)
    decay = gradient_decay(cell, params, after, state)
    limits = bounds(cell, params, after, state)
    products = np.asarray(limits.data_dependent)
    paths = None
    if isinstance(cell.parts, Gated):
        paths = gate_paths(gate_anatomy(cell, params, after, state))
    pascanu = None if limits.pascanu is None else np.asarray(limits.pascanu)
    return SpectrumReport(
        sum(leaf.size for leaf in jax.tree.leaves(state)) // batch_shape[0],
        warmup,
        jax.tree.map(np.asarray, lyapunov),
        _singular_values(cell, params, after, state, k),
        Curve(np.asarray(decay.log_norms), rate_of(decay.rate, decay.stderr)),
        pascanu,
        None if pascanu is None else float(pascanu[0]),
        np.median(products, axis=1),
        rate_of(*jax.vmap(fit_rate, in_axes=1)(limits.data_dependent)),
        lag_map(measure_lags(cell, params, after, state)),
        paths,
    )
