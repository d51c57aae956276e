"""Functions timed side by side."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["Failures", "summary", "timed"]

Failures = dict[str, Exception]


def timed(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warmups: int = 1,
    failures: Failures | None = None,
) -> dict[str, np.ndarray]:
    """Runs all functions once in each round, each round in another order.

    What a machine does beside the work (clocks, heat, neighbours) then meets all of them alike.

    Args:
      functions: by name; each waits for its own result.
      rounds: how often each is timed.
      warmups: how often each runs before.
      failures: takes the exceptions of functions that fail, which are left out from there on; if
        not given, the exception is raised.

    Returns:
      Seconds of each round by name, without those that failed.
    """
    shuffle = random.Random(0).shuffle  # the same orders every time
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(-warmups, rounds):
        names = list(seconds)
        shuffle(names)
        for name in names:
            start = time.perf_counter()
            try:
                functions[name]()
            except Exception as error:
                if failures is None:
                    raise
                failures[name] = error
                del seconds[name]
                continue
            if index >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def summary(seconds: np.ndarray, *, steps: int, floor: float | None = None) -> dict[str, float]:
    """Describes the times of one function.

    Args:
      seconds: ``(rounds,)``.
      steps: T, steps a run.
      floor: seconds that no program can go below on this machine.

    Returns:
      Median, 10 % and 90 % quantile in milliseconds, the median in microseconds a step, and over
      the floor.
    """
    low, median, high = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    found = {
        "ms": 1e3 * median,
        "p10_ms": 1e3 * low,
        "p90_ms": 1e3 * high,
        "us_per_step": 1e6 * median / steps,
    }
    return found if floor is None else found | {"over_floor": median / floor}
