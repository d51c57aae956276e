"""Gate anatomy, fixed points, contributions by lag, the training dashboard."""

import numpy as np
import pytest

from jaxrnn.plots import (
    new_axes,
    plot_contributions,
    plot_fixed_points,
    plot_gate_anatomy,
    plot_monitor,
)
from jaxrnn.plots.portrait import principal_axes
from plots.drawn import data, labelled, labels, render, survives

pytest.importorskip("matplotlib")

STEPS = np.arange(1, 9)


def test_gate_anatomy_draws_both_paths():
    carry = np.random.default_rng(0).normal(-0.2, 0.1, (8, 5))
    carry[3, 0], carry[4] = np.nan, -np.inf
    figure, (left, right) = plot_gate_anatomy(carry, -0.1 * STEPS, [2.0], whole=-0.01 * STEPS)
    x, y = data(left, "carry path")
    np.testing.assert_array_equal(x, STEPS)
    expected = np.nanmedian(np.delete(carry, 4, 0), axis=1)
    np.testing.assert_allclose(np.delete(y, 4), expected)
    assert np.isnan(y[4])
    np.testing.assert_allclose(data(left, "gate path")[1], -0.1 * STEPS)
    np.testing.assert_allclose(data(left, "whole step")[1], -0.01 * STEPS)
    assert len(left.collections) == 1  # one sequence has no band
    assert left.get_ylabel() == "log growth (nats per step)"
    assert right.get_xlabel() == "time constant (steps)"
    render(figure)


def test_time_constants_are_counted():
    times = [[1.0, 10.0, 100.0], [np.inf, 0.0, np.nan], [10.0, np.inf, np.inf]]
    figure, (_, right) = plot_gate_anatomy([0.0], [0.0], times)
    heights, edges, _ = right.patches[0].get_data()
    assert heights.sum() == pytest.approx(50)  # per cent of the eight that are numbers
    np.testing.assert_allclose(edges[[0, -1]], [1, 100])
    assert labels(right) == ["median 10 steps", "37.5 % infinite", "12.5 % zero"]
    assert right.get_xscale() == "log"
    render(figure)


def test_gate_anatomy_normalises_frobenius_norms():
    identity = np.full(3, np.log(9) / 2)
    _, (left, _) = plot_gate_anatomy(identity, identity - 1, [1.0], size=9)
    np.testing.assert_allclose(data(left, "carry path")[1], 0, atol=1e-15)
    np.testing.assert_allclose(data(left, "gate path")[1], -1)


@pytest.mark.parametrize("fill", [np.nan, -np.inf, np.inf])
def test_gate_anatomy_of_odd_values(fill):
    values = np.full((3, 2), fill)
    survives(plot_gate_anatomy(values, values[:, 0], values, steps=[4, 5, 6])[0])


def test_principal_axes():
    draws = np.random.default_rng(0).normal(size=(5000, 4)) * [1, 3, 0, 2] + 7
    mean, rows, shares = principal_axes(draws)
    np.testing.assert_allclose(mean, draws.mean(0))
    np.testing.assert_allclose(rows, np.eye(4)[[1, 3]], atol=0.05)
    np.testing.assert_allclose(shares, [9 / 14, 4 / 14], atol=0.02)
    np.testing.assert_allclose(rows @ rows.T, np.eye(2), atol=1e-12)


def test_fixed_points_among_trajectories():
    turn = np.linspace(0, 6.28, 100)
    path = np.stack([0 * turn, np.sin(turn), 3 * np.cos(turn)], 1) + 1
    path[50] = np.nan
    points = [[1, 1, 1], [1, 1, 3], [np.inf, 1, 1]]
    modes = np.zeros((3, 2, 3), complex)
    modes[0, 0] = [0, 1j, 1]
    modes[1] = np.nan
    modes[2] = np.inf
    modes[0, 1] = [0, 3, 1e-17j]  # real but for rounding
    figure, axes = plot_fixed_points(
        np.stack([path, path]), points, [False, True, True], modes=modes
    )
    curves = [line for line in axes.lines if len(line.get_xdata()) == 100]
    assert len(curves) == 2
    expected = path[:, 2] - np.nanmean(path[:, 2])
    np.testing.assert_allclose(curves[0].get_xdata(), expected, atol=1e-3)
    centre = np.nanmean(path, 0)
    for label, point, face in (("unstable", points[0], "white"), ("stable", points[1], "#0072B2")):
        dot = labelled(axes, label)
        assert dot.get_markerfacecolor() == face
        place = [point[2] - centre[2], point[1] - centre[1]]
        np.testing.assert_allclose(np.ravel(dot.get_data()), place, atol=1e-2)
    segments = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(segments) == 3  # the parts of the complex mode, and the real one
    real, other, imaginary = [np.diff(segment, axis=0)[0] for segment in segments]
    length = np.linalg.norm(real)
    assert abs(real @ imaginary) < 1e-3 * length**2
    np.testing.assert_allclose(np.linalg.norm(imaginary), length)
    np.testing.assert_allclose(np.linalg.norm(other), 2**0.5 * length)
    np.testing.assert_allclose(
        np.mean(segments[0], 0), np.ravel(labelled(axes, "unstable").get_data())
    )
    assert labels(axes) == ["trajectories", "unstable mode", "stable", "unstable"]
    assert axes.get_xlabel() == "PC 1 (90 % of variance)"
    render(figure)


@pytest.mark.parametrize(
    "paths, points",
    [
        (np.zeros((4, 1)), np.zeros((1, 1))),  # one unit, and all states equal
        (np.full((2, 3, 2), np.nan), np.eye(2)),
        (np.zeros((0, 2)), np.zeros((0, 2))),
        (np.ones((1, 1, 3)), np.full((2, 3), np.nan)),
    ],
)
def test_fixed_points_of_odd_values(paths, points):
    modes = np.ones((len(points), 1, points.shape[1]))
    survives(plot_fixed_points(paths, points, np.zeros(len(points)), modes=modes)[0])


def test_contributions_draw_shares_and_the_horizon():
    share = np.array([0.5, 0.45, -0.1, 0.1, 0.05])
    cosine = np.array([0.9, 0.5, -0.2, np.nan, 0.1])
    figure, axes = plot_contributions(np.arange(5), share, cosine=cosine)
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], 100 * share)
    twin = figure.axes[-1]
    np.testing.assert_allclose(twin.lines[0].get_ydata(), np.cumsum(share))
    np.testing.assert_array_equal(twin.lines[1].get_ydata(), cosine)
    # 90 % is reached at lag 1, lost at lag 2, and reached for good at lag 3.
    assert data(axes, "90 % from the last 4 steps")[0] == [3.5, 3.5]
    lows, highs = zip(axes.get_ylim(), twin.get_ylim(), strict=True)
    assert lows[0] / highs[0] == pytest.approx(lows[1] / highs[1])  # zeros at one height
    assert lows[0] < -10 and highs[0] > 50 and lows[1] < -0.2 and highs[1] >= 1
    assert axes.get_ylabel() == "share of the gradient (%)"
    assert twin.get_ylabel() == "cumulative share, cosine"
    assert labels(axes)[0] == "share of a lag"
    render(figure)


def test_contributions_take_a_cumulative_share():
    figure, axes = plot_contributions([0, 1], [0.2, 0.1], cumulative=[0.2, 0.3], fraction=0.5)
    assert not [text for text in labels(axes) if "%" in text]  # never reached
    figure, axes = plot_contributions([0, 1], [0.8, 0.2], fraction=0.75)
    assert "75 % from the last 1 step" in labels(axes)


@pytest.mark.parametrize(
    "fill, num", [(-np.inf, 3), (np.nan, 3), (np.inf, 3), (0.0, 3), (0.0, 1), (np.nan, 1), (0.0, 0)]
)
def test_contributions_of_odd_values(fill, num):
    values = np.full(num, fill)
    survives(plot_contributions(np.arange(num), values, cosine=values)[0])


def test_monitor_draws_a_panel_a_metric():
    steps = 10 * STEPS
    exponents = np.stack([-0.1 * STEPS, -0.2 * STEPS], 1)
    exponents[-1, 1] = -np.inf
    metrics = {
        "loss": 1 / STEPS,
        "exponents": exponents,
        "clip_fraction": 0.1 * STEPS,
        "own": STEPS,
    }
    figure, panels = plot_monitor(
        steps, metrics, labels={"own": "mine (s)"}, targets={"exponents": (-0.1, 0.1), "own": 3}
    )
    assert [axes.get_ylabel() for axes in panels] == [
        "loss", "exponents\n(nats per step)", "clipped steps\n(fraction)", "mine (s)",
    ]  # fmt: skip
    np.testing.assert_array_equal(panels[0].lines[0].get_data(), [steps, 1 / STEPS])
    np.testing.assert_array_equal(data(panels[1], "$\\lambda_{1}$"), [steps, exponents[:, 0]])
    assert np.isnan(data(panels[1], "$\\lambda_{2}$")[1][-1])
    (arrow,) = [line for line in panels[1].lines if line.get_marker() == "v"]
    assert arrow.get_xdata().tolist() == [80]
    (band,) = panels[1].patches
    assert (band.get_y(), band.get_height()) == pytest.approx((-0.1, 0.2))
    assert any(np.array_equal(line.get_ydata(), [3, 3]) for line in panels[3].lines)
    assert [axes.get_xlabel() for axes in panels] == ["", "", "", "optimiser step"]
    render(figure)


def test_monitor_on_given_axes():
    figure, pair = new_axes(2)
    got = plot_monitor([1], {"loss": [np.nan], "rate": [[0.5]]}, axes=pair)
    assert got == (figure, pair) and pair[1].lines[-1].get_marker() == "o"
    render(figure)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot_gate_anatomy([1, 2], [1], [1]), r"product of shape \(1,\); expected \(2,\)"),
        (lambda: plot_fixed_points([[1, 2]], [[1]], [True]), r"points of shape \(1, 1\)"),
        (lambda: plot_fixed_points([[1]], [[1]], []), r"stable of shape \(0,\)"),
        (lambda: plot_fixed_points([1], [[1]], [1]), r"trajectories of shape \(1,\)"),
        (lambda: plot_contributions([1], [1, 2]), r"share of shape \(2,\)"),
        (lambda: plot_contributions([1], [1], fraction=90), "got fraction=90"),
        (lambda: plot_monitor([1], {}), "got no metrics"),
        (lambda: plot_monitor([1], {"loss": [1, 2]}), r"metrics\['loss'\] of shape \(2,\)"),
        (lambda: plot_monitor([1], {"loss": [1]}, targets={"los": 0}), "got a target of 'los'"),
        (lambda: plot_monitor([1], {"loss": [1]}, axes=[]), "got 0 axes for 1 metrics"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
