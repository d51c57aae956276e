"""The report's pictures, drawn from reports whose numbers are chosen."""

import io
import math

import numpy as np
import pytest

from cases import first_of
from cli.fakes import curve, gradients, make_flow, make_report
from jaxrnn.cli import pictures
from jaxrnn.cli.measure import Curve, Rate

image = pytest.importorskip("matplotlib.image")

NAMES = ["comparison.png", "loss_gradient.png", "decay.png", "training.png"]


def draw(*reports, **more):
    words = {"baseline": 1.5, "clip_norm": 1.0, "loss_label": "loss (nats)"} | more
    return pictures.draw_pictures(reports, **words)


@pytest.fixture
def figures(monkeypatch):
    """The figures themselves, in place of PNG files."""
    monkeypatch.setattr(pictures, "to_png", lambda figure: figure)
    return lambda *reports, **more: draw(*reports, **more)


def drawn(axes):
    """The curves in colour: not black (a fit) and not grey (a bound)."""
    return [line for line in axes.lines if line.get_color() not in ("black", "0.45")]


def test_pngs_that_can_be_read_and_are_the_same_again():
    reports = [make_report("elman", -0.5), make_report("lstm", -0.1)]
    one, two = draw(*reports), draw(*reports)
    assert list(one) == NAMES
    assert one == two
    for data in one.values():
        assert image.imread(io.BytesIO(data), format="png").shape[1] > 1000


def test_comparison_shows_the_medians(figures):
    reports = [make_report("elman", -0.5, before=-1.0), make_report("lstm", -0.1, loss=-2.0)]
    shown = figures(*reports)
    for name, part in (("comparison.png", "state"), ("loss_gradient.png", "loss")):
        pair = shown[name].axes
        assert [axes.get_title() for axes in pair] == ["before training", "after training"]
        assert pair[0].get_ylim() == pair[1].get_ylim()
        for axes, when in zip(pair, ("before", "after"), strict=True):
            assert [line.get_label() for line in axes.lines] == ["elman", "lstm"]
            for line, report in zip(axes.lines, reports, strict=True):
                norms = getattr(getattr(report, when), part).log_norms
                np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 7))
                np.testing.assert_allclose(line.get_ydata(), norms[:, 0] / math.log(10))


def test_every_network_beside_its_bound(figures):
    lstm = make_report("lstm", -1.0)
    lstm = lstm._replace(
        after=lstm.after._replace(pascanu=None, data_dependent=np.full(6, 7.0)),
        before=lstm.before._replace(pascanu=np.full(6, 3.0)),
    )
    panels = figures(make_report("elman"), lstm)["decay.png"].axes
    assert [axes.get_title() for axes in panels] == [
        "elman, before training",
        "elman, after training",
        "lstm, before training",
        "lstm, after training",
    ]
    bounds = [
        next(line for line in axes.lines if line.get_linestyle() in (":", "-."))
        for axes in panels[2:]
    ]
    assert [line.get_label() for line in bounds] == ["Pascanu's bound", "product of step norms"]
    np.testing.assert_allclose(bounds[0].get_ydata(), 3 / math.log(10))
    np.testing.assert_allclose(bounds[1].get_ydata(), 7 / math.log(10))
    assert panels[2].get_ylim() == panels[3].get_ylim() != panels[0].get_ylim()


def test_the_measured_curves_are_inside_their_panels(figures):
    report = make_report("elman", -3.0, before=1.0)
    report = report._replace(before=report.before._replace(pascanu=np.full(6, 1e4)))
    for axes in figures(report)["decay.png"].axes:
        low, high = axes.get_ylim()
        values = drawn(axes)[0].get_ydata()
        assert low <= values.min() and values.max() <= high < 1000


def test_training_has_its_threshold_and_baseline(figures):
    left, right = figures(make_report(), baseline=1.25, clip_norm=0.5)["training.png"].axes
    assert left.get_ylabel() == "loss (nats)"
    assert any(list(line.get_ydata()) == [1.25, 1.25] for line in left.lines)
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in right.lines)


def with_flows(report, before, after):
    return report._replace(
        before=report.before._replace(flow=before), after=report.after._replace(flow=after)
    )


def test_pictures_of_flow(figures):
    lstm = with_flows(make_report("lstm"), make_flow(), make_flow(horizon=3))
    elman = make_flow()._replace(paths=None)
    shown = figures(lstm, with_flows(make_report("elman"), elman, elman))
    assert list(shown) == [
        "comparison.png",
        "loss_gradient.png",
        "contributions.png",
        "gates.png",
        "lags.png",
        "spectrum.png",
        "decay.png",
        "training.png",
    ]
    before, after = shown["contributions.png"].axes
    ours = next(line for line in after.lines if line.get_label() == "lstm")
    np.testing.assert_allclose(ours.get_ydata(), 100 * np.arange(1, 7) / 6)
    assert [list(dot.get_xdata()) for dot in after.lines if dot.get_marker() == "o"] == [[3]]
    assert [axes.get_title() for axes in shown["gates.png"].axes] == ["lstm, after training"] * 2
    left, right = shown["spectrum.png"].axes
    curves = [line for line in right.lines if line.get_label() in ("lstm", "elman")]
    assert len(curves) == 2
    np.testing.assert_allclose(curves[0].get_ydata(), [-0.1, -0.5], rtol=1e-6)
    assert left.get_ylim() == right.get_ylim()


def test_gates_and_exponents_that_are_not_there(figures):
    bare = make_flow()._replace(paths=None, exponents=None)
    shown = figures(with_flows(make_report("elman"), bare, bare))
    assert "gates.png" not in shown and "spectrum.png" not in shown and "lags.png" in shown


@pytest.mark.slow
def test_flows_that_die_or_are_one_step_can_be_drawn():
    flow = make_flow()
    dead = flow._replace(
        exponents=np.full((2, 2), -np.inf),
        lags=flow.lags._replace(log_norms=np.full((3, 6), -np.inf)),
        paths=flow.paths._replace(
            carry=np.full((6, 2), -np.inf), time_constants=np.full((6, 2, 3), np.inf)
        ),
        contributions=flow.contributions._replace(share=np.full(6, np.nan), horizon=7),
    )
    one = make_flow(length=1)
    for report in (with_flows(make_report(), dead, dead), with_flows(make_report(), one, one)):
        for data in draw(report).values():
            assert image.imread(io.BytesIO(data), format="png").size


def dead():
    return Curve(np.full((6, 4), -np.inf), Rate(-math.inf, math.nan, 0.0))


@pytest.mark.parametrize(
    "reports",
    first_of(
        [
            [make_report("irnn", dead()), make_report("elman", 0.5)],
            [make_report("irnn", dead())],
            [make_report("irnn", dead())._replace(before=gradients(dead()))],
            [make_report(f"cell {n}", -0.1 * n) for n in range(1, 9)],
            [make_report("elman", 400.0), make_report("lstm", -400.0)],
            [make_report("elman", 0.0, before=0.0, loss=0.0)],
            [make_report("elman", curve(-0.1, length=1), loss=curve(0.1, length=1), steps=1)],
            [make_report("elman", curve(np.nan))],
        ]
    ),
    ids=["one dead", "dead", "always dead", "eight", "far apart", "flat", "one lag", "nan"],
)
def test_any_numbers_can_be_drawn(reports):
    if len(reports[0].after.state.log_norms) == 1:
        short = reports[0].after._replace(pascanu=np.zeros(1), data_dependent=np.zeros(1))
        reports = [reports[0]._replace(after=short, before=short)]
    for data in draw(*reports).values():
        assert image.imread(io.BytesIO(data), format="png").size


@pytest.mark.slow
def test_training_of_skipped_steps_can_be_drawn():
    report = make_report()
    blank = np.full(4, np.nan)
    report = report._replace(metrics=report.metrics._replace(loss=blank, grad_norm=blank))
    assert draw(report)["training.png"]


# Known defects: each of these is to lose its mark with the repair.


def test_one_lag_is_seen(figures):
    one = gradients(curve(-0.1, length=1), length=1)
    report = make_report(steps=1)._replace(before=one, after=one)
    for name, figure in figures(report).items():
        for axes in figure.axes:
            assert drawn(axes)[0].get_marker() not in ("None", None, "", " "), name


def test_one_dead_sequence_leaves_the_median(figures):
    norms = curve(-0.1).log_norms
    norms[3:, 0] = -np.inf
    report = make_report("irnn", Curve(norms, Rate(-math.inf, math.nan, 0.0)))
    line = figures(report)["comparison.png"].axes[1].lines[0]
    assert np.isfinite(line.get_ydata()).all()


def test_the_legend_tells_the_bounds_apart(figures):
    lstm = make_report("lstm")
    lstm = lstm._replace(
        before=lstm.before._replace(pascanu=None), after=lstm.after._replace(pascanu=None)
    )
    (legend,) = figures(make_report("elman"), lstm)["decay.png"].legends
    looks = [(h.get_color(), h.get_linestyle(), h.get_linewidth()) for h in legend.get_lines()]
    assert len(looks) == len(set(looks))
