"""Every cell equals an implementation by others, or a transcription of its paper, in golden/zoo.

``PYTHONPATH=tests python -m tests.cells.test_zoo`` rewrites docs/provenance.md, the table of what
was compared; with names of files after it, their rows alone.
"""

import math
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxrnn
from golden import record
from jaxrnn.testing.probe import inexact, merge

NAMES = sorted(path.stem for path in record.FOLDER.glob("*.npz"))
TABLE = Path(__file__).parents[2] / "docs" / "provenance.md"
REMEDY = "PYTHONPATH=tests python -m tests.cells.test_zoo"
LIMIT = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}
HEAD = """# Where each cell comes from

Every cell of `jaxrnn.CELLS`, and its variants, beside an implementation by others, in double
precision: random parameters, inputs and an initial state that is not zero, five steps. The errors
are the largest of any array, relative to the array's largest entry: of the outputs and the last
state, and of the gradients with respect to parameters, inputs and the initial state. Where no
implementation installs, or none follows the paper, the paper's equations were written down in NumPy
once more, from the paper; its derivatives are differences in 80-bit numbers. The arrays lie in
`tests/golden/zoo`, beside the scripts that made them; this file is written by
`PYTHONPATH=tests python -m tests.cells.test_zoo`.

| arrays | cell | paper | compared with | error of values | error of gradients |
|---|---|---|---|---|---|
"""


def trees(cell, arrays):
    """The parts of a file as trees of our types."""
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    state = jax.eval_shape(lambda params: cell.initial_state(params, ()), shapes)
    xs = record.leaves(arrays, "xs")

    def build(like, part):
        return jax.tree.structure(like).unflatten(record.leaves(arrays, part))

    return {
        "params": build(shapes, "params"),
        "xs": tuple(xs) if len(xs) > 1 else xs[0],
        "state": build(state, "state"),
    }


def largest_error(got, arrays, part):
    expected = record.leaves(arrays, part)
    pairs = list(zip(jax.tree.leaves(got), expected, strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    scales = [np.max(np.abs(b), initial=0) or 1 for _, b in pairs]
    errors = [
        float(np.max(np.abs(np.asarray(a) - b), initial=0) / scale)
        for (a, b), scale in zip(pairs, scales, strict=True)
    ]
    return math.nan if any(map(math.isnan, errors)) else max(errors, default=0.0)


def errors(name):
    """What a file says of itself, and the errors of values and of gradients."""
    about, arrays = record.load(name)
    with jax.enable_x64(True):
        cell = about.make()
        given = trees(cell, arrays)

        @jax.jit
        def run(given, cotangents):
            def outputs(floats):
                result = jaxrnn.unroll(cell, **merge(floats, given))
                return inexact(result), result

            floats, back, result = jax.vjp(outputs, inexact(given), has_aux=True)
            leaves, treedef = jax.tree.flatten(floats)
            pairs = zip(cotangents, leaves, strict=True)
            return result, back(treedef.unflatten([w.astype(leaf.dtype) for w, leaf in pairs]))[0]

        cotangents = record.leaves(arrays, "d_final") + record.leaves(arrays, "d_ys")
        with jax.default_matmul_precision("highest"):
            (final, ys), slopes = run(given, cotangents)
    values = {"final": final, "ys": ys}
    gradients = {f"grad.{part}": slopes[part] for part in record.PARTS}
    return about, *(
        max(largest_error(tree, arrays, part) for part, tree in found.items())
        for found in (values, gradients)
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in jaxrnn.CELLS else pytest.mark.slow) for n in NAMES],
)
def test_a_cell_equals_its_source(name):
    about, value, gradient = errors(name)
    limit = 1e-5 if "float32" in about.source else 1e-10
    assert value < limit
    assert gradient < limit


@pytest.mark.parametrize("name", NAMES)
def test_the_arrays_say_something(name):
    """No file is empty, and no gradient is zero throughout where it is not stated."""
    about, arrays = record.load(name)
    assert about.kind in ("library", "transcription")
    assert about.source
    for part in record.PARTS:
        assert record.leaves(arrays, part)
        slopes = record.leaves(arrays, f"grad.{part}")
        assert any(slope.any() for slope in slopes)
    assert any(leaf.any() for leaf in record.leaves(arrays, "ys"))


def test_every_cell_has_a_source():
    assert set(jaxrnn.CELLS) <= set(NAMES)


def entry_of(name, about):
    """The row of CELLS that a file belongs to: by its own name, else by its factory."""
    return jaxrnn.CELLS.get(name) or jaxrnn.CELLS[about.factory]


def row(name):
    about, value, gradient = errors(name)
    options = ", ".join(f"{key}={value!r}" for key, value in about.options.items())
    made = f"`{about.factory}({options})`" if options else f"`{about.factory}`"
    source = about.source + ("" if about.kind == "library" else " (transcription)")
    note = f"; {about.note}" if about.note else ""
    parts = (name, made, entry_of(name, about).paper, source + note)
    return "| " + " | ".join([*parts, f"{value:.0e}", f"{gradient:.0e}"]) + " |"


def test_the_table_has_a_row_for_every_file():
    rows = re.findall(
        r"^\| ([a-z0-9_]+) \| `.*\| (\S+) \| (\S+) \|$", TABLE.read_text("utf-8"), re.M
    )
    assert [name for name, *_ in rows] == NAMES, f"run: {REMEDY}"
    for name, *numbers in rows:
        limit = 1e-5 if "float32" in record.load(name)[0].source else 1e-10
        assert all(float(number) < limit for number in numbers)


def write_table(names):
    """Writes the table; rows that it has stay as they are, but those of `names`."""
    lines = TABLE.read_text("utf-8").splitlines()
    rows = {line.split()[1]: line for line in lines if "| `" in line}
    rows |= {name: row(name) for name in NAMES if name in names or name not in rows}
    TABLE.write_text(HEAD + "".join(rows[name] + "\n" for name in NAMES), "utf-8")


if __name__ == "__main__":
    write_table(sys.argv[1:] or NAMES)
