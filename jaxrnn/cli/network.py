"""One recurrent layer with a readout on a task: made, trained, and probed from one seed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Array, Key, Output, Params
from jaxrnn.layers import Layer, layer, readout, stack
from jaxrnn.tasks import Batch, Task
from jaxrnn.train import FitResult, cross_entropy, fit, sampled, squared_error

__all__ = ["Network", "make_network", "task_loss"]


def task_loss(task: Task, predictions: Output, batch: Batch) -> Array:
    """Returns the loss of a task: the mean over the steps that count."""
    if task.kind == "regression":
        return squared_error(predictions, batch.targets, batch.mask)
    return cross_entropy(predictions, batch.targets, batch.mask)


class Network(NamedTuple):
    """A cell with an affine readout, its task, and what it is trained and probed with.

    Attributes:
      cell: the cell.
      hidden_size: H.
      head: the readout.
      task: the task.
      params: ``(cell's, readout's)``, before training.
      batch_key: of the training batches.
      probe_key: of the sequences to measure.
    """

    cell: Cell
    hidden_size: int
    head: Layer
    task: Task
    params: tuple[Params, Params]
    batch_key: Key
    probe_key: Key

    def predict(self, params, ys: Output) -> Output:
        """Returns the readout of the cell's outputs."""
        return self.head.apply(params[1], ys)[1]

    def probe(self, num_sequences: int) -> Batch:
        """Draws the sequences to measure."""
        batch = jax.jit(self.task.sample)(self.probe_key)
        return jax.tree.map(lambda leaf: leaf[:, :num_sequences], batch)

    def train(
        self,
        *,
        steps: int,
        learning_rate: float,
        clip_norm: float,
        on_chunk: Callable[[int, Any], Any] | None = None,
        mesh: jax.sharding.Mesh | None = None,
    ) -> FitResult:
        """Trains with Adam; arguments as of `jaxrnn.train.fit`."""
        net = stack(layer(self.cell), self.head)

        def loss_fn(params, batch):
            return task_loss(self.task, net.apply(params, batch.xs)[1], batch)

        return fit(
            loss_fn,
            self.params,
            optax.adam(learning_rate),
            sampled(self.task.sample, self.batch_key),
            steps=steps,
            clip_norm=clip_norm,
            on_chunk=on_chunk,
            mesh=mesh,
        )


def make_network(
    make: Callable[[int, int], Cell], task: Task, *, hidden_size: int, seed: int
) -> Network:
    """Makes a network with fresh parameters.

    Args:
      make: ``(input_size, hidden_size) -> Cell``.
      task: the task.
      hidden_size: H.
      seed: of parameters, batches and the sequences to measure; the same seed gives every cell the
        same batches.

    Returns:
      The network.
    """
    init_key, batch_key, probe_key = jax.random.split(jax.random.key(seed), 3)
    cell = make(task.input_size, hidden_size)
    head = readout(task.output_size, input_size=hidden_size)
    params = stack(layer(cell), head).init(init_key)
    return Network(cell, hidden_size, head, task, params, batch_key, probe_key)
