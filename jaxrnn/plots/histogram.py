"""Histograms against the laws of random matrices."""

import math

import numpy as np

from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.plots.arrays import real_array, real_pair
from jaxrnn.plots.style import add_legend, own_or_new, plain_grid

__all__ = ["bin_edges", "ks_statistic", "plot_histogram"]


def bin_edges(values, bins: int | None = None) -> np.ndarray:
    """Returns the borders of equal bins over finite values: about sqrt(n) of them, 8 to 60."""
    values = np.asarray(values, np.float64)
    if bins is None:
        bins = min(60, max(8, round(math.sqrt(len(values)))))
    if not len(values):
        return np.linspace(0, 1, bins + 1)
    low, high = float(values.min()), float(values.max())
    # Equal values, or unequal by rounding alone, still have a bar of some width.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.05 * max(abs(low), abs(high), 1e-3)
        low, high = low - half, high + half
    return np.linspace(low, high, bins + 1)


def ks_statistic(values, cdf) -> float:
    """Returns the Kolmogorov-Smirnov distance ``max |F_n(x) - F(x)|``.

    Args:
      values: ``(n,)``, the sample, finite.
      cdf: ``(n,)``, F at those values.

    Returns:
      A number from 0 to 1; for n values drawn from F it is below 1.36 / sqrt(n) in 95 % of draws.
      NaN of an empty sample.

    Example:
      >>> ks_statistic([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
      0.2333...
    """
    values, cdf = np.asarray(values, np.float64), np.asarray(cdf, np.float64)
    count = len(values)
    if not count:
        return math.nan
    order = np.argsort(values)
    ranks = np.arange(1, count + 1) / count
    cdf = cdf[order]
    return float(max(np.max(ranks - cdf), np.max(cdf - ranks + 1 / count)))


def _curve(name, law, points, *, by):
    """Returns the points of a law that is a function or a pair of arrays."""
    if callable(law):
        return points, real_array(name, law(points), points.shape, by=by)
    return real_pair(name, law, by=by)


def plot_histogram(
    values,
    *,
    density=None,
    cdf=None,
    bins: int | None = None,
    scale: str = "linear",
    value_label: str = "value",
    label: str = "measured",
    density_label: str = "theory",
    color: str = "#56B4E9",
    axes=None,
):
    """Draws a histogram, normalised to area 1, with the density of a theory on top.

    With a distribution function the title gives the Kolmogorov-Smirnov distance. A density that
    diverges, as Marchenko and Pastur's at zero, leaves the picture at the top.

    Args:
      values: of any shape, real; those that are not finite are left out and counted in the legend.
      density: the theory's density: a function of an array, or a pair ``(x, y)`` of arrays.
      cdf: the theory's distribution function: the same.
      bins: their number; about the root of the number of values if not given.
      scale: "linear", or "log" for values over many powers of ten: bins and densities are then
        those of log10 of the values, and values that are not above zero are left out too.
      value_label: of the x axis, with its unit.
      label: the histogram's name in the legend.
      density_label: the theory's name in the legend.
      color: of the bars.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree; an unknown scale; a number of bins below 1.

    Example:
      >>> import numpy as np
      >>> values = (np.arange(100) + 0.5) / 100
      >>> figure, axes = plot_histogram(values, density=np.ones_like, cdf=lambda x: x)
      >>> axes.get_title()
      'n = 100, KS distance 0.005'
    """
    by = "plot_histogram"
    if scale not in ("linear", "log"):
        raise unknown_name("scale", scale, ("linear", "log"))
    if bins is not None:
        bins = check_size("bins", bins, by=by)
    given = np.ravel(np.asarray(values))
    given = real_array("values", given, (None,), by=by)
    kept = given[np.isfinite(given) & ((given > 0) | (scale == "linear"))]
    figure, axes = own_or_new(axes)
    log = scale == "log"
    edges = bin_edges(np.log10(kept) if log else kept, bins)
    heights = np.zeros(len(edges) - 1)
    if len(kept):
        heights, _ = np.histogram(np.log10(kept) if log else kept, edges, density=True)
    left_out = len(given) - len(kept)
    name = label + (f" ({left_out} of {len(given)} left out)" if left_out else "")
    axes.stairs(heights, 10**edges if log else edges, fill=True, color=color, alpha=0.6, label=name)
    top = heights.max() if len(kept) else 1.0
    if density is not None:
        points = np.linspace(edges[0], edges[-1], 801)
        xs, ys = _curve("density", density, 10**points if log else points, by=by)
        if log:
            xs, ys = xs[xs > 0], (ys * xs * math.log(10))[xs > 0]
        ys = np.where(np.isfinite(ys), ys, np.nan)
        axes.plot(xs, ys, color="black", linewidth=1.4, label=density_label)
        # The highest of the bins' medians: a divergence would press all bars to the ground.
        bins_of = np.searchsorted(edges, np.log10(xs) if log else xs, side="right")
        inside = [ys[(bins_of == n) & np.isfinite(ys)] for n in range(1, len(edges))]
        top = max([top, *[np.median(part) for part in inside if len(part)]])
    if cdf is not None:
        law = cdf if callable(cdf) else None
        if law is None:
            xs, ys = real_pair("cdf", cdf, by=by)
            at = np.interp(kept, xs, ys)
        else:
            at = real_array("cdf", law(kept), kept.shape, by=by)
        axes.set_title(f"n = {len(kept)}, KS distance {ks_statistic(kept, at):.3f}", fontsize=10)
    axes.set_ylim(0, 1.15 * top)
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(value_label)
    axes.set_ylabel("density per power of ten" if log else "density")
    plain_grid(axes)
    add_legend(axes)
    return figure, axes
