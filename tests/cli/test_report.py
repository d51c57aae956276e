"""What `jaxrnn report` promises, on real runs: small ones, shared by the tests."""

import base64
import hashlib
import io
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from cli.fakes import Page, entry, leave_flows_out
from jaxrnn import analysis, layer, readout, stack, tasks, train
from jaxrnn.cli import main

pytest.importorskip("matplotlib")

FILES = {
    "index.html",
    "report.json",
    "comparison.png",
    "loss_gradient.png",
    "contributions.png",
    "lags.png",
    "spectrum.png",
    "decay.png",
    "training.png",
}
OF_FLOWS = {"contributions.png", "lags.png", "spectrum.png"}
TEXT = "the quick brown fox jumps over the lazy dog; a straße, 道可道 & <b>bold</b>\n" * 5
HIDDEN, LENGTH, STEPS = 4, 7, 3
SMALL = ["--hidden", str(HIDDEN), "--length", str(LENGTH), "--steps", str(STEPS)]


def strictly(text):
    """Parses JSON that has neither NaN nor Infinity nor a key twice."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    def unique(pairs):
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


def number(value):
    assert isinstance(value, int | float) or value in ("inf", "-inf", "nan")
    return float(value)


def numbers(values):
    return np.vectorize(number, otypes=[float])(np.array(values, object))


def source(directory):
    path = directory / "some <i> text & more.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


FLOWS = pytest.param("flows", marks=pytest.mark.slow)
with_flows = pytest.mark.parametrize("run", [FLOWS], indirect=True)


@pytest.fixture(scope="module", params=["rates", FLOWS])
def run(request, tmp_path_factory):
    """One report on a text file, in this process: its directory, its JSON, its page, the file.

    By default as far as the rates; the flows, which compile for long, in the slow run.
    """
    directory = tmp_path_factory.mktemp("run")
    data, out = source(directory), directory / "new" / "out"
    words = ["report", "--data", str(data), *SMALL, "--cells", "elman", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "rates":
            leave_flows_out(patch)
        assert main(words) == 0
    read = strictly((out / "report.json").read_text("utf-8"))
    return out, read, Page((out / "index.html").read_text("utf-8")), data


@pytest.fixture(scope="module")
def extremes(tmp_path_factory):
    """One report on cells whose Jacobian is 0 and 1.5 times the identity."""
    out = tmp_path_factory.mktemp("extremes")
    with pytest.MonkeyPatch.context() as patch:
        leave_flows_out(patch)
        patch.setitem(jaxrnn.CELLS, "dead", entry(0.0))
        patch.setitem(jaxrnn.CELLS, "growing", entry(1.5))
        data = source(out)
        words = ["--data", str(data), *SMALL, "--cells", "dead,growing", "--out", str(out)]
        assert main(["report", *words]) == 0
    page = Page((out / "index.html").read_text("utf-8"))
    return strictly((out / "report.json").read_text("utf-8")), page


def has_flows(read):
    return "lyapunov_exponents" in read["cells"]["elman"]["after"]


def test_writes_these_files_and_no_other(run):
    out, read, *_ = run
    expected = FILES if has_flows(read) else FILES - OF_FLOWS
    assert {path.name for path in out.iterdir()} == expected
    for path in out.iterdir():
        assert path.stat().st_mode & 0o444 == 0o444


def test_pictures_are_pictures(run):
    from matplotlib import image

    out, *_ = run
    for path in sorted(out.iterdir()):
        if path.suffix == ".png":
            data = path.read_bytes()
            assert data.startswith(b"\x89PNG\r\n\x1a\n")
            pixels = image.imread(io.BytesIO(data), format="png")
            assert min(pixels.shape[:2]) > 200
            assert pixels[..., :3].std() > 0.01  # something is drawn


def test_page_needs_no_other_file(run):
    out, read, page, _ = run
    text = (out / "index.html").read_text("utf-8")
    assert text.lower().startswith("<!doctype html>")
    assert [link for link in page.links if not link.startswith("data:image/png;base64,")] == []
    assert "url(" not in text and "@import" not in text
    assert not {"script", "link", "iframe", "object"} & set(page.seen)
    embedded = [base64.b64decode(img["src"].split(",", 1)[1], validate=True) for img in page.images]
    pictures = ["comparison.png", "loss_gradient.png", "contributions.png", "lags.png"]
    pictures += ["spectrum.png", "decay.png", "training.png"]
    pictures = [name for name in pictures if has_flows(read) or name not in OF_FLOWS]
    assert embedded == [(out / name).read_bytes() for name in pictures]
    assert all(img["alt"] for img in page.images)


def test_page_shows_names_as_they_are(run):
    _, _, page, data = run
    assert any(str(data) in text for text in page.texts["p"])
    settings = dict(page.tables[-1])
    assert settings["source"] == str(data)
    assert page.texts["title"] == page.texts["h1"]


def test_json_says_what_it_depends_on(run):
    _, read, page, data = run
    assert read["settings"] == {
        "task": "text",
        "cells": ["elman"],
        "hidden": HIDDEN,
        "length": LENGTH,
        "steps": STEPS,
        "seed": 0,
        "batch_size": 32,
        "measured_sequences": 8,
        "optimizer": "adam",
        "learning_rate": 3e-3,
        "clip_norm": 1.0,
    }
    assert read["task"]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert read["versions"]["jaxrnn"] == jaxrnn.__version__
    assert read["versions"]["jax"] == jax.__version__
    assert read["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert read["versions"]["optax"] == optax.__version__
    assert read["device"]["platform"] == jax.devices()[0].platform
    shown = dict(page.tables[-1])
    for key, value in read["versions"].items():
        assert shown[key] == value
    for key in ("hidden", "length", "steps", "seed", "learning_rate", "clip_norm"):
        assert shown[key] == str(read["settings"][key])
    assert shown["sha256"] == read["task"]["sha256"]
    assert "nats per step" in read["units"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("part", ["state_jacobian", "loss_gradient"])
def test_rates_follow_from_the_log_norms(run, when, part):
    _, read, *_ = run
    got = read["cells"]["elman"][when][part]
    log_norms = numbers(got["log_norms"])
    assert got["lags"] == list(range(1, LENGTH + 1))
    assert log_norms.shape == (8, LENGTH)
    np.testing.assert_allclose(numbers(got["log_norms_median"]), np.median(log_norms, 0), rtol=1e-6)
    rates = [float(analysis.fit_rate(np.float32(one))[0]) for one in log_norms]
    assert got["rate"] == pytest.approx(np.mean(rates), rel=1e-4)
    assert got["stderr"] == pytest.approx(np.std(rates, ddof=1) / math.sqrt(8), rel=1e-3)
    assert got["half_life"] == pytest.approx(-math.log(2) / got["rate"])


def test_table_and_sentences_are_those_of_the_json(run):
    _, read, page, _ = run
    cell = read["cells"]["elman"]
    before, after = (cell[when]["state_jacobian"] for when in ("before", "after"))

    def half_life(part):
        life = math.log(2) / abs(part["rate"])
        return f"doubles in {life:.1f}" if part["rate"] > 0 else f"{life:.1f}"

    header, row = page.tables[0]
    shown = dict(zip(header, row, strict=True))
    assert shown == {
        "cell": "elman",
        "loss": f"{cell['loss'][0]:.2f} to {cell['loss'][-1]:.2f}",  # the last tenth is one step
        "rate before": f"{before['rate']:+.4f} ± {before['stderr']:.4f}",
        "rate after": f"{after['rate']:+.4f} ± {after['stderr']:.4f}",
        "half-life": half_life(after),
        "dL/ds half-life": half_life(cell["after"]["loss_gradient"]),
        "clipped": f"{100 * np.mean(np.array(cell['grad_norm']) > 1):.1f} %",
        "parameters": f"{cell['parameters']:,}",
        "skipped": "0",
    }
    said = " ".join(page.texts["p"])
    assert f"elman ({after['rate']:+.4f} ± {after['stderr']:.4f} nats per step)" in said
    assert f"{read['task']['baseline_loss']:.3f}" in said
    assert len(cell["loss"]) == len(cell["grad_norm"]) == STEPS
    assert cell["skipped_steps"] == 0


def test_the_same_network_by_public_calls(run):
    """Trains and measures again as the README's quickstart does."""
    _, read, _, data = run
    init_key, batch_key, probe_key = jax.random.split(jax.random.key(0), 3)
    task = tasks.text(data, length=LENGTH, batch_size=32)
    cell = jaxrnn.elman(task.input_size, HIDDEN)
    net = stack(layer(cell), readout(task.output_size))
    params = net.init(init_key)
    probe = task.sample(probe_key).xs[:, :8]

    def loss_fn(params, batch):
        logits = net.apply(params, batch.xs)[1]
        return train.cross_entropy(logits, batch.targets, batch.mask)

    batches = train.sampled(task.sample, batch_key)
    result = train.fit(loss_fn, params, optax.adam(3e-3), batches, steps=STEPS)
    measure = jax.jit(lambda params: analysis.gradient_decay(cell, params, probe).log_norms)
    got = read["cells"]["elman"]
    for when, trained in (("before", params), ("after", result.state.params)):
        expected = np.asarray(measure(trained[0])).T
        shown = numbers(got[when]["state_jacobian"]["log_norms"])
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["loss"], result.metrics.loss, rtol=1e-5)
    w_hh = np.asarray(params[0].w_hh)
    bound = np.log(np.linalg.norm(w_hh, 2)) * np.arange(1, LENGTH + 1)
    np.testing.assert_allclose(numbers(got["before"]["pascanu_bound"]), bound, atol=1e-4)
    assert got["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))


@with_flows
def test_flow_is_in_the_json(run):
    """A plain network has no gates; the shares add up; the map's last row is the decay's norm."""
    _, read, page, _ = run
    for when in ("before", "after"):
        got = read["cells"]["elman"][when]
        assert got["gates"] is None
        assert np.array(got["lyapunov_exponents"]).shape == (4, HIDDEN)
        parts = got["parameter_gradient_by_lag"]
        assert parts["lags"] == list(range(LENGTH))
        assert sum(parts["share"]) == pytest.approx(1, abs=1e-4)
        assert parts["cumulative_share"][-1] == pytest.approx(1, abs=1e-4)
        reached = np.array(parts["cumulative_share"][parts["steps_for_90_percent"] - 1 :])
        assert (reached >= 0.9).all()
        norms = numbers(got["lag_matrix"]["log_norms"])
        assert norms.shape == (LENGTH, LENGTH) and np.isnan(norms[0, 1:]).all()
        spectral = np.median(numbers(got["state_jacobian"]["log_norms"])[:4], axis=0)
        frobenius = norms[-1] + np.log(HIDDEN) / 2
        assert (frobenius >= spectral - 0.1).all()
        assert (frobenius <= spectral + np.log(HIDDEN) / 2 + 0.1).all()
    horizon = read["cells"]["elman"]["after"]["parameter_gradient_by_lag"]["steps_for_90_percent"]
    said = " ".join(page.texts["figcaption"])
    assert f"the last {horizon} step" in said


@with_flows
def test_as_a_program_the_same_seed_gives_the_same_file(run, tmp_path):
    """Runs ``python -m jaxrnn`` in another process, where nothing is shared but the seed."""
    out, _, _, data = run
    root = pathlib.Path(jaxrnn.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "-m", "jaxrnn", "report", "--data", str(data), *SMALL]
    command += ["--cells", "elman"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    again = tmp_path / "jaxrnn-report"  # the default of --out
    assert [path.name for path in tmp_path.iterdir()] == [again.name]
    assert (again / "report.json").read_bytes() == (out / "report.json").read_bytes()
    assert "Open jaxrnn-report" in done.stdout
    assert re.search(r"^elman +\d", done.stdout, re.MULTILINE)
    assert done.stderr == ""  # no warning, and no progress bar where there is no terminal


@with_flows
def test_another_seed_gives_other_numbers(run, tmp_path, capsys, monkeypatch):
    leave_flows_out(monkeypatch)
    _, read, page, data = run
    words = ["report", "--data", str(data), *SMALL, "--cells", "elman"]
    assert main([*words, "--seed", str(2**32 - 1), "--out", str(tmp_path)]) == 0
    other = strictly((tmp_path / "report.json").read_text("utf-8"))
    assert other["settings"]["seed"] == 2**32 - 1
    assert other["task"] == read["task"]
    for when in ("before", "after"):
        one, two = (r["cells"]["elman"][when]["state_jacobian"] for r in (read, other))
        assert one["log_norms"] != two["log_norms"]
        assert one["rate"] != two["rate"]
    shown = capsys.readouterr().out
    assert f"{other['cells']['elman']['after']['state_jacobian']['rate']:+.4f}" in shown
    assert str(tmp_path / "index.html") in shown


@pytest.mark.slow
def test_gradients_that_die(extremes):
    read, page = extremes
    for when in ("before", "after"):
        for part in ("state_jacobian", "loss_gradient"):
            got = read["cells"]["dead"][when][part]
            assert got["rate"] == "-inf"
            assert got["log_norms"] == [["-inf"] * LENGTH] * 8
            assert got["stderr"] == "nan"
            assert got["half_life"] == 0
    row = page.tables[0][1]
    assert row[0] == "dead" and row.count("dies (exactly 0)") == 2
    assert any("dead dies exactly" in text for text in page.texts["p"])


@pytest.mark.slow
def test_gradients_that_explode(extremes):
    read, page = extremes
    got = read["cells"]["growing"]["after"]["state_jacobian"]
    assert got["rate"] == pytest.approx(math.log(1.5), rel=1e-4)
    assert got["half_life"] == pytest.approx(-math.log(2) / math.log(1.5), rel=1e-4)
    expected = np.broadcast_to(math.log(1.5) * np.arange(1, LENGTH + 1), (8, LENGTH))
    np.testing.assert_allclose(numbers(got["log_norms"]), expected, rtol=1e-4)
    assert read["cells"]["growing"]["after"]["pascanu_bound"] is None
    bound = numbers(read["cells"]["growing"]["after"]["data_dependent_bound"])
    np.testing.assert_allclose(bound, expected[0], rtol=1e-4)
    row = page.tables[0][2]
    assert row[0] == "growing" and row[4] == "doubles in 1.7"


@pytest.mark.slow
def test_training_that_is_not_finite(tmp_path, capsys, monkeypatch):
    leave_flows_out(monkeypatch)
    monkeypatch.setitem(jaxrnn.CELLS, "broken", entry(math.nan))
    out = tmp_path / "a" / "b"
    words = ["--cells", "broken", "--hidden", "2", "--length", "3", "--steps", "12"]
    assert main(["report", *words, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"jaxrnn report: .*non-finite.* at step 0 .*\n", said.err)
    assert "expected finite" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_flows_that_die_and_grow(tmp_path, monkeypatch):
    monkeypatch.setitem(jaxrnn.CELLS, "dead", entry(0.0))
    monkeypatch.setitem(jaxrnn.CELLS, "growing", entry(1.5))
    words = ["--data", str(source(tmp_path)), *SMALL, "--cells", "dead,growing"]
    assert main(["report", *words, "--out", str(tmp_path / "out")]) == 0
    read = strictly((tmp_path / "out" / "report.json").read_text("utf-8"))
    dead, growing = (read["cells"][name]["after"] for name in ("dead", "growing"))
    assert dead["lyapunov_exponents"] == [["-inf"] * HIDDEN] * 4
    assert dead["lag_matrix"]["log_norms"][-1] == ["-inf"] * LENGTH
    assert dead["parameter_gradient_by_lag"]["steps_for_90_percent"] == 1
    exponents = numbers(growing["lyapunov_exponents"])
    np.testing.assert_allclose(exponents, math.log(1.5), rtol=1e-4)
    norms = numbers(growing["lag_matrix"]["log_norms"])[-1]
    np.testing.assert_allclose(norms, math.log(1.5) * np.arange(1, LENGTH + 1), rtol=1e-4)


@pytest.mark.slow
def test_another_cell(tmp_path, capsys, monkeypatch):
    leave_flows_out(monkeypatch)
    name = "irnn"
    assert main(["report", "--cells", name, *SMALL, "--out", str(tmp_path)]) == 0
    read = strictly((tmp_path / "report.json").read_text("utf-8"))
    Page((tmp_path / "index.html").read_text("utf-8"))
    got = read["cells"][name]["after"]["state_jacobian"]
    assert numbers(got["log_norms"]).shape == (8, LENGTH)
    assert re.search(rf"^{name} +\d", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(set(tasks.TASKS) - {"text"}))  # text is the default
def test_the_other_tasks(task, tmp_path, monkeypatch):
    if task != "series":  # one for all, the others are measured as far as the rates
        leave_flows_out(monkeypatch)
    cell = "elman" if task == "series" else "lstm"  # flows through gates: test_odd_sizes
    words = ["--task", task, "--cells", cell, *SMALL, "--out", str(tmp_path)]
    assert main(["report", *words]) == 0
    read = strictly((tmp_path / "report.json").read_text("utf-8"))
    assert read["task"]["source"]
    for one in read["cells"].values():
        shape = numbers(one["before"]["state_jacobian"]["log_norms"]).shape
        assert shape == (8, read["task"]["sequence_length"])
        assert np.isfinite(numbers(one["loss"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("odd", ["--length 1 --hidden 1 --steps 1"])
def test_odd_sizes(odd, tmp_path):
    words = ["--cells", "gru", *SMALL, *odd.split(), "--out", str(tmp_path)]
    assert main(["report", *words]) == 0
    strictly((tmp_path / "report.json").read_text("utf-8"))
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"gates.png"}
