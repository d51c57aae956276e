"""The pictures and texts of the page of `jaxrnn spectrum`."""

import math
from typing import Any

import numpy as np

from jaxrnn.cli.page import Figure
from jaxrnn.cli.png import to_png
from jaxrnn.cli.results import format_rate
from jaxrnn.cli.spectra import SpectrumReport
from jaxrnn.cli.spectrum_results import exponent_rates, qr_gap
from jaxrnn.plots import (
    new_axes,
    plot_convergence,
    plot_decay,
    plot_gate_anatomy,
    plot_lag_matrix,
    plot_singular_values,
    plot_spectrum,
    plot_training,
)
from jaxrnn.train import Metrics

__all__ = ["EXPLANATION", "METHOD", "draw_spectrum"]

EXPLANATION = """The <b>exponent</b> is the mean growth of the i-th direction in nats per step,
± one standard error over the sequences. <b>log sigma_i</b> is the exact i-th log singular value of
the Jacobian of the last state with respect to the one after the warm-up, in nats, mean over the
sequences, and <b>error below</b> the largest of their error bounds. <b>By QR alone</b> is by how
many nats the number of steps times the exponent misses it: exponents and singular values are
different things, and the gap does not close with more steps. Not reliable: the floating-point type
cannot tell."""

METHOD = """The state is first moved along by the warm-up, which counts nowhere. Exponents: a frame
of orthonormal directions is pushed through the steps (forward mode) and made orthonormal again,
as often as the spread of the exponents demands. Singular values: alternating sweeps of such a
frame forwards and backwards through all steps, exact at any range; no step's Jacobian is stored.
The norms by lag are exact; the heat map estimates them with 16 random probes where the state is
larger."""


def _spectra(report: SpectrumReport):
    rates = exponent_rates(report)
    figure, (left, right) = new_axes(2)
    dimension = float(np.mean(report.lyapunov.kaplan_yorke_dimension))
    plot_spectrum(
        [one.rate for one in rates],
        [one.stderr for one in rates],
        kaplan_yorke_dimension=dimension if dimension > 0 else None,
        reliable=report.lyapunov.reliable.all(axis=0),
        axes=left,
    )
    with np.errstate(invalid="ignore"):
        history = np.mean(report.lyapunov.history, axis=1)
    # Until the directions are first made orthonormal the estimates do not move.
    first = min(int(report.lyapunov.qr_every), len(history)) - 1
    steps = np.arange(first, len(history)) + 1
    plot_convergence(history[first:], steps=steps, axes=right)
    left.set_title("exponents", fontsize=10)
    right.set_title("running estimates", fontsize=10)
    return figure


def _singular_values(report: SpectrumReport):
    values = report.singular
    with np.errstate(invalid="ignore"):
        exact = np.median(values.logs, axis=1)
        history = report.lyapunov.history[values.steps - 1]
        others = np.median(history * values.steps[:, None, None], axis=1)
    figure, (axes,) = new_axes(width=7.4, height=4.2)
    label = r"singular values of $\partial s_{W+t} / \partial s_W$"
    plot_singular_values(values.steps, exact, others, label=label, axes=axes)
    return figure


def _decay(report: SpectrumReport):
    curve, first = report.decay, exponent_rates(report)[0]
    bounds = [("product of step norms", report.data_dependent)]
    if report.pascanu is not None:
        bounds.append(("Pascanu's bound", report.pascanu))
    figure, (axes,) = new_axes(width=7.4, height=4.2)
    plot_decay(
        np.arange(1, len(curve.log_norms) + 1),
        curve.log_norms,
        rate=curve.rate.rate,
        bounds=bounds,
        theory=[("largest exponent", first.rate)],
        legend=True,
        axes=axes,
    )
    values = curve.log_norms[np.isfinite(curve.log_norms)] / math.log(10)
    if values.size:  # a bound may rise by dozens of powers of ten: it leaves the picture at the top
        low, high = values.min(), values.max()
        span = max(high - low, 1.0)
        axes.set_ylim(low - 0.08 * span, high + 0.5 * span)
    axes.set_ylabel(r"$\|\,\partial s_T / \partial s_{T-\mathrm{lag}}\|$")
    return figure


def _lags(report: SpectrumReport):
    figure, (axes,) = new_axes(width=7.4, height=4.2)
    found = report.lags
    plot_lag_matrix(found.times, found.lags, found.log_norms, rate=None, axes=axes)
    return figure


def _gates(report: SpectrumReport):
    paths = report.paths
    return plot_gate_anatomy(paths.carry, paths.product, paths.time_constants, whole=paths.whole)[0]


def _said_of_spectra(report: SpectrumReport) -> str:
    rates = exponent_rates(report)
    return (
        f"The first is {format_rate(rates[0])}, the {len(rates)}th {format_rate(rates[-1])} nats "
        "per step."
    )


def _said_of_singular(report: SpectrumReport) -> str:
    gaps = qr_gap(report)
    known = np.abs(gaps[np.isfinite(gaps)])
    if not known.size:
        return "Every direction dies."
    return f"At the end the two differ by up to {known.max():.2f} nats."


def _said_of_decay(report: SpectrumReport) -> str:
    return (
        f"The slope is {format_rate(report.decay.rate)} nats per step, of the product of norms "
        f"{format_rate(report.data_dependent_rate)}."
    )


def _said_of_lags(report: SpectrumReport) -> str:
    found = report.lags
    said = []
    for power in (-1, -3, -6):
        with np.errstate(invalid="ignore"):
            below = found.log_norms[-1] < power * math.log(10)
        if below.any():
            said.append(f"1e{power} at lag {int(found.lags[np.argmax(below)])}")
    if not said:
        return "At the last time no lag reaches 1e-1."
    return f"At the last time the norm falls below {', '.join(said)}."


def _said_of_gates(report: SpectrumReport) -> str:
    paths = report.paths
    kept = np.median(paths.carry[np.isfinite(paths.carry)])
    through = paths.product[np.isfinite(paths.product)]
    other = f", the gate path {np.median(through):+.3f}" if through.size else ""
    return f"In a median step the carry grows by {kept:+.3f} nats{other}."


_FIGURES = {
    "spectrum.png": (
        _spectra,
        _said_of_spectra,
        "The Lyapunov spectrum",
        "Left: the mean growth of each direction, with one standard error; at zero a direction is "
        "kept for ever, above it explodes. The vertical line, if any, is the Kaplan-Yorke "
        "dimension; hollow points are not reliable. Right: the running estimates, mean over the "
        "sequences. One that still moves by more than its error, at the left, has not converged: "
        "give more --length.",
    ),
    "singular.png": (
        _singular_values,
        _said_of_singular,
        "Exact singular values",
        "Solid: the singular values of the product of the first t Jacobians after the warm-up, "
        "median over the sequences. Dashed: what the diagonals of a QR sweep say, which is taken "
        "for them often and is off by a factor that stays.",
    ),
    "decay.png": (
        _decay,
        _said_of_decay,
        "Decay of the gradient, and its bounds",
        "The largest singular value of the Jacobian of the last state with respect to the one "
        "<i>lag</i> steps earlier: median, band from the 10th to the 90th percentile. Grey: upper "
        "bounds, which leave the picture where they are far above.",
    ),
    "lags.png": (
        _lags,
        _said_of_lags,
        "Where in time",
        "‖∂s<sub>t</sub>/∂s<sub>t−lag</sub>‖ (Frobenius, over √D, so that the identity is 1), "
        "median over the sequences; times are counted from the end of the warm-up. Blue where it "
        "vanishes, red where it explodes.",
    ),
    "gates.png": (
        _gates,
        _said_of_gates,
        "Why gates help",
        "Left: the growth of each step's Jacobian along its two paths, 0 being the identity's: the "
        "<b>carry</b>, the state that the gates hand on, and the <b>gate path</b> through the "
        "recurrent matrix. (Half of an LSTM's state, h, carries nothing, which alone is −0.35.) "
        "Right: time constants, −1 / ln(gate), of the units that carry something.",
    ),
}


def draw_spectrum(
    report: SpectrumReport,
    *,
    name: str,
    metrics: Metrics | None,
    info: dict[str, Any],
    clip_norm: float,
) -> dict[str, Figure]:
    """Draws the page's figures.

    Args:
      report: the numbers.
      name: of the cell.
      metrics: of the training; None without.
      info: of the task.
      clip_norm: the clipping threshold.

    Returns:
      From a file name to the figure, in the page's order.
    """
    figures = {}
    for file, (draw, say, title, caption) in _FIGURES.items():
        if file == "gates.png" and report.paths is None:
            continue
        figures[file] = Figure(title, caption, say(report), to_png(draw(report)))
    if metrics is not None:
        drawn, _ = plot_training(
            {name: (metrics.loss, metrics.grad_norm)},
            baseline=info["baseline_loss"],
            clip_norm=clip_norm,
            loss_label=f"loss ({info['loss']})",
        )
        figures["training.png"] = Figure(
            "Training",
            "Left: the loss, beside a baseline without memory. Right: the norm of the whole "
            "gradient before clipping; steps above the dotted line were scaled down to it.",
            f"The loss goes from {metrics.loss[0]:.3f} to {metrics.loss[-1]:.3f}; the baseline is "
            f"{info['baseline_loss']:.3f}.",
            to_png(drawn),
        )
    return figures
