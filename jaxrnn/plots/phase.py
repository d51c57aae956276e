"""Phase diagrams: a measurement over two parameters of an initialisation."""

import numpy as np

from jaxrnn.plots.arrays import real_array, real_pair
from jaxrnn.plots.heat import cell_edges, draw_heat, symmetric_limit
from jaxrnn.plots.style import add_legend, own_or_new

__all__ = ["plot_phase_diagram"]


def _finite_range(values) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def plot_phase_diagram(
    xs,
    ys,
    values,
    *,
    critical=None,
    critical_label: str = "critical line (theory)",
    points=None,
    levels=(),
    center: float | None = 0.0,
    x_label: str = r"$\sigma_w$",
    y_label: str = r"$\sigma_b$",
    label: str = r"$\lambda_1$ (nats per step)",
    axes=None,
):
    """Draws a measured quantity as colours over two parameters, with the critical line of theory.

    Args:
      xs: ``(nx,)``, increasing.
      ys: ``(ny,)``, increasing.
      values: ``(nx, ny)``, such as the leading exponent in nats per step. NaN is blank, ``-inf``
        dark.
      critical: pair ``(x, y)`` of arrays ``(n,)``, the line where theory puts the transition.
      critical_label: the line's name in the legend.
      points: dict from a name to ``(x, y)``, such as one's own initialisation.
      levels: values to draw as contours, with their numbers.
      center: the value in the middle of the diverging colours, whose limits are the larger of the
        1 and 99 % quantiles; None for colours in one direction from the least to the greatest.
      x_label: of the x axis, with its unit.
      y_label: of the y axis, with its unit.
      label: of the colours, with its unit.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree, positions that do not increase.

    Example:
      >>> import numpy as np
      >>> gains, biases = np.linspace(0.5, 2, 4), np.linspace(0, 1, 3)
      >>> growth = np.log(gains)[:, None] - biases
      >>> figure, axes = plot_phase_diagram(gains, biases, growth, points={"here": (1.0, 0.5)})
      >>> axes.get_legend_handles_labels()[1]
      ['here']
    """
    from matplotlib.patheffects import withStroke

    by = "plot_phase_diagram"
    xs = real_array("xs", xs, (None,), by=by)
    ys = real_array("ys", ys, (None,), by=by)
    values = real_array("values", values, (len(xs), len(ys)), by=by)
    line = None if critical is None else real_pair("critical", critical, by=by)
    named = {
        name: real_array(f"points[{name!r}]", place, (2,), by=by)
        for name, place in (points or {}).items()
    }
    x_edges, y_edges = cell_edges(xs, by=by), cell_edges(ys, by=by)
    if center is None:
        limits, colors = _finite_range(values), "viridis"
    else:
        limit = symmetric_limit(values, center)
        limits, colors = (center - limit, center + limit), "RdBu_r"
    figure, axes = own_or_new(axes, width=5.4, height=4.0)
    _, dead = draw_heat(
        axes, x_edges, y_edges, values, limits=limits, colors=colors, label=label,
        dead_label=r"$-\infty$",
    )  # fmt: skip
    halo = [withStroke(linewidth=3.6, foreground="white")]  # seen on every colour
    finite = np.where(np.isfinite(values), values, np.nan)
    low, high = _finite_range(values)
    crossed = sorted(level for level in levels if low < level < high)
    if crossed and min(values.shape) > 1:
        style = {"colors": "0.25", "linewidths": 0.9, "linestyles": "solid"}
        lines = axes.contour(xs, ys, finite.T, crossed, **style)
        axes.clabel(lines, fontsize=8, fmt=lambda level: f"{level:g}")
    if line is not None:
        style = {"color": "black", "linewidth": 1.8, "path_effects": halo}
        axes.plot(*line, label=critical_label, **style)
    for (name, place), marker in zip(named.items(), "*DosP^v" * len(named), strict=False):
        style = {"color": "#E69F00", "markeredgecolor": "black", "markersize": 9, "zorder": 4}
        axes.plot(
            *place, marker, label=name, **style | ({"markersize": 15} if marker == "*" else {})
        )
    # Lines and points beyond the map do not make it smaller.
    axes.set_xlim(x_edges[0], x_edges[-1])
    axes.set_ylim(y_edges[0], y_edges[-1])
    handles = [*axes.get_legend_handles_labels()[0], *dead]
    if handles:
        add_legend(axes, handles=handles)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes
