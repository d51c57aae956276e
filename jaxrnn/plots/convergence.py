"""Running estimates: whether a measurement has converged."""

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.style import (
    add_legend,
    index_colors,
    own_or_new,
    plain_grid,
    point_marker,
    step_scale,
)

__all__ = ["plot_convergence"]


def _settled(values) -> tuple[float, float] | None:
    """Returns limits that show the last half of all curves, and what of the start is near."""
    late = values[len(values) // 2 :]
    late = late[np.isfinite(late)]
    if not len(late):
        return None
    low, high = late.min(), late.max()
    margin = 0.35 * max(high - low, 0.1 * max(abs(low), abs(high)), 1e-3)
    return low - margin, high + margin


def plot_convergence(
    history,
    *,
    steps=None,
    stderr=None,
    burn_in: float = 0,
    theory=(),
    theory_label: str = "theory",
    label: str = "running exponent (nats per step)",
    axes=None,
):
    """Draws the running estimate of each exponent against the number of steps.

    A curve that still moves at its end, or more than its error, has not converged. The y axis shows
    what the last half of the curves needs; the start may leave it.

    Args:
      history: ``(n, k)`` in nats per step, the estimates after so many steps; infinities are left
        out.
      steps: ``(n,)``, increasing; 1 to n if not given.
      stderr: ``(k,)`` or ``(n, k)`` in nats per step; a band of one standard error on each side, at
        the end or at all steps. The former is drawn as it grows backwards, with 1 / sqrt(steps).
      burn_in: steps that were left out or should be, shaded.
      theory: values in nats per step to draw as lines.
      theory_label: the lines' name in the legend.
      label: of the y axis.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree.

    Example:
      >>> import numpy as np
      >>> steps = np.arange(1, 101)
      >>> history = np.array([0.3, -0.2]) + 1 / steps[:, None]
      >>> figure, axes = plot_convergence(history, burn_in=10, theory=[0.3, -0.2])
      >>> axes.get_xscale()
      'log'
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    by = "plot_convergence"
    values = real_array("history", history, (None, None), by=by)
    num, count = values.shape
    steps = np.arange(1, num + 1) if steps is None else steps
    steps = real_array("steps", steps, (num,), by=by)
    values, steps = values[steps > 0], steps[steps > 0]  # nothing is estimated from no step
    figure, axes = own_or_new(axes, width=5.2)
    colors = index_colors(count)
    bands = None
    if stderr is not None and np.ndim(stderr) == 1:
        last = real_array("stderr", stderr, (count,), by=by)
        bands = last * np.sqrt(steps[-1:] / steps)[:, None] if len(steps) else None
    elif stderr is not None:
        bands = real_array("stderr", stderr, (num, count), by=by)[num - len(steps) :]
    few = count <= 8
    for index in range(count):
        curve, color = np.where(np.isfinite(values), values, np.nan)[:, index], colors[index]
        if bands is not None:
            low, high = curve - bands[:, index], curve + bands[:, index]
            axes.fill_between(steps, low, high, color=color, alpha=0.2 if few else 0.1, linewidth=0)
        name = f"$\\lambda_{{{index + 1}}}$" if few else "_"
        style = {"linewidth": 1.5 if few else 1.0, "label": name, "marker": point_marker(curve)}
        axes.plot(steps, curve, color=color, **style)
    for place, value in enumerate(v for v in np.ravel(theory) if np.isfinite(v)):
        name = theory_label if place == 0 else "_"
        axes.axhline(value, color="black", linewidth=0.9, linestyle=":", label=name)
    if len(steps):
        axes.set_xlim(steps[0], max(steps[-1], steps[0] * 1.01))
    limits = _settled(
        np.concatenate(
            [values, np.broadcast_to(np.ravel(theory), (len(values), np.size(theory)))], axis=1
        )
    )
    if limits is not None:
        axes.set_ylim(limits)
    step_scale(axes, "log")
    if burn_in > 0:
        low = axes.get_xlim()[0]
        axes.axvspan(low, max(burn_in, low), color="0.9", linewidth=0, zorder=0, label="burn-in")
        axes.set_xlim(left=low)
    axes.set_xlabel("steps")
    axes.set_ylabel(label)
    plain_grid(axes)
    outside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
    if few:
        add_legend(axes, **outside)
    else:
        shades = ScalarMappable(Normalize(0.5, count + 0.5), ListedColormap(colors))
        bar = axes.figure.colorbar(shades, ax=axes, label="index i")
        bar.outline.set_visible(False)
        add_legend(axes)
    return figure, axes
