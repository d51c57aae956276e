"""What stands in tables: times of others over ours, and their means."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from jaxrnn.bench.contenders import OURS

__all__ = ["best_mean", "best_other", "by_cell", "geometric_mean", "our_way", "ratio_to", "time_of"]

_JAX = ("textbook", "flax", "haiku", "equinox", "keras", "jax_cudnn")
_OTHERS = (*_JAX, "torch")


def our_way(row: Mapping[str, Any]) -> str:
    """Returns which of the library's own ways is compared: `unroll` where OURS does not apply."""
    status = row["contenders"].get(OURS, {}).get("status")
    return "unroll" if status == "not applicable" else OURS


def time_of(row: Mapping[str, Any], name: str, mode: str) -> float | None:
    """Returns a contender's median in milliseconds, None where it was not measured."""
    return row["contenders"].get(name, {}).get(mode, {}).get("ms")


def ratio_to(row: Mapping[str, Any], name: str, mode: str) -> float | None:
    """Returns another's time over ours, above 1 where ours is faster; None without both."""
    theirs, mine = time_of(row, name, mode), time_of(row, our_way(row), mode)
    return None if theirs is None or mine is None else theirs / mine


def best_other(
    row: Mapping[str, Any], mode: str, *, jax_only: bool = False
) -> tuple[str, float] | None:
    """Returns the fastest that is not the library's, and its time over ours.

    Args:
      row: as of `measure_problem`.
      mode: "train" or "infer".
      jax_only: leave torch out.

    Returns:
      Name and ratio; None where there is none, or ours was not measured.
    """
    found = {
        name: ratio
        for name in (_JAX if jax_only else _OTHERS)
        if (ratio := ratio_to(row, name, mode)) is not None
    }
    return min(found.items(), key=lambda pair: pair[1], default=None)


def by_cell(data: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns the rows of every cell, by the cell's name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in data["cases"]:
        found.setdefault(row["cell"], []).append(row)
    return found


def best_mean(
    rows: Iterable[Mapping[str, Any]], mode: str, *, jax_only: bool = False
) -> float | None:
    """Returns the geometric mean over the rows of the ratios of `best_other`."""
    found = (best_other(row, mode, jax_only=jax_only) for row in rows)
    return geometric_mean(one and one[1] for one in found)


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Returns the geometric mean of what is there, None if nothing is."""
    there = [value for value in values if value is not None]
    if not there or not all(math.isfinite(value) and value > 0 for value in there):
        return None
    return statistics.geometric_mean(there)
