"""mLSTM: the equations without a stabiliser, huge gates, retrieval by keys, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.mlstm import MLSTMState, mlstm


def drawn(cell, key, scale=0.5):
    """Parameters of which none is zero."""
    shapes, random = jax.eval_shape(cell.init, key), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: scale * random.normal(size=leaf.shape), shapes)


def direct(params, xs):
    """Equations 19 to 27 as they stand, for one head and one sequence, from zeros."""
    k_, v_, q_, o_ = (xs @ w for w in np.split(params.w_ih, 4, axis=1))
    b_k, b_v, b_q, b_o = np.split(params.b, 4)
    size = len(b_k)
    i, f = np.split(xs @ params.w_if + params.b_if, 2, axis=1)
    c, n, ys = np.zeros((size, size)), np.zeros(size), []
    for t in range(len(xs)):
        k, v, q = k_[t] / np.sqrt(size) + b_k, v_[t] + b_v, q_[t] + b_q
        forget, take = 1 / (1 + np.exp(-f[t])), np.exp(i[t])
        c, n = forget * c + take * np.outer(v, k), forget * n + take * k
        ys.append(c @ q / max(abs(n @ q), 1) / (1 + np.exp(-(o_[t] + b_o))))
    return np.stack(ys)


@pytest.mark.parametrize("shift", [-20.0, 0.0, 20.0])
def test_it_is_the_equations_without_a_stabiliser(shift, key, x64):
    """At -20 the lower bound of the denominator is met in every step, at 20 in none."""
    cell = mlstm(2, 4)
    params, xs = drawn(cell, key), np.random.default_rng(1).normal(size=(6, 2))
    params = params._replace(b_if=params.b_if + np.array([shift, 0]))
    np.testing.assert_allclose(unroll(cell, params, xs)[1], direct(params, xs), rtol=1e-11)


def test_the_scale_of_the_state_is_its_own_affair(key, x64):
    cell = mlstm(2, 4, heads=2)
    params, xs = drawn(cell, key), np.random.default_rng(1).normal(size=(6, 3, 2))
    state, _ = unroll(cell, params, xs)
    k = jnp.array([3.0, -5.0])
    same = MLSTMState(
        state.c * jnp.exp(-k)[:, None, None], state.n * jnp.exp(-k)[:, None], state.m + k
    )
    found, expected = unroll(cell, params, xs, same)[1], unroll(cell, params, xs, state)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_huge_gates_do_not_overflow(size, key):
    cell = mlstm(2, 4)
    params = cell.init(key)
    params = params._replace(b_if=jnp.array([size, 3.0]), b=params.b + 1)

    def total(params, xs):
        state, ys = unroll(cell, params, xs)
        return jnp.sum(ys), (state, ys)

    xs = jax.random.normal(key, (6, 2))
    (_, results), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((results, slopes)))


def test_a_value_is_read_by_its_key(key, x64):
    """Orthogonal keys, no forgetting, equal inputs: the memory is an associative one."""
    size = 4
    cell, random = mlstm(2 * size, size), np.random.default_rng(0)
    eye, zero = np.eye(size), np.zeros((size, size))
    keys, values = np.hstack([eye, zero]).T, np.hstack([zero, eye]).T
    params = cell.init(key)._replace(
        w_ih=jnp.asarray(np.hstack([2 * keys, values, keys, np.zeros_like(keys)])),
        b_if=jnp.array([0.0, 50.0]),
    )
    stored = random.normal(size=(size, size))
    state, ys = unroll(cell, params, np.hstack([eye, stored]))
    np.testing.assert_allclose(ys, stored / 2, rtol=1e-12)  # o is 1/2
    for asked in range(size):
        x = np.concatenate([eye[asked], np.zeros(size)])
        y = cell.parts.readout(params, state, x)
        np.testing.assert_allclose(y, stored[asked] / 2, rtol=1e-12)


@pytest.mark.parametrize("heads", [1, 3])
def test_gates_start_as_the_authors_do(heads, key):
    params = mlstm(2, 6, heads=heads).init(key)
    assert not params.w_if.any()
    np.testing.assert_allclose(params.b_if[heads:], np.linspace(3, 6, heads))


@pytest.mark.parametrize(
    ("heads", "message"),
    [(0, "heads=0; expected a positive integer"), (4, "heads=4 with hidden_size=6; .* divisor")],
)
def test_bad_heads(heads, message):
    with pytest.raises(ValueError, match=f"mlstm: got {message}"):
        mlstm(2, 6, heads=heads)
