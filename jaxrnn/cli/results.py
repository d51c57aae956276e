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
from jaxrnn.cli.measure import CellReport, Curve, GradientReport, Rate

__all__ = ["format_half_life", "format_rate", "make_json", "table_rows", "verdict", "versions"]

_PACKAGES = ("jax", "jaxlib", "numpy", "optax")


def _plain(value: Any) -> Any:
    """Turns arrays and non-finite numbers into what JSON has; infinities become strings."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def versions() -> dict[str, str]:
    """Returns the versions that the numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"jaxrnn": __version__, "python": platform.python_version(), **found}


def _curve(curve: Curve) -> dict[str, Any]:
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
        "state_jacobian": _curve(report.state),
        "loss_gradient": _curve(report.loss),
        "pascanu_bound": report.pascanu,
        "data_dependent_bound": report.data_dependent,
    }


def _tail(values: np.ndarray) -> float:
    """Returns the mean over the last tenth, skipped steps left out."""
    last = values[-max(1, len(values) // 10) :]
    return float(np.mean(last[np.isfinite(last)])) if np.isfinite(last).any() else math.nan


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
    device = jax.devices()[0]
    data = {
        "units": "log norms in nats, rates in nats per step, half-lives in steps",
        "versions": versions(),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "settings": settings,
        "task": info,
        "cells": {report.name: _cell(report) for report in reports},
    }
    return json.dumps(_plain(data), indent=1, allow_nan=False) + "\n"


def format_rate(rate: Rate) -> str:
    """Writes a rate with its standard error, as in ``-0.2605 ± 0.0066``."""
    if not math.isfinite(rate.rate):
        return "dies (exactly 0)" if rate.rate == -math.inf else "not finite"
    error = f" ± {rate.stderr:.4f}" if math.isfinite(rate.stderr) else ""
    some = f" ({rate.dead} of {rate.sequences} die)" if rate.dead else ""
    return f"{rate.rate:+.4f}{error}{some}"


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
