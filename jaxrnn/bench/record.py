"""The file of results."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from jaxrnn.bench.contenders import CONTENDERS
from jaxrnn.bench.machine import Machine
from jaxrnn.bench.place import place

__all__ = ["as_json", "packages_of", "record"]


def packages_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the libraries whose contenders were measured."""
    names = {
        name
        for row in rows
        for name, facts in row["contenders"].items()
        if facts["status"] == "measured" and name in CONTENDERS
    }
    return sorted({CONTENDERS[name].package for name in names} - {"jax", "jaxrnn"})


def record(
    rows: list[dict[str, Any]],
    *,
    machines: Mapping[str, Machine] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Returns what goes into a file: where it was measured, how, and the rows.

    Args:
      rows: as of `measure_problem`.
      machines: the measured limits by precision.
      **settings: of the run, such as ``rounds``.
    """
    limits = {
        name: {
            "gflops": machine.flops / 1e9,
            "copy_gb_per_s": None if machine.bandwidth is None else machine.bandwidth / 1e9,
            "handover_us": 1e6 * machine.handover,
        }
        for name, machine in (machines or {}).items()
    }
    return {"place": place(packages_of(rows)), "limits": limits, **settings, "cases": rows}


def _rounded(value: Any) -> Any:
    """Keeps four digits, which is more than a time has."""
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def as_json(data: Mapping[str, Any]) -> str:
    """Returns a JSON text with floats to four digits; NaN and infinities become strings."""

    def plain(value):
        if isinstance(value, Mapping):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return str(value) if isinstance(value, float) and value - value != 0 else value

    return json.dumps(plain(_rounded(data)), indent=1, allow_nan=False) + "\n"
