"""The structurally constrained network: its slow context, its output, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.scrn import scrn


def test_the_context_is_a_leaky_average_of_the_inputs(key):
    cell = scrn(3, 5, context_size=2, alpha=0.9)
    params = jax.jit(cell.init)(key)
    x = jnp.array([1.0, -2.0, 0.5])
    state, ys = jaxrnn.unroll(cell, params, jnp.tile(x, (20, 1)))
    np.testing.assert_allclose(state.s, (1 - 0.9**20) * (x @ params.w_ih[:, 5:]), rtol=1e-5)
    np.testing.assert_array_equal(ys[-1], jnp.concatenate(state))
    assert jnp.all((state.h > 0) & (state.h < 1))


def test_learnt_alphas_begin_at_the_given_one(key):
    fixed, adaptive = scrn(3, 5, alpha=0.8), scrn(3, 5, alpha=0.8, adaptive=True)
    params = jax.jit(adaptive.init)(key)
    assert params.beta.shape == (1,) and jax.eval_shape(fixed.init, key).beta is None
    state = jax.tree.map(lambda leaf: leaf + 0.5, fixed.initial_state(params))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        jax.jit(adaptive.step)(params, state, np.ones(3)),
        jax.jit(fixed.step)(params._replace(beta=None), state, np.ones(3)),
    )


def test_cells_made_alike_are_equal():
    assert scrn(3, 5) == scrn(3, 5)
    assert scrn(3, 5) != scrn(3, 5, alpha=0.9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, float("nan")])
def test_alphas_that_it_cannot_have(alpha):
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        scrn(3, 5, alpha=alpha)


def test_context_sizes_that_it_cannot_have():
    with pytest.raises(ValueError, match="got context_size=0"):
        scrn(3, 5, context_size=0)
