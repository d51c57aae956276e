"""`jaxrnn report` on what `jaxrnn train` saved."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

from cli.fakes import Fit, leave_flows_out, make_report
from jaxrnn.cli import main, pictures, report
from jaxrnn.cli import train as command

pytest.importorskip("matplotlib")

SMALL = ["--task", "copy", "--hidden", "3", "--length", "3", "--batch", "2", "--steps", "4"]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def saved(monkeypatch, capsys):
    """Makes runs in which nothing was trained."""
    monkeypatch.setattr(command, "fit", Fit())

    def save(directory, *words):
        assert main(["train", *SMALL, "--checkpoint", directory, *words]) == 0
        capsys.readouterr()

    return save


def test_the_report_is_of_what_was_saved(saved, monkeypatch, capsys):
    saved("one", "--cell", "elman", "--clip", "0.5", "--seed", "7")
    saved("two", "--cell", "gru", "--clip", "0.5", "--seed", "7", "--steps", "6")
    asked = {}

    def measure(makes, task, runs, **options):
        asked.update(makes=makes, task=task, runs=runs, **options)
        return [make_report(name, -0.1, steps=4) for name in makes]

    monkeypatch.setattr(report, "measure_runs", measure)
    monkeypatch.setattr(pictures, "draw_pictures", lambda *_, **__: {"training.png": b"picture"})
    assert main(["report", "--runs", "one, two", "--out", "out"]) == 0
    assert "elman" in capsys.readouterr().out
    assert list(asked["makes"]) == list(asked["runs"]) == ["elman", "gru"]
    assert (asked["hidden_size"], asked["seed"], asked["num_sequences"]) == (3, 7, 2)
    for directory, (params, metrics) in zip(("one", "two"), asked["runs"].values(), strict=True):
        with np.load(pathlib.Path(directory, "weights.npz")) as arrays:
            pairs = zip(arrays.values(), jax.tree.leaves(params), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)
        steps = {"one": 4, "two": 6}[directory]
        np.testing.assert_array_equal(metrics.loss, np.linspace(2, 1, steps, dtype=np.float32))
        assert metrics.clipped.dtype == bool and not metrics.skipped.any()
    settings = json.loads(pathlib.Path("out/report.json").read_text("utf-8"))["settings"]
    wanted = {"steps": [4, 6], "clip_norm": 0.5, "batch_size": 2, "seed": 7, "task": "copy"}
    assert {name: settings[name] for name in wanted} == wanted
    assert "trained for 4 to 6 steps" in pathlib.Path("out/index.html").read_text("utf-8")


BAD = [
    ("nothing", "got --runs nothing: run.json: No such file.*finished `jaxrnn train`"),
    ("one,other", "got --runs of --hidden 3 .one. and of --hidden 4 .other.; expected the same"),
    ("one,one", "got --runs with two of cell 'lstm'; expected each cell once"),
    ("deep", "got --runs deep, a network of 2 layers; expected one layer"),
    ("broken", "got --runs broken with a run.json that is broken"),
    ("begun", "got --runs begun, a run that is not finished.*--resume --checkpoint begun"),
    ("mixed", "got --runs with .*0/w_ih of shape .*the network of its run.json"),
    ("one --hidden 5", "got --hidden 5 with --runs; .*leave --hidden out"),
    ("one --steps 300", "got --steps 300 with --runs"),  # the default, and yet not what was saved
    ("one --cells gru", "got --cells gru with --runs"),
    ("one --data text.txt", "got --data text.txt with --task copy"),
]


def test_bad_input_writes_nothing(saved, capsys):
    saved("one")
    saved("other", "--hidden", "4")
    saved("deep", "--layers", "2")
    for name in ("broken", "begun", "mixed"):
        pathlib.Path(name).mkdir()
        pathlib.Path(name, "run.json").write_bytes(pathlib.Path("one/run.json").read_bytes())
    pathlib.Path("broken/run.json").write_text('{"settings": 3}', encoding="utf-8")
    for name, source in (("metrics.jsonl", "one"), ("weights.npz", "other")):
        pathlib.Path("mixed", name).write_bytes(pathlib.Path(source, name).read_bytes())
    for words, expected in BAD:
        assert main(["report", "--runs", *words.split(), "--out", "out"]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        assert re.search(expected, said.err), said.err
        assert not pathlib.Path("out").exists()


@pytest.mark.slow
def test_a_run_gives_the_report_that_training_gives(monkeypatch):
    """The report of a run is that of the same network, trained by the report itself."""
    leave_flows_out(monkeypatch)
    sizes = ["--hidden", "3", "--length", "5", "--steps", "6", "--seed", "2"]
    assert main(["train", "--cell", "gru", *sizes, "--sample", "0", "--checkpoint", "run"]) == 0
    assert main(["report", "--runs", "run", "--out", "ours"]) == 0
    assert main(["report", "--cells", "gru", *sizes, "--out", "theirs"]) == 0
    ours, theirs = (
        json.loads(pathlib.Path(name, "report.json").read_text("utf-8"))
        for name in ("ours", "theirs")
    )
    assert ours["settings"] == theirs["settings"] and ours["task"] == theirs["task"]
    flat = [jax.tree.flatten(one["cells"]) for one in (ours, theirs)]
    assert flat[0][1] == flat[1][1]
    for a, b in zip(*(leaves for leaves, _ in flat), strict=True):
        assert a == b or a == pytest.approx(b, rel=1e-6)
