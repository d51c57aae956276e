"""The report's numbers: train a network on a task, measure its gradients before and after."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn.analysis import bounds, fit_rate, gradient_decay, loss_gradient_profile
from jaxrnn.core.cell import Cell
from jaxrnn.core.trees import num_parameters
from jaxrnn.layers import layer, readout, stack
from jaxrnn.tasks import Batch, Task
from jaxrnn.train import FitResult, Metrics, cross_entropy, fit, sampled, squared_error

__all__ = ["CellReport", "Curve", "GradientReport", "Rate", "measure_cell", "rate_of"]


class Rate(NamedTuple):
    """A decay rate over several sequences.

    Attributes:
      rate: mean over the sequences whose gradient does not die, nats per step; negative where
        gradients vanish; ``-inf`` where every sequence's gradient dies (is exactly zero).
      stderr: standard error of that mean: from the spread between the sequences, or from within
        where there is one sequence.
      half_life: steps over which the norm halves; negative: over which it doubles.
      dead: number of sequences whose gradient dies.
      sequences: number of sequences.
    """

    rate: float
    stderr: float
    half_life: float
    dead: int = 0
    sequences: int = 0


class Curve(NamedTuple):
    """A norm against the lag, with its rate.

    Attributes:
      log_norms: ``(T, sequences)`` in nats, at lags 1 to T.
      rate: the fitted rate.
    """

    log_norms: np.ndarray
    rate: Rate


class GradientReport(NamedTuple):
    """What is measured of one network at one time.

    Attributes:
      state: ``|| d s_T / d s_{T-lag} ||``.
      loss: ``|| d L_T / d s_{T-lag} ||``, the loss at the last counted step alone.
      pascanu: ``(T,)`` in nats, or None where that bound does not speak of the cell.
      data_dependent: ``(T,)`` in nats, median over the sequences.
    """

    state: Curve
    loss: Curve
    pascanu: np.ndarray | None
    data_dependent: np.ndarray


class CellReport(NamedTuple):
    """All about one cell.

    Attributes:
      name: its name in CELLS.
      parameters: number of parameters, the readout's included.
      metrics: of every training step.
      before: at the initial parameters.
      after: after training.
    """

    name: str
    parameters: int
    metrics: Metrics
    before: GradientReport
    after: GradientReport


def rate_of(rates: np.ndarray, stderrs: np.ndarray) -> Rate:
    """Combines the rates of several sequences.

    Args:
      rates: ``(sequences,)`` in nats per step.
      stderrs: ``(sequences,)``, each sequence's own error, used where there is one sequence.

    Returns:
      The mean, its standard error, and the half-life in steps.
    """
    rates = np.asarray(rates, np.float64)
    dead = np.isneginf(rates)
    counts = (int(dead.sum()), len(rates))
    if dead.all():
        return Rate(-math.inf, math.nan, 0.0, *counts)
    alive = rates[~dead]
    mean = float(np.mean(alive))
    if len(alive) > 1 and np.all(np.isfinite(alive)):
        error = float(np.std(alive, ddof=1) / math.sqrt(len(alive)))
    else:
        error = float(np.mean(np.asarray(stderrs, np.float64)[~dead]))
    return Rate(mean, error, math.inf if mean == 0 else -math.log(2) / mean, *counts)


def _loss(task: Task, predictions, batch: Batch):
    if task.kind == "regression":
        return squared_error(predictions, batch.targets, batch.mask)
    return cross_entropy(predictions, batch.targets, batch.mask)


def _measure(cell: Cell, net, task: Task, params, batch: Batch):
    """Returns the arrays of a `GradientReport`; meant for `jax.jit`."""
    inner, head = params
    decay = gradient_decay(cell, inner, batch.xs)
    limits = bounds(cell, inner, batch.xs)
    steps = jnp.arange(batch.mask.shape[0])[:, None]
    last = batch.mask & (steps == jnp.max(jnp.where(batch.mask, steps, -1), axis=0))

    def last_loss(ys):
        predictions = net.apply(head, ys)[1]
        # A mean over sequences would scale each gradient down by their number.
        return _loss(task, predictions, batch._replace(mask=last)) * batch.mask.shape[1]

    profile = loss_gradient_profile(last_loss, cell, inner, batch.xs)
    by_lag = profile.log_norms[-2::-1]
    rates = jax.vmap(fit_rate, in_axes=1)(by_lag)
    return decay, limits, by_lag, rates


def _report(measured) -> GradientReport:
    decay, limits, by_lag, (rate, stderr) = jax.tree.map(np.asarray, measured)
    return GradientReport(
        Curve(decay.log_norms, rate_of(decay.rate, decay.stderr)),
        Curve(by_lag, rate_of(rate, stderr)),
        limits.pascanu,
        np.median(limits.data_dependent, axis=1),
    )


def measure_cell(
    name: str,
    make: Callable[[int, int], Cell],
    task: Task,
    *,
    hidden_size: int,
    steps: int,
    seed: int,
    learning_rate: float,
    clip_norm: float,
    num_sequences: int,
    on_chunk: Callable[[int, Any], Any] | None = None,
) -> CellReport:
    """Trains one cell with a readout on a task and measures its gradients before and after.

    Args:
      name: the cell's name, for the report.
      make: ``(input_size, hidden_size) -> Cell``.
      task: the task.
      hidden_size: H.
      steps: training steps.
      seed: of parameters, batches and the measured sequences; the same seed gives every cell the
        same batches.
      learning_rate: of Adam.
      clip_norm: of the gradient.
      num_sequences: how many sequences are measured.
      on_chunk: as for `jaxrnn.train.fit`.

    Returns:
      The report.
    """
    init_key, batch_key, probe_key = jax.random.split(jax.random.key(seed), 3)
    cell = make(task.input_size, hidden_size)
    head = readout(task.output_size, input_size=hidden_size)
    net = stack(layer(cell), head)
    params = net.init(init_key)

    def loss_fn(params, batch):
        return _loss(task, net.apply(params, batch.xs)[1], batch)

    probe = task.sample(probe_key)
    probe = jax.tree.map(lambda leaf: leaf[:, :num_sequences], probe)
    measure = jax.jit(lambda params, batch: _measure(cell, head, task, params, batch))
    before = _report(measure(params, probe))
    result: FitResult = fit(
        loss_fn,
        params,
        optax.adam(learning_rate),
        sampled(task.sample, batch_key),
        steps=steps,
        clip_norm=clip_norm,
        on_chunk=on_chunk,
    )
    after = _report(measure(result.state.params, probe))
    return CellReport(name, num_parameters(params), result.metrics, before, after)
