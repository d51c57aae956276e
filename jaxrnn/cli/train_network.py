"""The network of `jaxrnn train`: layers of cells under a readout, on a task, from one seed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells import CELLS
from jaxrnn.cli.network import task_loss
from jaxrnn.core.types import Array, Key, Params
from jaxrnn.layers import Layer, layer, readout, stack, stepper
from jaxrnn.tasks import Task, decode
from jaxrnn.train import sampled
from jaxrnn.unrolls import unroll

__all__ = ["DeepNetwork", "make_deep_network", "write_text"]

_VALIDATION_BATCHES = 4


class DeepNetwork(NamedTuple):
    """A stack of cells with a readout, its task, and the keys of what is drawn.

    Attributes:
      net: the stack; its parameters are one entry a layer, the readout's last.
      task: what it is trained on.
      params: before training.
      batch_key: of the training batches.
      probe_key: of the batches that losses are compared on.
    """

    net: Layer
    task: Task
    params: tuple[Params, ...]
    batch_key: Key
    probe_key: Key

    def loss_fn(self, stateful: bool) -> Callable[..., Any]:
        """Returns the loss for `jaxrnn.train.fit`, with a carried state or without."""

        def loss(params, batch):
            return task_loss(self.task, self.net.apply(params, batch.xs)[1], batch)

        def carrying_loss(params, batch, state):
            state, ys = self.net.apply(params, batch.xs, state, resets=batch.resets)
            return task_loss(self.task, ys, batch), state

        return carrying_loss if stateful else loss

    def batch_fn(self, stateful: bool) -> Callable[[Any], Any]:
        """Returns the batches for `jaxrnn.train.fit`: windows in order, or drawn at random."""
        return self.task.stream if stateful else sampled(self.task.sample, self.batch_key)

    def validation(self, task: Task) -> Callable[[Params], Array]:
        """Returns the loss on fixed batches of a task, compiled; a function of the parameters."""
        loss = self.loss_fn(stateful=False)

        @jax.jit
        def measure(sample, params):
            keys = jax.random.split(self.probe_key, _VALIDATION_BATCHES)
            return jnp.mean(jax.lax.map(lambda key: loss(params, sample(key)), keys))

        return lambda params: measure(task.sample, params)


def make_deep_network(names: Sequence[str], task: Task, hidden_size: int, seed: int) -> DeepNetwork:
    """Makes a network with fresh parameters.

    One of one layer has the parameters and the batches that `jaxrnn report` gives that cell.

    Args:
      names: of the cells, the lowest first.
      task: the task.
      hidden_size: H of each layer.
      seed: of parameters and batches.

    Returns:
      The network.
    """
    init_key, batch_key, probe_key = jax.random.split(jax.random.key(seed), 3)
    spec, size = jax.eval_shape(task.sample, probe_key).xs, task.input_size
    layers = []
    for name in names:
        cell = CELLS[name].make(size, hidden_size)
        params = jax.eval_shape(cell.init, init_key)
        spec = jax.eval_shape(lambda p, xs, cell=cell: unroll(cell, p, xs)[1], params, spec)
        size = spec.shape[-1]
        layers.append(layer(cell))
    net = stack(*layers, readout(task.output_size, input_size=size))
    return DeepNetwork(net, task, net.init(init_key), batch_key, probe_key)


def write_text(
    net: Layer, params: Params, vocabulary: str, *, count: int, temperature: float, key: Key
) -> str:
    """Lets a model of characters write.

    Args:
      net: tokens to logits.
      params: its parameters.
      vocabulary: the characters, by token.
      count: how many to write.
      temperature: the logits are divided by it.
      key: of the draws.

    Returns:
      The text; it begins as after a line break, if the vocabulary has one.
    """
    stream = stepper(net)
    first = jnp.asarray(max(vocabulary.find("\n"), 0), jnp.int32)

    @jax.jit
    def write(prepared, first, temperature, key):
        def advance(carry, key):
            state, token = carry
            state, logits = stream.step(prepared, state, token)
            token = jax.random.categorical(key, logits / temperature).astype(token.dtype)
            return (state, token), token

        start = (stream.initial_state(prepared), first)
        return jax.lax.scan(advance, start, jax.random.split(key, count))[1]

    return decode(write(stream.prepare(params), first, temperature, key), vocabulary)
