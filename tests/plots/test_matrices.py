"""Singular values, histograms against laws, eigenvalues."""

import math

import numpy as np
import pytest

from jaxrnn.plots import plot_eigenvalues, plot_histogram, plot_qr_bias, plot_singular_values
from jaxrnn.plots.histogram import bin_edges, ks_statistic
from plots.drawn import data, labelled, labels, render, survives

pytest.importorskip("matplotlib")

STEPS = np.arange(1, 11)
LOGS = -STEPS[:, None] * np.array([0.1, 0.5, 1.5])
LOG = math.log(10)


def test_singular_values_and_the_qr_estimate():
    figure, axes = plot_singular_values(STEPS, LOGS, LOGS - 2.5, condition=True)
    for index in range(3):
        x, y = data(axes, f"$\\sigma_{{{index + 1}}}$")
        np.testing.assert_array_equal(x, STEPS)
        np.testing.assert_allclose(y, LOGS[:, index] / LOG)
    dashed = [line for line in axes.lines if line.is_dashed() and len(line.get_xdata())]
    assert len(dashed) == 3
    np.testing.assert_allclose(dashed[1].get_ydata(), (LOGS[:, 1] - 2.5) / LOG)
    twin = figure.axes[-1]
    np.testing.assert_allclose(twin.lines[0].get_ydata(), 1.4 * STEPS / LOG)
    assert twin.get_ylabel() == "condition number"
    assert labels(axes)[3:] == ["QR estimate", r"condition $\sigma_1 / \sigma_{3}$"]
    render(figure)


def test_a_dying_direction_ends_with_a_cross():
    logs = LOGS.copy()
    logs[6:, 2] = -np.inf
    logs[2, 0] = np.nan
    figure, axes = plot_singular_values(STEPS, logs, condition=True)
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    np.testing.assert_allclose(crosses[0].get_xydata(), [[6, -9 / LOG]])
    assert len(crosses) == 1 and "dies" in labels(axes)
    assert np.isnan(labelled(axes, "$\\sigma_{3}$").get_ydata()[6:]).all()
    render(figure)


def test_qr_bias_is_the_difference_in_nats():
    estimate = LOGS + np.array([-2.0, 1.0, 0.5])
    logs = LOGS.copy()
    logs[8:, 1] = -np.inf
    figure, axes = plot_qr_bias(STEPS, logs, estimate)
    np.testing.assert_allclose(data(axes, "$\\sigma_{1}$")[1], -2)
    np.testing.assert_allclose(data(axes, "$\\sigma_{2}$")[1], [1] * 8 + [np.nan] * 2)
    assert "nats" in axes.get_ylabel()
    render(figure)


@pytest.mark.parametrize(
    "fill, num",
    [(-np.inf, 4), (np.nan, 4), (np.inf, 4), (0.0, 4), (0.0, 1), (-np.inf, 1), (0.0, 0)],
)
def test_singular_values_of_odd_values(fill, num):
    logs = np.full((num, 2), fill)
    survives(plot_singular_values(np.arange(num), logs, logs, condition=True)[0])


@pytest.mark.parametrize("centre", [0.3, 0.7])  # the sample is above the law, and below it
def test_ks_statistic_is_the_largest_distance(centre):
    draws = np.random.default_rng(0).normal(centre, 0.2, size=37)
    near = np.concatenate([draws, np.nextafter(draws, -np.inf), np.linspace(0, 1, 999)])
    empirical = np.mean(draws <= near[:, None], axis=1)
    expected = np.abs(empirical - np.clip(near, 0, 1)).max()
    assert ks_statistic(draws, np.clip(draws, 0, 1)) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(ks_statistic([], []))


def test_histogram_under_a_density():
    draws = np.random.default_rng(0).exponential(size=900)
    figure, axes = plot_histogram(
        draws, density=lambda x: np.exp(-x), cdf=lambda x: 1 - np.exp(-x), value_label="wait (s)"
    )
    heights, edges, _ = axes.patches[0].get_data()
    np.testing.assert_allclose(heights, np.histogram(draws, 30, density=True)[0])
    assert len(edges) == 31
    x, y = data(axes, "theory")
    np.testing.assert_allclose(y, np.exp(-x))
    assert (x[0], x[-1]) == (draws.min(), draws.max())
    expected = ks_statistic(draws, 1 - np.exp(-draws))
    assert axes.get_title() == f"n = 900, KS distance {expected:.3f}" and expected < 0.045
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("wait (s)", "density")
    render(figure)


def test_histogram_of_logarithms_keeps_the_area():
    """Draws, and a density, of a value uniform in log10 from 1e-4 to 1: height a quarter."""
    draws = 10 ** np.linspace(-4, 0, 1000)
    figure, axes = plot_histogram(
        np.concatenate([draws, [0, -1, np.nan, np.inf]]), scale="log", bins=8,
        density=lambda x: 1 / (x * 4 * LOG), cdf=(draws, np.linspace(0, 1, 1000)),
    )  # fmt: skip
    heights, edges, _ = axes.patches[0].get_data()
    np.testing.assert_allclose(heights, 0.25, rtol=0.01)
    np.testing.assert_allclose(edges, 10 ** np.linspace(-4, 0, 9))
    np.testing.assert_allclose(data(axes, "theory")[1], 0.25)
    assert labels(axes) == ["measured (4 of 1004 left out)", "theory"]
    assert axes.get_title() == "n = 1000, KS distance 0.001"
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "density per power of ten"
    render(figure)


def test_a_diverging_density_leaves_the_picture():
    draws = np.random.default_rng(0).uniform(size=400) ** 2
    _, axes = plot_histogram(draws, density=lambda x: 0.5 / np.sqrt(x))
    top = axes.patches[0].get_data().values.max()
    assert top < axes.get_ylim()[1] < 1.6 * top
    _, axes = plot_histogram(draws, density=(np.linspace(0, 1, 50), np.full(50, 40.0)))
    assert axes.get_ylim()[1] > 40  # a theory far from the data is seen


@pytest.mark.parametrize("values", [[], [1.0], [0.0] * 5, [np.nan, -np.inf], [1.0, 1 + 1e-16]])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_histogram_of_odd_values(values, scale):
    survives(plot_histogram(values, scale=scale, density=np.ones_like, cdf=np.ones_like)[0])


def test_bins_have_a_width():
    assert len(bin_edges(np.arange(10_000))) == 61 and len(bin_edges([1, 2])) == 9
    assert (np.diff(bin_edges([0.0, 0.0])) > 0).all()
    assert (np.diff(bin_edges([1e300, 1e300])) > 0).all()


def test_eigenvalues_on_an_undistorted_plane():
    values = np.array([0.5 + 0.2j, 0.5 - 0.2j, 1.1, np.nan, complex(0, np.inf)])
    figure, axes = plot_eigenvalues(values, radius=1.25, radius_label="edge")
    (cloud,) = axes.collections
    np.testing.assert_array_equal(cloud.get_offsets(), [[0.5, 0.2], [0.5, -0.2], [1.1, 0]])
    for label, radius in (("unit circle", 1), ("edge, radius 1.25", 1.25)):
        np.testing.assert_allclose(np.hypot(*data(axes, label)), radius)
    render(figure)
    box = axes.get_window_extent()
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert (right - left) / box.width == pytest.approx((high - low) / box.height)
    assert labels(axes) == ["eigenvalues", "unit circle", "edge, radius 1.25"]


def test_eigenvalues_coloured_by_numbers():
    values = np.array([[0.1, 0.2j], [0.3, np.nan]])
    figure, axes = plot_eigenvalues(values, color=[[1.0], [5.0]], color_label="time (steps)")
    (cloud,) = axes.collections
    np.testing.assert_array_equal(cloud.get_array(), [1, 1, 5])
    assert figure.axes[1].get_ylabel() == "time (steps)"
    render(figure)


@pytest.mark.parametrize("values", [[], [np.nan], 0.5, np.zeros((2, 0, 3))])
def test_eigenvalues_of_odd_values(values):
    survives(plot_eigenvalues(values, radius=0.0)[0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot_singular_values(STEPS, LOGS[1:]), r"log_singular_values of shape \(9, 3\)"),
        (lambda: plot_singular_values(STEPS, LOGS, LOGS[:, :2]), r"expected \(10, 3\)"),
        (lambda: plot_histogram([1], scale="lin"), "unknown scale 'lin'"),
        (lambda: plot_histogram([1], bins=0), "plot_histogram: got bins=0"),
        (lambda: plot_histogram([1, 2], cdf=lambda x: 1.0), r"got cdf of shape \(\)"),
        (lambda: plot_histogram([1, 2], density=3), "got density of type int"),
        (lambda: plot_eigenvalues([1], radius=-1), "got radius=-1"),
        (lambda: plot_eigenvalues([1, 2], color=[1, 2, 3]), r"color of shape \(3,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_values_have_no_histogram():
    with pytest.raises(TypeError, match="complex numbers for values; .* absolute value"):
        plot_histogram([1j])
