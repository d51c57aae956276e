"""Fixed points among the trajectories of a network."""

import numpy as np

from jaxrnn.plots.arrays import real_array
from jaxrnn.plots.style import legend_above, own_or_new, plain_grid

__all__ = ["plot_fixed_points", "principal_axes"]

_STABLE, _UNSTABLE = "#0072B2", "#D55E00"


def principal_axes(states) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the two directions along which states vary most.

    Args:
      states: ``(n, D)``, finite.

    Returns:
      The mean ``(D,)``, the directions ``(2, D)`` as unit rows (zeros where there are fewer), and
      the share of the variance of each ``(2,)``. A direction's largest entry is positive.

    Example:
      >>> import numpy as np
      >>> principal_axes(np.array([[0.0, -1.0], [0.0, 3.0]]))[1][0]
      array([0., 1.])
    """
    states = np.asarray(states, np.float64)
    size = states.shape[1]
    rows, shares = np.zeros((2, size)), np.zeros(2)
    if not len(states):
        return np.zeros(size), rows, shares
    mean = states.mean(axis=0)
    _, values, directions = np.linalg.svd(states - mean, full_matrices=False)
    count = min(2, len(values))
    rows[:count] = directions[:count]
    total = (values**2).sum()
    shares[:count] = values[:count] ** 2 / total if total > 0 else 0
    # The sign of a singular vector is arbitrary: pictures of equal data are to be equal.
    largest = np.abs(rows).argmax(axis=1)
    rows *= np.where(rows[np.arange(2), largest] < 0, -1, 1)[:, None]
    return mean, rows + 0.0, shares


def _finite(values) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def plot_fixed_points(trajectories, points, stable, *, modes=None, axes=None):
    """Draws fixed points on the first two principal components of the trajectories.

    Stable points are filled, unstable ones open. A point's unstable modes are segments through it,
    projected from unit vectors: a short one leaves the plane.

    Args:
      trajectories: states ``(T, D)`` or ``(num, T, D)``; steps that are not finite are left out.
      points: ``(n, D)``; those that are not finite are left out.
      stable: bool ``(n,)``.
      modes: ``(n, m, D)``, directions of growth, real or complex (a complex one spans a plane: two
        segments); rows of NaN or zeros are left out. Of eigenvectors in columns, ``right`` of shape
        ``(n, D, D)``, these are the unstable ones:
        ``np.where(abs(eigenvalues)[..., None] > 1, right.swapaxes(1, 2), np.nan)``.
      axes: matplotlib axes to draw on; new ones if not given.

    Returns:
      The figure and the axes; nothing is shown or saved.

    Raises:
      TypeError: complex states.
      ValueError: shapes that do not agree.

    Example:
      >>> import numpy as np
      >>> turn = np.linspace(0, 6, 50)
      >>> path = np.stack([np.cos(turn), 0.5 * np.sin(turn), 0 * turn], axis=1)
      >>> figure, axes = plot_fixed_points(path, np.zeros((1, 3)), [False])
      >>> axes.get_legend_handles_labels()[1]
      ['trajectories', 'unstable']
    """
    by = "plot_fixed_points"
    shape = (None,) * (3 if np.ndim(trajectories) == 3 else 2)
    paths = real_array("trajectories", trajectories, shape, by=by)
    paths = paths if paths.ndim == 3 else paths[None]
    size = paths.shape[-1]
    points = _finite(real_array("points", points, (None, size), by=by))
    stable = real_array("stable", stable, (len(points),), by=by) != 0
    directions = np.zeros((len(points), 0, size))
    if modes is not None:
        given = np.asarray(modes)
        parts = [given.real, given.imag] if np.iscomplexobj(given) else [given]
        parts = [real_array("modes", part, (len(points), None, size), by=by) for part in parts]
        # One length for both parts: of a real mode in complex numbers the imaginary part is
        # rounding, and stays as short.
        length = np.sqrt(sum(_finite(part) ** 2 for part in parts).sum(axis=2, keepdims=True))
        scaled = [_finite(part) / np.where(length > 0, length, 1) for part in parts]
        directions = np.concatenate(scaled, axis=1)
    known = np.isfinite(paths).all(axis=-1)
    mean, rows, shares = principal_axes(paths[known])
    if not known.any() and len(points):
        there = points[np.isfinite(points).all(axis=1)]
        mean, rows, shares = principal_axes(there)
    figure, axes = own_or_new(axes, width=4.8, height=4.2)
    flat = (np.where(known[..., None], paths, np.nan) - mean) @ rows.T
    thin = np.clip(10 / np.sqrt(max(known.sum(), 1)), 0.25, 0.7)
    for number, path in enumerate(flat):
        name = "_" if number else "trajectories"
        axes.plot(path[:, 0], path[:, 1], color="0.45", linewidth=0.8, alpha=thin, label=name)
    there = np.isfinite(points).all(axis=1)
    places = (points - mean) @ rows.T
    seen = np.concatenate([flat[known], places[there]])
    span = np.ptp(seen, axis=0).max() if len(seen) else 0.0
    reach = 0.12 * (span or 1.0)
    named = False
    for place, growing in zip(places[there], directions[there], strict=True):
        for direction in growing:
            if np.linalg.norm(direction) > 1e-5:  # not so for NaN
                way = reach * direction @ rows.T
                ends = np.stack([place - way, place + way])
                label = "_" if named else "unstable mode"
                named = True
                style = {"linewidth": 2.0, "solid_capstyle": "round", "zorder": 3}
                axes.plot(ends[:, 0], ends[:, 1], color=_UNSTABLE, label=label, **style)
    looks = (
        (there & stable, "stable", {"markerfacecolor": _STABLE, "markeredgecolor": "white"}),
        (there & ~stable, "unstable", {"markerfacecolor": "white", "markeredgecolor": _UNSTABLE}),
    )
    for chosen, name, look in looks:
        if chosen.any():
            style = {"markersize": 8, "markeredgewidth": 1.4, "zorder": 4}
            axes.plot(places[chosen, 0], places[chosen, 1], "o", label=name, **style | look)
    for axis, share, number in ((axes.xaxis, shares[0], 1), (axes.yaxis, shares[1], 2)):
        axis.set_label_text(f"PC {number} ({100 * share:.0f} % of variance)")
    axes.set_aspect("equal", adjustable="datalim")
    plain_grid(axes)
    legend_above(axes)
    return figure, axes
