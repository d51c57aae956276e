"""Through which lags a parameter gradient flows."""

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.style import legend_above, own_or_new, plain_grid, whole_numbers

__all__ = ["plot_contributions"]


def _horizon(lags, cumulative, fraction: float):
    """Returns the first lag from which on the share stays at the fraction or above, or None.

    Shares may be negative, so the curve may reach the fraction and fall below it again.
    """
    below = np.flatnonzero(~(cumulative >= fraction))
    first = below[-1] + 1 if len(below) else 0
    return None if first >= len(lags) else lags[first]


def plot_contributions(
    lags,
    share,
    *,
    cosine=None,
    cumulative=None,
    fraction: float = 0.9,
    color: str = "#56B4E9",
    axes=None,
):
    """Draws the share of the parameter gradient that flows through each lag.

    The dashed line says how far back the gradient reaches: "90 % of the gradient comes from the
    last n steps", n being the lag plus one, since lag 0 is a step too.

    Args:
      lags: ``(n,)`` in steps, increasing.
      share: ``(n,)``, ``<g_lag, g> / <g, g>``; may be negative, and sums to 1 over all lags.
      cosine: ``(n,)``, between ``g_lag`` and ``g``; NaN where ``g_lag`` is zero.
      cumulative: ``(n,)``, the shares' running sum; computed if not given.
      fraction: of the gradient, for the dashed line.
      color: of the bars.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes of the bars; nothing is shown or saved. The axes of the cumulative
      share and the cosine are the figure's last axes.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree; a fraction outside of 0 to 1.

    Example:
      >>> import numpy as np
      >>> figure, axes = plot_contributions(np.arange(8), 0.5 ** np.arange(1, 9))
      >>> [text for text in axes.get_legend_handles_labels()[1] if "%" in text]
      ['90 % from the last 4 steps']
    """
    by = "plot_contributions"
    if not 0 < fraction <= 1:
        msg = f"{by}: got fraction={fraction}; expected above 0 and at most 1; pass 0.9 for 90 %"
        raise ValueError(msg)
    lags = real_array("lags", lags, (None,), by=by)
    share = real_array("share", share, lags.shape, by=by)
    share = np.where(np.isfinite(share), share, np.nan)
    if cumulative is None:
        cumulative = np.cumsum(np.nan_to_num(share, nan=0.0)) if len(share) else share
        cumulative = np.where(np.isfinite(share).any(), cumulative, np.nan)
    total = real_array("cumulative", cumulative, lags.shape, by=by)
    figure, axes = own_or_new(axes, width=5.4)
    width = float(np.diff(lags).min()) if len(lags) > 1 else 1.0
    bars = axes.bar(
        lags, 100 * share, width=width * (0.85 if len(lags) <= 100 else 1.0), color=color,
        label="share of a lag",
    )  # fmt: skip
    axes.axhline(0, color="0.35", linewidth=0.9)
    twin = axes.twinx()
    curves = [("cumulative share", total, "#0072B2", "-")]
    if cosine is not None:
        cosine = real_array("cosine", cosine, lags.shape, by=by)
        curves.append(("cosine with the total", cosine, "#D55E00", "-."))
    for name, values, tint, line in curves:
        style = {"color": tint, "linewidth": 1.6, "linestyle": line}
        if len(lags) <= 30:
            style |= {"marker": "o", "markersize": 3}
        twin.plot(lags, np.where(np.isfinite(values), values, np.nan), **style)
        axes.plot([], [], label=name, **style)
    horizon = _horizon(lags, total, fraction)
    if horizon is not None:
        steps = int(horizon) + 1
        name = f"{100 * fraction:g} % from the last {steps} step" + ("s" if steps > 1 else "")
        style = {"color": "black", "linewidth": 1.2, "linestyle": "--"}
        axes.axvline(horizon + width / 2, label=name, **style)
    heights = 100 * share[np.isfinite(share)]
    finite = np.concatenate([values[np.isfinite(values)] for _, values, _, _ in curves])
    tops = heights.max(initial=1e-6), finite.max(initial=1.0)
    lows = heights.min(initial=0.0), finite.min(initial=0.0)
    below = max(-low / top for low, top in zip(lows, tops, strict=True))
    for one, top in zip((axes, twin), tops, strict=True):  # zeros at one height
        one.set_ylim(-1.05 * below * top, 1.05 * top)
    axes.set_xlabel("lag (steps)")
    axes.set_ylabel("share of the gradient (%)")
    twin.set_ylabel("cumulative share" + (", cosine" if cosine is not None else ""))
    whole_numbers(axes)
    plain_grid(axes)
    twin.spines["top"].set_visible(False)
    named = axes.get_legend_handles_labels()[0]
    legend_above(axes, 2, handles=[bars, *[one for one in named if one is not bars]])
    return figure, axes
