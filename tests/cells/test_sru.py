"""SRU: the highway, with a matrix and without one, its first scale, and bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.sru import sru


def test_alpha_is_a_multiple_of_the_identity_as_a_matrix(key, x64):
    square = sru(4, 4)
    params, xs = square.init(key), jax.random.normal(key, (5, 2, 4))
    matrix = jnp.concatenate([params.w_ih, params.alpha * jnp.eye(4)], axis=1)
    same = params._replace(w_ih=matrix, alpha=None)
    np.testing.assert_allclose(
        unroll(square, params, xs)[1], unroll(square, same, xs)[1], rtol=1e-12, atol=1e-14
    )


def test_tokens_are_unit_vectors_on_the_highway(key):
    cell, tokens = sru(3, 3), jnp.array([[0, 2], [1, 1], [2, 0]])
    params = cell.init(key)
    expected = unroll(cell, params, jax.nn.one_hot(tokens, 3))[1]
    np.testing.assert_allclose(unroll(cell, params, tokens)[1], expected, rtol=1e-6, atol=1e-7)
    outside = unroll(cell, params, tokens.at[0, 0].set(3))[1]
    assert np.isnan(outside[0, 0]).all()
    assert np.isfinite(outside[:, 1]).all()


@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_the_output_starts_with_the_inputs_variance(bias, key):
    """Section 3.2: without a memory in the gates, white inputs of variance 1 give such outputs."""
    size = 300
    cell = sru(size, size, highway_bias=bias)
    params = cell.init(key)
    assert params.alpha == pytest.approx(math.sqrt(1 + 2 * math.exp(bias)), rel=1e-6)
    params = params._replace(v=jnp.zeros_like(params.v), w_ih=params.w_ih.at[:, size:].set(0))
    _, ys = unroll(cell, params, jax.random.normal(key, (40, 8, size)))
    assert np.asarray(ys[20:]).var() == pytest.approx(1, rel=0.25)


def test_bad_highway_bias():
    with pytest.raises(ValueError, match="got highway_bias=inf; expected a finite number"):
        sru(2, 3, highway_bias=math.inf)
