"""The adding problem: two markers, one in each half, and their sum."""

import jax
import numpy as np
import pytest

from jaxrnn.tasks import adding


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [2, 3, 11, 40])
def test_target_is_the_sum_of_the_marked_numbers(seed, length):
    xs, targets, mask = adding(length=length, batch_size=16).sample(jax.random.key(seed))
    assert (xs.shape, targets.shape, mask.shape) == ((length, 16, 2), (length, 16, 1), (length, 16))
    assert (xs.dtype, targets.dtype, mask.dtype) == (np.float32, np.float32, np.bool_)
    numbers, markers = np.moveaxis(np.asarray(xs), -1, 0)
    assert set(np.unique(markers)) <= {0.0, 1.0}
    assert (markers[: length // 2].sum(axis=0) == 1).all()
    assert (markers[length // 2 :].sum(axis=0) == 1).all()
    assert ((numbers >= 0) & (numbers < 1)).all()
    for row in range(16):
        first, second = np.flatnonzero(markers[:, row])
        expected = numbers[first, row] + numbers[second, row]
        assert targets[-1, row, 0] == pytest.approx(expected, abs=1e-6)
    assert mask[-1].all()
    assert not mask[:-1].any()
    assert not targets[:-1].any()


def test_every_place_is_marked_and_numbers_are_not_shared():
    xs = np.asarray(adding(length=6, batch_size=512).sample(jax.random.key(0)).xs)
    assert (xs[..., 1].sum(axis=1) > 100).all()  # 512 / 3 expected at each step
    assert np.unique(xs[..., 0]).size > 3000


def test_baseline_is_the_error_of_answering_one():
    task = adding(length=10, batch_size=20_000)
    targets = task.sample(jax.random.key(1)).targets[-1]
    assert task.info["baseline_loss"] == 1 / 6
    assert float(np.mean((targets - 1) ** 2)) == pytest.approx(1 / 6, rel=0.03)


def test_task_facts():
    task = adding(length=10)
    assert (task.name, task.kind, task.input_size, task.output_size) == (
        "adding",
        "regression",
        2,
        1,
    )
    assert task.stream is None
    assert task.info["sequence_length"] == 10


def test_refuses_a_length_without_two_halves():
    with pytest.raises(ValueError, match="length: got 1; expected an integer of at least 2; pass"):
        adding(length=1)
