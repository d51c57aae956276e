"""Heat maps over two axes of unequal steps."""

import numpy as np

from jaxrnn.plots.style import power_label, power_locator

__all__ = ["cell_edges", "draw_heat", "symmetric_limit"]

_DEAD = "0.25"
_BLANK = "0.94"  # not white, which is the middle of the diverging colours


def cell_edges(centres, *, scale: str = "linear", by: str) -> np.ndarray:
    """Returns the borders between cells, half way between their centres.

    Args:
      centres: ``(n,)``, increasing.
      scale: "linear", or "log" for half way between the logarithms.
      by: the function the user called, for the message.

    Returns:
      ``(n + 1,)``.

    Raises:
      ValueError: no centres, centres that do not increase, or none above zero on a log scale.

    Example:
      >>> cell_edges([1, 2, 4], by="example")
      array([0.5, 1.5, 3. , 5. ])
    """
    centres = np.asarray(centres, np.float64)
    log = scale == "log"
    if not len(centres) or not (np.diff(centres) > 0).all() or (log and centres[0] <= 0):
        above = " above zero" if log else ""
        msg = (
            f"{by}: got the {len(centres)} positions {np.array2string(centres, threshold=5)}; "
            f"expected increasing numbers{above}; sort them and leave out the others"
        )
        raise ValueError(msg)
    if log:
        centres = np.log(centres)
    if len(centres) == 1:
        edges = centres[0] + np.array([-0.5, 0.5])
    else:
        half = np.diff(centres) / 2
        edges = np.concatenate(
            [centres[:1] - half[:1], centres[1:] - half, centres[-1:] + half[-1:]]
        )
    return np.exp(edges) if log else edges


def symmetric_limit(values, center: float = 0.0) -> float:
    """Returns how far colours reach on each side: the 1 and 99 % quantiles of the finite values."""
    values = np.asarray(values)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 1.0
    return float(np.abs(np.quantile(finite, [0.01, 0.99]) - center).max()) or 1.0


def draw_heat(
    axes,
    x_edges,
    y_edges,
    values,
    *,
    limits: tuple[float, float],
    colors: str,
    label: str,
    powers: bool = False,
    dead_label: str = "exactly zero",
):
    """Draws cells in colour with a colour bar; NaN is blank, minus infinity dark.

    Args:
      axes: matplotlib axes.
      x_edges: ``(nx + 1,)``.
      y_edges: ``(ny + 1,)``.
      values: ``(nx, ny)``.
      limits: the values at the ends of the colours.
      colors: name of a colour map of matplotlib.
      label: of the colour bar.
      powers: the values are log10; their ticks are powers of ten.
      dead_label: what minus infinity means, for the legend.

    Returns:
      The colour bar, and a list of what the legend is to name: a patch for minus infinity, if any.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter

    low, high = limits
    axes.set_facecolor(_BLANK)
    dead = np.isneginf(values)
    # A mesh takes no infinities: one above every colour is drawn in the last of them.
    shown = np.ma.masked_where(dead | np.isnan(values), np.minimum(values, np.finfo(float).max))
    shown = np.ma.masked_where(
        np.ma.getmaskarray(shown), np.where(np.isposinf(values), high, shown)
    )
    mesh = axes.pcolormesh(
        x_edges, y_edges, shown.T, cmap=colormaps[colors], vmin=low, vmax=high, rasterized=True
    )
    if dead.any():
        ones = np.ma.masked_where(~dead, np.ones(values.shape))
        grey = ListedColormap([_DEAD])
        axes.pcolormesh(x_edges, y_edges, ones.T, cmap=grey, rasterized=True)
    finite = values[np.isfinite(values)]
    below, above = (finite < low).any(), (finite > high).any()
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    bar = axes.figure.colorbar(mesh, ax=axes, extend=extend, label=label)
    bar.outline.set_visible(False)
    if powers:
        bar.ax.yaxis.set_major_locator(power_locator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(power_label))
    return bar, [Patch(color=_DEAD, label=dead_label)] if dead.any() else []
