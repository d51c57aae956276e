"""Finite-time exponents: how much they differ between sequences."""

import math

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.histogram import bin_edges
from jaxrnn.plots.style import add_legend, index_colors, own_or_new, plain_grid

__all__ = ["plot_exponent_fluctuations"]


def plot_exponent_fluctuations(
    values,
    *,
    mean=None,
    stddev=None,
    bins: int | None = None,
    theory_label: str = "Gaussian of theory",
    axes=None,
):
    """Draws the distribution of finite-time exponents over sequences, one histogram an exponent.

    The legend gives the fraction of sequences in which an exponent is above zero, where it is
    neither none nor all: gradients explode in some sequences and vanish in others.

    Args:
      values: ``(num, k)`` in nats per step, one row a sequence or window; infinities are left out.
      mean: ``(k,)`` in nats per step, of the theory's Gaussian.
      stddev: ``(k,)`` in nats per step, of the theory's Gaussian.
      bins: their number, of each histogram.
      theory_label: the Gaussians' name in the legend.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree; one of mean and stddev without the other.

    Example:
      >>> import numpy as np
      >>> draws = 0.1 * np.random.default_rng(0).normal(size=(200, 2)) + [0.1, -0.6]
      >>> figure, axes = plot_exponent_fluctuations(draws, mean=[0.1, -0.6], stddev=[0.1, 0.1])
      >>> axes.get_xlabel()
      'finite-time exponent (nats per step)'
    """
    by = "plot_exponent_fluctuations"
    values = real_array("values", values, (None, None), by=by)
    count = values.shape[1]
    if (mean is None) != (stddev is None):
        got = "mean without stddev" if stddev is None else "stddev without mean"
        msg = f"{by}: got {got}; expected both or none; a Gaussian has both"
        raise ValueError(msg)
    if mean is not None:
        mean = real_array("mean", mean, (count,), by=by)
        stddev = real_array("stddev", stddev, (count,), by=by)
    figure, axes = own_or_new(axes, width=5.4)
    axes.axvline(0, color="0.35", linewidth=0.9)
    for index, color in enumerate(index_colors(count)):
        column = values[:, index]
        kept = column[np.isfinite(column)]
        if len(kept):
            edges = bin_edges(kept, bins)
            heights, _ = np.histogram(kept, edges, density=True)
            above = np.mean(kept > 0)
            name = f"$\\lambda_{{{index + 1}}}$"
            name += f" ({100 * above:.0f} % above 0)" if 0 < above < 1 else ""
            named = count <= 8 or index in (0, count - 1)
            style = {"fill": True, "alpha": 0.35, "label": name if named else "_"}
            axes.stairs(heights, edges, color=color, **style)
            axes.stairs(heights, edges, color=color, linewidth=1.0)
        if mean is not None and np.isfinite(mean[index]) and 0 < stddev[index] < math.inf:
            xs = mean[index] + stddev[index] * np.linspace(-4, 4, 201)
            ys = np.exp(-(((xs - mean[index]) / stddev[index]) ** 2) / 2)
            ys /= stddev[index] * math.sqrt(2 * math.pi)
            axes.plot(xs, ys, color="black", linewidth=1.1, label="_")
    if mean is not None:
        axes.plot([], [], color="black", linewidth=1.1, label=theory_label)
    axes.set_xlabel("finite-time exponent (nats per step)")
    axes.set_ylabel("density")
    axes.set_ylim(bottom=0)
    plain_grid(axes)
    add_legend(axes)
    return figure, axes
