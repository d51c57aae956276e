"""The loop: what it computes, what it says on the way, and when it stops."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from jaxrnn import train


def square(w, x):
    return jnp.mean((w - x) ** 2)


def draw(key):
    return 3 + jax.random.normal(key, (4,))


OPTIMIZER = optax.adam(0.1)
BATCH_FN = train.sampled(draw, jax.random.key(5))
START = jnp.zeros(4)


def run(steps=10, **options):
    return train.fit(square, START, OPTIMIZER, BATCH_FN, steps=steps, **options)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_it_is_a_loop_of_jitted_steps():
    result = run(clip_norm=2.0, chunk=4)
    step = jax.jit(train.make_step(square, OPTIMIZER, clip_norm=2.0))
    state, history = train.init(START, OPTIMIZER), []
    for index in range(10):
        state, metrics = step(state, draw(jax.random.fold_in(jax.random.key(5), index)))
        history.append(metrics)
    close = {"rtol": 1e-6, "atol": 1e-7}
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **close), result.state, state)
    history = jax.tree.map(lambda *parts: np.stack(parts), *history)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **close), result.metrics, history)
    assert history.clipped.any()
    assert not history.clipped.all()


def test_any_chunk_gives_the_same_numbers():
    expected = run(chunk=10)
    for chunk in (1, 3, 1000):
        assert_same(run(chunk=chunk), expected)


def test_it_is_deterministic_and_leaves_its_arguments_alone():
    assert_same(run(), run())
    np.testing.assert_array_equal(START, 0)


def test_metrics_of_all_steps_come_back_as_numpy():
    result = run(steps=7, chunk=3)
    assert result.state.step == 7
    for leaf, dtype in zip(result.metrics, [np.float32, np.float32, bool, bool], strict=True):
        assert type(leaf) is np.ndarray
        assert (leaf.shape, leaf.dtype) == ((7,), dtype)
    np.testing.assert_allclose(result.metrics.loss[0], np.mean(np.square(BATCH_FN(0))), rtol=1e-6)


def test_on_chunk_hears_of_every_chunk():
    heard = []
    result = run(steps=10, chunk=4, on_chunk=lambda done, metrics: heard.append((done, metrics)))
    assert [done for done, _ in heard] == [4, 8, 10]
    assert all(type(leaf) is np.ndarray for _, metrics in heard for leaf in metrics)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *(metrics for _, metrics in heard))
    assert_same(joined, result.metrics)


def test_the_gradient_is_clipped_to_one_unless_told_otherwise():
    assert run().metrics.clipped[0]
    assert not run(clip_norm=None).metrics.clipped.any()


def test_sampled_folds_the_step_into_the_key():
    key = jax.random.key(9)
    expected = draw(jax.random.fold_in(key, 7))
    np.testing.assert_array_equal(train.sampled(draw, key)(7), expected)
    np.testing.assert_array_equal(jax.jit(train.sampled(draw, key))(jnp.int32(7)), expected)


def test_batches_are_asked_for_by_an_int32_from_zero():
    result = train.fit(
        lambda w, step: w * 0.0 + step.astype(jnp.float32),
        jnp.ones(()),
        OPTIMIZER,
        lambda step: jnp.asarray(step, strict_int32(step)),
        steps=5,
        chunk=2,
    )
    np.testing.assert_array_equal(result.metrics.loss, [0, 1, 2, 3, 4])


def strict_int32(step):
    assert (step.dtype, step.shape) == (jnp.int32, ())
    return step.dtype


def fit_with_bad(bad, **options):
    """Runs 12 steps of which those in `bad` have a NaN loss."""
    flags = jnp.zeros(12, bool).at[jnp.array(bad)].set(True)

    def batch_fn(step):
        return jnp.where(flags[step], jnp.nan, 1.0)

    return train.fit(square, START, OPTIMIZER, batch_fn, steps=12, **options)


@pytest.mark.parametrize("chunk", [12, 4, 3, 1])  # step 4 to 6: inside a chunk and across borders
def test_bad_steps_in_a_row_end_the_training_and_are_named(chunk):
    message = r"step 4 and at each of the 3 steps from there to step 6; .*batch_fn\(4\)"
    with pytest.raises(FloatingPointError, match=message):
        fit_with_bad([1, 2, 4, 5, 6, 7, 9], max_skipped=3, chunk=chunk)


@pytest.mark.parametrize("chunk", [12, 4, 3, 1])
def test_fewer_bad_steps_in_a_row_are_skipped(chunk):
    bad = [0, 1, 4, 5, 7, 8, 11]
    result = fit_with_bad(bad, max_skipped=3, chunk=chunk)
    assert np.flatnonzero(result.metrics.skipped).tolist() == bad
    assert (result.state.step, result.state.skipped) == (12, len(bad))
    good = train.fit(square, START, OPTIMIZER, lambda step: 1.0 + 0 * step, steps=12 - len(bad))
    np.testing.assert_allclose(result.state.params, good.state.params, rtol=1e-6)


def test_one_bad_step_is_enough_where_none_is_allowed():
    with pytest.raises(FloatingPointError, match="step 11 "):
        fit_with_bad([11], max_skipped=1, chunk=5)


def test_the_chunk_with_the_error_is_not_reported():
    heard = []
    with pytest.raises(FloatingPointError):
        fit_with_bad([4, 5], max_skipped=2, chunk=3, on_chunk=lambda done, _: heard.append(done))
    assert heard == [3]


def count_traces(steps, chunk):
    """How often Python runs the loss while fitting."""
    calls = []

    def loss(w, x):
        calls.append(1)
        return square(w, x)

    train.fit(loss, START, OPTIMIZER, BATCH_FN, steps=steps, chunk=chunk)
    return len(calls)


def test_one_program_serves_chunks_of_every_length():
    once = count_traces(steps=4, chunk=4)
    assert once >= 1
    assert count_traces(steps=11, chunk=4) == once  # 4 + 4 + 3


def test_data_in_a_partial_are_arguments_of_the_program():
    seen = []

    def look(data, key):
        seen.append(isinstance(data, jax.core.Tracer))
        return data + draw(key)

    data = jnp.ones(4)
    for sample in (Partial(look, data), lambda key: look(data, key)):
        seen.clear()
        batch_fn = train.sampled(sample, jax.random.key(0))
        train.fit(square, START, OPTIMIZER, batch_fn, steps=2)
        assert set(seen) == {isinstance(sample, Partial)}  # a closure makes them constants


def test_a_tree_with_a_random_key_is_carried():
    def loss(w, x, carried):
        key, use = jax.random.split(carried["key"])
        noise = jax.random.normal(use, (4,))
        return jnp.mean((w - x + noise) ** 2), {"key": key, "sum": (carried["sum"][0] + x,)}

    def fit(chunk):
        carried = {"key": jax.random.key(2), "sum": (jnp.zeros(4),)}
        return train.fit(loss, START, OPTIMIZER, BATCH_FN, steps=6, carried=carried, chunk=chunk)

    result = fit(chunk=6)
    key = jax.random.key(2)
    for _ in range(6):
        key, _ = jax.random.split(key)
    after = result.state.carried
    assert after["key"] == key
    np.testing.assert_allclose(after["sum"][0], sum(BATCH_FN(i) for i in range(6)), rtol=1e-6)
    assert_same(fit(chunk=4).metrics, result.metrics)


def test_parameters_may_be_any_tree():
    params = {"a": (jnp.zeros(4), [jnp.ones(())]), "nothing": None}
    result = train.fit(
        lambda p, x: square(p["a"][0], x) + p["a"][1][0] ** 2,
        params,
        OPTIMIZER,
        BATCH_FN,
        steps=3,
    )
    assert jax.tree.structure(result.state.params) == jax.tree.structure(params)
    assert result.state.params["a"][1][0] < 1


@pytest.mark.parametrize("name", ["steps", "chunk", "max_skipped"])
def test_sizes_are_positive_integers(name):
    with pytest.raises(ValueError, match=f"fit: got {name}=0; expected a positive integer"):
        run(**{name: 0})
    for wrong in (2.5, True, "3"):
        with pytest.raises(TypeError, match=f"fit: got {name}=.*; expected a positive integer"):
            run(**{name: wrong})


def test_stop_fn_ends_the_training_after_a_measurement(tmp_path):
    heard = []

    def stop(done, measured, params):
        heard.append((done, measured["w"].copy(), np.asarray(params)))
        return done == 6

    monitor = train.Monitor(lambda w: {"w": w}, every=3)
    result = run(steps=10, monitor=monitor, stop_fn=stop, checkpoint=tmp_path / "a")
    assert [done for done, *_ in heard] == [3, 6]  # not before the first step
    whole = run(steps=10, monitor=monitor)
    for (_, measured, params), expected in zip(
        heard, whole.monitored.metrics["w"][1:], strict=False
    ):
        np.testing.assert_array_equal(measured, expected)
        np.testing.assert_array_equal(params, expected)
    assert result.state.step == 6 and result.metrics.loss.shape == (6,)
    assert result.monitored.steps.tolist() == [0, 3, 6]
    never = {"monitor": monitor, "stop_fn": lambda *_: False, "resume": True}
    assert_same(run(steps=10, checkpoint=tmp_path / "a", **never), result)  # it is complete
    copy = shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert run(steps=11, checkpoint=copy, **never).state.step == 11
    resumed = run(steps=10, monitor=monitor, checkpoint=tmp_path / "a", resume=True)  # it was saved
    assert_same(resumed.state, whole.state)
    assert_same(resumed.metrics, whole.metrics)
    with pytest.raises(ValueError, match=r"fit: got stop_fn without monitor; expected .*; pass"):
        run(stop_fn=stop)
