"""Spectra and their convergence: exponents, errors, marks of what is not a number."""

import math

import numpy as np
import pytest

from jaxrnn.plots import plot_convergence, plot_exponent_fluctuations, plot_spectrum
from plots.drawn import data, labelled, labels, render, survives

pytest.importorskip("matplotlib")

VALUES = np.array([0.3, 0.1, -0.2, -0.7])


def band(axes, number=0):
    return axes.collections[number].get_paths()[0].vertices


def test_spectrum_draws_exponents_and_their_errors():
    errors = np.array([0.01, 0.02, 0.03, 0.04])
    figure, axes = plot_spectrum(VALUES, errors, kaplan_yorke_dimension=3.29)
    np.testing.assert_array_equal(data(axes, "measured"), [[1, 2, 3, 4], VALUES])
    corners = band(axes)
    for place, value, error in zip(range(1, 5), VALUES, errors, strict=True):
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [value - error, value + error])
    assert data(axes, r"$D_\mathrm{KY} = 3.29$")[0] == [3.29, 3.29]
    assert axes.lines[0].get_ydata() == [0, 0]  # the zero line
    assert axes.get_xlabel() == "index i"
    assert axes.get_ylabel() == "Lyapunov exponent (nats per step)"
    render(figure)


def test_spectra_of_several_sizes_collapse():
    figure, axes = plot_spectrum(VALUES, size=8, kaplan_yorke_dimension=4, label="D = 8")
    x, y = np.array([0.1, 0.9]), np.array([1.0, -1.0])
    plot_spectrum(VALUES[::2], size=4, axes=axes, label="D = 4", color="#D55E00", theory=(x, y))
    np.testing.assert_allclose(data(axes, "D = 8")[0], [0.125, 0.25, 0.375, 0.5])
    np.testing.assert_allclose(data(axes, "D = 4")[0], [0.25, 0.5])
    np.testing.assert_array_equal(data(axes, "theory"), [x, y])
    assert data(axes, r"$D_\mathrm{KY} / D = 0.5$")[0] == [0.5, 0.5]
    assert axes.get_xlabel() == "index i / D"
    zeros = [line for line in axes.lines if np.array_equal(line.get_ydata(), [0, 0])]
    assert len(zeros) == 1
    render(figure)


def test_unreliable_exponents_are_hollow_and_dead_ones_arrows():
    values = np.array([0.3, np.nan, -0.2, -0.7, -np.inf, -np.inf])
    figure, axes = plot_spectrum(
        values, np.zeros(6), reliable=[True, True, True, False, True, True]
    )
    np.testing.assert_array_equal(data(axes, "measured"), [[1, 3], [0.3, -0.2]])
    hollow = labelled(axes, "not reliable")
    np.testing.assert_array_equal(hollow.get_data(), [[4], [-0.7]])
    assert hollow.get_markerfacecolor() == "white"
    arrows = labelled(axes, r"$-\infty$")
    assert arrows.get_marker() == "v"
    np.testing.assert_array_equal(arrows.get_data(), [[5, 6], [0.03, 0.03]])
    assert np.isfinite(axes.dataLim.get_points()).all()
    render(figure)


@pytest.mark.parametrize("values", [[], [-np.inf] * 3, [np.nan], [0.5], [np.inf, 0.0]])
def test_spectrum_of_odd_values(values):
    figure, axes = plot_spectrum(values, np.ones(len(values)), kaplan_yorke_dimension=np.nan)
    assert not any("D_" in line.get_label() for line in axes.lines)
    survives(figure)


def test_convergence_draws_each_exponent():
    steps = np.arange(1, 101)
    history = VALUES + np.array([1, -1, 2, 0]) / steps[:, None]
    figure, axes = plot_convergence(
        history, stderr=[0.1, 0.1, 0.1, 0.2], burn_in=10, theory=[0.3, np.nan, -0.7]
    )
    for index in range(4):
        x, y = data(axes, f"$\\lambda_{{{index + 1}}}$")
        np.testing.assert_array_equal(x, steps)
        np.testing.assert_array_equal(y, history[:, index])
    corners = band(axes, 3)  # the error grows backwards: tenfold at a hundredth of the steps
    at_end, at_first = corners[corners[:, 0] == 100, 1], corners[corners[:, 0] == 1, 1]
    assert np.ptp(at_end) == pytest.approx(0.4) and np.ptp(at_first) == pytest.approx(4)
    (shade,) = [patch for patch in axes.patches if patch.get_label() == "burn-in"]
    assert shade.get_x() == 1 and shade.get_width() == 9
    assert labelled(axes, "theory").get_ydata() == [0.3, 0.3]
    assert axes.get_xscale() == "log" and axes.get_xlim() == (1, 100)
    low, high = axes.get_ylim()
    assert -1.3 < low < -0.7 and 0.3 < high < 0.8  # the start may leave the picture
    assert "burn-in" in labels(axes) and "theory" in labels(axes)
    render(figure)


def test_convergence_of_many_exponents_has_a_colour_bar():
    errors = np.full((50, 12), 0.1)
    history = np.linspace(1, -1, 12) + np.zeros((50, 1))
    figure, axes = plot_convergence(history, steps=np.arange(0, 500, 10), stderr=errors)
    assert len(figure.axes) == 2 and figure.axes[1].get_ylabel() == "index i"
    assert axes.lines[0].get_xdata()[0] == 10  # step 0 estimates nothing
    assert len({str(line.get_color()) for line in axes.lines}) == 12
    render(figure)


@pytest.mark.parametrize(
    "shape, fill",
    [((1, 1), 0.0), ((5, 2), 0.0), ((0, 3), 0.0), ((1, 1), np.nan), ((5, 2), -np.inf)],
)
def test_convergence_of_odd_values(shape, fill):
    survives(plot_convergence(np.full(shape, fill), stderr=np.zeros(shape[1]), burn_in=3)[0])


def test_fluctuations_are_histograms_under_gaussians():
    values = np.random.default_rng(0).normal([0.1, -1.0], [0.2, 0.1], (400, 2))
    figure, axes = plot_exponent_fluctuations(values, mean=[0.1, -1.0], stddev=[0.2, 0.1])
    filled = [patch for patch in axes.patches if patch.get_fill()]
    for index, patch in enumerate(filled):
        heights, edges, _ = patch.get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
        assert edges[0] == values[:, index].min() and edges[-1] == values[:, index].max()
    for index, line in enumerate(axes.lines[1:3]):
        x, y = line.get_data()
        mean, stddev = [(0.1, 0.2), (-1.0, 0.1)][index]
        assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)
        assert np.trapezoid(x * y, x) == pytest.approx(mean, abs=1e-3)
        assert np.trapezoid((x - mean) ** 2 * y, x) == pytest.approx(stddev**2, rel=2e-3)
    share = round(100 * np.mean(values[:, 0] > 0))
    above = f"$\\lambda_{{1}}$ ({share} % above 0)"
    assert labels(axes) == [above, "$\\lambda_{2}$", "Gaussian of theory"]
    render(figure)


@pytest.mark.parametrize(
    "shape, fill",
    [((0, 2), 0.0), ((1, 1), 0.5), ((6, 2), np.nan), ((6, 2), -np.inf), ((6, 2), 0.5)],
)
def test_fluctuations_of_odd_values(shape, fill):
    some = np.full(shape, fill)
    some[:1] = 0.5  # a distribution of one point
    survives(plot_exponent_fluctuations(some, mean=some[0] if len(some) else [0, 0],
                                      stddev=[0.0] * shape[1])[0])  # fmt: skip


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot_spectrum(np.zeros((2, 2))), r"got exponents of shape \(2, 2\); expected"),
        (lambda: plot_spectrum(VALUES, [1, 2]), r"got stderr of shape \(2,\); expected \(4,\)"),
        (lambda: plot_spectrum(VALUES, size=3), "got size=3 for 4 exponents"),
        (lambda: plot_spectrum(VALUES, theory=([1], [1, 2])), r"theory\[1\] of shape \(2,\)"),
        (lambda: plot_convergence(VALUES), r"history of shape \(4,\); expected \(any, any\)"),
        (lambda: plot_convergence([VALUES], steps=[1, 2]), r"steps of shape \(2,\)"),
        (lambda: plot_exponent_fluctuations([VALUES], mean=VALUES), "got mean without stddev"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_error_is_seen():
    _, axes = plot_spectrum([0.5], [0.1])
    (bar,) = [one for one in axes.collections if type(one).__name__ == "LineCollection"]
    np.testing.assert_allclose(bar.get_segments()[0], [[1, 0.4], [1, 0.6]])
    assert math.isclose(axes.lines[0].get_ydata()[0], 0)
