"""Bistable cells: what a unit without input remembers."""

import jax
import numpy as np
import pytest

from jaxrnn.cells.br_cell import BRCellParams, NBRCellParams, br_cell, nbr_cell


def settled(make, bias):
    """The states that two units reach from a positive and from a negative one."""
    cell, x = make(2, 2), np.zeros(2, np.float32)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params.b[:2] = bias
    h, step = np.array([0.01, -0.3], np.float32), jax.jit(cell.step)
    for _ in range(200):
        h, _ = step(params, h, x)
    return np.asarray(h)


@pytest.mark.parametrize("make", [br_cell, nbr_cell])
def test_a_unit_latches_where_its_feedback_is_above_one(make):
    h = settled(make, 0.5)
    np.testing.assert_allclose(h, np.tanh((1 + np.tanh(0.5)) * h), rtol=1e-5)
    assert h[0] > 0.5 and h[1] < -0.5
    np.testing.assert_allclose(settled(make, -0.5), 0, atol=1e-6)


def test_diagonal_matrices_make_the_simple_cell():
    rng = np.random.default_rng(0)
    params = BRCellParams(*(rng.normal(size=shape) for shape in ((3, 12), (4,), (4,), (8,))))
    w_hh = np.concatenate([np.diag(params.w_a), np.diag(params.w_c)], axis=1)
    same = NBRCellParams(params.w_ih, w_hh, params.b)
    h, x = rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        jax.jit(br_cell(3, 4).step)(params, h, x)[0],
        jax.jit(nbr_cell(3, 4).step)(same, h, x)[0],
        rtol=1e-5,
        atol=1e-6,
    )
