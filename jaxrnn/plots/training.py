"""Curves of a training run."""

import numpy as np

from jaxrnn.plots.style import new_axes, point_marker, whole_numbers

__all__ = ["plot_training"]


def _smooth(values, window: int) -> np.ndarray:
    """Averages over a centred window that shrinks at the ends; non-finite entries are left out."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    kernel = np.ones(window)
    total = np.convolve(np.where(finite, values, 0), kernel, mode="same")
    count = np.convolve(finite.astype(float), kernel, mode="same")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def plot_training(
    curves,
    *,
    colors=None,
    baseline: float | None = None,
    clip_norm: float | None = None,
    loss_label: str = "loss",
    axes=None,
):
    """Draws loss and gradient norm against the training step, one line a network.

    Args:
      curves: dict from a name to ``(loss, grad_norm)``, each ``(steps,)``; drawn as running means
        over 2 % of the steps, the norm's geometric.
      colors: dict from a name to a colour.
      baseline: a loss to draw as a line.
      clip_norm: the clipping threshold, drawn as a line.
      loss_label: what the loss is, with its unit.
      axes: a pair of matplotlib axes; new ones if not given.

    Returns:
      The figure and the pair of axes; nothing is shown or saved.

    Example:
      >>> import numpy as np
      >>> figure, (left, right) = plot_training({"lstm": (np.ones(9), np.ones(9))})
      >>> right.get_xlabel()
      'training step'
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axes is None:
        figure, axes = new_axes(2)
    else:
        figure = axes[0].figure
    left, right = axes
    for name, (loss, grad_norm) in curves.items():
        color = None if colors is None else colors[name]
        steps = np.arange(1, len(loss) + 1)
        window = max(1, len(loss) // 50)
        style = {"color": color, "linewidth": 1.6, "label": name, "marker": point_marker(steps)}
        left.plot(steps, _smooth(loss, window), **style)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.asarray(grad_norm, np.float64))
        norms = np.exp(_smooth(logs, window))
        right.plot(steps, norms, **style)
    if baseline is not None:
        left.axhline(baseline, color="0.45", linestyle=":", linewidth=1.3, label="baseline")
    if clip_norm is not None:
        right.axhline(clip_norm, color="0.45", linestyle=":", linewidth=1.3, label="clipped above")
    left.set_ylabel(loss_label)
    right.set_ylabel("gradient norm before clipping")
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    for one in axes:
        one.set_xlabel("training step")
        one.grid(visible=True, color="0.92", linewidth=0.8)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
        whole_numbers(one)
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return figure, axes
