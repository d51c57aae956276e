"""Looks at how gradients flow while a network is trained."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis import gradient_decay, lyapunov_spectrum
from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array, Input, Key, Params

__all__ = ["Monitor", "Monitored", "flow_monitor", "record"]

# With these a probe costs about as much as one or two training steps on 32 sequences.
_EVERY = 100
_STEPS = 64
_SEQUENCES = 8


class Monitor(NamedTuple):
    """What `fit` measures between steps.

    Attributes:
      measure: ``(params) -> dict`` of arrays, pure; `fit` compiles it.
      every: training steps between two measurements.
    """

    measure: Callable[[Params], dict[str, Array]]
    every: int = _EVERY


class Monitored(NamedTuple):
    """What a monitor saw.

    Attributes:
      steps: ``(n,)``, the training steps done before each measurement, 0 the first.
      metrics: dict of NumPy arrays ``(n, ...)``: what the monitor measures, and ``loss``,
        ``grad_norm`` and ``clip_fraction``, means over the steps since the measurement before (NaN
        at the first).
    """

    steps: np.ndarray
    metrics: dict[str, np.ndarray]


def flow_monitor(
    cell: Cell,
    xs: Input,
    *,
    select: Callable[[Params], Params] | None = None,
    k: int = 4,
    every: int = _EVERY,
    key: Key | None = None,
) -> Monitor:
    """Makes a cheap probe of gradient flow on fixed inputs, for ``fit(..., monitor=...)``.

    It measures the first k Lyapunov exponents and the decay rate of the gradient over the inputs,
    cut to 64 steps of 8 sequences, means over the sequences: at the default interval less than 5 %
    of the time that training on batches of 32 sequences takes.

    Args:
      cell: the cell that is trained.
      xs: ``(T, *batch, features)``, inputs to measure on.
      select: picks the cell's parameters out of all that are trained, such as ``lambda p: p[0]``
        for the first layer of a stack; all of them if not given.
      k: number of exponents, at most the size of the state.
      every: training steps between two measurements.
      key: for directions; ``jax.random.key(0)`` if not given.

    Returns:
      A monitor that measures ``exponents`` ``(k,)`` and ``decay_rate``, both in nats per step.

    Raises:
      TypeError: `cell` is no `Cell`.
      ValueError: `k` or `every` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = lstm(3, 5)
      >>> monitor = flow_monitor(cell, jnp.ones((20, 2, 3)), k=2)
      >>> monitor.measure(cell.init(jax.random.key(0)))["exponents"].shape
      (2,)
    """
    check_cell_type(cell, by="flow_monitor")
    k = check_size("k", k, by="flow_monitor")
    every = check_size("every", every, by="flow_monitor")
    key = jax.random.key(0) if key is None else key

    def cut(leaf):
        leaf = jnp.asarray(leaf)[:_STEPS]
        batched = leaf.ndim > (1 if jnp.issubdtype(leaf.dtype, jnp.integer) else 2)
        return leaf[:, :_SEQUENCES] if batched else leaf

    xs = jax.tree.map(cut, xs)

    def measure(params):
        own = params if select is None else select(params)
        spectrum = lyapunov_spectrum(cell, own, xs, k=k, key=key, qr_every=1)
        decay = gradient_decay(cell, own, xs, norm="frobenius", num_probes=k, key=key)
        exponents = spectrum.exponents.reshape(-1, k)
        return {"exponents": jnp.mean(exponents, axis=0), "decay_rate": jnp.mean(decay.rate)}

    return Monitor(measure, every)


def record(seen: list[tuple[int, dict[str, Any]]], metrics: Any) -> Monitored:
    """Puts what a monitor saw beside the metrics of the steps in between.

    Args:
      seen: pairs of a number of steps done and what was measured then.
      metrics: `Metrics` of all steps.

    Returns:
      The record.
    """
    steps = np.array([step for step, _ in seen])
    measured = {name: np.stack([one[name] for _, one in seen]) for name in seen[0][1]}

    def means(values):
        parts = [values[a:b] for a, b in zip(steps[:-1], steps[1:], strict=True)]
        return np.array([np.nan, *(np.mean(part, dtype=np.float64) for part in parts)])

    own = {
        "loss": means(metrics.loss),
        "grad_norm": means(metrics.grad_norm),
        "clip_fraction": means(metrics.clipped),
    }
    return Monitored(steps, own | measured)
