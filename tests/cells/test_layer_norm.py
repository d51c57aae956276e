"""Cells with layer normalisation: the paper's invariances (section 5.1), no NaN at zero."""

import jax
import numpy as np
import pytest

from jaxrnn.cells.layer_norm import layer_norm_gru, layer_norm_lstm, standardized

both = pytest.mark.parametrize("make", [layer_norm_lstm, layer_norm_gru])


def drawn(cell):
    """Parameters, a state and an input of normally distributed numbers."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    states = jax.eval_shape(lambda: cell.initial_state(shapes, (2,)))
    x = jax.ShapeDtypeStruct((2, 5), float)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (shapes, states, x))


@both
@pytest.mark.parametrize("name", ["w_ih", "w_hh"])
def test_scaling_a_matrix_and_shifting_its_rows_changes_nothing(make, name, key):
    """But for the 1e-5 under the root, which is why the scale is large."""
    with jax.enable_x64(True):
        cell = make(5, 4)
        params, state, x = drawn(cell)
        large = params._replace(**{name: 1e4 * getattr(params, name)})
        w = getattr(large, name)
        shift = 1e4 * np.arange(1.0, len(w) + 1)[:, None]
        moved = params._replace(**{name: 7 * w + shift})
        step = jax.jit(cell.step)
        np.testing.assert_allclose(step(large, state, x)[1], step(moved, state, x)[1], atol=1e-8)


@both
def test_gates_are_normalised_together(make, key):
    """Unlike in many implementations: one gate's scale reaches the other gates."""
    cell = make(5, 4)
    params, state, x = drawn(cell)
    scaled = params._replace(w_ih=params.w_ih * np.where(np.arange(params.w_ih.shape[1]) < 4, 3, 1))
    step = jax.jit(cell.step)
    assert np.abs(step(params, state, x)[1] - step(scaled, state, x)[1]).max() > 1e-3


def test_each_group_gets_mean_zero_and_variance_one(key):
    a = standardized(100 * jax.random.normal(key, (2, 12)) + 50, groups=3).reshape(2, 3, 4)
    np.testing.assert_allclose(a.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(a.var(-1), 1, rtol=1e-4)


@both
def test_gradients_at_zero_are_finite(make, key):
    cell = make(5, 4)
    params, state, x = drawn(cell)

    @jax.jit
    def slopes(*arguments):
        return jax.grad(lambda *given: cell.step(*given)[1].sum(), argnums=(0, 1, 2))(*arguments)

    found = slopes(params, *jax.tree.map(np.zeros_like, (state, x)))
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(found))
