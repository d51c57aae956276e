"""Every benchmark script runs, in small."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
RESULTS = FOLDER / "results"
OWN = ["--contenders", "fused,textbook"]

SCRIPTS = {
    "training": [*OWN, "--cells", "gru"],
    "scaling": [*OWN, "--sweeps", "memory"],
    "storage": [],
    "unroll_factor": [],
    "compile_time": [*OWN, "--cells", "elman"],
    "streaming": ["--contenders", "jaxrnn", "--cells", "lstm,gru"],
    "bidirectional": ["--cells", "gru"],
    "monitor": [],
    "parallel": [],
    "pipeline": [],
    "products": [],
    "zoo": ["--cells", "conv_gru"],
    "spectrum": ["--without-torch", "--memory"],
    "sharding": [],
}
QUICK = {"training", "streaming"}  # the others compile for many seconds
OTHER = {"accelerator", "tables", "common", "plan"}  # plan: see tests/sharding/test_docs.py


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_script_is_tested_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SCRIPTS) | OTHER
    for name in set(SCRIPTS) | {"accelerator"}:
        source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert source.startswith('"""') and source.splitlines()[0].endswith("?")
        assert f"python benchmarks/{name}.py" in source


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SCRIPTS],
)
def test_a_script_runs(name, monkeypatch, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    out = tmp_path / "found.json"
    load(name, monkeypatch).main(["--quick", *SCRIPTS[name], "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    data = json.loads(out.read_text(encoding="utf-8"))
    assert data["place"]["platform"] and data["place"]["versions"]["jax"]
    assert data["rounds"] == 2
    for row in data.get("cases", []):
        for contender, facts in row.get("contenders", {}).items():
            assert facts["status"] == "measured", (contender, facts)
        if name == "parallel":
            found = row["newton"]
            assert found["converged"] and found["blocks"] >= 1 and 1 <= found["iterations"] <= 40
        if name == "streaming":
            assert list(row["latency"]) == ["jaxrnn"] and not row["without"]
    assert {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before


def test_a_quick_run_alone_writes_nothing(monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    load("streaming", monkeypatch).main(["--quick", *SCRIPTS["streaming"]])
    assert "jaxrnn" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before


def test_the_crossover_line(monkeypatch):
    script = load("parallel", monkeypatch)

    def row(steps, hidden, **infer):
        contenders = {name: {"infer": {"ms": ms}} for name, ms in infer.items()}
        sizes = {"cell": "gru", "batch": 1, "steps": steps, "hidden": hidden}
        return sizes | {"contenders": contenders}

    cases = [
        row(10, 8, unroll=2, fused=1, newton=3), row(100, 8, unroll=2, fused=4, newton=1),
        row(1000, 8, unroll=9, fused=9, newton=1),
        row(10, 16, unroll=3, newton=2), row(100, 16, unroll=2, newton=3),
        row(10, 32, unroll=3),
    ]  # fmt: skip
    found = script.crossovers({"cases": cases})
    assert found == {("gru", 1, 8, "infer"): (100, 1000), ("gru", 1, 16, "infer"): (None, 100)}


def test_streaming_compares_before_it_times(monkeypatch):
    script = load("streaming", monkeypatch)
    problem = script.make_problem("elman", script.QUICK[0])
    expected = script.expected_outputs(problem)
    found, reasons = script.make_all(problem, ["jaxrnn"], expected)
    assert list(found) == ["jaxrnn"] and reasons == {}
    found, reasons = script.make_all(problem, ["jaxrnn"], 1.01 * expected)
    assert found == {} and "wrong: outputs off by 9.9e-03" in reasons["jaxrnn"]


def test_sharding_compares_before_it_times(monkeypatch):
    script = load("sharding", monkeypatch)
    state = script.train.init({"w": np.ones(3)}, script.optax.adam(1e-3))
    metrics = script.train.Metrics(*map(np.float32, (2.0, 3.0, 0.0, 0.0)))
    assert script.check((state, metrics), (state, metrics)) == 0
    with pytest.raises(
        script.Wrong, match=r"off by 1\.0e-03 of its largest number; expected 1e-04"
    ):
        script.check((state, metrics._replace(loss=2.002)), (state, metrics))


def test_the_accelerators_script_on_a_cpu(monkeypatch):
    script = load("accelerator", monkeypatch)
    with pytest.raises(SystemExit) as stop:
        script.main(["--quick"])
    assert "got a CPU only; expected a GPU or TPU" in stop.value.code  # a text: status 1
    names = list(script.all_contenders())
    assert {"scan/1", "scan/1+graphs", "scan/16", "fused", "jax_cudnn", "torch"} <= set(names)


@pytest.mark.parametrize(
    "name, words, expected",
    [
        ("training", ["--cases", "hueg"], "got case 'hueg'; expected some of core, quick"),
        ("training", ["--rounds", "0"], "got --rounds 0; expected 1 or more"),
        ("scaling", ["--sweeps", "width"], "got --sweeps width; expected some of steps"),
        ("accelerator", ["--precisions", "fp8"], "got fp8; expected some of fp32, tf32"),
        ("accelerator", ["--contenders", "scam"], "got --contenders scam; expected some of scan/1"),
        ("parallel", ["--contenders", "x"], "got --contenders x; expected some of unroll"),
        ("parallel", ["--steps", "1e3"], "expected whole numbers, as in --steps 1000"),
        ("parallel", ["--most", "1"], "got no shape that is small enough; expected one"),
        ("streaming", ["--contenders", "x"], "got --contenders x; expected some of jaxrnn"),
    ],
)
def test_bad_words(name, words, expected, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        load(name, monkeypatch).main(words)
    assert stop.value.code == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_cases_by_name(monkeypatch):
    common = load("common", monkeypatch)
    parser = common.make_parser("Doc?", cases="core")
    found = common.parse(parser, ["--cases", "quick,ptb_layer,tiny_long"]).cases
    assert list(found) == ["long", "small", "ptb_layer", "tiny_long"]


@pytest.mark.slow
def test_as_a_program():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "accelerator.py"), "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"JAX_PLATFORMS": "cpu", "PATH": "", "PYTHONPATH": str(FOLDER.parent)},
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("accelerator.py: got a CPU only")
