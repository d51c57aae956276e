"""The found cell: its fourth leaf is a product."""

import jax
import numpy as np

from jaxrnn.cells.nas import NASParams, NASState, nas

SIZE = 4


def fourth(array, factor):
    """The array with the fourth of its eight blocks multiplied."""
    leaf = np.arange(8 * SIZE) // SIZE
    return np.where(leaf == 3, factor * array, array)


def test_a_factor_may_stand_on_either_side_of_the_fourth_leaf(key):
    cell, rng = nas(3, SIZE), np.random.default_rng(0)
    params = NASParams(*(rng.normal(size=(*rows, 8 * SIZE)) for rows in ((3,), (SIZE,), ())))
    state, x = NASState(*rng.normal(size=(2, 2, SIZE))), rng.normal(size=(2, 3))
    step = jax.jit(cell.step)
    moved = params._replace(
        w_ih=fourth(params.w_ih, 2.0), w_hh=fourth(params.w_hh, 0.5), b=fourth(params.b, 0.5)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        step(moved, state, x),
        step(params, state, x),
    )


def test_the_fourth_leaf_is_silent_while_the_state_is_zero(key):
    cell = nas(3, SIZE)
    params = jax.jit(cell.init)(key)
    other = params._replace(w_ih=fourth(params.w_ih, -3.0))
    state, x, step = cell.initial_state(params), np.ones(3), jax.jit(cell.step)
    np.testing.assert_array_equal(step(params, state, x)[1], step(other, state, x)[1])
