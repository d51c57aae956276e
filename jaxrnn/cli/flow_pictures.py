"""The report's pictures of where, when and along which paths gradients flow."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxrnn.cli.measure import CellReport
from jaxrnn.plots import new_axes, plot_gate_anatomy, plot_lag_matrix, plot_spectrum
from jaxrnn.plots.heat import symmetric_limit
from jaxrnn.plots.style import add_legend, plain_grid, point_marker, whole_numbers

__all__ = ["draw_contributions", "draw_exponents", "draw_lag_maps", "draw_paths"]

_TIMES = ("before", "after")


def _measured(reports: Sequence[CellReport]) -> list[CellReport]:
    return [one for one in reports if one.before.flow is not None and one.after.flow is not None]


def _grid(rows: int, *, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, height * rows + 0.3), layout="constrained")
    return figure, figure.subplots(rows, 2, squeeze=False)


def draw_contributions(reports: Sequence[CellReport], colors: Mapping[str, str]):
    """Draws how much of the parameters' gradient comes from how many steps, for all cells.

    Args:
      reports: one a cell.
      colors: from a cell's name to its colour.

    Returns:
      The figure; None if nothing was measured.
    """
    reports = _measured(reports)
    if not reports:
        return None
    figure, pair = new_axes(2)
    for axes, when in zip(pair, _TIMES, strict=True):
        axes.axhline(90, color="0.35", linewidth=0.9, linestyle="--")
        for report in reports:
            found = getattr(report, when).flow.contributions
            steps = found.lags + 1
            style = {"color": colors[report.name], "linewidth": 1.8, "label": report.name}
            share = np.where(np.isfinite(found.cumulative), 100 * found.cumulative, np.nan)
            axes.plot(steps, share, marker=point_marker(steps), **style)
            if found.horizon <= len(steps):
                style = {"color": colors[report.name], "markersize": 6, "label": "_"}
                axes.plot(found.horizon, 100 * found.cumulative[found.horizon - 1], "o", **style)
        axes.set_title(f"{when} training", fontsize=10)
        axes.set_xlabel("number of last steps")
        plain_grid(axes)
        whole_numbers(axes)
    low = min(0, *(axes.get_ylim()[0] for axes in pair))
    high = max(105, *(axes.get_ylim()[1] for axes in pair))
    for axes in pair:
        axes.set_ylim(low, high)
    pair[0].set_ylabel("share of the gradient (%)")
    add_legend(pair[1], loc="lower right")
    return figure


def draw_paths(reports: Sequence[CellReport]):
    """Draws a row of panels a gated cell, after training: growth by path, and time constants.

    Args:
      reports: one a cell.

    Returns:
      The figure; None if no gate hands a state on.
    """
    reports = [one for one in _measured(reports) if one.after.flow.paths is not None]
    if not reports:
        return None
    figure, grid = _grid(len(reports), height=2.9)
    for pair, report in zip(grid, reports, strict=True):
        paths = report.after.flow.paths
        plot_gate_anatomy(
            paths.carry, paths.product, paths.time_constants, whole=paths.whole, axes=list(pair)
        )
        before = report.before.flow.paths
        if before is not None:
            kept = before.time_constants[(before.time_constants > 0)]
            kept = kept[np.isfinite(kept)]
            if len(kept):
                middle = np.median(kept)
                style = {"color": "0.5", "linewidth": 1.3, "linestyle": ":"}
                pair[1].axvline(middle, label=f"before training {middle:.3g}", **style)
                add_legend(pair[1])
        for axes in pair:
            axes.set_title(f"{report.name}, after training", fontsize=10)
    return figure


def draw_lag_maps(reports: Sequence[CellReport]):
    """Draws heat maps over time and lag, a row a cell, before and after, on one scale of colours.

    Args:
      reports: one a cell.

    Returns:
      The figure; None if nothing was measured.
    """
    reports = _measured(reports)
    if not reports:
        return None
    maps = [getattr(one, when).flow.lags for one in reports for when in _TIMES]
    values = np.concatenate([one.log_norms.ravel() for one in maps]) / np.log(10)
    limit = symmetric_limit(values)
    figure, grid = _grid(len(reports), height=2.7)
    for pair, report in zip(grid, reports, strict=True):
        for axes, when in zip(pair, _TIMES, strict=True):
            found = getattr(report, when).flow.lags
            plot_lag_matrix(found.times, found.lags, found.log_norms, limit=limit, axes=axes)
            axes.set_title(f"{report.name}, {when} training", fontsize=10)
            if report is not reports[-1]:
                axes.set_xlabel("")
    return figure


def draw_exponents(reports: Sequence[CellReport], colors: Mapping[str, str]):
    """Draws the leading Lyapunov exponents of all cells, before and after training.

    Args:
      reports: one a cell.
      colors: from a cell's name to its colour.

    Returns:
      The figure; None where no cell has exponents.
    """
    reports = [one for one in _measured(reports) if one.after.flow.exponents is not None]
    if not reports:
        return None
    figure, pair = new_axes(2)
    for axes, when in zip(pair, _TIMES, strict=True):
        for report in reports:
            found = getattr(report, when).flow.exponents
            spread = None
            if len(found) > 1 and np.isfinite(found).all():
                spread = found.std(axis=0, ddof=1) / len(found) ** 0.5
            with np.errstate(invalid="ignore"):
                mean = found.mean(axis=0)
            plot_spectrum(mean, spread, label=report.name, color=colors[report.name], axes=axes)
        axes.set_title(f"{when} training", fontsize=10)
    low = min(axes.get_ylim()[0] for axes in pair)
    high = max(axes.get_ylim()[1] for axes in pair)
    for axes in pair:
        axes.set_ylim(low, high)
    pair[1].set_ylabel("")
    if pair[1].get_legend():
        pair[1].get_legend().remove()
    return figure
