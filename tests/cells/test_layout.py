"""What every cell's parameters and state look like, and what they are at first.

The layouts are golden: a stored checkpoint depends on them. `PYTHONPATH=tests python -m
tests.cells.test_layout`, run from the repository root, writes them anew.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import BASIC, space_of
from laws import ZOO_FIRST

LAYOUTS = Path(__file__).parents[1] / "golden" / "layouts.json"
INPUT, HIDDEN, BATCH = 3, 4, (2,)
GATES = {"elman": 1, "irnn": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}
every_cell = pytest.mark.parametrize("name", jaxrnn.CELLS)


def cell_sizes(name):
    """The sizes of the golden layout: 3 inputs and 4 units unless the row asks for others."""
    sizes = jaxrnn.CELLS[name].sizes
    return (INPUT, HIDDEN) if sizes == jaxrnn.CELLS["lstm"].sizes else sizes


def make(name):
    return jaxrnn.CELLS[name].make(*cell_sizes(name))


def described(tree):
    """Field names, shapes and dtypes of a tree, in its order; null for an absent field."""
    leaves = jax.tree.leaves_with_path(tree, is_leaf=lambda leaf: leaf is None)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): (
            None if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
        )
        for path, leaf in leaves
    }


def layout(name):
    """The layout of a cell, its state and output for a batch of 2."""
    cell = make(name)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    state = jax.eval_shape(lambda params: cell.initial_state(params, BATCH), params)
    x = jax.ShapeDtypeStruct((*BATCH, *space_of(cell), cell_sizes(name)[0]), jnp.float32)
    _, y = jax.eval_shape(cell.step, params, state, x)
    return {"params": described(params), "state": described(state), "output": described(y)}


def write_layouts():
    """Writes the golden file."""
    found = {name: layout(name) for name in jaxrnn.CELLS}
    LAYOUTS.write_text(json.dumps(found, indent=2) + "\n")


def test_the_file_knows_every_cell():
    remedy = "PYTHONPATH=tests python -m tests.cells.test_layout"
    assert json.loads(LAYOUTS.read_text()).keys() == jaxrnn.CELLS.keys(), remedy


@every_cell
def test_layout(name):
    golden = json.loads(LAYOUTS.read_text())[name]
    found = layout(name)
    assert found == golden
    assert [list(part) for part in found.values()] == [list(part) for part in golden.values()]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in (*BASIC, *ZOO_FIRST) else pytest.mark.slow)
        for name in jaxrnn.CELLS
    ],
)
def test_init_depends_on_the_key(name):
    init = jax.jit(make(name).init)  # that it is pure is a law, see jaxrnn.testing
    first, other = init(jax.random.key(1)), init(jax.random.key(2))
    same = jax.tree.map(np.array_equal, first, other)
    assert not all(jax.tree.leaves(same))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))


@pytest.mark.parametrize("name", GATES)
def test_initial_values(name, key):
    init = jaxrnn.CELLS[name].make(INPUT, HIDDEN).init
    params, other = init(key), init(jax.random.key(1))
    assert params.w_ih.all()
    assert (params.w_ih != other.w_ih).all()
    blocks = np.split(np.asarray(params.w_hh), GATES[name], axis=1)
    if name == "irnn":
        np.testing.assert_array_equal(params.w_hh, np.eye(HIDDEN))
    else:
        assert (params.w_hh != other.w_hh).all()
        for block in blocks:
            np.testing.assert_allclose(block.T @ block, np.eye(HIDDEN), rtol=0, atol=1e-6)
        for k, block in enumerate(blocks[1:], 1):  # each gate is drawn by itself
            assert all(np.abs(block - other).max() > 0.1 for other in blocks[:k])
    bias = np.zeros((GATES[name], HIDDEN))
    if name == "lstm":
        bias[1] = 1.0  # gates i, f, g, o
    np.testing.assert_array_equal(params.b, bias.ravel())
    if name == "gru":
        np.testing.assert_array_equal(params.b_hn, np.zeros(HIDDEN))


@pytest.mark.parametrize("name", GATES)
def test_the_first_state_is_zero(name):
    cell = jaxrnn.CELLS[name].make(INPUT, HIDDEN)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    for batch in ((), (2, 2)):
        state = cell.initial_state(zeros, batch)
        assert all(leaf.shape == (*batch, HIDDEN) for leaf in jax.tree.leaves(state))
        assert not any(leaf.any() for leaf in jax.tree.leaves(state))


if __name__ == "__main__":
    write_layouts()
