"""Training that is stopped and gone on with: bit for bit as one run without a break."""

import logging
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train import saver, snapshot
from jaxrnn.train.step_directory import steps_in

STEPS = 12
OPTIMIZER = optax.adam(optax.exponential_decay(0.1, 5, 0.9))
BATCH_FN = train.sampled(lambda key: jax.random.normal(key, (2, 3)), jax.random.key(5))
PARAMS = {"w": jnp.ones((3, 4)) / 2, "b": jnp.zeros(4, jnp.bfloat16)}
CARRIED = {"key": jax.random.key(2), "h": jnp.zeros((2, 4))}
MONITOR = train.Monitor(lambda params: {"mean": jnp.mean(params["w"]), "b": params["b"]}, 5)


def loss(params, batch, carried):
    key, use = jax.random.split(carried["key"])
    h = jnp.tanh(batch @ params["w"] + carried["h"])
    keep = jax.random.bernoulli(use, 0.8, h.shape)  # dropout
    return jnp.mean((h * keep - params["b"].astype(h.dtype)) ** 2), {"key": key, "h": h}


def fit(checkpoint=None, **options):
    options = {"steps": STEPS, "chunk": 2, "carried": CARRIED, "monitor": MONITOR} | options
    return train.fit(loss, PARAMS, OPTIMIZER, BATCH_FN, checkpoint=checkpoint, **options)


@pytest.fixture(scope="module")
def whole():
    return fit()


def same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert jax.typeof(x) == jax.typeof(y)
        assert isinstance(x, np.ndarray) == isinstance(y, np.ndarray)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


class Stop(Exception):
    pass


def stop_at(step):
    def on_chunk(done, metrics):
        if done >= step:
            raise Stop

    return on_chunk


def signal_at(step, number):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are heard in the main thread alone")

    def on_chunk(done, metrics):
        if done >= step:
            signal.raise_signal(number)

    return on_chunk


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_run_with_two_breaks_is_the_run_without(tmp_path, whole, caplog):
    with pytest.raises(Stop):  # after 7 steps, of which 5 are saved, and just measured
        fit(tmp_path, checkpoint_every=5, on_chunk=stop_at(7), resume=True)
    assert steps_in(tmp_path) == [5]
    before, caplog.records[:] = handlers(), []
    with pytest.raises(
        train.Interrupted, match="got SIGTERM; stopped after step 7.*resume=True"
    ) as e:
        fit(
            tmp_path, checkpoint_every=4, on_chunk=signal_at(7, signal.SIGTERM), resume=True, keep=1
        )
    assert (e.value.step, e.value.path, e.value.signal) == (
        7,
        tmp_path / "step_00000007",
        "SIGTERM",
    )
    assert isinstance(e.value, SystemExit)
    assert e.value.code == 143
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert handlers() == before
    assert steps_in(tmp_path) == [7]
    heard = []
    result = fit(tmp_path, on_chunk=lambda done, metrics: heard.append(done), resume=True)
    same_bits(result, whole)
    assert heard == [9, 10, 12]
    assert steps_in(tmp_path) == [7, 12]
    like = train.init(PARAMS, OPTIMIZER, CARRIED)
    same_bits(train.load_checkpoint(tmp_path, like).tree, whole.state)


def test_a_run_that_is_complete_is_only_loaded(tmp_path, whole):
    fit(tmp_path, info={"cell": "mine"})
    assert train.checkpoint_info(tmp_path) == {"cell": "mine"}
    same_bits(fit(tmp_path, resume=True, on_chunk=stop_at(0)), whole)
    with pytest.raises(ValueError, match="got steps=11 to resume a training of 12 steps"):
        fit(tmp_path, resume=True, steps=11)
    with pytest.raises(FileExistsError, match="holds a checkpoint of step 12; .*resume=True"):
        fit(tmp_path)
    other = train.Monitor(lambda params: {"mean": jnp.zeros(2)}, 5)
    with pytest.raises(ValueError, match=r"that measures {'mean': \(2,\)} to .*'mean': \(\)"):
        fit(tmp_path, resume=True, monitor=other)
    with pytest.raises(ValueError, match="got a monitor every None steps.* every 5"):
        fit(tmp_path, resume=True, monitor=None)
    with pytest.raises(
        ValueError, match=r"fit: got(.|\n)*\.opt_state\[0\]\.mu\['w'\]: got float32 \(3, 4\); exp"
    ):
        train.fit(loss, PARAMS, optax.sgd(0.1), BATCH_FN, steps=12, carried=CARRIED,
                  checkpoint=tmp_path, resume=True)  # fmt: skip


def test_the_history_is_joined_once():
    parts = [train.Metrics(*(np.full(2, i + j) for j in range(4))) for i in range(3)]
    history = list(parts)
    start = train.init(PARAMS, OPTIMIZER, CARRIED)
    progress = saver.Progress(start, 6, history, [], 0, None)
    for _ in range(2):
        arrays = saver.progress_snapshot(progress, None).arrays
        assert arrays["extra:metrics.grad_norm"].tolist() == [1, 1, 2, 2, 3, 3]
        assert len(history) == 1


def test_other_versions_are_told(tmp_path, monkeypatch):
    assert saver._compare_versions(saver.current_versions()) is None
    start = train.init(PARAMS, OPTIMIZER, CARRIED)
    other = saver.current_versions() | {"jax": "0.0.1"}
    monkeypatch.setattr(snapshot, "current_versions", lambda: other)
    train.save_checkpoint(tmp_path, start, step=3)
    with (
        pytest.warns(UserWarning, match="that jax 0.0.1 saved, and goes on with jax ") as caught,
        pytest.raises(ValueError, match="without the metrics"),
    ):
        train.fit(loss, PARAMS, OPTIMIZER, BATCH_FN, steps=9, carried=CARRIED,
                  checkpoint=tmp_path, resume=True)  # fmt: skip
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_directory_that_cannot_be_written_to_is_found_before_the_first_step(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="fit: got .*, which is no directory"):
        fit(tmp_path / name, on_chunk=stop_at(0))


def test_a_link_to_nowhere_is_found_before_the_first_step(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OSError, match="fit: got .*; expected to write to .*link"):
        fit(tmp_path / "link", on_chunk=stop_at(0))


def test_what_fit_did_not_save_is_not_resumed(tmp_path):
    train.save_checkpoint(tmp_path, train.init(PARAMS, OPTIMIZER, CARRIED), step=3)
    with pytest.raises(ValueError, match="without the metrics of its 3 steps"):
        fit(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "got resume=True .* without checkpoint"),
        ({"checkpoint_every": 3}, "checkpoint_every=3 without checkpoint"),
        ({"checkpoint": "x", "checkpoint_every": 0}, "got checkpoint_every=0"),
        ({"checkpoint": "x", "keep": 0}, "got keep=0"),
        ({"checkpoint": "x", "info": {"a": float("inf")}}, r"fit: got info\['a'\]"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(**options)


def full(directory, snapshot, keep, by):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
def test_what_goes_wrong_in_writing_is_raised_after_the_next_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "write_snapshot", full)
    heard = []
    with pytest.raises(OSError, match="No space"):
        fit(tmp_path, checkpoint_every=2, monitor=None, on_chunk=lambda done, _: heard.append(done))
    assert heard == [2, 4]


@pytest.mark.slow
def test_what_goes_wrong_in_writing_is_raised_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "write_snapshot", full)
    with pytest.raises(OSError, match="No space"):
        fit(tmp_path, checkpoint_every=100)
    with pytest.raises(Stop) as caught:
        fit(tmp_path, checkpoint_every=2, on_chunk=stop_at(4))
    assert "The last checkpoint was not written" in caught.value.__notes__[0]
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_a_write_that_failed_does_not_cost_the_last_one(
    tmp_path, monkeypatch, caplog, whole, number
):
    tries, write = [], saver.write_snapshot

    def once(directory, snapshot, *arguments, **options):
        tries.append(snapshot.manifest.step)
        if len(tries) == 1:
            full(directory, snapshot, *arguments, **options)
        return write(directory, snapshot, *arguments, **options)

    monkeypatch.setattr(saver, "write_snapshot", once)
    if number is None:
        same_bits(fit(tmp_path, chunk=12, checkpoint_every=10, keep=1), whole)
        assert tries == [10, 12]
    else:
        with pytest.raises(train.Interrupted, match="after step 4") as caught:
            fit(tmp_path, checkpoint_every=2, on_chunk=signal_at(4, number))
        assert caught.value.path.is_dir()
        assert tries == [2, 4]
    assert "an earlier checkpoint was not written" in caplog.text
    assert "No space left" in caplog.text
    monkeypatch.undo()
    same_bits(fit(tmp_path, resume=True), whole)


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "every"), [(1, 3), (3, 1), (5, 3)])
def test_any_break_and_any_chunk_will_do(tmp_path, whole, chunk, every):
    for step in range(1, STEPS, 2):
        with pytest.raises((Stop, train.Interrupted)):
            stop = stop_at(step) if step % 4 == 1 else signal_at(step, signal.SIGINT)
            fit(tmp_path, checkpoint_every=every, chunk=chunk, on_chunk=stop, resume=True)
    same_bits(fit(tmp_path, chunk=2, resume=True), whole)


@pytest.mark.slow
def test_a_training_can_be_made_longer(tmp_path, whole):
    fit(tmp_path, steps=7)
    same_bits(fit(tmp_path, resume=True), whole)


@pytest.mark.slow
def test_info_stays_where_none_is_given(tmp_path):
    fit(tmp_path, steps=2, info={"cell": "mine"})
    fit(tmp_path, steps=4, resume=True)
    assert train.checkpoint_info(tmp_path, step=4) == {"cell": "mine"}
    fit(tmp_path, steps=6, resume=True, info={})
    assert train.checkpoint_info(tmp_path, step=6) == {}


@pytest.mark.slow
def test_ctrl_c_is_a_keyboard_interrupt_and_the_second_does_not_wait(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="got SIGINT; stopped after step 4") as caught:
        fit(tmp_path / "a", on_chunk=signal_at(3, signal.SIGINT))
    assert isinstance(caught.value, train.Interrupted)
    before = handlers()

    def twice(done, metrics):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(tmp_path / "b", on_chunk=twice)
    assert not isinstance(caught.value, train.Interrupted)
    assert handlers() == before


@pytest.mark.slow
def test_a_signal_in_the_last_chunk_is_answered(tmp_path, whole):
    with pytest.raises(train.Interrupted, match="after step 12"):
        fit(tmp_path, on_chunk=signal_at(12, signal.SIGINT))
    same_bits(fit(tmp_path, resume=True), whole)


@pytest.mark.slow
def test_signals_are_left_alone_where_they_must_be(tmp_path, whole):
    seen = []

    def look(done, metrics):
        seen.append(handlers())

    before = handlers()
    fit(on_chunk=look)  # without a checkpoint
    assert all(one == before for one in seen)
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(tmp_path / "a", on_chunk=look)))
    thread.start()
    thread.join()
    same_bits(results[0], whole)
    assert all(one == before for one in seen)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as after nohup
    try:
        seen.clear()
        fit(tmp_path / "b", on_chunk=look)
        assert all(one[0] == signal.SIG_IGN and one[1] != before[1] for one in seen)
    finally:
        signal.signal(signal.SIGINT, before[0])


@pytest.mark.slow
def test_a_broken_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path, whole):
    with pytest.raises(Stop):
        fit(tmp_path, checkpoint_every=2, on_chunk=stop_at(9))
    file = tmp_path / "step_00000008" / "arrays.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="loads step 6 instead; .*step_00000008: "):
        result = fit(tmp_path, checkpoint_every=2, resume=True)
    same_bits(result, whole)
    assert steps_in(tmp_path) == [8, 10, 12]
    train.load_checkpoint(tmp_path, train.init(PARAMS, OPTIMIZER, CARRIED), step=8)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 5, 6])
def test_steps_skipped_in_a_row_are_counted_across_the_break(tmp_path, stop):
    def batch_fn(step):
        return jnp.where((step >= 3) & (step < 7), jnp.nan, jnp.ones((2, 3)))

    def run(limit, **options):
        options |= {"steps": STEPS, "carried": CARRIED, "chunk": 1, "max_skipped": limit}
        where = {"checkpoint": tmp_path, "resume": True}
        return train.fit(loss, PARAMS, OPTIMIZER, batch_fn, **where, **options)

    with pytest.raises(Stop):
        run(4, checkpoint_every=1, on_chunk=stop_at(stop))
    with pytest.raises(FloatingPointError, match="step 3 and at each of the 4 steps .* step 6;"):
        run(4)
    assert run(5).state.skipped == 4


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 0.0, np.zeros(()), np.zeros((), np.int64)])
def test_an_optimiser_may_start_from_numbers(tmp_path, count):
    def update(gradient, state, params=None):
        return jax.tree.map(lambda leaf: -0.1 * leaf, gradient), {"n": state["n"] + 1}

    optimizer = optax.GradientTransformation(lambda params: {"n": count}, update)

    def run(steps, checkpoint, **options):
        return train.fit(lambda w, x: jnp.mean((w - x[0, 0]) ** 2), jnp.zeros(3), optimizer,
                         BATCH_FN, steps=steps, chunk=2, checkpoint=checkpoint,
                         **options)  # fmt: skip

    run(4, tmp_path)
    result = run(6, tmp_path, resume=True)
    assert result.state.opt_state["n"] == 6
    same_bits(result, run(6, None))


@pytest.mark.slow
def test_weak_types_of_an_optimiser_survive(tmp_path):
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)

    def run(checkpoint, **options):
        return train.fit(lambda w, x: jnp.mean((w - x[0, 0]) ** 2), jnp.zeros(3, jnp.bfloat16),
                         optimizer, BATCH_FN, steps=8, chunk=2, checkpoint=checkpoint,
                         **options)  # fmt: skip

    with pytest.raises(Stop):
        run(tmp_path, checkpoint_every=2, on_chunk=stop_at(4))
    same_bits(run(tmp_path, resume=True), run(None))
