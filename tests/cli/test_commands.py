"""The other commands, and the help texts."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import jaxrnn
from jaxrnn.cli import main
from jaxrnn.cli.cells import cell_rows
from jaxrnn.tasks import TASKS

ROOT = pathlib.Path(jaxrnn.__file__).parents[1]


def shown(capsys, *words):
    """Runs a command that succeeds, and returns what it prints."""
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def helped(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return " ".join(said.out.split())


def test_cells_is_a_table_of_all(capsys):
    header, rule, *lines = shown(capsys, "cells").splitlines()
    starts = [match.start() for match in re.finditer("-+", rule)]
    assert header.split() == ["cell", "structure", "state", "parameters", "paper"]
    parts = [
        [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        for line in lines
    ]
    assert parts == cell_rows()[1]
    assert [part[0] for part in parts] == list(jaxrnn.CELLS)


@pytest.mark.parametrize("name", jaxrnn.CELLS)
def test_one_cell_in_full(name, capsys):
    text = shown(capsys, "cells", name)
    entry = jaxrnn.CELLS[name]
    assert text.startswith(f"{name}: {entry.paper}\n")
    for line in entry.equations.splitlines():
        assert f"  {line}\n" in text
    for part in (entry.structure, entry.state, entry.parameters, entry.defaults, entry.provenance):
        assert part in text
    assert re.search(r"^unroll +\w+ ", text, re.MULTILINE)


@pytest.mark.parametrize(
    "name, near", [("gru2", "gru"), ("LSTM", None), ("lstmm", "lstm"), ("", None)]
)
def test_an_unknown_cell(name, near, capsys):
    assert main(["cells", name]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"jaxrnn cells: got unknown cell {name!r}; expected one of antis")
    assert said.err.count("\n") == 1
    if near:
        assert said.err.endswith(f"did you mean {near!r}?\n")


def test_version(capsys):
    assert helped(capsys, "--version") == f"jaxrnn {jaxrnn.__version__}"


def test_help_names_the_commands(capsys):
    text = helped(capsys, "--help")
    for name in ("report", "spectrum", "cells", "--version"):
        assert name in text


def test_help_of_report_names_options_tasks_and_cells(capsys):
    text = helped(capsys, "report", "--help")
    for option in ("data", "task", "cells", "hidden", "length", "steps", "seed", "out"):
        assert f"--{option} " in text
    for name, entry in TASKS.items():
        assert f"{name}: {entry.summary}" in text
    assert ", ".join(jaxrnn.CELLS) in text
    for default in ("elman,lstm,gru", "64", "100", "300", "0", "jaxrnn-report"):
        assert f"(default: {default})" in text
    assert "%(" not in text


def test_help_of_spectrum_names_options_and_cells(capsys):
    text = helped(capsys, "spectrum", "--help")
    options = ("params", "task", "data", "columns", "hidden", "length", "k", "steps", "seed")
    for option in (*options, "warmup", "save", "out"):
        assert f"--{option} " in text
    assert ", ".join(jaxrnn.CELLS) in text
    for default in ("400", "0", "a quarter", "jaxrnn-spectrum"):
        assert f"(default: {default})" in text
    assert "%(" not in text


def test_help_fits_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_the_words_of_the_command_line_are_the_default(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jaxrnn", "cells", "gru"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("gru: ")


def test_as_a_program(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "jaxrnn", "cells", "gur"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")  # the status reaches the shell
    assert done.stderr.startswith("jaxrnn cells: got unknown cell 'gur'")
