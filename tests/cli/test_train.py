"""What `jaxrnn train` promises: settings, files, bad input; real runs, broken off and gone on."""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import jaxrnn
from cli.fakes import Fit
from jaxrnn import tasks, train
from jaxrnn.cli import main
from jaxrnn.cli import train as command
from jaxrnn.cli.runs import choose_tasks
from jaxrnn.cli.train_log import MetricsLog, read_validations
from jaxrnn.cli.train_network import make_deep_network, write_text
from jaxrnn.cli.train_settings import SETTINGS

ROOT = pathlib.Path(jaxrnn.__file__).parents[1]
SMALL = ["--task", "copy", "--hidden", "3", "--length", "3", "--batch", "2", "--steps", "4"]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fit(monkeypatch):
    fake = Fit()
    monkeypatch.setattr(command, "fit", fake)
    return fake


def run_json(directory="jaxrnn-train"):
    return json.loads(pathlib.Path(directory, "run.json").read_text("utf-8"))


def log(directory="jaxrnn-train"):
    lines = pathlib.Path(directory, "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def arrays(name, directory="jaxrnn-train"):
    with np.load(pathlib.Path(directory, name)) as found:
        return dict(found)


def refused(capsys, *words, status=2):
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")}
    assert main(["train", *words]) == status
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("jaxrnn train: ")
    assert {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")} == before
    return said.err


def test_the_files_of_a_run(fit, capsys):
    assert main(["train", *SMALL]) == 0
    names = {path.name for path in pathlib.Path("jaxrnn-train").iterdir()}
    assert names == {"run.json", "metrics.jsonl", "weights.npz", "cell.npz"}
    params = fit.options["params"]
    cell, whole = arrays("cell.npz"), arrays("weights.npz")
    assert set(cell) == {"w_ih", "w_hh", "b"}
    assert set(whole) == {"0/w_ih", "0/w_hh", "0/b", "1/w", "1/b"}
    np.testing.assert_array_equal(cell["w_hh"], params[0].w_hh)
    np.testing.assert_array_equal(whole["1/w"], params[1].w)
    lines = log()
    assert [one["step"] for one in lines] == [1, 2, 3, 4]
    assert lines[0] == {
        "step": 1, "loss": 2.0, "grad_norm": 4.0, "clipped": False, "skipped": False
    }  # fmt: skip
    settings = run_json()["settings"]
    assert settings["task"] == "copy" and settings["cell"] == "lstm" and settings["layers"] == 1
    assert fit.options["checkpoint_every"] == 100 and fit.options["clip_norm"] == 1.0
    said = capsys.readouterr().out
    assert "lstm, 1 layer of 3 units" in said and "2.0000 at step 1, 1.0000" in said


def test_a_file_of_settings_and_options_that_beat_it(fit):
    config = {"cell": "lstm,gru", "task": "series", "hidden": 3, "batch": 2, "steps": 4, "lr": 1}
    config |= {"stateful": True, "clip": 0.5}
    pathlib.Path("net.json").write_text(json.dumps(config))
    assert main(["train", "--config", "net.json", "--clip", "0", "--length", "3"]) == 0
    settings = run_json()["settings"]
    assert settings == settings | config | {"clip": 0.0, "length": 3, "layers": 2, "lr": 1.0}
    assert fit.options["clip_norm"] is None
    assert jax.tree.map(np.shape, fit.options["carried"])[1] == (2, 3)
    assert set(arrays("weights.npz")) >= {"1/b_hn", "2/w"}
    again = ["--config", "jaxrnn-train/run.json", "--checkpoint", "again"]
    assert main(["train", *again]) == 0
    assert run_json("again")["settings"] == settings


def test_going_on_takes_the_settings_of_the_run(fit, capsys):
    assert main(["train", *SMALL, "--cell", "gru"]) == 0
    stored = run_json()["settings"]
    capsys.readouterr()
    assert "which holds a run" in refused(capsys, *SMALL)
    said = refused(capsys, "--resume", "--hidden", "5")
    assert "got --hidden 5 to go on with a run of --hidden 3" in said
    assert main(["train", "--resume", "--steps", "6"]) == 0
    assert run_json()["settings"] == stored | {"steps": 6}
    assert fit.options["resume"] and fit.options["steps"] == 6
    assert set(arrays("cell.npz")) == {"w_ih", "w_hh", "b", "b_hn"}


@pytest.mark.slow
def test_data_that_changed_are_not_gone_on_with(fit, capsys):
    pathlib.Path("one.txt").write_text("some text " * 9)
    pathlib.Path("two.txt").write_text("some text " * 8)
    small = ["--hidden", "3", "--length", "3", "--batch", "2", "--steps", "2", "--sample", "0"]
    assert main(["train", *small, "--data", "one.txt"]) == 0
    capsys.readouterr()
    assert "has another checksum than 'one.txt'" in refused(capsys, "--resume", "--data", "two.txt")
    pathlib.Path("one.txt").rename("moved.txt")
    assert main(["train", "--resume", "--data", "moved.txt"]) == 0


def test_early_stop_keeps_the_weights_of_the_lowest_loss(fit, capsys):
    fit.losses = {2: 1.5, 4: 1.75}
    words = [*SMALL, "--patience", "1", "--validate-every", "2"]
    assert main(["train", *words]) == 0
    log_path = pathlib.Path("jaxrnn-train/metrics.jsonl")
    assert read_validations(log_path) == [(2, 1.5), (4, 1.75)]
    w_hh = fit.options["params"][0].w_hh
    np.testing.assert_array_equal(arrays("cell.npz")["w_hh"], w_hh + 2)
    assert "lowest loss on data held out: 1.5000 after step 2, kept" in capsys.readouterr().out
    assert main(["train", "--resume", "--steps", "9"]) == 0
    assert fit.options["steps"] == 4  # it had waited long enough


@pytest.mark.slow
def test_the_data_held_out_are_not_trained_on():
    arguments = {"data": None, "task": "text", "columns": None, "length": 5, "batch": 2}
    task, held_out = choose_tasks({**arguments, "patience": 3})
    whole, none = choose_tasks({**arguments, "patience": 0})
    assert none is None
    parts = [np.asarray(jax.tree.leaves(one.sample)[0]) for one in (task, held_out, whole)]
    assert len(parts[1]) == round(len(parts[2]) / 10)
    np.testing.assert_array_equal(np.concatenate(parts[:2]), parts[2])


@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_says_how_to_go_on(name, status, fit, capsys):
    from jaxrnn.train.interrupt import interrupted

    fit.end = interrupted(getattr(signal, name), 2, pathlib.Path("out dir/step_00000002"))
    assert main(["train", *SMALL, "--checkpoint", "out dir"]) == status
    said = capsys.readouterr()
    assert f"got {name}; stopped after step 2 of 4, which is saved" in said.err
    assert "to go on: jaxrnn train --resume --checkpoint 'out dir'" in said.err
    assert len(log("out dir")) == 2 and run_json("out dir")


def test_a_log_drops_what_is_taken_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    one = MetricsLog(path)
    row = train.Metrics(
        *(np.array([1.0, np.nan]) for _ in range(2)), *(np.array([False, True]),) * 2
    )
    one.steps(2, row)
    one.validation(2, 0.5)
    one.steps(4, row)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"step": 5, "lo')  # a run that was killed
    again = MetricsLog(path, done=2)
    assert again.validations == [(2, 0.5)]
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [entry["step"] for entry in lines] == [1, 2, 2] and lines[1]["loss"] == "nan"
    MetricsLog(path)
    assert path.read_text("utf-8") == ""


BAD = {
    "cell": (["--cell", "lstn"], "unknown cell 'lstn'.*did you mean 'lstm'?"),
    "second": (["--cell", "lstm,grru"], "unknown cell 'grru'"),
    "layers": (["--cell", "lstm,gru", "--layers", "3"], "--layers 3 with 2 cells.*leave --layers"),
    "no layer": (["--layers", "0"], "got --layers 0; expected 1 to"),
    "image": (["--cell", "conv_gru"], "conv_gru: got an input of shape.*2 axes of space"),
    "lr": (["--lr", "0"], "got --lr 0.0; expected a positive number; try --lr 0.003"),
    "nan": (["--lr", "nan"], "got --lr nan; expected a positive number"),
    "clip": (["--clip", "-1"], "got --clip -1.0; expected a positive number, or 0"),
    "batch": (["--batch", "0"], "got --batch 0; expected 1 to"),
    "stateful": (["--stateful"], "got --stateful, but the sequences of copy are independent"),
    "data": (["--data", "net.txt"], "--task copy, which makes its own data"),
    "no file": (["--config", "none.json"], "nothing exists there; expected a file"),
    "no json": (["--config", "bad.json"], "no JSON: .*expected an object of settings"),
    "list": (["--config", "list.json"], "with a list; expected an object"),
    "unknown": (["--config", "key.json"], "unknown setting 'hiden'.*did you mean 'hidden'?.*key"),
    "type": (["--config", "type.json"], 'got hidden = "3" in .*; expected a whole number'),
    "out": (["--checkpoint", "bad.json/x"], "got --checkpoint bad.json/x: Not a directory"),
    "foreign": (["--checkpoint", "foreign"], "holds checkpoints and no run.json"),
    "broken": (["--checkpoint", "broken", "--resume"], "run.json that is broken"),
    "odd": (["--checkpoint", "odd", "--resume"], "got hidden = true in .*run.json.*whole number"),
}


@pytest.mark.parametrize("words, expected", BAD.values(), ids=BAD)
def test_bad_input_writes_nothing(words, expected, fit, capsys):
    contents = {"bad.json": "{", "list.json": "[]", "key.json": '{"hiden": 3}'}
    for name, text in {**contents, "type.json": '{"hidden": "3"}'}.items():
        pathlib.Path(name).write_text(text)
    pathlib.Path("foreign/step_00000010").mkdir(parents=True)
    pathlib.Path("broken").mkdir()
    pathlib.Path("broken/run.json").write_text('{"settings": 3}')
    pathlib.Path("odd").mkdir()
    pathlib.Path("odd/run.json").write_text('{"settings": {"hidden": true}, "task": {}}')
    assert re.search(expected, refused(capsys, *SMALL, *words))


@pytest.mark.slow
def test_one_layer_is_the_network_of_the_report():
    from jaxrnn.cli.network import make_network

    task = tasks.copy(length=2, memory=1, batch_size=2)
    one = make_network(jaxrnn.CELLS["gru"].make, task, hidden_size=3, seed=5)
    deep = make_deep_network(["gru"], task, 3, 5)
    jax.tree.map(np.testing.assert_array_equal, deep.params, one.params)
    jax.tree.map(
        np.testing.assert_array_equal,
        deep.batch_fn(False)(7),
        train.sampled(task.sample, one.batch_key)(7),
    )


@pytest.mark.slow
def test_writing_follows_the_logits(key):
    """A readout that knows but one answer to each character."""
    net = jaxrnn.readout(3, input_size=3)
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.elman(3, 3)), net)
    params = net.init(key)
    turn = 50 * np.roll(np.eye(3, dtype=np.float32), 1, axis=1)
    inner = params[0]._replace(w_ih=9 * np.eye(3, dtype=np.float32), w_hh=0 * params[0].w_hh)
    params = (inner, params[1]._replace(w=turn))
    assert write_text(net, params, "a\nb", count=6, temperature=0.5, key=key) == "ba\nba\n"


def jaxrnn_train(*words, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, "-m", "jaxrnn", "train", *words]
    return subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


REAL = ["--task", "series", "--stateful", "--cell", "gru", "--hidden", "4", "--length", "5"]
REAL += ["--batch", "4", "--steps", "600", "--checkpoint-every", "50", "--patience", "99"]
REAL += ["--validate-every", "50"]


@pytest.mark.slow
def test_broken_off_and_gone_on_is_the_run_without_a_break(capsys):
    """SIGTERM after some steps, then SIGKILL, then to the end: weights and log bit for bit."""
    assert main(["train", *REAL, "--checkpoint", "whole"]) == 0
    words = ["--checkpoint", "broken", "--resume"]
    for number, steps in ((signal.SIGTERM, 100), (signal.SIGKILL, 300)):
        process = jaxrnn_train(*REAL, *words)
        path = pathlib.Path("broken/metrics.jsonl")
        while process.poll() is None:
            if path.exists() and path.read_text("utf-8").count("grad_norm") >= steps:
                process.send_signal(number)
                break
            time.sleep(0.01)
        _, said = process.communicate(timeout=120)
        if number == signal.SIGTERM and process.returncode != 0:  # or it was done before
            assert process.returncode == 143, said
            assert "to go on: jaxrnn train --resume --checkpoint broken" in said
    assert main(["train", *words]) == 0
    assert log("broken") == log("whole")
    for name in ("weights.npz", "cell.npz"):
        whole, broken = arrays(name, "whole"), arrays(name, "broken")
        assert whole.keys() == broken.keys()
        for one in whole:
            np.testing.assert_array_equal(whole[one], broken[one])
    capsys.readouterr()
    pytest.importorskip("matplotlib")
    spectrum = [
        "spectrum",
        "gru",
        "--params",
        "whole/cell.npz",
        "--task",
        "series",
        "--length",
        "40",
    ]
    assert main([*spectrum, "--out", "spectrum"]) == 0
    assert "parameters of whole/cell.npz" in pathlib.Path("spectrum/index.html").read_text("utf-8")
    assert (
        json.loads(pathlib.Path("spectrum/spectrum.json").read_text("utf-8"))["settings"]["hidden"]
        == 4
    )


@pytest.mark.slow
def test_a_model_of_text_learns_and_writes(capsys):
    pathlib.Path("text.txt").write_text("abcd\n" * 200)
    words = [
        "--data",
        "text.txt",
        "--hidden",
        "8",
        "--length",
        "10",
        "--batch",
        "8",
        "--lr",
        "0.03",
    ]
    words += ["--steps", "150", "--sample", "20", "--temperature", "0.1"]
    assert main(["train", *words]) == 0
    said = capsys.readouterr().out
    assert "abcd\nabcd\nabcd\nabcd\n" in said.split("temperature 0.1\n")[1]
    go_on = re.search(r"To train on: jaxrnn (.*)", said)[1]
    assert main([*shlex.split(go_on), "--sample", "0"]) == 0
    assert log()[-1]["step"] == 300 and log()[-1]["loss"] < 0.2


def test_help_names_the_settings(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "%(" not in text
    for name in (*SETTINGS, "config", "checkpoint", "resume"):
        assert f"--{name}" in text
    for default in ("lstm", "64", "100", "0.003", "1000", "jaxrnn-train"):
        assert f"(default: {default})" in text
    assert "jaxrnn spectrum CELL --params DIR/cell.npz" in text
