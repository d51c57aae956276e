"""Curves of a norm against the time lag."""

import numpy as np

from jaxrnn.core.checks import unknown_name
from jaxrnn.plots.style import (
    add_legend,
    log10_of,
    own_or_new,
    point_marker,
    power_axis,
    step_scale,
)

__all__ = ["plot_decay"]

_SCALES = ("linear", "log")
_LINES = (":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_THEORY = ("#D55E00", "#009E73", "#CC79A7", "#E69F00")


def _smallest(dtype) -> float:
    """Returns log10 of the smallest normal number; accelerators flush what is below it to zero."""
    import jax.numpy as jnp

    return float(np.log10(float(jnp.finfo(dtype).tiny)))


def plot_decay(
    lags,
    log_norms,
    *,
    rate=None,
    bound=None,
    bound_label: str = "bound",
    bound_line: str = ":",
    bounds=(),
    theory=(),
    underflow=None,
    lag_scale: str = "linear",
    label: str = "measured",
    color: str = "#0072B2",
    norm_label: str = r"$\|\,\partial s_T / \partial s_{T-\mathrm{lag}}\|$",
    legend: bool | None = None,
    axes=None,
):
    """Draws log norms against the lag: median over sequences, with the band from 10 to 90 %.

    On a logarithmic scale of lags an exponential bends down and a power law is straight.

    Args:
      lags: ``(T,)`` in steps.
      log_norms: ``(T,)`` or ``(T, sequences)`` in nats; infinities are left out.
      rate: nats per step; draws ``exp(rate * lag)`` through the measured curve's middle.
      bound: ``(T,)`` in nats, an upper bound.
      bound_label: the bound's name in the legend.
      bound_line: the bound's line style, as matplotlib writes it.
      bounds: more bounds, a list of ``(name, (T,) in nats)``.
      theory: a list of ``(name, nats per step)``; each draws ``exp(rate * lag)`` through the
        measured curve's middle, so that slopes compare.
      underflow: a floating-point dtype; draws its smallest normal number, below which a gradient
        in that dtype is zero.
      lag_scale: "linear" or "log".
      label: the curve's name in the legend.
      color: of the curve.
      norm_label: of the y axis, on new axes.
      legend: whether to draw one; if not given, on new axes only.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      ValueError: an unknown scale.

    Example:
      >>> import numpy as np
      >>> lags = np.arange(1, 5)
      >>> figure, axes = plot_decay(lags, -0.1 * lags, rate=-0.1, theory=[("mean field", -0.12)])
      >>> axes.get_xlabel()
      'lag (steps)'
    """
    if lag_scale not in _SCALES:
        raise unknown_name("lag_scale", lag_scale, _SCALES)
    new = axes is None
    figure, axes = own_or_new(axes)
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
        slopes = [("exp(rate · lag)", rate, "black")] if rate is not None else []
        slopes += [(name, slope, _THEORY[n % 4]) for n, (name, slope) in enumerate(theory)]
        for name, slope, tint in slopes:
            if np.isfinite(slope):
                line = log10_of(slope * lags)
                line = line + np.mean(middle - line[alive])
                axes.plot(lags, line, color=tint, linewidth=1.1, linestyle="--", label=name)
    styled = [] if bound is None else [(bound_label, bound, bound_line)]
    lines = [line for line in _LINES if not styled or line != bound_line]
    styled += [(name, values, lines[n % len(lines)]) for n, (name, values) in enumerate(bounds)]
    for name, values, line in styled:
        style = {"color": "0.45", "linewidth": 1.3, "linestyle": line}
        axes.plot(lags, log10_of(values), label=name, **style)
    if underflow is not None:
        floor = _smallest(underflow)
        name = f"{np.dtype(underflow).name} underflows"
        axes.axhline(floor, color="0.6", linewidth=1.0, label=name)
        axes.axhspan(floor - 3, floor, facecolor="0.9", edgecolor="none", zorder=0)
    step_scale(axes, lag_scale)
    axes.set_xlabel("lag (steps)")
    power_axis(axes)
    if new:
        axes.set_ylabel(norm_label)
    if legend or (legend is None and new):
        add_legend(axes)
    return figure, axes
