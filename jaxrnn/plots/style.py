"""Colours and axes that the plots share."""

import math

import numpy as np

__all__ = [
    "cell_colors",
    "log10_of",
    "new_axes",
    "point_marker",
    "power_axis",
    "whole_numbers",
]

# Okabe and Ito's palette, told apart by colour-blind readers too.
_PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def cell_colors(names) -> dict[str, str]:
    """Returns one colour for each name, in order; after seven they repeat."""
    return {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(names)}


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

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def power_axis(axes) -> None:
    """Labels the y axis, which holds log10 values, with powers of ten.

    The values stay logarithms, since a gradient's norm can leave the range of float64.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def label(value, _):
        whole = abs(value - round(value)) < 1e-6
        return f"$10^{{{round(value)}}}$" if whole else f"{10**value:.3g}"

    class PowerLocator(MaxNLocator):
        def tick_values(self, vmin, vmax):
            self.set_params(integer=vmax - vmin >= 2)  # whole powers, unless there are too few
            return super().tick_values(vmin, vmax)

    axes.yaxis.set_major_locator(PowerLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(label))
    whole_numbers(axes)
    axes.grid(visible=True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
