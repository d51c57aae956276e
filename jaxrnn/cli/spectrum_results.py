"""The results of `jaxrnn spectrum` as numbers, tables and sentences."""

import math
from typing import Any

import numpy as np

from jaxrnn.cli.measure import Rate, rate_of
from jaxrnn.cli.results import (
    curve_as_json,
    format_half_life,
    format_power,
    format_rate,
    gates_as_json,
    origins,
    write_json,
)
from jaxrnn.cli.spectra import SpectrumReport
from jaxrnn.train import Metrics

__all__ = [
    "exponent_rates",
    "qr_gap",
    "spectrum_json",
    "spectrum_rows",
    "spectrum_verdict",
    "summary_rows",
]


def exponent_rates(report: SpectrumReport) -> list[Rate]:
    """Returns each exponent over the sequences, with its standard error."""
    found = report.lyapunov
    return [rate_of(found.exponents[:, i], found.stderr[:, i]) for i in range(_count(report))]


def _count(report: SpectrumReport) -> int:
    return report.lyapunov.exponents.shape[1]


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the sequences; minus infinity where a direction dies in one."""
    with np.errstate(invalid="ignore"):
        return np.mean(values, axis=0, dtype=np.float64)


def qr_gap(report: SpectrumReport) -> np.ndarray:
    """Returns by how many nats N times each exponent misses the singular value, ``(k,)``."""
    steps = report.singular.steps[-1]
    with np.errstate(invalid="ignore"):
        gap = report.lyapunov.exponents * float(steps) - report.singular.logs[-1]
        return np.mean(gap, axis=0, dtype=np.float64)


def spectrum_json(
    report: SpectrumReport,
    settings: dict[str, Any],
    info: dict[str, Any],
    *,
    metrics: Metrics | None,
) -> str:
    """Returns spectrum.json: all numbers, and what they depend on; written as report.json is.

    Args:
      report: the numbers.
      settings: of the run.
      info: of the task.
      metrics: of the training; None without.
    """
    found, values = report.lyapunov, report.singular
    rates = exponent_rates(report)
    data = {
        "units": "logarithms in nats, rates and exponents in nats per step, times in steps; lists "
        "by sequence first",
        **origins(settings, info),
        "state_size": report.state_size,
        "counted_steps": len(found.history),
        "lyapunov": {
            "mean": [one.rate for one in rates],
            "stderr": [one.stderr for one in rates],
            "exponents": found.exponents,
            "stderr_by_sequence": found.stderr,
            "kaplan_yorke_dimension": found.kaplan_yorke_dimension,
            "entropy": found.entropy,
            "qr_every": found.qr_every,
            "reliable": found.reliable,
        },
        "singular_values": {
            "steps": values.steps[-1],
            "log_singular_values": values.logs[-1],
            "error_bound": values.error_bound[-1],
            "reliable": values.reliable[-1],
            "qr_estimate_error": qr_gap(report),
            "by_steps": {"steps": values.steps, "log_singular_values": values.logs},
        },
        "gradient_decay": curve_as_json(report.decay),
        "bounds": {
            "pascanu": report.pascanu,
            "pascanu_rate": report.pascanu_rate,
            "data_dependent": report.data_dependent,
            "data_dependent_rate": report.data_dependent_rate.rate,
            "data_dependent_stderr": report.data_dependent_rate.stderr,
        },
        "lag_matrix": report.lags._asdict(),
        "gates": None if report.paths is None else gates_as_json(report.paths),
        "training": None
        if metrics is None
        else {
            "loss": metrics.loss,
            "grad_norm": metrics.grad_norm,
            "clip_fraction": metrics.clip_fraction,
            "skipped_steps": int(metrics.skipped.sum()),
        },
    }
    return write_json(data)


def _number(value: float, digits: int = 4) -> str:
    if math.isfinite(value):
        return f"{value:+.{digits}f}"
    return "dies" if value == -math.inf else "not finite"


def _flag(reliable: np.ndarray) -> str:
    return "" if reliable.all() else " (not reliable)"


def spectrum_rows(report: SpectrumReport) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of the table of spectra, as text."""
    values, steps = report.singular, report.singular.steps[-1]
    header = ["i", "exponent", f"log sigma_i over {steps} steps", "error below", "by QR alone"]
    rows = []
    logs, gaps = _mean(values.logs[-1]), qr_gap(report)
    for i, rate in enumerate(exponent_rates(report)):
        rows.append(
            [
                str(i + 1),
                format_rate(rate) + _flag(report.lyapunov.reliable[:, i]),
                _number(logs[i], 3) + _flag(values.reliable[-1, :, i]),
                f"{values.error_bound[-1, :, i].max():.1e}",
                f"{gaps[i]:+.2f}" if math.isfinite(gaps[i]) else "-",
            ]
        )
    return header, rows


def _dimension(report: SpectrumReport) -> str:
    values = report.lyapunov.kaplan_yorke_dimension
    if np.isnan(values).any():
        return f"more than {_count(report)}; a larger --k tells"
    return f"{values.mean():.3f} of {report.state_size}"


def _entropy(report: SpectrumReport) -> str:
    values = report.lyapunov.entropy
    if np.isnan(values).any():
        known = np.maximum(report.lyapunov.exponents, 0).sum(axis=1).mean()
        return f"more than {known:.4f} nats per step; a larger --k tells"
    return f"{values.mean():.4f} nats per step"


def _median_time(report: SpectrumReport) -> str:
    times = report.paths.time_constants
    middle = np.quantile(times[~np.isnan(times)], 0.5, method="nearest")
    return f"{middle:.3g} steps"


def summary_rows(report: SpectrumReport) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of the table of single numbers, as text."""
    reliable = report.lyapunov.reliable
    pascanu = "does not speak of this cell"
    if report.pascanu_rate is not None:
        pascanu = f"at most {_number(report.pascanu_rate)} nats per step"
    rows = [
        ["Kaplan-Yorke dimension", _dimension(report)],
        ["entropy (upper bound)", _entropy(report)],
        ["QR every", f"{int(report.lyapunov.qr_every)} steps"],
        ["reliable exponents", f"{int(reliable.all(axis=0).sum())} of {_count(report)}"],
        ["gradient decay rate", f"{format_rate(report.decay.rate)} nats per step"],
        ["gradient half-life", f"{format_half_life(report.decay.rate)} steps"],
        ["bound of Pascanu et al.", pascanu],
        ["product of step norms", f"{format_rate(report.data_dependent_rate)} nats per step"],
    ]
    if report.paths is not None:
        rows += [
            ["through the carry alone", f"{_number(report.paths.carry_rate)} nats per step"],
            ["through all other ways", f"{_number(report.paths.product_rate)} nats per step"],
            ["median time constant", _median_time(report)],
        ]
    return ["measured", "value"], rows


def _leading(report: SpectrumReport) -> str:
    first = exponent_rates(report)[0]
    if first.rate == -math.inf:
        return "Every direction dies: the state forgets its past exactly."
    what = f"The largest Lyapunov exponent is {format_rate(first)} nats per step"
    error = first.stderr if math.isfinite(first.stderr) else 0.0
    if abs(first.rate) <= 2 * error:
        return f"{what}: not told from zero, the edge between forgetting and chaos."
    if first.rate > 0:
        return f"{what}: chaos. A small change of the state grows {math.e:.3g}-fold in " + (
            f"{1 / first.rate:.1f} steps, and gradients explode."
        )
    return (
        f"{what}: a small change of the state shrinks by half in {format_half_life(first)} steps."
    )


def spectrum_verdict(report: SpectrumReport) -> list[str]:
    """Says in sentences what was found."""
    said = [_leading(report)]
    steps, logs, gaps = report.singular.steps[-1], _mean(report.singular.logs[-1]), qr_gap(report)
    finite = logs[np.isfinite(logs)]
    if finite.size:
        dead = f"; {logs.size - finite.size} die exactly" if finite.size < logs.size else ""
        said.append(
            f"Over {steps} steps the {logs.size} largest singular values of the Jacobian go from "
            f"{format_power(finite[0])} to {format_power(finite[-1])}{dead}."
        )
    missed = np.abs(gaps[np.isfinite(gaps)])
    if missed.size:
        said.append(
            f"Exponents times {steps} steps, often reported in their place, miss them by up to "
            f"{missed.max():.2f} nats (a factor of {math.exp(min(missed.max(), 700)):.3g})."
        )
    said.append(
        f"The gradient's norm changes at {format_rate(report.decay.rate)} nats per step; "
        f"the product of the steps' norms allows {format_rate(report.data_dependent_rate)}"
        + (
            f", the theorem of Pascanu et al. {_number(report.pascanu_rate)}."
            if report.pascanu_rate is not None
            else "."
        )
    )
    if report.paths is not None:
        said.append(
            f"Through the carry alone it would change at {_number(report.paths.carry_rate)} nats "
            f"per step, through all other ways at {_number(report.paths.product_rate)}; the median "
            f"time constant of a unit is {_median_time(report)}."
        )
    return said
