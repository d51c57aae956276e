"""Why gates help: growth along the two paths through a step, and time constants."""

import math

import numpy as np

from jaxrnn.core.checks import check_size
from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.histogram import bin_edges
from jaxrnn.plots.style import (
    add_legend,
    new_axes,
    plain_grid,
    point_marker,
    step_scale,
    whole_numbers,
)

__all__ = ["plot_gate_anatomy"]

_CARRY, _PRODUCT, _WHOLE = "#0072B2", "#D55E00", "#000000"


def _path(axes, steps, values, *, color, label, line="-"):
    """Draws a path's growth: median and the band from 10 to 90 % over sequences."""
    values = np.where(np.isfinite(values), values, np.nan).reshape(len(steps), -1)
    alive = np.isfinite(values).any(axis=1)
    low, middle, high = np.full((3, len(steps)), np.nan)
    if alive.any():
        low[alive], middle[alive], high[alive] = np.nanquantile(
            values[alive], [0.1, 0.5, 0.9], axis=1
        )
    if values.shape[1] > 1:
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    style = {"linewidth": 1.6, "linestyle": line, "marker": point_marker(steps)}
    axes.plot(steps, middle, color=color, label=label, **style)


def _growth(name, values, num, by):
    array = np.asarray(values)
    shape = (num, None) if array.ndim == 2 else (num,)
    return real_array(name, array, shape, by=by)


def plot_gate_anatomy(
    carry,
    product,
    time_constants,
    *,
    whole=None,
    size: int | None = None,
    steps=None,
    carry_label: str = "carry path",
    product_label: str = "gate path",
    axes=None,
):
    """Draws the log growth along the carry path and the gate path, and the time constants.

    Left, each step's log norm of the part of the step Jacobian that runs through the carry (diag(f)
    of an LSTM, diag(z) of a GRU) and of the part through the gates and the candidate: a gradient
    that survives does so on the path nearer zero. Right, the histogram of ``-1 / log f`` over
    units and steps.

    Args:
      carry: ``(T,)`` or ``(T, sequences)`` in nats per step; infinities are left out.
      product: ``(T,)`` or ``(T, sequences)`` in nats per step, of what passes through the gates and
        the candidate, that is the recurrent product.
      time_constants: in steps, of any shape. Infinite ones (all is carried), zero (nothing is)
        and negative ones (the carry grows) have no place on the logarithmic axis and are counted
        in the legend; NaN is left out.
      whole: ``(T,)`` or ``(T, sequences)`` in nats per step, of the whole step Jacobian.
      size: the state's size D, if these are Frobenius norms: divides them by sqrt(D), which puts
        the identity at zero.
      steps: ``(T,)``; 1 to T if not given.
      carry_label: its name in the legend.
      product_label: its name in the legend.
      axes: a pair of matplotlib axes; new ones if not given.

    Returns:
      The figure and the pair of axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers; a size that is no integer.
      ValueError: shapes that do not agree.

    Example:
      >>> import numpy as np
      >>> gate = np.linspace(0.5, 0.99, 20)
      >>> figure, (left, right) = plot_gate_anatomy(
      ...     np.log(gate), np.full(20, -1.5), -1 / np.log(gate)
      ... )
      >>> left.get_ylabel(), right.get_xlabel()
      ('log growth (nats per step)', 'time constant (steps)')
    """
    by = "plot_gate_anatomy"
    num = len(np.asarray(carry))
    paths = [
        ("carry", carry, _CARRY, carry_label, "-"),
        ("product", product, _PRODUCT, product_label, "-"),
    ]
    if whole is not None:
        paths.append(("whole", whole, _WHOLE, "whole step", "--"))
    unit = 0.0 if size is None else math.log(check_size("size", size, by=by)) / 2
    paths = [(_growth(name, values, num, by) - unit, *look) for name, values, *look in paths]
    steps = real_array("steps", np.arange(1, num + 1) if steps is None else steps, (num,), by=by)
    times = real_array("time_constants", np.ravel(np.asarray(time_constants)), (None,), by=by)
    if axes is None:
        figure, axes = new_axes(2)
    else:
        figure = axes[0].figure
    left, right = axes
    left.axhline(0, color="0.35", linewidth=0.9)
    for values, color, label, line in paths:
        _path(left, steps, values, color=color, label=label, line=line)
    left.set_xlabel("time t (steps)")
    left.set_ylabel("log growth (nats per step)")
    whole_numbers(left)
    times = times[~np.isnan(times)]
    kept = times[(times > 0) & np.isfinite(times)]
    edges = bin_edges(np.log10(kept))
    counts = np.histogram(np.log10(kept), edges)[0] / max(len(times), 1)
    right.stairs(100 * counts, 10**edges, fill=True, color=_CARRY, alpha=0.6)
    step_scale(right, "log")
    right.set_ylim(bottom=0)
    if len(kept):
        middle = np.median(kept)
        name = f"median {middle:.3g} steps"
        right.axvline(middle, color="black", linewidth=1.1, linestyle="--", label=name)
    beside = (("infinite", np.isposinf(times)), ("zero", times == 0), ("growing", times < 0))
    for name, chosen in beside:
        if chosen.any():
            right.plot([], [], " ", label=f"{100 * chosen.mean():.3g} % {name}")
    right.set_xlabel("time constant (steps)")
    right.set_ylabel("units and steps (%)")
    for one in axes:
        plain_grid(one)
        add_legend(one)
    return figure, axes
