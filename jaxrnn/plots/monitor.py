"""What was watched during training."""

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.style import (
    add_legend,
    index_colors,
    mark_infinite,
    plain_grid,
    point_marker,
    whole_numbers,
)

__all__ = ["plot_monitor"]

# What the probe of `jaxrnn.train` calls things; other names label themselves.
_LABELS = {
    "loss": "loss",
    "exponents": "exponents\n(nats per step)",
    "decay_rate": "decay rate\n(nats per step)",
    "rate": "decay rate\n(nats per step)",
    "clip_fraction": "clipped steps\n(fraction)",
    "clipped": "clipped steps\n(fraction)",
    "grad_norm": "gradient norm",
    "horizon": "horizon (steps)",
}
_AROUND_ZERO = ("exponents", "decay_rate", "rate")


def plot_monitor(steps, metrics, *, labels=None, targets=None, axes=None):
    """Draws training metrics below each other over the optimiser step.

    Args:
      steps: ``(n,)``, at which step each was taken.
      metrics: dict from a name to ``(n,)`` or ``(n, k)``, such as "loss", "exponents",
        "decay_rate" (nats per step) and "clip_fraction"; a panel each, in order. NaN is left out,
        infinities are arrows at the edge.
      labels: dict from a name to its y label with the unit; known names have one.
      targets: dict from a name to a value or a pair ``(low, high)``, drawn as a band.
      axes: list of matplotlib axes, one a metric; new ones if not given.

    Returns:
      The figure and the list of axes; nothing is shown or saved.

    Raises:
      TypeError: complex numbers.
      ValueError: shapes that do not agree; no metrics; not one axes a metric; a target of no
        metric.

    Example:
      >>> import numpy as np
      >>> steps = np.arange(0, 100, 10)
      >>> metrics = {"loss": np.exp(-steps / 50), "exponents": -np.ones((10, 2))}
      >>> figure, panels = plot_monitor(steps, metrics, targets={"exponents": 0.0})
      >>> panels[-1].get_xlabel()
      'optimiser step'
    """
    from matplotlib.figure import Figure

    by = "plot_monitor"
    steps = real_array("steps", steps, (None,), by=by)
    curves = {}
    for name, values in metrics.items():
        shape = (len(steps), None) if np.ndim(values) == 2 else (len(steps),)
        array = real_array(f"metrics[{name!r}]", values, shape, by=by)
        curves[name] = array.reshape(len(steps), -1)
    if not curves:
        msg = f"{by}: got no metrics; expected one or more; pass a dict from a name to an array"
        raise ValueError(msg)
    strangers = sorted(set(targets or {}) - set(curves))
    if strangers:
        msg = (
            f"{by}: got a target of {strangers[0]!r}; expected one of {', '.join(curves)}; "
            "pass that metric too"
        )
        raise ValueError(msg)
    if axes is None:
        figure = Figure(figsize=(6.2, 1.55 * len(curves) + 0.5), layout="constrained")
        axes = list(figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0])
    if len(axes) != len(curves):
        msg = f"{by}: got {len(axes)} axes for {len(curves)} metrics; expected one each; pass more"
        raise ValueError(msg)
    figure = axes[0].figure
    labels = _LABELS | (labels or {})
    for one, (name, values) in zip(axes, curves.items(), strict=True):
        count = values.shape[1]
        colors = ["#0072B2"] if count == 1 else index_colors(count)
        if name in _AROUND_ZERO:
            one.axhline(0, color="0.35", linewidth=0.9)
        if name in (targets or {}):
            low, high = np.broadcast_to(np.asarray(targets[name], np.float64), (2,))
            one.axhspan(low, high, color="#009E73", alpha=0.2, linewidth=0, label="target")
            if low == high:  # a band without width is not seen
                one.axhline(low, color="#009E73", linewidth=1.3, linestyle="--", label="_")
        for index, color in enumerate(colors):
            shown = np.where(np.isfinite(values[:, index]), values[:, index], np.nan)
            named = count > 1 and (count <= 4 or index in (0, count - 1))
            label = f"$\\lambda_{{{index + 1}}}$" if named and name == "exponents" else "_"
            label = f"{index + 1}" if named and name != "exponents" else label
            style = {"linewidth": 1.5, "marker": point_marker(steps), "label": label}
            one.plot(steps, shown, color=color, **style)
            mark_infinite(one, steps, values[:, index], color=color, label="_")
        one.set_ylabel(labels.get(name, name))
        plain_grid(one)
        whole_numbers(one)
        add_legend(one, ncols=2, fontsize=8)
    axes[-1].set_xlabel("optimiser step")
    figure.align_ylabels(list(axes))
    return figure, axes
