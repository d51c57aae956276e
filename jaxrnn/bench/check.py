"""The comparison that comes before any timing."""

import jax
import numpy as np

from jaxrnn.bench.problem import PRECISIONS, Problem
from jaxrnn.bench.program import Results

__all__ = ["errors", "find_fault"]

_PARTS = {
    "outputs": "outputs",
    "inputs": "gradient of the inputs",
    "parameters": "gradients of the parameters",
}


def _error(got, expected) -> float:
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return float("inf")
    largest = np.max(np.abs(expected), initial=0.0)
    return float(np.max(np.abs(got - expected), initial=0.0) / (largest or 1.0))


def errors(got: Results, expected: Results) -> dict[str, float]:
    """Returns by how much results are off, as a part of the largest value of each array.

    Args:
      got: the results of a contender.
      expected: those of the textbook scan.

    Returns:
      The errors by name of the part; of the parameters' gradients the largest.
    """
    found = {}
    for name in _PARTS:
        pairs = zip(
            jax.tree.leaves(getattr(got, name)),
            jax.tree.leaves(getattr(expected, name)),
            strict=True,
        )
        each = [_error(*pair) for pair in pairs]
        # max() would pass over a NaN that is not the first.
        found[name] = float("nan") if np.any(np.isnan(each)) else max(each, default=0.0)
    return found


def find_fault(found: dict[str, float], problem: Problem) -> str | None:
    """Says what is wrong with a contender's results, or returns None.

    Args:
      found: its errors.
      problem: what it ran on; its precision says how much is allowed.

    Returns:
      One readable text with every part that is off, or None.
    """
    allowed = PRECISIONS[problem.precision].tolerance
    wrong = [
        f"{_PARTS[name]} off by {error:.1e} of the largest value"
        for name, error in found.items()
        if not error <= allowed
    ]
    if not wrong:
        return None
    return f"{' and '.join(wrong)}; allowed: {allowed:.0e} in {problem.precision}"
