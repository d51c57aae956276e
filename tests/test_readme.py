"""The README is true: its code runs, its commands are found, its table is that of CELLS.

``PYTHONPATH=tests python -m tests.test_readme`` rewrites the table.
"""

import pathlib
import re
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.testing import check_cell
from laws import COSTLY_LAWS, LIBRARY_LAWS

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- cells: begin -->\n).*?(<!-- cells: end -->)", re.DOTALL)


def python_blocks(path):
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def cell_table():
    lines = ["| cell | structure | state | parameters | paper |", "|---|---|---|---|---|"]
    for name, entry in jaxrnn.CELLS.items():
        row = (f"`{name}`", entry.structure, entry.state, entry.parameters, entry.paper)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def with_table(text):
    return TABLE.sub(lambda match: match[1] + cell_table() + match[2], text)


def test_the_table_is_that_of_cells():
    text = README.read_text(encoding="utf-8")
    assert TABLE.search(text)
    assert text == with_table(text), "run: PYTHONPATH=tests python -m tests.test_readme"


def block_rows():
    """One row a block; those that train or measure spectra compile for many seconds."""
    return [
        pytest.param(
            index, marks=pytest.mark.slow if "_spectrum" in block or "fit(" in block else ()
        )
        for index, block in enumerate(python_blocks(README))
    ]


@pytest.mark.parametrize("index", block_rows())
def test_a_code_block_runs(index):
    namespace = {}
    exec(compile(python_blocks(README)[index], f"README.md, block {index}", "exec"), namespace)
    if "result" in namespace:
        assert namespace["result"].metrics.loss[-1] < namespace["result"].metrics.loss[0]


def test_the_quickstart_is_short():
    assert len([line for line in python_blocks(README)[0].splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize(("name", "expected"), [("report", "jaxrnn report"), ("tests", "pytest")])
def test_the_commands_are_found(name, expected):
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "readme_command.py"), name],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert expected in done.stdout
    assert done.stdout.splitlines()[0].startswith("pip install")


@pytest.mark.slow
def test_the_skeleton_of_the_guide_is_a_cell():
    (block,) = python_blocks(ROOT / "CONTRIBUTING.md")
    namespace = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    entry = namespace["UGRNN_ENTRY"]
    cell, own = entry.make(3, 4), jaxrnn.ugrnn(3, 4)
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3))
    check_cell(cell, xs, skip=(*COSTLY_LAWS, *LIBRARY_LAWS))  # all of them: test_laws
    params = cell.init(jax.random.key(1))
    one, two = (jax.jit(partial(jaxrnn.unroll, c))(params, xs)[1] for c in (cell, own))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_every_file_the_readme_names_exists():
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([^)]+)\)|`((?:examples/|CONTRIBUTING|CHANGELOG)[^`]*)`", text):
        path = name[0] or name[1]
        assert (ROOT / path).exists(), path


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
