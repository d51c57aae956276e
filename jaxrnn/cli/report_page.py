"""The texts of the report's page."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrnn.cli.measure import CellReport
from jaxrnn.cli.page import Figure
from jaxrnn.cli.results import format_power, format_rate

__all__ = ["EXPLANATION", "METHOD", "report_figures"]

EXPLANATION = """The <b>rate</b> is the slope of the logarithm of
‖∂s<sub>T</sub>/∂s<sub>T−lag</sub>‖ against the
lag, in nats per step, ± one standard error over the measured sequences: negative where gradients
vanish, positive where they explode. The <b>half-life</b>, ln 2 / |rate|, is the number of steps
over which the gradient halves. The <b>dL/ds half-life</b> is the same for the gradient of the last
step's loss. <b>Clipped</b> is the share of training steps whose gradient was scaled down,
<b>skipped</b> the number of steps left out because loss or gradient was not finite."""

METHOD = """Every network is one recurrent layer and an affine readout, trained by backpropagation
through time with Adam and clipping of the gradient's norm; all networks see the same batches. The
Jacobian products are exact (reverse mode along the trajectory), with a power of two taken out at
every step, so that they neither overflow nor underflow, in full matrix precision and with
derivatives of tanh and the logistic function that stay right where these saturate. The heat maps
estimate Frobenius norms with 16 random probes; heat maps, gates and exponents are measured on the
first four sequences, the exponents after a quarter of the steps as warm-up."""

_CAPTIONS = {
    "comparison.png": (
        "All networks side by side",
        "The largest singular value of the Jacobian of the last state with respect to the state "
        "<i>lag</i> steps earlier: by how much a small change of an old state can still move the "
        "last one. A straight line on this scale is exponential decay; the flatter, the longer the "
        "network's memory can be trained. Median over the measured sequences.",
    ),
    "loss_gradient.png": (
        "What reaches the loss",
        "The gradient of the last step's loss with respect to the state <i>lag</i> steps earlier: "
        "what training feels. It can fall faster than the curve above: a direction in which the "
        "state is well remembered need not be one that the loss can see, such as an LSTM's memory "
        "cell so large that its tanh is saturated.",
    ),
    "decay.png": (
        "Each network beside its bound",
        "Solid: measured, median over sequences, band from the 10th to the 90th percentile. "
        "Dashed: exp(rate · lag) with the fitted rate. Grey: an upper bound, which leaves the "
        "picture where it is far above. For the plain network it is (dotted) "
        "that of Pascanu et al. (2013), (γ σ<sub>max</sub>(W<sub>hh</sub>))<sup>lag</sup>; a gated "
        "cell has a second path for the state, of which that theorem does not speak, so there the "
        "grey line is the product of the norms of all steps' Jacobians along the sequence.",
    ),
    "training.png": (
        "Training",
        "Left: the loss, beside a baseline without memory. Right: the norm of the whole gradient "
        "before clipping; steps above the dotted line were scaled down to it.",
    ),
    "contributions.png": (
        "How far back training reaches",
        "The gradient of the parameters, split by the number of steps over which it flows: the "
        "share that comes from the last steps up to this one. A network that uses the distant past "
        "rises late; the dots mark 90 %. Above 100 %, older steps pull against the younger ones.",
    ),
    "gates.png": (
        "Why gates help",
        "A gated cell's Jacobian is a sum of two paths: <b>carry</b>, the state that the gates "
        "hand on (the forget gate of an LSTM, the update gate of a GRU), and <b>gate path</b>, "
        "through the recurrent matrix. Left: the growth of each in one step, 0 being the "
        "identity's; median and band over sequences. (Half of an LSTM's state, h, carries nothing, "
        "which alone is −0.35.) Right: time constants, −1 / ln(gate), of the units that carry "
        "something. A plain network has no carry and stands in no row.",
    ),
    "lags.png": (
        "Where in time",
        "‖∂s<sub>t</sub>/∂s<sub>t−lag</sub>‖ (Frobenius, over √D, so that the identity is 1) for "
        "all end times: blue where it vanishes, red where it explodes. Rows that change little "
        "from left to right mean that the decay is the network's, not that of one moment.",
    ),
    "spectrum.png": (
        "How many directions keep a gradient",
        "The leading Lyapunov exponents: the mean growth per step of the most persistent "
        "directions of the state. At zero a direction is kept for ever; the further below, the "
        "sooner it is forgotten; above, it explodes. Bands: one standard error over sequences.",
    ),
}


def _rates(reports: Sequence[CellReport], part: str) -> str:
    return "; ".join(
        f"{one.name} {format_rate(getattr(one.before, part).rate)} nats per step before training, "
        f"{format_rate(getattr(one.after, part).rate)} after"
        for one in reports
    )


def _steps(horizon: int, count: int) -> str:
    if horizon > count:
        return f"more than all {count} steps"
    return f"the last {horizon} step" + ("s" if horizon > 1 else "")


def _contributions(reports: Sequence[CellReport]) -> str:
    said = []
    for one in reports:
        before, after = (when.flow.contributions for when in (one.before, one.after))
        count = len(after.lags)
        said.append(
            f"{one.name} {_steps(before.horizon, count)} before training, "
            f"{_steps(after.horizon, count)} after"
        )
    return f"90 % of the gradient comes from: {'; '.join(said)}."


def _per_step(rate: float) -> str:
    return f"{rate:+.3f} nats per step" if math.isfinite(rate) else "nothing (it dies)"


def _paths(reports: Sequence[CellReport]) -> str:
    said = []
    for one in reports:
        paths = one.after.flow.paths
        if paths is None:
            continue
        kept = paths.time_constants[(paths.time_constants > 0) & np.isfinite(paths.time_constants)]
        middle = f"; median time constant {np.median(kept):.3g} steps" if kept.size else ""
        said.append(
            f"{one.name}, after training: through the carry alone a gradient changes by "
            f"{_per_step(paths.carry_rate)}, through all other ways together "
            f"{_per_step(paths.product_rate)}{middle}."
        )
    return " ".join(said)


def _lag_maps(reports: Sequence[CellReport]) -> str:
    said, lag = [], 1
    for one in reports:
        values = []
        for when in (one.before, one.after):
            found = when.flow.lags
            lag = int(found.lags[(len(found.lags) - 1) // 2])
            values.append(format_power(np.nanmedian(found.log_norms[:, found.lags == lag])))
        said.append(f"{one.name} {values[0]} before training, {values[1]} after")
    return f"Over a lag of {lag}, the median of all times: {'; '.join(said)}."


def _exponents(reports: Sequence[CellReport]) -> str:
    said = []
    for one in reports:
        if one.before.flow.exponents is None or one.after.flow.exponents is None:
            continue
        before, after = (np.mean(when.flow.exponents, axis=0) for when in (one.before, one.after))
        count = len(after)
        slow = [int(np.sum(values > -math.log(2) / 10)) for values in (before, after)]
        said.append(
            f"{one.name} {before[0]:+.3f} before training, {after[0]:+.3f} after, and "
            f"{slow[0]} and {slow[1]} of the first {count} lose less than half in ten steps"
        )
    return f"The largest exponent, in nats per step: {'; '.join(said)}." if said else ""


def _numbers(name: str, reports: Sequence[CellReport]) -> str:
    if name == "comparison.png":
        return f"{_rates(reports, 'state')}."
    if name == "loss_gradient.png":
        return f"{_rates(reports, 'loss')}."
    writers = {
        "contributions.png": _contributions,
        "gates.png": _paths,
        "lags.png": _lag_maps,
        "spectrum.png": _exponents,
    }
    measured = [one for one in reports if one.before.flow and one.after.flow]
    return writers[name](measured) if name in writers and measured else ""


def report_figures(reports: Sequence[CellReport], pictures: Mapping[str, bytes]) -> list[Figure]:
    """Puts captions to pictures.

    Args:
      reports: one a cell.
      pictures: as `draw_pictures` returns.

    Returns:
      The figures of the page, in the pictures' order.
    """
    return [
        Figure(*_CAPTIONS[name], _numbers(name, reports), picture)
        for name, picture in pictures.items()
    ]
