"""Singular values of a growing product, and what an estimate by QR alone misses."""

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.style import (
    index_colors,
    legend_above,
    log10_of,
    own_or_new,
    plain_grid,
    point_marker,
    power_axis,
    whole_numbers,
)

__all__ = ["plot_qr_bias", "plot_singular_values"]


def _name(index: int, count: int) -> str:
    """Names every curve of a few, else the first and the last."""
    return f"$\\sigma_{{{index + 1}}}$" if count <= 8 or index in (0, count - 1) else "_"


def plot_singular_values(
    steps,
    log_singular_values,
    qr_estimate=None,
    *,
    reliable=None,
    condition: bool = False,
    label: str = r"singular values of $\partial s_t / \partial s_0$",
    axes=None,
):
    """Draws the singular values of the Jacobian product over time, one curve each.

    A cross ends the curve of a direction that dies exactly (``-inf`` after it).

    Args:
      steps: ``(n,)``, increasing: the product's number of factors.
      log_singular_values: ``(n, k)`` in nats, greatest first.
      qr_estimate: ``(n, k)`` in nats, the sums of log|r_ii| of a forward QR sweep, dashed: what
        other tools report. See `plot_qr_bias` for the difference.
      reliable: ``(n, k)`` bool; points that are not are hollow circles.
      condition: draws the condition number, first over last, on a second y axis.
      label: of the y axis.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved. The second y axis, if any, is the
      figure's last axes.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree.

    Example:
      >>> import numpy as np
      >>> steps = np.arange(1, 11)
      >>> figure, axes = plot_singular_values(steps, -steps[:, None] * np.array([0.1, 0.5]))
      >>> axes.get_xlabel()
      'number of steps t'
    """
    by = "plot_singular_values"
    steps = real_array("steps", steps, (None,), by=by)
    logs = real_array("log_singular_values", log_singular_values, (len(steps), None), by=by)
    count = logs.shape[1]
    powers = log10_of(logs)
    others = None
    if qr_estimate is not None:
        others = log10_of(real_array("qr_estimate", qr_estimate, logs.shape, by=by))
    doubtful = np.zeros(logs.shape, bool)
    if reliable is not None:
        doubtful = ~real_array("reliable", reliable, logs.shape, by=by).astype(bool)
    figure, axes = own_or_new(axes, width=5.4)
    dies = np.isneginf(logs[1:]) & np.isfinite(logs[:-1])
    for index, color in enumerate(index_colors(count)):
        style = {"color": color, "linewidth": 1.5, "marker": point_marker(steps)}
        axes.plot(steps, powers[:, index], label=_name(index, count), **style)
        if others is not None:
            dashes = {"linewidth": 1.1, "linestyle": (0, (4, 2)), "label": "_"}
            axes.plot(steps, others[:, index], **style | dashes)
        hollow = doubtful[:, index]
        if hollow.any():
            ring = {"markerfacecolor": "none", "markersize": 6, "label": "_"}
            axes.plot(steps[hollow], powers[hollow, index], "o", color=color, **ring)
        ends = np.flatnonzero(dies[:, index])
        if len(ends):
            axes.plot(steps[ends], powers[ends, index], "x", color=color, label="_")
    if others is not None:
        axes.plot([], [], color="0.3", linestyle=(0, (4, 2)), linewidth=1.1, label="QR estimate")
    if doubtful.any():
        axes.plot([], [], "o", color="0.3", markerfacecolor="none", label="not reliable")
    if dies.any():
        axes.plot([], [], "x", color="0.3", label="dies")
    axes.set_xlabel("number of steps t")
    axes.set_ylabel(label)
    power_axis(axes)
    if condition and count:
        twin = axes.twinx()
        with np.errstate(invalid="ignore"):
            number = log10_of(logs[:, 0] - logs[:, -1])
        name = f"condition $\\sigma_1 / \\sigma_{{{count}}}$"
        twin.plot(steps, number, color="#D55E00", linewidth=1.3, linestyle="-.")
        axes.plot([], [], color="#D55E00", linewidth=1.3, linestyle="-.", label=name)
        power_axis(twin)
        twin.grid(visible=False)
        twin.spines["right"].set_visible(True)
        twin.set_ylabel("condition number", color="#D55E00")
        twin.tick_params(axis="y", colors="#D55E00")
    legend_above(axes)
    return figure, axes


def plot_qr_bias(steps, log_singular_values, qr_estimate, *, axes=None):
    """Draws how far sums of log|r_ii| are from the log singular values that they stand for.

    The difference does not go away with more steps: divided by their number it does, which is why
    exponents come out right and statements about a gradient over T steps do not.

    Args:
      steps: ``(n,)``, increasing: the product's number of factors.
      log_singular_values: ``(n, k)`` in nats, exact.
      qr_estimate: ``(n, k)`` in nats, of a forward QR sweep.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree.

    Example:
      >>> import numpy as np
      >>> exact = np.zeros((5, 2))
      >>> figure, axes = plot_qr_bias(np.arange(1, 6), exact, exact - 2.5)
      >>> axes.lines[-1].get_ydata()[-1]
      np.float64(-2.5)
    """
    by = "plot_qr_bias"
    steps = real_array("steps", steps, (None,), by=by)
    logs = real_array("log_singular_values", log_singular_values, (len(steps), None), by=by)
    others = real_array("qr_estimate", qr_estimate, logs.shape, by=by)
    figure, axes = own_or_new(axes)
    known = np.isfinite(logs) & np.isfinite(others)
    gap = np.full(logs.shape, np.nan)
    gap[known] = others[known] - logs[known]
    axes.axhline(0, color="0.35", linewidth=0.9)
    count = logs.shape[1]
    for index, color in enumerate(index_colors(count)):
        style = {"color": color, "linewidth": 1.5, "marker": point_marker(steps)}
        axes.plot(steps, gap[:, index], label=_name(index, count), **style)
    axes.set_xlabel("number of steps t")
    axes.set_ylabel(r"QR estimate - $\log\,\sigma_i$ (nats)")
    whole_numbers(axes)
    plain_grid(axes)
    legend_above(axes)
    return figure, axes
