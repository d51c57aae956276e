"""Who else is at a directory: readers, a fit that is running, the other processes of a training."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train import checkpoint, parts, saver
from jaxrnn.train.step_directory import steps_in
from team import Team

BATCH_FN = train.sampled(lambda key: jax.random.normal(key, (3,)), jax.random.key(0))


def fit(directory, **options):
    options = {"steps": 6, "chunk": 2} | options
    return train.fit(lambda w, x: jnp.mean((w - x) ** 2), jnp.zeros(3), optax.sgd(0.1), BATCH_FN,
                     checkpoint=directory, **options)  # fmt: skip


@pytest.mark.parametrize("at", ["manifest", "arrays"])
def test_a_checkpoint_that_a_writer_removes_meanwhile_is_not_broken(tmp_path, monkeypatch, at):
    train.save_checkpoint(tmp_path, {"n": 1}, step=1)
    read, turns = checkpoint.read_files, []

    def slowly(path, like, by):
        turns.append(path.name)
        if at == "arrays" and len(turns) == 1:
            manifest = path / "manifest.json"
            text = manifest.read_bytes()
        if len(turns) == 1:
            train.save_checkpoint(tmp_path, {"n": 2}, step=2, keep=1)
        if at == "arrays" and len(turns) == 1:
            path.mkdir()  # as one that was replaced, of which the reader has the old manifest
            manifest.write_bytes(text)
        return read(path, like, by=by)

    monkeypatch.setattr(checkpoint, "read_files", slowly)
    loaded = train.load_checkpoint(tmp_path, {"n": 0})  # a warning would be an error
    assert loaded.tree == {"n": 2}
    assert turns == ["step_00000001", "step_00000002"]


def test_the_directory_of_a_fit_that_runs_is_its_own_and_another_clipping_is_told(tmp_path):
    (tmp_path / "link").symlink_to("a")
    heard = []

    def save(done, metrics):
        for name in ("a", "link", "a/../a"):
            with pytest.raises(ValueError, match="to which the fit that is running saves; expe"):
                train.save_checkpoint(tmp_path / name, {"n": 1}, step=99)
        train.save_checkpoint(tmp_path / "b", {"n": done}, step=done)
        heard.append(done)

    def again(done, metrics):
        with pytest.raises(ValueError, match="fit: got .*to which the fit that is running saves"):
            fit(tmp_path / "a", resume=True, steps=8)

    fit(tmp_path / "a", on_chunk=save, checkpoint_every=2)
    assert heard == [2, 4, 6]
    assert steps_in(tmp_path / "a") == steps_in(tmp_path / "b") == [2, 4, 6]
    fit(tmp_path / "a", on_chunk=again, checkpoint_every=2, resume=True, steps=7)
    fit(tmp_path / "a", resume=True, steps=7)
    with pytest.warns(UserWarning, match="got clip_norm=None to resume a .* clip_norm=1.0") as told:
        fit(tmp_path / "a", resume=True, steps=7, clip_norm=None)
    assert told[0].filename == __file__
    train.save_checkpoint(tmp_path / "a", {"n": 1}, step=99)


# A training of several processes: threads that take turns at nothing but words and files


def taken(processes, done):
    tree = train.init({"w": np.arange(3.0)}, optax.sgd(0.1))
    return saver.snapshot(tree, step=done, processes=processes, by="fit")


def run(directory, hear=None, steps=8):
    def one(processes):
        done = []
        with saver.Saver(directory, 2, 2, 3, 0, processes) as saving:
            for step in range(2, steps + 1, 2):
                done.append(step)
                if hear == (processes.index, step):
                    saving._signals.heard = signal.SIGTERM
                saving.after_chunk(step, step == steps, lambda s=step: taken(processes, s))
        return done

    return Team(2).run(one)


def test_a_signal_that_one_process_hears_stops_all_after_the_same_chunk(tmp_path):
    first, second = run(tmp_path, hear=(1, 4))
    assert isinstance(first, train.Interrupted)
    assert isinstance(second, train.Interrupted)
    assert str(first) == str(second)
    assert first.step == 4
    assert steps_in(tmp_path) == [2, 4]
    assert run(tmp_path / "b") == [[2, 4, 6, 8]] * 2
    assert steps_in(tmp_path / "b") == [4, 6, 8]


def test_what_goes_wrong_is_raised_in_all_when_the_next_one_is_due(tmp_path, monkeypatch):
    put, tries = parts._put_share, []

    def fail(new, snapshot):
        if snapshot.share.processes.index == 1 and snapshot.manifest.step == 4:
            tries.append(4)
            raise OSError(28, "No space left on device")
        return put(new, snapshot)

    monkeypatch.setattr(parts, "_put_share", fail)
    first, second = run(tmp_path)
    assert "process 1 gave up: OSError: [Errno 28] No space" in str(first)
    assert "make room" in str(second)
    assert tries == [4]
    assert steps_in(tmp_path) == [2]
