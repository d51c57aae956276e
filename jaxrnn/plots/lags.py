"""Norms by time and lag: where in time a gradient survives."""

import math

import numpy as np

from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.heat import cell_edges, draw_heat, symmetric_limit
from jaxrnn.plots.style import add_legend, log10_of, own_or_new, power_label, step_scale

__all__ = ["plot_lag_matrix"]

_SCALES = ("linear", "log")


def plot_lag_matrix(
    times,
    lags,
    log_norms,
    *,
    size: int | None = None,
    levels=(-1, -3, -6),
    rate: float | None = None,
    limit: float | None = None,
    lag_scale: str = "linear",
    label: str = r"$\|\,\partial s_t / \partial s_{t-\mathrm{lag}}\|$",
    axes=None,
):
    """Draws the norms of Jacobian products as colours over time and lag.

    Colours are centred at norm 1: blue where a gradient vanishes, red where it explodes. Cells that
    do not exist (NaN, where the lag reaches before the start) stay blank, those that are exactly
    zero (``-inf``) are dark.

    Args:
      times: ``(num_times,)`` in steps, increasing.
      lags: ``(num_lags,)`` in steps, increasing.
      log_norms: ``(num_times, num_lags)`` in nats, or ``(num_times, num_lags, sequences)``, of
        which the median over sequences is drawn.
      size: the state's size D, if the norms are Frobenius norms: divides them by sqrt(D), which
        makes the identity's norm 1.
      levels: powers of ten to draw as contours.
      rate: nats per step; draws lines where ``exp(rate * lag)`` reaches each level.
      limit: powers of ten at both ends of the colours; the larger of the 1 and 99 % quantiles if
        not given.
      lag_scale: "linear" or "log"; lag 0 has no place on the latter and is left out.
      label: of the colours.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers; a size that is no integer.
      ValueError: shapes that do not agree, positions that do not increase, an unknown scale, a
        limit that is not above zero.

    Example:
      >>> import numpy as np
      >>> times, lags = np.arange(1, 6), np.arange(1, 4)
      >>> norms = np.where(lags <= times[:, None], -0.5 * lags, np.nan)
      >>> figure, axes = plot_lag_matrix(times, lags, norms)
      >>> axes.get_xlabel(), axes.get_ylabel()
      ('time t (steps)', 'lag (steps)')
    """
    by = "plot_lag_matrix"
    if lag_scale not in _SCALES:
        raise unknown_name("lag_scale", lag_scale, _SCALES)
    if limit is not None and not 0 < limit < math.inf:
        msg = f"{by}: got limit={limit}; expected a number above zero; pass powers of ten, as 6"
        raise ValueError(msg)
    times = real_array("times", times, (None,), by=by)
    lags = real_array("lags", lags, (None,), by=by)
    shape = (len(times), len(lags)) + (None,) * (np.ndim(log_norms) == 3)
    norms = real_array("log_norms", log_norms, shape, by=by)
    if norms.ndim == 3:
        with np.errstate(invalid="ignore"):  # between minus and plus infinity
            norms = np.median(norms, axis=2)
    if lag_scale == "log":
        norms, lags = norms[:, lags > 0], lags[lags > 0]
    if size is not None:
        norms = norms - math.log(check_size("size", size, by=by)) / 2
    powers = norms / math.log(10)
    if limit is None:
        limit = symmetric_limit(powers)
    x_edges = cell_edges(times, by=by)
    y_edges = cell_edges(lags, scale=lag_scale, by=by)
    figure, axes = own_or_new(axes, width=5.4)
    bar, named = draw_heat(
        axes, x_edges, y_edges, powers, limits=(-limit, limit), colors="RdBu_r", label=label,
        powers=True,
    )  # fmt: skip
    finite = log10_of(norms)
    if min(finite.shape) > 1 and np.isfinite(finite).any():
        low, high = np.nanmin(finite), np.nanmax(finite)
        crossed = sorted(level for level in levels if low < level < high)
        if crossed:
            style = {"colors": "black", "linewidths": 1.0, "linestyles": "solid"}
            drawn = axes.contour(times, lags, finite.T, crossed, **style)
            axes.clabel(drawn, fontsize=8, fmt=power_label)
            seen = [level for level in crossed if abs(level) <= limit]
            bar.ax.hlines(seen, 0, 1, color="black", linewidth=1.0)
    if rate is not None and np.isfinite(rate) and rate != 0:
        reached = [level * math.log(10) / rate for level in levels]
        inside = [lag for lag in reached if y_edges[0] < lag < y_edges[-1]]
        style = {"color": "black", "linewidth": 1.1, "linestyle": "--", "label": "exp(rate · lag)"}
        named = [*[axes.axhline(lag, **style) for lag in inside][:1], *named]
    if named:
        add_legend(axes, handles=named, loc="upper left")
    step_scale(axes, lag_scale, axis="y")
    step_scale(axes, "linear")
    axes.set_xlabel("time t (steps)")
    axes.set_ylabel("lag (steps)")
    return figure, axes
