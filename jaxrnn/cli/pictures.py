"""The report's pictures."""

from collections.abc import Sequence

import numpy as np

from jaxrnn.cli.flow_pictures import (
    draw_contributions,
    draw_exponents,
    draw_lag_maps,
    draw_paths,
)
from jaxrnn.cli.measure import CellReport
from jaxrnn.cli.png import to_png
from jaxrnn.plots import cell_colors, new_axes, plot_decay, plot_training
from jaxrnn.plots.style import log10_of, point_marker, power_axis

__all__ = ["draw_pictures"]

_STATE = r"$\|\,\partial s_T / \partial s_{T-\mathrm{lag}}\|$"
_LOSS = r"$\|\,\partial L_T / \partial s_{T-\mathrm{lag}}\|$"


def _decay(reports: Sequence[CellReport], colors):
    """Draws a row of panels a cell: before and after training, on one scale."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = len(reports)
    figure = Figure(figsize=(9.2, 2.7 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False, sharey="row", sharex=True)
    named = {}
    for row, report in zip(grid, reports, strict=True):
        lowest = []
        for axes, when in zip(row, ("before", "after"), strict=True):
            measured = getattr(report, when)
            curve = measured.state
            lags = np.arange(1, len(curve.log_norms) + 1)
            bound, name, line = measured.pascanu, "Pascanu's bound", ":"
            if bound is None:
                bound, name, line = measured.data_dependent, "product of step norms", "-."
            plot_decay(
                lags,
                curve.log_norms,
                rate=curve.rate.rate,
                bound=bound,
                bound_label=name,
                bound_line=line,
                color=colors[report.name],
                axes=axes,
            )
            values = log10_of(curve.log_norms)
            lowest.append(np.nanmin(values) if np.isfinite(values).any() else -1.0)
            lowest.append(-np.nanmax(values) if np.isfinite(values).any() else 0.0)
            axes.set_title(f"{report.name}, {when} training", fontsize=10)
            axes.set_xlabel("lag (steps)" if report is reports[-1] else "")
            handles, labels = axes.get_legend_handles_labels()
            named.update(zip(labels, handles, strict=True))
        # The bound may rise by dozens of powers of ten: it leaves the picture at the top.
        low, high = min(lowest[::2]), -min(lowest[1::2])
        span = max(high - low, 1.0)
        row[0].set_ylim(low - 0.08 * span, high + 0.4 * span)
        row[0].set_ylabel(_STATE)
    figure.align_ylabels(list(grid[:, 0]))
    named["measured"] = Line2D([], [], color="0.3", linewidth=1.8)  # each row has its own colour
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _compare(reports: Sequence[CellReport], colors, part: str, label: str):
    """Draws all cells on one pair of axes, before and after training."""
    figure, pair = new_axes(2)
    for axes, when in zip(pair, ("before", "after"), strict=True):
        for report in reports:
            curve = getattr(getattr(report, when), part)
            lags = np.arange(1, len(curve.log_norms) + 1)
            middle = log10_of(np.median(curve.log_norms, axis=1))
            style = {"color": colors[report.name], "linewidth": 1.8, "label": report.name}
            axes.plot(lags, middle, marker=point_marker(lags), **style)
        axes.set_title(f"{when} training", fontsize=10)
        axes.set_xlabel("lag (steps)")
        power_axis(axes)
    low = min(axes.get_ylim()[0] for axes in pair)
    high = max(axes.get_ylim()[1] for axes in pair)
    for axes in pair:
        axes.set_ylim(low, high)
    pair[0].set_ylabel(label)
    pair[0].legend(frameon=False, fontsize=9)
    return figure


def draw_pictures(
    reports: Sequence[CellReport], *, baseline: float, clip_norm: float | None, loss_label: str
) -> dict[str, bytes]:
    """Draws the report's pictures.

    Args:
      reports: one a cell.
      baseline: the loss of a predictor without memory.
      clip_norm: the clipping threshold; None without one.
      loss_label: what the loss is, with its unit.

    Returns:
      From a file name to the contents of a PNG file, in the order in which they tell the story;
      those of gates only where a cell has some.
    """
    colors = cell_colors([report.name for report in reports])
    curves = {r.name: (r.metrics.loss, r.metrics.grad_norm) for r in reports}
    figure, _ = plot_training(
        curves, colors=colors, baseline=baseline, clip_norm=clip_norm, loss_label=loss_label
    )
    shown = {
        "comparison.png": _compare(reports, colors, "state", _STATE),
        "loss_gradient.png": _compare(reports, colors, "loss", _LOSS),
        "contributions.png": draw_contributions(reports, colors),
        "gates.png": draw_paths(reports),
        "lags.png": draw_lag_maps(reports),
        "spectrum.png": draw_exponents(reports, colors),
        "decay.png": _decay(reports, colors),
        "training.png": figure,
    }
    return {name: to_png(drawn) for name, drawn in shown.items() if drawn is not None}
