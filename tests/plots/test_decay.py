"""Decay curves beside bounds, theory and the end of a dtype's range."""

import math

import numpy as np
import pytest

from jaxrnn.plots import new_axes, plot_decay
from plots.drawn import data, labelled, labels, render

pytest.importorskip("matplotlib")

LAGS = np.arange(1, 9)
LOG = math.log(10)


def test_theory_runs_through_the_curves_middle():
    figure, axes = plot_decay(
        LAGS, 2 - 0.3 * LAGS, rate=-0.3, theory=[("mean field", -0.5), ("dead", -np.inf)]
    )
    _, drawn = data(axes, "mean field")
    np.testing.assert_allclose(np.diff(drawn), -0.5 / LOG)
    np.testing.assert_allclose(drawn.mean(), (2 - 0.3 * LAGS.mean()) / LOG)
    assert labels(axes) == ["measured", "exp(rate · lag)", "mean field"]
    colors = [line.get_color() for line in axes.lines]
    assert len(set(colors)) == 3
    render(figure)


def test_bounds_have_their_own_lines():
    _, axes = plot_decay(
        LAGS, -LAGS, bound=LAGS, bounds=[("second", 2 * LAGS), ("third", np.full(8, -np.inf))]
    )
    np.testing.assert_allclose(data(axes, "bound")[1], LAGS / LOG)
    np.testing.assert_allclose(data(axes, "second")[1], 2 * LAGS / LOG)
    assert np.isnan(data(axes, "third")[1]).all()
    looks = {str(line._dash_pattern) for line in axes.lines}  # linestyle names hide the dashes
    assert len(looks) == 4


@pytest.mark.parametrize("dtype, floor", [("float32", 2.0**-126), (np.float16, 2.0**-14)])
def test_underflow_is_the_smallest_normal_number(dtype, floor):
    figure, axes = plot_decay(LAGS, -LAGS, underflow=dtype)
    line = labelled(axes, f"{np.dtype(dtype).name} underflows")
    np.testing.assert_allclose(line.get_ydata(), math.log10(floor))
    render(figure)


def test_a_power_law_is_straight_on_a_log_scale():
    lags = np.arange(1, 1001)
    figure, axes = plot_decay(lags, -1.5 * np.log(lags), lag_scale="log")
    assert axes.get_xscale() == "log"
    render(figure)
    places = axes.transData.transform(np.stack(data(axes, "measured"), 1))
    slopes = np.diff(places[:, 1]) / np.diff(places[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)
    assert {"1", "10", "100", "1000"} <= {text.get_text() for text in axes.get_xticklabels()}


def test_new_axes_have_a_legend_and_given_ones_their_own():
    _, axes = plot_decay(LAGS, -LAGS)
    assert labels(axes) == ["measured"] and "partial s_T" in axes.get_ylabel()
    _, (given,) = new_axes()
    plot_decay(LAGS, -LAGS, axes=given)
    assert given.get_legend() is None and given.get_ylabel() == ""
    plot_decay(LAGS, -2 * LAGS, axes=given, label="again", legend=True)
    assert labels(given) == ["measured", "again"]
    assert plot_decay(LAGS, -LAGS, legend=False)[1].get_legend() is None


def test_unknown_scale():
    with pytest.raises(ValueError, match="unknown lag_scale 'semilog'"):
        plot_decay(LAGS, -LAGS, lag_scale="semilog")
