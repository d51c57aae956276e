"""Lyapunov spectra."""

import numpy as np

from jaxrnn.core.checks import check_size
from jaxrnn.plots.arrays import real_array, real_pair
from jaxrnn.plots.style import add_legend, mark_infinite, own_or_new, plain_grid, whole_numbers

__all__ = ["plot_spectrum"]


def plot_spectrum(
    exponents,
    stderr=None,
    *,
    size: int | None = None,
    kaplan_yorke_dimension: float | None = None,
    reliable=None,
    theory=None,
    theory_label: str = "theory",
    label: str = "measured",
    color: str = "#0072B2",
    axes=None,
):
    """Draws Lyapunov exponents against their index, with errors and the Kaplan-Yorke dimension.

    Exponents of ``-inf`` (directions that die exactly) are arrows at the lower edge; NaN is left
    out. Call it again on the same axes to compare spectra, of several sizes against i / D say.

    Args:
      exponents: ``(k,)`` in nats per step, greatest first.
      stderr: ``(k,)`` in nats per step, drawn as a band of one standard error on each side.
      size: the state's size D; draws against i / D instead of i.
      kaplan_yorke_dimension: a number from 0 to D, drawn as a line at that index.
      reliable: bool ``(k,)``; exponents that the dtype does not support are hollow.
      theory: pair ``(x, y)`` of arrays ``(n,)``, x as on the x axis and y in nats per step.
      theory_label: that curve's name in the legend.
      label: the spectrum's name in the legend.
      color: of the spectrum.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers; a size that is no integer.
      ValueError: shapes that do not agree; a size below k.

    Example:
      >>> import numpy as np
      >>> exponents = np.log(1.5) + 0.5 * np.log(1 - np.arange(8) / 8)
      >>> figure, axes = plot_spectrum(exponents, size=8, kaplan_yorke_dimension=6.2)
      >>> axes.get_ylabel()
      'Lyapunov exponent (nats per step)'
    """
    by = "plot_spectrum"
    values = real_array("exponents", exponents, (None,), by=by)
    count = len(values)
    errors = None if stderr is None else real_array("stderr", stderr, (count,), by=by)
    trusted = np.ones(count, bool)
    if reliable is not None:
        trusted = real_array("reliable", reliable, (count,), by=by) != 0
    if size is not None and check_size("size", size, by=by) < count:
        msg = f"{by}: got size={size} for {count} exponents; expected at least {count}; pass D"
        raise ValueError(msg)
    curve = None if theory is None else real_pair("theory", theory, by=by)
    figure, axes = own_or_new(axes)
    scale = 1 if size is None else size
    index = np.arange(1, count + 1) / scale
    finite = np.isfinite(values)
    if not axes.lines:
        axes.axhline(0, color="0.35", linewidth=0.9)
    if errors is not None:
        known = finite & np.isfinite(errors)
        low, high = (values - errors)[known], (values + errors)[known]
        axes.fill_between(index[known], low, high, color=color, alpha=0.25, linewidth=0)
        if known.sum() == 1:  # a band needs two
            axes.vlines(index[known], low, high, color=color, alpha=0.5)
    few = count <= 60
    dots = {"color": color, "markersize": 4.5 if few else 3, "linestyle": ""}
    axes.plot(
        index[finite & trusted],
        values[finite & trusted],
        marker="o",
        label=label,
        **dots | ({"linestyle": "-", "linewidth": 0.9} if few else {}),
    )
    hollow = finite & ~trusted
    if hollow.any():
        axes.plot(
            index[hollow], values[hollow], marker="o", markerfacecolor="white",
            label="not reliable", **dots,
        )  # fmt: skip
    if curve is not None:
        axes.plot(*curve, color="black", linewidth=1.2, linestyle="--", label=theory_label)
    if kaplan_yorke_dimension is not None and np.isfinite(kaplan_yorke_dimension):
        place = kaplan_yorke_dimension / scale
        name = "D_\\mathrm{KY}" + ("" if size is None else " / D")
        name = f"${name} = {place:.3g}$"
        axes.axvline(place, color=color, linewidth=1.1, linestyle=":", label=name)
    mark_infinite(axes, index, values, color=color)
    if size is None:
        axes.set_xlabel("index i")
        whole_numbers(axes)
    else:
        axes.set_xlabel("index i / D")
    axes.set_ylabel("Lyapunov exponent (nats per step)")
    plain_grid(axes)
    add_legend(axes)
    return figure, axes
