"""Eigenvalues in the complex plane."""

import numpy as np

from jaxrnn.plots.style import index_colors, legend_above, own_or_new, plain_grid

__all__ = ["plot_eigenvalues"]


def plot_eigenvalues(
    eigenvalues,
    *,
    radius: float | None = None,
    radius_label: str = "theory",
    color="#0072B2",
    color_label: str = "",
    label: str = "eigenvalues",
    axes=None,
):
    """Draws eigenvalues in the complex plane with the unit circle.

    Args:
      eigenvalues: complex or real, of any shape; those that are not finite are left out.
      radius: of a second circle, such as g sqrt(E phi'^2) for a random network.
      radius_label: that circle's name in the legend.
      color: a colour, or numbers whose shape broadcasts to that of the eigenvalues (times ``(T,
        1)``, or a gate's mean), shown by a colour bar.
      color_label: what the numbers are, with their unit.
      label: the eigenvalues' name in the legend.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      ValueError: colours that do not broadcast; a negative radius.

    Example:
      >>> import numpy as np
      >>> figure, axes = plot_eigenvalues(0.9 * np.exp(1j * np.arange(5)), radius=0.9)
      >>> axes.get_xlabel(), axes.get_ylabel()
      ('real part', 'imaginary part')
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import MaxNLocator

    by = "plot_eigenvalues"
    values = np.asarray(eigenvalues).astype(np.complex128)
    if radius is not None and not 0 <= radius < np.inf:
        msg = f"{by}: got radius={radius}; expected a number not below zero; pass a modulus"
        raise ValueError(msg)
    numbers = None
    if not isinstance(color, str):
        try:
            numbers = np.broadcast_to(np.asarray(color, np.float64), values.shape)
        except ValueError:
            msg = (
                f"{by}: got color of shape {np.shape(color)} for eigenvalues of shape "
                f"{values.shape}; expected a shape that broadcasts; add axes of size 1"
            )
            raise ValueError(msg) from None
    figure, axes = own_or_new(axes, width=4.8 if numbers is None else 5.4, height=4.6)
    finite = np.isfinite(values)
    kept = values[finite]
    size = float(np.clip(300 / max(len(kept), 1) ** 0.5, 4, 30))
    style = {"s": size, "linewidths": 0, "alpha": 0.7, "rasterized": len(kept) > 2000, "zorder": 3}
    if numbers is None:
        axes.scatter(kept.real, kept.imag, color=color, label=label, **style)
    else:
        cloud = axes.scatter(
            kept.real,
            kept.imag,
            c=numbers[finite],
            cmap=ListedColormap(index_colors(256)),
            label="_",
            **style,
        )
        bar = axes.figure.colorbar(cloud, ax=axes, label=color_label, shrink=0.8)
        bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
    turn = np.exp(2j * np.pi * np.linspace(0, 1, 361))
    axes.plot(turn.real, turn.imag, color="0.35", linewidth=1.1, label="unit circle")
    if radius is not None:
        circle = radius * turn
        name = f"{radius_label}, radius {radius:.3g}"
        axes.plot(
            circle.real, circle.imag, color="#D55E00", linewidth=1.3, linestyle="--", label=name
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=(1, 2, 5, 10)))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("real part")
    axes.set_ylabel("imaginary part")
    plain_grid(axes)
    legend_above(axes)
    return figure, axes
