"""`jaxrnn bench`: its table, its file, and what it says to bad words."""

import importlib.util
import json
import pathlib
import sys

import pytest

from jaxrnn.bench import CASES, CONTENDERS
from jaxrnn.cli import bench, main

OWN = ("fused", "unroll", "textbook")


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """The tiny shape and the library's own contenders, in an empty directory."""
    monkeypatch.setattr(bench, "CASES", dict.fromkeys(("core", "quick"), CASES["tiny"]))
    monkeypatch.setattr(bench, "CONTENDERS", {name: CONTENDERS[name] for name in OWN})
    monkeypatch.chdir(tmp_path)


def test_the_table_and_the_file(capsys):
    assert main(["bench", "--quick", "--cells", "lstm,elman", "--out", "found.json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    header, rule, *lines = said.out.splitlines()
    assert header.split()[:2] == ["cell", "B,T,D,H"] and set(rule) == {"-", " "}
    assert [line.split()[:2] for line in lines[:2]] == [["lstm", "2,6,3,4"], ["elman", "2,6,3,4"]]
    assert all(line.split()[-1] == "textbook" for line in lines[:2])
    assert "Compared with: textbook (jax.lax.scan over the cell's step)." in said.out
    assert "Medians of 5 rounds" in " ".join(said.out.split())
    assert "lstm, geometric means of others: training" in said.out
    data = json.loads(pathlib.Path("found.json").read_text(encoding="utf-8"))
    assert [row["cell"] for row in data["cases"]] == ["lstm", "elman"]
    assert data["rounds"] == 5 and data["limits"]["fp32"]["gflops"] > 0
    ratio = data["cases"][0]["contenders"]["textbook"]["train"]["ms"]
    ratio /= data["cases"][0]["contenders"]["fused"]["train"]["ms"]
    assert float(lines[0].split()[-4]) == pytest.approx(ratio, abs=0.01)
    assert [path.name for path in pathlib.Path().iterdir()] == ["found.json"]


@pytest.mark.slow
def test_without_the_peers_it_says_how_to_install_them(capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("flax", "torch") else real(name, *rest),
    )
    names = (*OWN, "flax", "torch")
    monkeypatch.setattr(bench, "CONTENDERS", {name: CONTENDERS[name] for name in names})
    assert main(["bench", "--cells", "gru", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "Compared with: textbook" in said
    assert "Not installed: flax, torch; to compare: pip install 'jaxrnn[peers]'" in said
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize("terminal", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_without_tqdm_a_terminal_gets_lines(terminal, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert main(["bench", "--cells", "elman", "--rounds", "1"]) == 0
    said = capsys.readouterr().err
    assert ("elman B=2 T=6 D=3 H=4, textbook\n" in said) == terminal
    assert terminal or said == ""


@pytest.mark.slow
def test_a_wrong_contender_is_named(capsys, monkeypatch):
    def make(problem):
        program = CONTENDERS["unroll"].make(problem)
        results = program.results()
        wrong = results._replace(inputs=2 * results.inputs)
        return program._replace(results=lambda: wrong)

    theirs = CONTENDERS["flax"]._replace(package="jaxrnn", make=make)
    monkeypatch.setattr(bench, "CONTENDERS", bench.CONTENDERS | {"flax": theirs})
    assert main(["bench", "--cells", "lstm", "--rounds", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Not timed, wrong: flax on lstm 2,6,3,4: gradient of the inputs off by 1.0e+00" in said


@pytest.mark.parametrize(
    "words, expected",
    [
        ("--cells lstn", ("unknown cell 'lstn'", "did you mean 'lstm'?")),
        ("--cells=", ("got no cell", "expected names")),
        ("--cells lstm,lstm", ("'lstm' twice",)),
        ("--rounds 0", ("got --rounds 0", "expected 1 to", "try --rounds 1")),
        ("--rounds -2", ("got --rounds -2", "try --rounds 1")),
        ("--out no/such/file.json", ("got --out no/such/file.json", "No such file")),
        ("--out .", ("got --out .", "directory")),
    ],
)
def test_bad_input(words, expected, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_problem", None)  # known before any work
    assert main(["bench", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("jaxrnn bench: ") and said.err.count("\n") == 1
    assert all(part in said.err for part in expected), said.err
    assert list(pathlib.Path().iterdir()) == []


def test_an_interruption_writes_nothing(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "measure_problem", stop)
    assert main(["bench", "--out", "found.json"]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize("value, text", [(None, "-"), (0.123456, "0.123"), (1234.5, "1234")])
def test_numbers(value, text):
    assert bench._number(value) == text
