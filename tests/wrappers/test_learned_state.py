"""`learned_state`: the parameters, the first state, and its structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import antisymmetric, independent, leaky, minimal, separable


@pytest.mark.parametrize(
    "make", [leaky, antisymmetric, independent, minimal, separable, jaxrnn.lstm]
)
def test_structure_and_values_are_those_of_the_cell(make, key):
    inner = make(2, 3)
    cell = jaxrnn.learned_state(inner)
    assert type(cell.parts) is type(inner.parts)
    params = cell.init(key)
    jax.tree.map(np.testing.assert_array_equal, params.cell, inner.init(key))
    state = cell.initial_state(params, (4,))
    jax.tree.map(np.testing.assert_array_equal, state, inner.initial_state(params.cell, (4,)))
    state = jax.tree.map(lambda leaf: leaf + 0.5, state)
    x = jnp.ones((4, 2))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        cell.step(params, state, x), inner.step(params.cell, state, x),
    )  # fmt: skip


def test_every_sequence_starts_from_the_learned_state(key):
    cell = jaxrnn.learned_state(jaxrnn.lstm(2, 3))
    params = cell.init(key)
    params = params._replace(state=jax.tree.map(lambda leaf: leaf + jnp.arange(3.0), params.state))
    for leaf in cell.initial_state(params, (2, 4)):
        assert leaf.shape == (2, 4, 3)
        np.testing.assert_array_equal(leaf[1, 3], jnp.arange(3.0))


def test_its_gradient_sums_over_the_batch(key):
    cell = jaxrnn.learned_state(jaxrnn.gru(2, 3))
    params = cell.init(key)
    xs = jax.random.normal(key, (3, 4, 2))

    @jax.jit
    def slope(xs):
        def total(p):
            return jnp.sum(jaxrnn.unroll(cell, p, xs)[1] ** 2)

        return jax.grad(total)(params).state

    np.testing.assert_allclose(
        slope(xs), sum(slope(xs[:, b : b + 1]) for b in range(4)), rtol=1e-5, atol=1e-6
    )
    assert np.abs(slope(xs)).min() > 0
