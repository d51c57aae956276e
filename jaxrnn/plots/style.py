"""Colours and axes that the plots share."""

import math

import numpy as np

__all__ = ["cell_colors", "log10_of", "new_axes", "power_axis"]

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


def power_axis(axes) -> None:
    """Labels the y axis, which holds log10 values, with powers of ten.

    The values stay logarithms, since a gradient's norm can leave the range of float64.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$"))
    axes.grid(visible=True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
