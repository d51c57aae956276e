"""Heat maps: cells where they belong, colours centred, blank and dead cells told apart."""

import math

import numpy as np
import pytest

from jaxrnn.plots import new_axes, plot_lag_matrix, plot_phase_diagram
from jaxrnn.plots.heat import cell_edges, symmetric_limit
from plots.drawn import labelled, labels, render, survives

pytest.importorskip("matplotlib")

TIMES, LAGS = np.arange(1, 13), np.arange(0, 13)
LOG = math.log(10)


def norms(rate=-1.5):
    return np.where(LAGS <= TIMES[:, None], rate * LAGS, np.nan)


def meshes(axes):
    return [one for one in axes.collections if type(one).__name__ == "QuadMesh"]


def contours(axes):
    return [one for one in axes.collections if type(one).__name__ == "QuadContourSet"]


def test_edges_are_half_way():
    np.testing.assert_allclose(cell_edges([1, 2, 4], by="f"), [0.5, 1.5, 3, 5])
    np.testing.assert_allclose(
        cell_edges([1, 4, 16], scale="log", by="f"), [0.5, 2, 8, 32]
    )  # half way between logarithms
    np.testing.assert_allclose(cell_edges([3], by="f"), [2.5, 3.5])


@pytest.mark.parametrize("centres, scale", [([], "linear"), ([1, 1], "linear"), ([0, 1], "log")])
def test_edges_of_bad_positions(centres, scale):
    with pytest.raises(ValueError, match="f: got the .* expected increasing .*; sort them"):
        cell_edges(centres, scale=scale, by="f")


def test_limits_are_symmetric_quantiles():
    values = np.concatenate([np.linspace(-4, 1, 101), [-np.inf, np.nan]])
    assert symmetric_limit(values) == pytest.approx(3.95)  # the 1 % quantile
    assert symmetric_limit(values, center=-4) == pytest.approx(4.95)
    assert symmetric_limit([np.nan]) == symmetric_limit([0.0]) == 1


def test_lag_matrix_draws_times_across_and_lags_up():
    figure, axes = plot_lag_matrix(TIMES, LAGS, norms())
    (mesh,) = meshes(axes)
    shown = mesh.get_array()
    assert shown.shape == (13, 12)
    there = LAGS[:, None] <= TIMES
    np.testing.assert_array_equal(~np.ma.getmaskarray(shown), there)
    expected = np.broadcast_to(-1.5 * LAGS[:, None] / LOG, (13, 12))
    np.testing.assert_allclose(shown.data[there], expected[there])
    corners = mesh.get_coordinates()
    assert corners[0, 0].tolist() == [0.5, -0.5] and corners[-1, -1].tolist() == [12.5, 12.5]
    low, high = mesh.get_clim()
    assert low == -high == np.quantile(expected[there], 0.01)
    assert axes.get_xlabel() == "time t (steps)" and axes.get_ylabel() == "lag (steps)"
    assert axes.get_legend() is None  # nothing is dead
    render(figure)
    assert len(figure.axes) == 2 and "partial s_t" in figure.axes[1].get_ylabel()
    assert figure.axes[1].get_yticklabels()[0].get_text().startswith("$10^{")


def test_lag_matrix_draws_contours_inside_the_range_only():
    _, axes = plot_lag_matrix(TIMES, LAGS, norms())
    (lines,) = contours(axes)
    assert lines.levels.tolist() == [-6, -3, -1]
    # The norm at lag l is exp(-1.5 l): a level is crossed at one height, whatever the time.
    heights = [path.vertices[:, 1] for path in lines.get_paths()]
    for level, height in zip([-6, -3, -1], heights, strict=True):
        np.testing.assert_allclose(height, level * LOG / -1.5)
    _, axes = plot_lag_matrix(TIMES, LAGS, norms(-0.01))
    assert not contours(axes)


def test_lag_matrix_normalises_frobenius_norms():
    identity = np.where(LAGS <= TIMES[:, None], math.log(16) / 2, np.nan)
    _, axes = plot_lag_matrix(TIMES, LAGS, identity, size=16)
    np.testing.assert_allclose(meshes(axes)[0].get_array().compressed(), 0, atol=1e-15)


def test_lag_matrix_draws_the_median_sequence():
    several = np.stack([norms(-1), norms(-2), norms(-9)], axis=2)
    several[3, 1] = -np.inf
    _, axes = plot_lag_matrix(TIMES, LAGS, several)
    shown, dead = meshes(axes)
    np.testing.assert_allclose(shown.get_array()[5, 7], -10 / LOG)
    assert dead.get_array().count() == 1


def test_lag_matrix_draws_where_the_rate_reaches_each_level():
    _, axes = plot_lag_matrix(TIMES, LAGS, norms(), rate=-0.5, levels=(-1, -2, -9))
    drawn = [line.get_ydata()[0] for line in axes.lines]
    np.testing.assert_allclose(drawn, [2 * LOG, 4 * LOG])  # the third is beyond the picture
    assert labels(axes) == ["exp(rate · lag)"]
    _, axes = plot_lag_matrix(TIMES, LAGS, norms(), rate=-np.inf)
    assert not axes.lines


def test_lag_matrix_tells_dead_from_missing():
    values = norms()
    values[6:, 5:] = np.where(np.isnan(values[6:, 5:]), np.nan, -np.inf)
    values[2, 1] = np.inf
    figure, axes = plot_lag_matrix(TIMES, LAGS, values)
    shown, dead = meshes(axes)
    np.testing.assert_array_equal(np.ma.getmaskarray(dead.get_array()).T, ~np.isneginf(values))
    missing = np.isnan(values) | np.isneginf(values)
    np.testing.assert_array_equal(np.ma.getmaskarray(shown.get_array()).T, missing)
    assert shown.get_array()[1, 2] == shown.get_clim()[1]
    assert labels(axes) == ["exactly zero"]
    render(figure)


def test_lag_matrix_on_a_log_scale_leaves_lag_zero_out():
    figure, axes = plot_lag_matrix(TIMES, LAGS, norms(), lag_scale="log")
    assert axes.get_yscale() == "log"
    assert meshes(axes)[0].get_array().shape == (12, 12)
    render(figure)
    assert "10" in [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.parametrize(
    "fill, shape",
    [(np.nan, (3, 4)), (-np.inf, (3, 4)), (np.inf, (3, 4)), (0.0, (3, 4)), (0.0, (1, 1))],
)
def test_heat_of_odd_values(fill, shape):
    times, lags = np.arange(1, shape[0] + 1), np.arange(1, shape[1] + 1)
    values = np.full(shape, fill)
    figure, pair = new_axes(2, height=2, width=3)
    plot_lag_matrix(times, lags, values, axes=pair[0])
    plot_phase_diagram(times, lags, values, center=None, axes=pair[1], levels=(0,))
    survives(figure)


def test_phase_diagram_draws_the_map_the_line_and_the_points():
    xs, ys = np.linspace(1, 3, 5), np.linspace(0, 1, 3)
    values = np.log(xs)[:, None] - ys
    values[0, 0] = -np.inf
    line = np.array([1.0, 2.0, 9.0])
    figure, axes = plot_phase_diagram(
        xs, ys, values, critical=(line, np.log(line)), points={"here": (2, 0.5), "b": (7, 7)},
        levels=(0.0, 99.0), x_label="gain", y_label="bias", label="growth (nats)",
    )  # fmt: skip
    mesh = meshes(axes)[0]
    np.testing.assert_allclose(mesh.get_array()[2, 3], values[3, 2])
    assert mesh.get_clim()[0] == -mesh.get_clim()[1]
    drawn = labelled(axes, "critical line (theory)")
    np.testing.assert_array_equal(drawn.get_data(), [line, np.log(line)])
    assert labelled(axes, "here").get_data() == ([2.0], [0.5])
    assert labelled(axes, "here").get_marker() != labelled(axes, "b").get_marker()
    assert contours(axes)[0].levels.tolist() == [0]
    assert labels(axes) == ["critical line (theory)", "here", "b", r"$-\infty$"]
    assert axes.get_xlim() == (0.75, 3.25) and axes.get_ylim() == (-0.25, 1.25)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gain", "bias")
    assert figure.axes[1].get_ylabel() == "growth (nats)"
    render(figure)


def test_phase_diagram_of_a_quantity_in_one_direction():
    values = np.arange(6.0).reshape(3, 2)
    _, axes = plot_phase_diagram([1, 2, 3], [1, 2], values, center=None)
    assert meshes(axes)[0].get_clim() == (0, 5)
    assert meshes(axes)[0].get_cmap().name == "viridis"
    assert axes.get_legend() is None


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot_lag_matrix([1, 2], [1], np.zeros((1, 2))), r"log_norms of shape \(1, 2\)"),
        (lambda: plot_lag_matrix([1], [1], [[0]], lag_scale="logg"), "did you mean 'log'"),
        (lambda: plot_lag_matrix([1], [1], [[0]], limit=0), "got limit=0"),
        (lambda: plot_lag_matrix([1], [1], [[0]], size=0), "got size=0"),
        (lambda: plot_phase_diagram([1, 2], [1], [[1, 2]]), r"expected \(2, 1\)"),
        (lambda: plot_phase_diagram([1], [1], [[1]], critical=[1, 2, 3]), "got critical of type"),
        (lambda: plot_phase_diagram([1], [1], [[1]], points={"a": 1}), r"points\['a'\] of shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="plot_lag_matrix: got complex numbers for log_norms"):
        plot_lag_matrix([1], [1], [[1j]])
