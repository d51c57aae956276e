"""Every cell of the table learns: over five steps its loss falls below that of no memory."""

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from cases import graded, space_of
from jaxrnn import tasks, train
from laws import ZOO_FIRST

# The others take Adam at 0.01. (Over 20 steps, and by how many: docs/zoo.md.)
RATES = {"cfc": 1e-3}


def network(cell):
    """The cell on its grid, and a linear readout of the last output's mean over the grid."""
    space = space_of(cell)

    def place(xs):
        return jax.numpy.broadcast_to(
            xs.reshape(*xs.shape[:-1], *(1,) * len(space), -1),
            (*xs.shape[:-1], *space, xs.shape[-1]),
        )

    def loss_fn(params, batch):
        inner, readout = params
        ys = jaxrnn.select_unroll(cell)(cell, inner, place(batch.xs))[1][-1]
        ys = ys.mean(tuple(range(1, ys.ndim - 1)))
        got = ys @ readout["w"] + readout["b"]
        return ((got - batch.targets[-1, :, 0]) ** 2).mean()

    def init(key):
        inner = cell.init(key)
        shape = jax.eval_shape(
            lambda p: jaxrnn.unroll(cell, p, place(jax.numpy.zeros((1, 1, 2))))[1], inner
        ).shape
        w = jax.random.normal(key, shape[-1:]) / shape[-1] ** 0.5
        return inner, {"w": w, "b": jax.numpy.zeros(())}

    return init, loss_fn


# A cell whose gradients are right learns by the optimiser that trains the others.
@pytest.mark.parametrize("name", graded(jaxrnn.CELLS, slow=("lstm", *ZOO_FIRST)))
def test_a_cell_learns_to_add(name):
    task = tasks.adding(length=5, batch_size=32)
    cell = jaxrnn.CELLS[name].make(2, 8)
    init, loss_fn = network(cell)
    steps = 400 if cell.input_ndim == 1 else 80  # convolutions take long
    result = train.fit(
        loss_fn,
        init(jax.random.key(0)),
        optax.adam(RATES.get(name, 1e-2)),
        train.sampled(task.sample, jax.random.key(1)),
        steps=steps,
        chunk=steps,
    )
    losses = result.metrics.loss
    assert np.isfinite(losses).all()
    assert losses[-40:].mean() < 0.9 * task.info["baseline_loss"]
