"""Colours and axes that the plots share."""

import math

import numpy as np

__all__ = [
    "add_legend",
    "cell_colors",
    "index_colors",
    "legend_above",
    "log10_of",
    "mark_infinite",
    "new_axes",
    "own_or_new",
    "plain_grid",
    "point_marker",
    "power_axis",
    "power_label",
    "power_locator",
    "step_scale",
    "whole_numbers",
]

# Okabe and Ito's palette, told apart by colour-blind readers too.
_PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def cell_colors(names) -> dict[str, str]:
    """Returns one colour for each name, in order; after seven they repeat."""
    return {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(names)}


def index_colors(count: int) -> list:
    """Returns `count` colours from dark to light, for curves that have an order."""
    from matplotlib import colormaps

    # The palest end of the map is not seen on white.
    return list(colormaps["viridis"](np.linspace(0, 0.85, count)))


def new_axes(columns: int = 1, *, height: float = 3.6, width: float = 4.8):
    """Makes a figure with a row of axes, without touching any global state of matplotlib.

    Args:
      columns: number of axes side by side.
      height: of one axes, in inches.
      width: of one axes, in inches.

    Returns:
      The figure and the list of its axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def own_or_new(axes, *, height: float = 3.6, width: float = 4.8):
    """Returns the figure and the axes that were given, or new ones of this size."""
    if axes is not None:
        return axes.figure, axes
    figure, (axes,) = new_axes(height=height, width=width)
    return figure, axes


def log10_of(log_norms) -> np.ndarray:
    """Turns nats into powers of ten, and infinities into NaN, which a plot leaves out."""
    values = np.asarray(log_norms, np.float64) / math.log(10)
    return np.where(np.isfinite(values), values, np.nan)


def point_marker(values) -> str | None:
    """Returns a marker for a curve of one point, which a line alone would not show."""
    return "o" if len(values) == 1 else None


def whole_numbers(axes) -> None:
    """Puts the ticks of the x axis, which counts steps, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def step_scale(axes, scale: str, *, axis: str = "x") -> None:
    """Sets the scale of an axis that counts steps, with ticks in plain numbers.

    Args:
      axes: matplotlib axes.
      scale: "linear" or "log".
      axis: "x" or "y".
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    getattr(axes, f"set_{axis}scale")(scale)
    ticks = getattr(axes, f"{axis}axis")
    if scale == "log":
        low, high = sorted(getattr(axes, f"get_{axis}lim")())
        few = high < 100 * max(low, 1e-300)  # two decades hold too few powers of ten for a scale
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter(NullFormatter())
    else:
        ticks.set_major_locator(MaxNLocator(integer=True))


def power_label(value, _=None) -> str:
    """Writes a log10 value as a power of ten; for ticks."""
    whole = abs(value - round(value)) < 1e-6
    return f"$10^{{{round(value)}}}$" if whole else f"{10**value:.3g}"


def power_locator(bins: int = 6):
    """Returns a locator that puts ticks at whole powers, unless there are too few."""
    from matplotlib.ticker import MaxNLocator

    class PowerLocator(MaxNLocator):
        def tick_values(self, vmin, vmax):
            self.set_params(integer=vmax - vmin >= 2)
            return super().tick_values(vmin, vmax)

    return PowerLocator(nbins=bins)


def plain_grid(axes) -> None:
    """Gives the axes a light grid behind the data, and no box."""
    axes.grid(visible=True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def power_axis(axes) -> None:
    """Labels the y axis, which holds log10 values, with powers of ten.

    The values stay logarithms, since a gradient's norm can leave the range of float64.
    """
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_locator(power_locator())
    axes.yaxis.set_major_formatter(FuncFormatter(power_label))
    whole_numbers(axes)
    plain_grid(axes)


def add_legend(axes, **options) -> None:
    """Adds a legend where there is something to name; options as of matplotlib."""
    if "handles" in options or axes.get_legend_handles_labels()[0]:
        style = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "fontsize": 9}
        axes.legend(**style | options)


def legend_above(axes, columns: int = 4, **options) -> None:
    """Adds a legend above the axes, where it hides nothing of a picture that is full."""
    names = len(axes.get_legend_handles_labels()[0])
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False}
    place |= {"ncols": min(names, columns) or 1, "columnspacing": 1.2}
    add_legend(axes, **place | options)


def mark_infinite(axes, positions, values, *, color, label: str = r"$-\infty$") -> None:
    """Marks the places of infinite values with arrows at the lower and the upper edge.

    Args:
      axes: matplotlib axes.
      positions: ``(n,)``, where on the x axis.
      values: ``(n,)``; the finite ones and NaN are left out.
      color: of the arrows.
      label: what an arrow down says in the legend.
    """
    positions, values = np.asarray(positions), np.asarray(values)
    across = axes.get_xaxis_transform()  # x in data, y from 0 to 1 over the axes
    for sign, marker, height, name in ((-1, "v", 0.03, label), (1, "^", 0.97, r"$+\infty$")):
        places = positions[np.isinf(values) & (np.sign(values) == sign)]
        if len(places):
            axes.plot(
                places,
                np.full(len(places), height),
                marker,
                color=color,
                markersize=5,
                transform=across,
                clip_on=False,
                label=name,
            )
