"""Penalties: their values, slopes against finite differences, and what they do to training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import LINEAR, blank, orthogonal
from jaxrnn import analysis
from jaxrnn.analysis.regularizers import jacobian_penalty, lyapunov_penalty

CELL = jaxrnn.elman(2, 3)


def directional(function, params, key, step=1e-5):
    """The slope along a random direction: by `jax.grad` and by central differences."""
    value = jax.jit(jax.value_and_grad(function))
    flat, unravel = ravel_pytree(params)
    direction = jax.random.normal(key, flat.shape)
    ends = [value(unravel(flat + h * direction))[0] for h in (step, -step)]
    slope = ravel_pytree(value(params)[1])[0]
    return slope @ direction, (ends[0] - ends[1]) / (2 * step)


def problem(key):
    params = jax.tree.map(lambda leaf: 1.3 * leaf.astype(float), CELL.init(key))
    return params, jax.random.normal(key, (10, 2, 2))


@pytest.mark.slow
def test_the_value_of_the_lyapunov_penalty(x64):
    """An orthogonal matrix times g has every exponent ln g."""
    w = jnp.asarray(1.3 * orthogonal(4))
    found = lyapunov_penalty(LINEAR, w, blank(9), k=2, target=0.1, qr_every=1)
    assert abs(found - (np.log(1.3) - 0.1) ** 2) < 1e-14


def test_the_value_of_the_jacobian_penalty(x64):
    """An orthogonal matrix times g scales every gradient by g."""
    w = jnp.asarray(1.3 * orthogonal(4))
    found = jacobian_penalty(LINEAR, w, blank(9), key=jax.random.key(0), num_probes=3)
    assert abs(found - 0.3**2) < 1e-14


@pytest.mark.slow
def test_the_slope_of_the_lyapunov_penalty(x64):
    params, xs = problem(jax.random.key(0))

    def penalty(params):
        target = jnp.array([0.1, -0.4])
        return lyapunov_penalty(CELL, params, xs, k=2, target=target, warmup=2, qr_every=2)

    got, want = directional(penalty, params, jax.random.key(9))
    assert abs(want) > 1e-3
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.slow
def test_the_slope_of_the_jacobian_penalty(x64):
    """With the trajectory held: that of the same network whose states are given."""
    params, xs = problem(jax.random.key(0))
    xs, key = xs[:, 0], jax.random.key(4)
    states = jnp.concatenate([jnp.zeros((1, 3)), jaxrnn.unroll(CELL, params, xs)[1][:-1]])

    def held(params):
        rows = jax.random.normal(key, (10, 1, 3))
        rows = rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)
        steps = jax.vmap(jax.jacfwd(lambda s, x: CELL.step(params, s, x)[0]))(states, xs)
        return jnp.mean((jnp.linalg.norm(rows @ steps, axis=-1) - 1) ** 2)

    value, slope = jax.jit(
        jax.value_and_grad(lambda params: jacobian_penalty(CELL, params, xs, key=key))
    )(params)
    want, want_slope = jax.jit(jax.value_and_grad(held))(params)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), slope, want_slope
    )


@pytest.mark.slow
def test_resets_and_saturation(key):
    """The slope stays finite where a step's Jacobian is zero; a dead direction is infinite."""
    params, xs = problem(key)
    resets = jnp.zeros((10, 2), bool).at[4].set(True)
    slope = jax.grad(lambda p: jacobian_penalty(CELL, p, xs, key=key, resets=resets))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in slope)
    assert np.isposinf(lyapunov_penalty(CELL, params, xs, k=1, resets=resets))


@pytest.mark.slow
def test_descent_moves_the_exponents(key, x64):
    """Gradient flossing: 60 steps bring the leading exponents nearer the target."""
    params, _ = problem(key)
    xs = jax.random.normal(key, (40, 2))

    def exponents(params):
        return analysis.lyapunov_spectrum(CELL, params, xs, k=2, qr_every=1).exponents

    @jax.jit
    def descend(params):
        def one(params, _):
            slope = jax.grad(lambda p: lyapunov_penalty(CELL, p, xs, k=2, qr_every=1, window=10))(
                params
            )
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, slope), None

        return jax.lax.scan(one, params, None, length=60)[0]

    before, after = (np.abs(exponents(p)) for p in (params, descend(params)))
    assert np.sum(after) < 0.5 * np.sum(before)


def test_messages(key):
    params, xs = problem(key)
    with pytest.raises(
        ValueError, match=r"jacobian_penalty: got num_probes=0; expected a positive"
    ):
        jacobian_penalty(CELL, params, xs, key=key, num_probes=0)
    with pytest.raises(ValueError, match=r"got k=4; expected at most 3"):
        lyapunov_penalty(CELL, params, xs, k=4)
