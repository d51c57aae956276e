"""Growth over windows of finite length, and how much it varies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count, refuse_non_finite
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.growth import batch_interval, frame_growth
from jaxrnn.analysis.lyapunov import check_warmup, is_reliable, mean_error
from jaxrnn.analysis.singular import sweep_spectrum
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["FiniteTimeExponents", "finite_time_exponents"]

_BY = "finite_time_exponents"
_METHODS = ("singular", "qr")


class FiniteTimeExponents(NamedTuple):
    """Exponents of consecutive windows of w steps, nats per step, the largest first.

    Attributes:
      times: ``(windows,)``, the number of steps before each window.
      exponents: ``(windows, *batch, k)``; ``-inf`` for directions that die.
      mean: ``(*batch, k)``, over the windows.
      stderr: ``(*batch, k)``, standard error of that mean; NaN below 16 windows.
      diffusion: ``(*batch, k)``, w times the variance over the windows, in nats^2 per step: where
        windows are independent it does not depend on w, and the distribution of the exponents over
        T steps narrows as ``diffusion / T``. NaN with one window.
      reliable: ``(windows, *batch, k)`` bool, as in `SingularSpectrum` or, with ``method="qr"``, in
        `LyapunovSpectrum` over all windows.
    """

    times: Array
    exponents: Array
    mean: Array
    stderr: Array
    diffusion: Array
    reliable: Array


@compiled_per_cell("window", "k", "warmup", "method")
def _exponents(cell, params, xs, state, *, mask, resets, window, k, warmup, method, key):
    pilot_key, key = jax.random.split(key)
    stop = len(jax.tree.leaves(xs)[0])
    interval = batch_interval(
        cell, params, xs, state, mask, resets, k, pilot_key, first=warmup, stop=stop, by=_BY
    )

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY, floats_only=True)
        count = check_count(k, flow.states.shape[1], by=_BY)
        windows = (len(flow.states) - warmup) // window
        starts = warmup + window * jnp.arange(windows)
        if method == "singular":

            def spectrum(start):
                found = sweep_spectrum(flow, start, window, count, key, interval)
                return found.log_singular_values / window, found.reliable

            return *jax.lax.map(spectrum, starts), flow.first_bad()
        indices = jnp.arange(warmup + windows * window)
        growth = frame_growth(
            flow, count, key, qr_every=interval, first=warmup, indices=indices, block=window
        )
        logs = growth.logs[warmup:].reshape(windows, window, count)
        exponents = jnp.sum(logs, axis=1) / window
        reliable = is_reliable(growth, windows * window) & ~jnp.isnan(exponents)
        return exponents, reliable, flow.first_bad()

    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=(1, 1, 0), by=_BY)


def finite_time_exponents(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    window: int,
    mask: Array | None = None,
    resets: Array | None = None,
    k: int | None = None,
    warmup: int = 0,
    method: str = "singular",
    key: Key | None = None,
) -> FiniteTimeExponents:
    """Measures exponents over consecutive windows: how uneven the growth of gradients is.

    ``l_i = log s_i(A_{t+w} ... A_{t+1}) / w`` for windows of w steps side by side.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``; steps that fill no window are left out at the end.
      state: the state to start from; ``cell.initial_state`` if not given.
      window: w, steps in a window.
      mask: bool ``(T, *batch)`` or None; a masked step's Jacobian is the identity.
      resets: bool ``(T, *batch)`` or None; in a window with a reset every direction dies, and with
        ``method="qr"`` it stays dead in the windows after.
      k: how many, from the largest; all D if not given.
      warmup: steps before the first window.
      method: "singular", the exact singular values of each window's product; or "qr", the growth in
        each window of directions that are carried on from window to window, the local exponents
        whose mean is the Lyapunov exponent at any w.
      key: for the directions; ``jax.random.key(0)`` if not given.

    Returns:
      The exponents of each window, their mean and spread.

    Raises:
      TypeError: as `jaxrnn.unroll`; a part of the state is not a real floating array.
      ValueError: as `jaxrnn.unroll`; `k` out of range; `warmup` and `window` leave no window;
        outside `jax.jit`, a state is not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 3)
      >>> xs = jax.random.normal(jax.random.key(1), (100, 4, 2))
      >>> found = finite_time_exponents(cell, cell.init(jax.random.key(0)), xs, window=20, k=1)
      >>> found.exponents.shape, found.diffusion.shape
      ((5, 4, 1), (4, 1))

    Reference:
      E. Ott, "Chaos in dynamical systems", 2002, section 9.4; A. Pikovsky, A. Politi, "Lyapunov
      exponents", 2016, chapter 5.
    """
    if method not in _METHODS:
        raise unknown_name("method", method, _METHODS)
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    warmup = check_warmup(warmup, num_steps, by=_BY)
    window = check_size("window", window, by=_BY)
    if window > num_steps - warmup:
        msg = (
            f"{_BY}: got window={window}; expected at most {num_steps - warmup}, the steps after "
            "the warm-up; pass a longer sequence"
        )
        raise ValueError(msg)
    exponents, reliable, bad = _exponents(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        window=window,
        k=None if k is None else check_size("k", k, by=_BY),
        warmup=warmup,
        method=method,
        key=jax.random.key(0) if key is None else key,
    )
    refuse_non_finite(bad, by=_BY)
    count = len(exponents)
    mean = jnp.mean(exponents, axis=0)
    noise = jnp.where(jnp.isneginf(mean), jnp.nan, exponents - mean)
    spread = jnp.sum(noise**2, axis=0) / (count - 1) if count > 1 else jnp.full_like(mean, jnp.nan)
    times = warmup + window * jnp.arange(count)
    stderr = mean_error(exponents)
    return FiniteTimeExponents(times, exponents, mean, stderr, window * spread, reliable)
