"""The HyperLSTM: what it is at first, and from where its embeddings come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.cells.hyper_lstm import hyper_lstm


@pytest.mark.slow
def test_at_first_every_weight_is_scaled_by_a_tenth(key):
    cell = hyper_lstm(3, 5)
    params = jax.jit(cell.init)(key)
    state = cell.initial_state(params)
    state = state._replace(h=state.h + 0.3, c=state.c - 0.2)
    x = jnp.array([1.0, -2.0, 0.5])
    a = 0.1 * (x @ params.w_ih + state.h @ params.w_hh)
    blocks = a.reshape(4, 5)
    centred = blocks - blocks.mean(1, keepdims=True)
    i, f, g, _ = centred / jnp.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    c = jax.nn.sigmoid(f + 1) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    for h_hyper in (state.h_hyper, state.h_hyper + 0.7):  # its embeddings are constant at first
        after, _ = jax.jit(cell.step)(params, state._replace(h_hyper=h_hyper), x)
        np.testing.assert_allclose(after.c, c, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_embeddings_follow_the_input_within_the_step(key):
    """As in the authors' code and the paper's text; by its equation 11 they are a step late."""
    cell = hyper_lstm(3, 5)
    params = jax.jit(cell.init)(key)
    w_d = jax.random.normal(key, params.w_d.shape)
    params = params._replace(w_ih=0 * params.w_ih, w_hh=0 * params.w_hh, w_d=w_d)
    state = cell.initial_state(params)
    one, other = (
        jax.jit(cell.step)(params, state, x)[1] for x in (jnp.ones(3), jnp.array([1.0, -2, 3]))
    )
    assert jnp.max(jnp.abs(one - other)) > 1e-3


@pytest.mark.parametrize("name", ["hyper_size", "embedding_size"])
def test_sizes_that_it_cannot_have(name):
    with pytest.raises(ValueError, match=f"got {name}=0"):
        hyper_lstm(3, 5, **{name: 0})
