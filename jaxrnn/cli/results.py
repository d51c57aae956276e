"""The report as numbers: report.json and the table."""

import importlib.metadata
import json
import math
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxrnn._version import __version__
from jaxrnn.cli.flows import FlowReport, GatePaths
from jaxrnn.cli.measure import CellReport, Curve, GradientReport, Rate

__all__ = [
    "curve_as_json",
    "format_half_life",
    "format_power",
    "format_rate",
    "gates_as_json",
    "make_json",
    "origins",
    "plain",
    "table_rows",
    "verdict",
    "versions",
    "write_json",
]

_PACKAGES = ("jax", "jaxlib", "numpy", "optax")


def plain(value: Any) -> Any:
    """Turns arrays and non-finite numbers into what JSON has; infinities become strings."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def versions() -> dict[str, str]:
    """Returns the versions that the numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"jaxrnn": __version__, "python": platform.python_version(), **found}


def origins(settings: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Returns what all numbers of a file depend on.

    Args:
      settings: of the run.
      info: of the task.
    """
    device = jax.devices()[0]
    return {
        "versions": versions(),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "settings": settings,
        "task": info,
    }


def write_json(data: dict[str, Any]) -> str:
    """Returns a JSON text; arrays become lists, infinities and NaN strings."""
    return json.dumps(plain(data), indent=1, allow_nan=False) + "\n"


def curve_as_json(curve: Curve) -> dict[str, Any]:
    """Returns what stands of a curve in the JSON file."""
    return {
        "rate": curve.rate.rate,
        "stderr": curve.rate.stderr,
        "half_life": curve.rate.half_life,
        "dead_sequences": curve.rate.dead,
        "lags": np.arange(1, len(curve.log_norms) + 1),
        "log_norms_median": np.median(curve.log_norms, axis=1),
        "log_norms": curve.log_norms.T,
    }


def _gradients(report: GradientReport) -> dict[str, Any]:
    return {
        "state_jacobian": curve_as_json(report.state),
        "loss_gradient": curve_as_json(report.loss),
        "pascanu_bound": report.pascanu,
        "data_dependent_bound": report.data_dependent,
        **({} if report.flow is None else _flow(report.flow)),
    }


def _tail(values: np.ndarray) -> float:
    """Returns the mean over the last tenth, skipped steps left out."""
    last = values[-max(1, len(values) // 10) :]
    return float(np.mean(last[np.isfinite(last)])) if np.isfinite(last).any() else math.nan


def gates_as_json(paths: GatePaths) -> dict[str, Any]:
    """Returns what stands of the gates' paths in the JSON file; medians over the sequences."""
    times = paths.time_constants[~np.isnan(paths.time_constants)]
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    # Neighbours, because between two infinite ones there is no number.
    quantiles = np.quantile(times, levels, method="nearest")
    return {
        "log_growth_median": np.median(paths.whole, axis=1),
        "carry_log_growth_median": np.median(paths.carry, axis=1),
        "product_log_growth_median": np.median(paths.product, axis=1),
        "carry_rate": paths.carry_rate,
        "product_rate": paths.product_rate,
        "time_constant_quantiles": dict(zip(map(str, levels), quantiles, strict=True)),
    }


def _flow(flow: FlowReport) -> dict[str, Any]:
    parts = flow.contributions
    return {
        "lyapunov_exponents": flow.exponents,
        "lag_matrix": flow.lags._asdict(),
        "gates": None if flow.paths is None else gates_as_json(flow.paths),
        "parameter_gradient_by_lag": {
            "lags": parts.lags,
            "share": parts.share,
            "cumulative_share": parts.cumulative,
            "steps_for_90_percent": parts.horizon,
        },
    }


def _cell(report: CellReport) -> dict[str, Any]:
    metrics = report.metrics
    return {
        "parameters": report.parameters,
        "first_loss": metrics.loss[0],
        "final_loss": _tail(metrics.loss),
        "clip_fraction": metrics.clip_fraction,
        "skipped_steps": int(metrics.skipped.sum()),
        "loss": metrics.loss,
        "grad_norm": metrics.grad_norm,
        "before": _gradients(report.before),
        "after": _gradients(report.after),
    }


def make_json(reports: Sequence[CellReport], settings: dict[str, Any], info: dict[str, Any]) -> str:
    """Returns report.json: all numbers, and what they depend on.

    Logarithms are natural, rates in nats per step, half-lives in steps; infinities and NaN are the
    strings "inf", "-inf", "nan". It holds no time of day and no duration, so that one seed gives
    one file on one machine.

    Args:
      reports: one a cell.
      settings: of the run.
      info: of the task.
    """
    units = (
        "log norms in nats, rates and exponents in nats per step, half-lives and time constants in "
        "steps"
    )
    cells = {report.name: _cell(report) for report in reports}
    return write_json({"units": units, **origins(settings, info), "cells": cells})


def format_rate(rate: Rate) -> str:
    """Writes a rate with its standard error, as in ``-0.2605 ± 0.0066``."""
    if not math.isfinite(rate.rate):
        return "dies (exactly 0)" if rate.rate == -math.inf else "not finite"
    error = f" ± {rate.stderr:.4f}" if math.isfinite(rate.stderr) else ""
    some = f" ({rate.dead} of {rate.sequences} die)" if rate.dead else ""
    return f"{rate.rate:+.4f}{error}{some}"


def format_power(nats: float) -> str:
    """Writes ``exp(nats)`` as a decimal number, also where no float holds it."""
    if not math.isfinite(nats):
        return "exactly 0" if nats == -math.inf else "not finite"
    power = math.floor(nats / math.log(10))
    digits = f"{math.exp(nats - power * math.log(10)):.1f}"
    return f"1.0e{power + 1:+d}" if digits == "10.0" else f"{digits}e{power:+d}"


def format_half_life(rate: Rate) -> str:
    """Writes the steps over which the norm halves, or doubles."""
    if math.isnan(rate.half_life):
        return "-"
    if math.isinf(rate.half_life):
        return "never"
    if rate.half_life < 0:
        return f"doubles in {-rate.half_life:.1f}"
    return f"{rate.half_life:.1f}"


def table_rows(reports: Sequence[CellReport], *, full: bool) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of the report's table, as text.

    Args:
      reports: one a cell.
      full: whether to name the numbers of parameters and of skipped steps too, for which a terminal
        has no room.
    """
    header = [
        "cell",
        "loss",
        "rate before",
        "rate after",
        "half-life",
        "dL/ds half-life",
        "clipped",
    ]
    rows = []
    for report in reports:
        metrics = report.metrics
        row = [
            report.name,
            f"{metrics.loss[0]:.2f} to {_tail(metrics.loss):.2f}",
            format_rate(report.before.state.rate),
            format_rate(report.after.state.rate),
            format_half_life(report.after.state.rate),
            format_half_life(report.after.loss.rate),
            f"{100 * metrics.clip_fraction:.1f} %",
        ]
        extra = [f"{report.parameters:,}", str(int(metrics.skipped.sum()))]
        rows.append([*row, *extra] if full else row)
    return [*header, "parameters", "skipped"] if full else header, rows


def _compare(plain: CellReport, report: CellReport) -> str:
    """Says in a sentence whether gates help, and how sure that is."""
    ours, theirs = plain.after.state.rate, report.after.state.rate
    gap, error = theirs.rate - ours.rate, math.hypot(ours.stderr, theirs.stderr)
    what = f"by {abs(gap):.4f} ± {error:.4f} nats per step"
    who = "The gradient through the plain network (elman)"
    if not abs(gap) > 2 * error:
        return f"{who} does not differ from that through {report.name} ({what})."
    if ours.rate > 0:
        verb = "grows faster" if gap < 0 else "grows more slowly"
        return f"{who} explodes: it {verb} than that through {report.name}, {what}."
    if theirs.rate > 0:
        return f"{who} decays; that through {report.name} explodes ({what})."
    if gap > 0:
        return f"{who} decays faster than through {report.name}, {what}."
    return (
        f"{who} decays more slowly than through {report.name}, {what}: here the gates do not help."
    )


def verdict(reports: Sequence[CellReport]) -> list[str]:
    """Says in sentences which network keeps gradients longest, and how sure that is.

    Args:
      reports: one a cell, in the order asked for.

    Returns:
      Sentences: one for each network without a rate; one that ranks the others; one that compares
      each with the plain network where that is among them (a difference of at most two standard
      errors is called none); one about what reaches the loss.
    """
    sentences = []
    for report in reports:
        rate = report.after.state.rate.rate
        if rate == -math.inf:
            sentences.append(f"The gradient of {report.name} dies exactly: no rate describes it.")
        elif not math.isfinite(rate):
            sentences.append(f"The gradient of {report.name} is not finite: it has no rate.")
    finite = [r for r in reports if math.isfinite(r.after.state.rate.rate)]
    if not finite:
        return sentences
    ranked = sorted(finite, key=lambda r: r.after.state.rate.rate, reverse=True)
    rates = [f"{r.name} ({format_rate(r.after.state.rate)} nats per step)" for r in ranked]
    sentences.append(f"After training, the longest memory first: {', '.join(rates)}.")
    plain = next((r for r in finite if r.name == "elman"), None)
    if plain is not None:
        sentences.extend(_compare(plain, report) for report in finite if report is not plain)
    lives = ", ".join(f"{r.name} {format_half_life(r.after.loss.rate)}" for r in ranked)
    sentences.append(f"Half-life, in steps, of what reaches the last step's loss: {lives}.")
    return sentences
