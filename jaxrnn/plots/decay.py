"""Curves of a norm against the time lag."""

import numpy as np

from jaxrnn.plots.style import log10_of, new_axes, point_marker, power_axis

__all__ = ["plot_decay"]


def plot_decay(
    lags,
    log_norms,
    *,
    rate=None,
    bound=None,
    bound_label: str = "bound",
    bound_line: str = ":",
    label: str = "measured",
    color: str = "#0072B2",
    axes=None,
):
    """Draws log norms against the lag: median over sequences, with the band from 10 to 90 %.

    Args:
      lags: ``(T,)`` in steps.
      log_norms: ``(T,)`` or ``(T, sequences)`` in nats; infinities are left out.
      rate: nats per step; draws ``exp(rate * lag)`` through the measured curve's middle.
      bound: ``(T,)`` in nats, an upper bound.
      bound_label: the bound's name in the legend.
      bound_line: the bound's line style, as matplotlib writes it.
      label: the curve's name in the legend.
      color: of the curve.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Example:
      >>> import numpy as np
      >>> figure, axes = plot_decay(np.arange(1, 5), -0.1 * np.arange(1, 5), rate=-0.1)
      >>> axes.get_xlabel()
      'lag (steps)'
    """
    if axes is None:
        figure, (axes,) = new_axes()
    else:
        figure = axes.figure
    lags = np.asarray(lags)
    curves = log10_of(log_norms).reshape(len(lags), -1)
    alive = np.isfinite(curves).any(axis=1)
    shown = curves[alive]
    if len(shown):
        low, middle, high = np.nanquantile(shown, [0.1, 0.5, 0.9], axis=1)
        axes.fill_between(lags[alive], low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(
            lags[alive],
            middle,
            color=color,
            linewidth=1.8,
            label=label,
            marker=point_marker(middle),
        )
        if rate is not None and np.isfinite(rate):
            line = log10_of(rate * lags)
            line = line + np.mean(middle - line[alive])
            axes.plot(
                lags, line, color="black", linewidth=1.1, linestyle="--", label="exp(rate · lag)"
            )
    if bound is not None:
        style = {"color": "0.45", "linewidth": 1.3, "linestyle": bound_line}
        axes.plot(lags, log10_of(bound), label=bound_label, **style)
    axes.set_xlabel("lag (steps)")
    power_axis(axes)
    return figure, axes
