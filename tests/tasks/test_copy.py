"""The copy task: symbols, blanks, the marker, and the symbols again."""

import math

import jax
import numpy as np
import pytest

from jaxrnn.tasks import copy


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("length", "symbols", "memory"), [(100, 8, 10), (1, 2, 1), (1, 3, 5), (4, 8, 2)]
)
def test_structure(seed, length, symbols, memory):
    task = copy(length=length, symbols=symbols, memory=memory, batch_size=4)
    xs, targets, mask = task.sample(jax.random.key(seed))
    steps = length + 2 * memory
    assert xs.shape == targets.shape == mask.shape == (steps, 4)
    assert (xs.dtype, targets.dtype, mask.dtype) == (np.int32, np.int32, np.bool_)
    xs, targets = np.asarray(xs), np.asarray(targets)
    payload = xs[:memory]
    assert ((payload >= 1) & (payload <= symbols)).all()
    assert (xs[memory : memory + length - 1] == 0).all()
    assert (xs[memory + length - 1] == symbols + 1).all()
    assert (xs[memory + length :] == 0).all()
    assert (targets[: memory + length] == 0).all()
    assert np.array_equal(targets[memory + length :], payload)
    assert bool(mask.all())
    assert task.info["sequence_length"] == steps


def test_every_symbol_occurs():
    xs = np.asarray(copy(length=1, symbols=5, memory=50, batch_size=8).sample(jax.random.key(0)).xs)
    assert set(np.unique(xs[:50])) == {1, 2, 3, 4, 5}


def test_task_facts():
    task = copy()
    assert (task.name, task.kind, task.input_size, task.output_size) == ("copy", "tokens", 10, 10)
    assert task.stream is None
    assert task.info["sequence_length"] == 120
    assert task.info["baseline_loss"] == pytest.approx(10 * math.log(8) / 120)


def test_baseline_is_what_a_memoryless_answer_costs():
    task = copy(length=5, symbols=4, memory=3, batch_size=8)
    _, targets, mask = task.sample(jax.random.key(0))
    probabilities = np.zeros((11, 6))
    probabilities[:8, 0] = 1
    probabilities[8:, 1:5] = 1 / 4
    picked = np.take_along_axis(probabilities, np.asarray(targets), axis=1)
    loss = -np.log(picked[np.asarray(mask)]).mean()
    assert task.info["baseline_loss"] == pytest.approx(loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length: got 0; expected an integer of at least 1"),
        ({"symbols": 1}, "symbols: got 1; expected an integer of at least 2"),
        ({"memory": -1}, "memory: got -1; expected an integer of at least 1"),
    ],
)
def test_refuses_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        copy(**options)
