"""How gradients decay with the time lag."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.automatic import on_automatic_axes
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.norms import read_norm, start_rows
from jaxrnn.analysis.scaled import log_scale, rescale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State

__all__ = ["GradientDecay", "fit_rate", "gradient_decay"]


class GradientDecay(NamedTuple):
    """How ``|| d s_T / d s_{T-lag} ||`` changes with the lag.

    Attributes:
      lags: ``(T,)``, 1 to T steps.
      log_norms: ``(T, *batch)`` in nats; ``-inf`` where the Jacobian is exactly zero.
      rate: ``(*batch,)``, slope of `log_norms` in nats per step: negative where gradients vanish,
        positive where they explode; ``-inf`` where they die exactly.
      stderr: ``(*batch,)``, standard error of `rate` as that of one sequence, from how much the
        growth varies from step to step; see `fit_rate`.
    """

    lags: Array
    log_norms: Array
    rate: Array
    stderr: Array


def fit_rate(log_norms: Array) -> tuple[Array, Array]:
    """Fits a straight line to log norms at lags 1 to T.

    The rate is the least-squares slope. Log norms are a sum over steps, so their errors are those
    of a random walk, for which the textbook error of a slope would be far too small. With w^2 the
    long-run variance of the increments (Bartlett window of T^(1/3) steps, so that correlation
    between steps counts), the slope's variance is 6 w^2 / (5 T).

    Args:
      log_norms: ``(T,)`` in nats.

    Returns:
      ``(rate, stderr)`` in nats per step. The rate is ``-inf`` and its error NaN where a log norm
      is ``-inf``: no exponential describes an exact zero. With one lag the rate is that log norm,
      with fewer than three the error is NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> rate, _ = fit_rate(-0.25 * jnp.arange(1, 9))
      >>> float(rate)
      -0.25

    Reference:
      S. Durlauf, P. Phillips, "Trends versus random walks in time series analysis", 1988 (the
      slope's variance); W. Newey, K. West, "A simple, positive semi-definite, heteroskedasticity
      and autocorrelation consistent covariance matrix", 1987 (the Bartlett window).
    """
    num_lags = log_norms.shape[0]
    dtype = log_norms.dtype
    if num_lags == 1:
        return log_norms[0], jnp.full((), jnp.nan, dtype)
    dead = jnp.any(jnp.isneginf(log_norms)) & ~jnp.any(jnp.isnan(log_norms))
    values = jnp.where(dead, jnp.zeros_like(log_norms), log_norms)
    centred = jnp.arange(num_lags, dtype=dtype) - (num_lags - 1) / 2
    rate = centred @ (values - values.mean()) / jnp.sum(centred**2)
    rate = jnp.where(dead, -jnp.inf, rate)
    if num_lags < 3:
        return rate, jnp.full((), jnp.nan, dtype)
    increments = jnp.diff(values)
    noise = increments - increments.mean()
    count = num_lags - 1
    window = min(max(1, round(count ** (1 / 3))), count - 1)
    variance = noise @ noise
    for gap in range(1, window + 1):
        variance += 2 * (1 - gap / (window + 1)) * (noise[gap:] @ noise[:-gap])
    stderr = jnp.sqrt(6 / 5 * jnp.maximum(variance, 0) / count / num_lags)
    return rate, jnp.where(dead, jnp.nan, stderr)


_BATCH_AXES = (1, 0, 0)  # of log norms, rate and its error


@compiled_per_cell("norm", "num_probes")
def gradient_decay(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    norm: str = "spectral",
    num_probes: int | None = None,
    key: Key | None = None,
) -> GradientDecay:
    """Measures how the Jacobian of the last state decays with the lag.

    The log norm at each lag is that of ``d s_T / d s_{T-lag} = A_T ... A_{T-lag+1}``, exact, built
    from the end by pulling rows back (reverse mode) with a power of two taken out at every step: it
    holds for any T and any growth. No step's Jacobian is formed.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None. A masked step's Jacobian is the identity, so padding at
        the end counts as lags over which nothing changes: measure sequences without it.
      resets: bool ``(T, *batch)`` or None. Across a reset the Jacobian is exactly zero.
      norm: "spectral" (largest singular value) or "frobenius".
      num_probes: pull this many random rows back in place of the D unit rows: an unbiased estimate
        of the squared Frobenius norm, for states too large for a D x D matrix. Needs `key`, and
        ``norm="frobenius"``.
      key: for the probes.

    Returns:
      Lags, log norms, and the rate with its standard error.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`; an unknown norm; probes without a key or with the spectral
        norm.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> decay = gradient_decay(cell, params, jax.random.normal(jax.random.key(1), (50, 4, 3)))
      >>> decay.log_norms.shape, decay.rate.shape, bool(jnp.all(decay.rate < 0))
      ((50, 4), (4,), True)

    Reference:
      Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient descent is
      difficult", 1994; R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent
      neural networks", 2013, section 2.
    """
    by = "gradient_decay"
    measure, num_probes = read_norm(norm, num_probes, key, by=by)

    def measured(params, xs, state, mask, resets, key):
        def one(xs, state, mask, resets):
            flow = read_flow(cell, params, xs, state, mask, resets, by=by)
            rows = start_rows(flow, num_probes, key)

            def back(product, index):
                product = rescale(flow.pull(index, product.values), product.exponent)
                return product, log_scale(product.exponent, measure(product.values))

            _, log_norms = jax.lax.scan(back, scaled(rows), jnp.arange(flow.num_steps - 1, -1, -1))
            return log_norms, *fit_rate(log_norms)

        return over_batch(one, cell, params, xs, state, mask, resets, out_axes=_BATCH_AXES, by=by)

    arrays = params, xs, state, mask, resets, key
    log_norms, rate, stderr = on_automatic_axes(measured, _BATCH_AXES, cell, *arrays)
    return GradientDecay(jnp.arange(1, log_norms.shape[0] + 1), log_norms, rate, stderr)
