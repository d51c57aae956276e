"""The report's numbers: train a network on a task, measure its gradients before and after."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis import bounds, fit_rate, gradient_decay, loss_gradient_profile
from jaxrnn.cli.flows import FlowReport, flow_report, measure_flow
from jaxrnn.cli.network import Network, make_network, task_loss
from jaxrnn.cli.processes import is_first
from jaxrnn.core.cell import Cell
from jaxrnn.core.trees import num_parameters
from jaxrnn.sharding import unshard
from jaxrnn.tasks import Batch, Task
from jaxrnn.train import Metrics

__all__ = [
    "CellReport",
    "Curve",
    "GradientReport",
    "Rate",
    "measure_cells",
    "measure_runs",
    "rate_of",
]


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
      flow: where, when and along which paths gradients flow; None if it was not measured.
    """

    state: Curve
    loss: Curve
    pascanu: np.ndarray | None
    data_dependent: np.ndarray
    flow: FlowReport | None = None


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


def _measure(network: Network, task: Task, params, batch: Batch):
    """Returns the arrays of a `GradientReport`; meant for `jax.jit`."""
    cell, inner = network.cell, params[0]
    decay = gradient_decay(cell, inner, batch.xs)
    limits = bounds(cell, inner, batch.xs)
    steps = jnp.arange(batch.mask.shape[0])[:, None]
    last = batch.mask & (steps == jnp.max(jnp.where(batch.mask, steps, -1), axis=0))

    def loss_at(mask):
        def loss(ys):
            predictions = network.predict(params, ys)
            return task_loss(task, predictions, batch._replace(mask=mask))

        return loss

    def last_loss(ys):
        # A mean over sequences would scale each gradient down by their number.
        return loss_at(last)(ys) * batch.mask.shape[1]

    profile = loss_gradient_profile(last_loss, cell, inner, batch.xs)
    by_lag = profile.log_norms[-2::-1]
    rates = jax.vmap(fit_rate, in_axes=1)(by_lag)
    flow = measure_flow(loss_at(batch.mask), cell, inner, batch.xs)
    return (decay, limits, by_lag, rates), flow


def _report(measured) -> GradientReport:
    (decay, limits, by_lag, (rate, stderr)), flow = jax.tree.map(np.asarray, measured)
    return GradientReport(
        Curve(decay.log_norms, rate_of(decay.rate, decay.stderr)),
        Curve(by_lag, rate_of(rate, stderr)),
        limits.pascanu,
        np.median(limits.data_dependent, axis=1),
        flow_report(flow),
    )


def _before_and_after(
    networks: Mapping[str, Network],
    task: Task,
    num_sequences: int,
    train: Callable[[str, Network], tuple[Any, Metrics]],
) -> Iterator[CellReport]:
    """Measures networks as they are and as `train` returns them, with its metrics.

    All processes train; the first one measures and has reports, while the others wait for it.
    """
    if not is_first():
        for name, network in networks.items():
            train(name, network)
        return
    # The program runs twice and takes longer to compile than to run: LLVM need not polish it.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None

    def prepare(network: Network):
        measure = jax.jit(lambda params, batch: _measure(network, task, params, batch))
        return measure.lower(network.params, network.probe(num_sequences)).compile(options)

    # Compiling takes longer than measuring; a second core does it while the first one trains.
    pool = ThreadPoolExecutor(1)
    try:
        waiting = {name: pool.submit(prepare, network) for name, network in networks.items()}
        for name, network in networks.items():
            trained, metrics = train(name, network)
            measure, probe = waiting.pop(name).result(), network.probe(num_sequences)
            before = _report(measure(network.params, probe))
            after = _report(measure(trained, probe))
            yield CellReport(name, num_parameters(network.params), metrics, before, after)
    finally:
        pool.shutdown(cancel_futures=True)


def measure_cells(
    makes: Mapping[str, Callable[[int, int], Cell]],
    task: Task,
    *,
    hidden_size: int,
    steps: int,
    seed: int,
    learning_rate: float,
    clip_norm: float,
    num_sequences: int,
    on_chunk: Callable[[str, int, Any], Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Iterator[CellReport]:
    """Trains cells with a readout on a task and measures their gradients before and after.

    Args:
      makes: by name, ``(input_size, hidden_size) -> Cell``.
      task: the task.
      hidden_size: H.
      steps: training steps.
      seed: of parameters, batches and the measured sequences; the same seed gives every cell the
        same batches.
      learning_rate: of Adam.
      clip_norm: of the gradient.
      num_sequences: how many sequences are measured.
      on_chunk: as for `jaxrnn.train.fit`, with the cell's name first.
      mesh: to train over.

    Yields:
      A report for each cell, in the process that writes.
    """

    def train(name, network):
        result = network.train(
            steps=steps,
            learning_rate=learning_rate,
            clip_norm=clip_norm,
            on_chunk=None if on_chunk is None else partial(on_chunk, name),
            mesh=mesh,
        )
        params = result.state.params
        return params if mesh is None else unshard(params), result.metrics

    networks = _networks(makes, task, hidden_size, seed)
    yield from _before_and_after(networks, task, num_sequences, train)


def measure_runs(
    makes: Mapping[str, Callable[[int, int], Cell]],
    task: Task,
    runs: Mapping[str, tuple[Any, Metrics]],
    *,
    hidden_size: int,
    seed: int,
    num_sequences: int,
) -> Iterator[CellReport]:
    """Measures networks that were trained elsewhere, before and after.

    Args:
      makes: by name, ``(input_size, hidden_size) -> Cell``.
      task: the task.
      runs: by name, the parameters of cell and readout after training, and the metrics.
      hidden_size: H.
      seed: that they were made with.
      num_sequences: how many sequences are measured.

    Yields:
      A report for each cell.
    """
    networks = _networks(makes, task, hidden_size, seed)
    yield from _before_and_after(networks, task, num_sequences, lambda name, _: runs[name])


def _networks(makes, task: Task, hidden_size: int, seed: int) -> dict[str, Network]:
    return {
        name: make_network(make, task, hidden_size=hidden_size, seed=seed)
        for name, make in makes.items()
    }
