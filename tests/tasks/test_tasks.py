"""What holds for every row of the table of tasks."""

import importlib
import json
import pkgutil

import jax
import numpy as np
import pytest

import jaxrnn.tasks
from jaxrnn.tasks import TASKS, Batch, Task

EVERY = pytest.mark.parametrize("name", sorted(TASKS))


def make(name, **sizes):
    return TASKS[name].make(**{"length": 12, "batch_size": 3, **sizes})


def equal(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@EVERY
def test_rows_agree_with_the_tasks_they_make(name):
    entry, task = TASKS[name], make(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert entry.summary
    assert json.loads(json.dumps(task.info)) == task.info
    assert task.info["baseline_loss"] > 0
    if entry.takes_path:
        assert len(task.info["sha256"]) == 64
        assert make(name, path=None).info == task.info
    else:
        with pytest.raises(TypeError, match="path"):
            make(name, path=None)


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_batches_fit_the_kind(name, seed):
    task = make(name)
    batch = task.sample(jax.random.key(seed))
    assert isinstance(batch, Batch)
    steps = task.info["sequence_length"]
    assert batch.mask.shape == (steps, 3)
    assert batch.mask.dtype == np.bool_
    assert bool(batch.mask.any())
    if task.kind == "tokens":
        assert batch.xs.shape == batch.targets.shape == (steps, 3)
        assert batch.xs.dtype == batch.targets.dtype == np.int32
        assert 0 <= int(batch.xs.min()) <= int(batch.xs.max()) < task.input_size
        assert 0 <= int(batch.targets.min()) <= int(batch.targets.max()) < task.output_size
    else:
        assert task.kind == "regression"
        assert batch.xs.shape == (steps, 3, task.input_size)
        assert batch.targets.shape == (steps, 3, task.output_size)
        assert bool(np.isfinite(batch.xs).all())


@EVERY
def test_a_key_decides_the_batch(name):
    task = make(name)
    batch = task.sample(jax.random.key(7))
    assert equal(batch, task.sample(jax.random.key(7)))
    assert equal(batch, make(name).sample(jax.random.key(7)))
    assert not np.array_equal(batch.xs, task.sample(jax.random.key(8)).xs)
    rows = np.moveaxis(np.asarray(batch.xs), 1, 0)
    assert not np.array_equal(rows[0], rows[1])


@EVERY
def test_jit_changes_nothing_and_traces_once(name):
    traces = []

    @jax.jit
    def draw(sample, key):
        traces.append(key)
        return sample(key)

    task = make(name)
    for seed in range(3):
        assert equal(draw(task.sample, jax.random.key(seed)), task.sample(jax.random.key(seed)))
    draw(make(name).sample, jax.random.key(0))
    assert len(traces) == 1  # neither a new key nor a task made alike traces again
    draw(make(name, batch_size=4).sample, jax.random.key(0))
    assert len(traces) == 2  # other sizes do
    assert equal(jax.jit(task.sample)(jax.random.key(1)), task.sample(jax.random.key(1)))


@EVERY
def test_vmap_over_keys(name):
    task = make(name)
    keys = jax.random.split(jax.random.key(0), 2)
    both = jax.vmap(task.sample)(keys)
    assert equal([leaf[1] for leaf in both], task.sample(keys[1]))


@EVERY
@pytest.mark.parametrize("size", ["length", "batch_size"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "got 0; expected an integer of at least"),
        (-3, ValueError, "got -3; expected"),
        (True, TypeError, r"got True \(bool\); expected an integer"),
        (2.0, TypeError, r"got 2.0 \(float\); expected an integer"),
        ("9", TypeError, r"got '9' \(str\); expected an integer"),
    ],
)
def test_sizes_are_checked(name, size, value, error, message):
    with pytest.raises(error, match=f"^{size}: {message}.*; pass for example {size}=32$"):
        make(name, **{size: value})


@EVERY
def test_sizes_may_be_numpy_integers(name):
    task = make(name, length=np.int64(12), batch_size=np.int32(3))
    json.dumps(task.info)
    assert equal(task.sample(jax.random.key(0)), make(name).sample(jax.random.key(0)))


@EVERY
def test_both_kinds_of_key(name):
    task = make(name)
    assert equal(task.sample(jax.random.PRNGKey(5)), task.sample(jax.random.key(5)))


def test_every_module_lists_its_names():
    for found in pkgutil.iter_modules(jaxrnn.tasks.__path__):
        module = importlib.import_module(f"jaxrnn.tasks.{found.name}")
        assert all(hasattr(module, name) for name in module.__all__)
    assert set(TASKS) <= set(jaxrnn.tasks.__all__)
