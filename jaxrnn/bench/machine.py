"""What the machine can do at best, and the time below which no program comes on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.bench.problem import Problem
from jaxrnn.bench.timing import timed

__all__ = ["Machine", "floor", "measure_machine"]

# Seconds that one step hands its state on in: between cores; between the processors of a GPU. A
# kernel that keeps a sequence on one processor can go below the second.
_HANDOVER = {"cpu": 0.1e-6}
_HANDOVER_ELSEWHERE = 0.9e-6
_BYTES = 4  # of a float32


class Machine(NamedTuple):
    """Measured limits.

    Attributes:
      flops: floating-point operations a second of a large matrix product.
      bandwidth: bytes a second of a large copy, read and written; None where caches hide it.
      handover: seconds from one step to the next at least.
    """

    flops: float
    bandwidth: float | None
    handover: float


def _best(function, *arguments) -> float:
    compiled = jax.jit(function).lower(*arguments).compile()
    run = {"": lambda: jax.block_until_ready(compiled(*arguments))}
    return float(timed(run, 15)[""].min())


def measure_machine(problem: Problem, *, size: int | None = None) -> Machine:
    """Measures the device on which a problem lies, in the problem's precision.

    Args:
      problem: any.
      size: of the square matrices that are multiplied.

    Returns:
      The limits, from the best of fifteen runs.
    """
    on_cpu = problem.platform == "cpu"
    size = size or (1024 if on_cpu else 8192)
    square = jnp.ones((size, size), jnp.float32)
    with problem.at_precision():
        flops = 2 * size**3 / _best(jnp.dot, square, square)
    bandwidth = None
    if not on_cpu:
        bandwidth = 2 * square.nbytes / _best(lambda a: a + 1, square)
    return Machine(flops, bandwidth, _HANDOVER.get(problem.platform, _HANDOVER_ELSEWHERE))


def floor(problem: Problem, machine: Machine) -> dict[str, float]:
    """Returns the seconds that the work takes at the machine's limits.

    With F operations forward, 2 F backward, and T steps one after the other, of which each
    multiplies the state by the recurrent weights:

        t_step = max(t_handover, 2 B G H^2 / P)
        t = max(F / P, bytes / bandwidth, T t_step)

    The bytes are those that have to be read and written if everything else stays in caches.

    Args:
      problem: the work.
      machine: the limits.

    Returns:
      ``infer`` and ``train`` (forward and backward).

    Reference:
      S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
      multicore architectures", 2009.
    """
    batch, steps, inputs, hidden = problem.case
    gates, rows = problem.gates, steps * batch
    weights = gates * hidden * (inputs + hidden)
    work = 2 * rows * weights
    step = max(machine.handover, 2 * batch * gates * hidden * hidden / machine.flops)

    def at_least(work, numbers):
        moved = 0.0 if machine.bandwidth is None else _BYTES * numbers / machine.bandwidth
        return max(work / machine.flops, moved, steps * step)

    infer = at_least(work, rows * (inputs + hidden) + weights)
    forward = at_least(work, rows * (inputs + gates * hidden + 2 * hidden) + weights)
    backward = at_least(2 * work, rows * (gates * hidden + 3 * hidden + 2 * inputs) + 2 * weights)
    return {"infer": infer, "train": forward + backward}
