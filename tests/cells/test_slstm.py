"""sLSTM: the equations without a stabiliser, huge gates, heads, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import initializers, unroll
from jaxrnn.cells.slstm import slstm, slstm_weights


def sigma(a):
    return 1 / (1 + np.exp(-a))


def direct(params, xs):
    """Equations 8 to 14 as they stand, for one sequence, from zeros."""
    h = c = n = np.zeros(len(params.b) // 4)
    ys = []
    for x in xs:
        i, f, z, o = np.split(x @ params.w_ih + h @ params.w_hh[0] + params.b, 4)
        i, f, o = np.exp(i), sigma(f), sigma(o)
        c, n = f * c + i * np.tanh(z), f * n + i
        h = o * c / n
        ys.append(h)
    return np.stack(ys)


def test_it_is_the_equations_without_a_stabiliser(key, x64):
    cell = slstm(2, 4, forget_bias=1.0, init=initializers.normal(0.5))
    params, xs = cell.init(key), np.random.default_rng(1).normal(size=(8, 2))
    params = jax.tree.map(np.asarray, params)
    np.testing.assert_allclose(unroll(cell, params, xs)[1], direct(params, xs), rtol=1e-12)


@pytest.mark.parametrize("size", [pytest.param(-1e4, marks=pytest.mark.slow), 1e4])
@pytest.mark.parametrize("gate", [0, 1])
def test_huge_gates_do_not_overflow(gate, size, key):
    cell = slstm(2, 3)
    params = cell.init(key)
    params = params._replace(b=params.b.at[3 * gate : 3 * gate + 3].set(size))

    def total(params, xs):
        state, ys = unroll(cell, params, xs)
        return jnp.sum(ys), state

    xs = jax.random.normal(key, (6, 2))
    (_, state), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, slopes)))
    assert (state.n >= 1).all()


def test_heads_mix_apart(key):
    cell = slstm(2, 6, heads=3, init=initializers.normal(1.0))
    params = cell.init(key)
    gates = np.split(np.array(slstm_weights(params)), 4, axis=1)
    for k, gate in enumerate(gates):
        for head in range(3):
            rows = slice(2 * head, 2 * head + 2)
            block = params.w_hh[head][:, 2 * k : 2 * k + 2]
            np.testing.assert_array_equal(gate[rows, rows], block)
            gate[rows, rows] = 0
        assert not gate.any()


def test_first_values(key):
    params = slstm(2, 6, heads=2).init(key)
    assert params.w_hh.shape == (2, 3, 12) and not params.w_hh.any()
    law = 5 - 12 * np.array([0, 0.5, 1]) ** 0.3
    expected = np.concatenate([np.zeros(6), law, law, np.zeros(12)])
    np.testing.assert_allclose(params.b, expected, rtol=1e-6)
    b = slstm(2, 2, forget_bias=3.0).init(key).b
    np.testing.assert_array_equal(b, [0, 0, 3, 3, 0, 0, 0, 0])


def test_bad_heads():
    with pytest.raises(ValueError, match="slstm: got heads=4 with hidden_size=6; .* divisor"):
        slstm(2, 6, heads=4)
    with pytest.raises(TypeError, match="slstm: got heads=2.0"):
        slstm(2, 6, heads=2.0)
