"""README's table of speed is what the results say."""

import importlib.util
import json
import pathlib

import pytest

from bench.problems import measured, row

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables():
    path = ROOT / "benchmarks" / "tables.py"
    spec = importlib.util.spec_from_file_location("benchmark_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_generated_from_the_results(tables):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    data = json.loads(tables.RESULTS.read_text(encoding="utf-8"))
    assert tables.TABLE.search(text)
    assert text == tables.with_table(text, data), "run: python benchmarks/tables.py"


def place(**versions):
    return {"device": "Chip", "cores": 2, "versions": {"python": "3.11", "jax": "0.10", **versions}}


def test_a_table(tables):
    rows = [
        row(fused=measured(2, 1) | {"temporary_mb": 3.0}, textbook=(3, 0.5), torch=(1, 4)),
        row(fused=(100, 100), textbook=(200, 200), flax=(600, 600), torch=(400, 400)),
        row("gru", fused=1, textbook=0.5, keras={"status": "failed", "reason": "x"}),
    ]
    text = tables.speed_table({"cases": rows, "rounds": 7, "place": place(torch="2.13")})
    lines = text.splitlines()
    size = "2, 5, 3, 4"
    assert lines[2] == (
        f"| lstm | {size} | 2 ms | 1.50 textbook | 0.50 | 1 ms | 0.50 textbook | 4.00 | 3 MB | - |"
    )
    assert lines[3] == (
        f"| lstm | {size} | 100 ms | 2.00 textbook | 4.00 | 100 ms | 2.00 textbook | 4.00 | - | - |"
    )
    # sqrt(1.5 * 2), sqrt(0.5 * 4), sqrt(0.5 * 2), sqrt(4 * 4)
    mean = "| **lstm** | geometric mean |  | **1.73** | **1.41** |  | **1.00** | **4.00** |  |  |"
    assert lines[4] == mean
    assert "| gru |" in lines[5] and "| - |" in lines[5]
    flat = " ".join(text.split())
    assert "Chip, 2 cores, Python 3.11, jax 0.10, torch 2.13; float32, medians of 7 rounds" in flat
    assert "3 rows: in training a JAX peer on 1, torch on 1; in inference a JAX peer on 2" in flat
    assert f"Not compared: keras (failed): gru {size}." in flat


def test_the_picture(tables, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row(fused=2, textbook=3, torch=1), row("gru", fused=1, flax=2)]
    figure = tables.draw({"cases": rows})
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["lstm", "gru"]
    drawn = {line.get_label(): list(line.get_ydata()) for line in panels[0].lines}
    assert drawn["textbook"] == [1.5] and drawn["torch"] == [0.5]
    figure.savefig(tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 5000
