"""docs/scaling.md: its tables are the model's, its code runs."""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PATH = ROOT / "docs" / "scaling.md"


@pytest.fixture(scope="module")
def plan():
    path = ROOT / "benchmarks" / "plan.py"
    spec = importlib.util.spec_from_file_location("benchmark_plan", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_tables_are_the_model_s(plan):
    text = PATH.read_text(encoding="utf-8")
    assert text == plan.with_tables(text), "run: python benchmarks/plan.py"


def test_the_limits_are_the_model_s(plan):
    text = PATH.read_text(encoding="utf-8")
    for name in ("plans", "limits", "weak", "measured"):
        assert plan.TABLES[name]() in text, "run: python benchmarks/plan.py"


def test_the_code_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PATH.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PATH), "exec"), {})
    assert "Split(data=8, model=1, time=1, stages=1): " in capsys.readouterr().out


@pytest.mark.slow
def test_the_picture_can_be_drawn(plan, monkeypatch):
    monkeypatch.setattr(plan, "PLANS", {"small": plan.PLANS["small LSTM"]})
    (axes,) = plan.draw().axes
    assert axes.get_title() == "small"
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert list(lines) == ["all of the devices", "best mix", "data", "tensor", "pipeline"]
    assert all(values[0] == 1 for values in lines.values())
    assert max(lines["best mix"]) >= max(map(max, (lines["data"], lines["pipeline"])))
