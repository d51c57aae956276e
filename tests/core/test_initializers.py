"""The distributions and dtypes of initializers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers as inits

SHAPE = (4, 12)
ALL = {
    "orthogonal": inits.orthogonal(),
    "identity": inits.identity(),
    "normal": inits.normal(0.1),
    "constant": inits.constant(2.0),
    "glorot_uniform": inits.glorot_uniform(3),
    "uniform_by_hidden": inits.uniform_by_hidden(4),
    "chrono": inits.chrono(20),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_dtype_and_shape(name, dtype, key, x64):
    w = ALL[name](key, SHAPE, dtype)
    assert (w.shape, w.dtype) == (SHAPE, dtype)
    np.testing.assert_array_equal(w, ALL[name](key, SHAPE, dtype))


def test_orthogonal_by_gate(key, x64):
    w = inits.orthogonal(0.5)(key, (6, 18), jnp.float64)
    gates = np.split(np.asarray(w), 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, 0.25 * np.eye(6), atol=1e-12)
    assert np.abs(gates[0] - gates[1]).max() > 0.01
    many = jax.vmap(lambda k: inits.orthogonal()(k, (2, 2), jnp.float64))
    draws = many(jax.random.split(key, 2000))
    dets = jnp.linalg.det(draws)
    assert abs(dets.mean()) < 0.1  # rotations and reflections alike
    assert jnp.abs(draws.mean(0)).max() < 0.08


def test_identity(key):
    np.testing.assert_array_equal(
        inits.identity(2.0)(key, (3, 6), jnp.float32), 2 * np.tile(np.eye(3), (1, 2))
    )


def test_glorot_uniform(key):
    for gates, shape in ((1, (200, 300)), (3, (200, 300))):
        w = inits.glorot_uniform(gates)(key, shape, jnp.float32)
        variance = 2 / (shape[0] + shape[1] / gates)
        assert abs(w.var() / variance - 1) < 0.03
        assert abs(w.mean()) < 5 * (variance / w.size) ** 0.5
        assert 0.99 < jnp.abs(w).max() / math.sqrt(3 * variance) <= 1


def test_uniform_by_hidden(key):
    w = inits.uniform_by_hidden(16)(key, (100, 100), jnp.float32)
    assert -0.25 <= w.min() < -0.249 and 0.249 < w.max() <= 0.25
    assert abs(w.var() / (0.25**2 / 3) - 1) < 0.05


def test_normal_and_constant(key):
    w = inits.normal(0.1)(key, (200, 200), jnp.float32)
    assert abs(w.std() / 0.1 - 1) < 0.03 and abs(w.mean()) < 0.003
    assert (inits.constant(2.0)(key, (3,), jnp.float32) == 2).all()


@pytest.mark.slow
def test_chrono(key):
    b = inits.chrono(50)(key, (4000,), jnp.float32)
    assert 0 <= b.min() < 0.1 and math.log(48) < b.max() <= math.log(49) + 1e-6
    u = jnp.exp(b)  # uniform in [1, 49]
    assert abs(u.mean() - 25) < 5 * 48 / math.sqrt(12 * 4000)
    params = jaxrnn.lstm(2, 30, forget_bias=inits.chrono(50)).init(key)
    i, f, g, o = jnp.split(params.b, 4)
    np.testing.assert_array_equal(i, -f)
    assert f.std() > 0.1 and not g.any() and not o.any()
    z = jnp.split(jaxrnn.gru(2, 30, update_bias=inits.chrono(50)).init(key).b, 3)[1]
    assert z.std() > 0.1 and z.max() <= math.log(49) + 1e-6
