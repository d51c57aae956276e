"""The two paths of a gated step, against the equations and against the whole Jacobian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from cases import antisymmetric, first_of, separable
from jaxrnn.analysis.anatomy import gate_anatomy
from jaxrnn.analysis.jacobians import jacobians

_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
anatomy = _jit(gate_anatomy, static_argnames="cell")
STEPS = 6
SMALL_LSTM, GRU = jaxrnn.lstm(1, 3), jaxrnn.gru(2, 3)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def log_norm(matrices):
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.norm(matrices, axis=(-2, -1)))


def paths_of(cell, params, xs, mask, resets):
    """C (T, B, D, D) and R by block (T, B, G, D, D), from the witness and the recorded states."""
    parts = cell.parts
    weights, vectors = parts.weights(params), parts.vectors(params)
    first, unravel = ravel_pytree(cell.initial_state(params))
    states = jaxrnn.trajectory(cell, params, xs, mask=mask, resets=resets)
    states = jax.vmap(jax.vmap(lambda one: ravel_pytree(one)[0]))(states)[:-1]
    columns = jnp.split(jnp.arange(weights.shape[1]), max(1, weights.shape[1] // len(weights)))

    def after(flat, r, x):
        a = parts.mix(parts.project(params, x), r)
        return ravel_pytree(parts.pointwise(vectors, unravel(flat), a)[0])[0]

    def product(flat):
        return parts.hidden(unravel(flat)) @ weights

    def one(flat, x, real, reset):
        flat = jnp.where(reset, first, flat)
        carry, from_r = jax.jacfwd(after, (0, 1))(flat, product(flat), x)
        to_r = jax.jacfwd(product)(flat)
        through = jnp.stack([from_r[:, c] @ to_r[c] for c in columns])
        carry = jnp.where(real, carry, jnp.eye(first.size))
        return (1 - reset) * carry, (1 - reset) * real * through

    return map(np.asarray, _jit(jax.vmap(jax.vmap(one)))(states, xs, mask, resets))


def products(steps):
    """Products that end with the last step, (T, D, D) by lag."""
    return np.array([
        functools.reduce(lambda a, b: b @ a, steps[len(steps) - lag :])
        for lag in range(1, len(steps) + 1)
    ])  # fmt: skip


@pytest.mark.parametrize("name", first_of(["gru", "lstm", "antisymmetric"]))
def test_the_paths_add_up_to_the_jacobian(x64, name):
    made = {"antisymmetric": antisymmetric(2, 3), "gru": GRU}
    cell = made[name] if name in made else jaxrnn.CELLS[name].make(2, 3)
    params = jax.tree.map(lambda leaf: leaf + 0.1, cell.init(jax.random.key(0)))
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2, 2))
    mask = np.ones((STEPS, 2), bool)
    mask[4, 1] = False
    resets = np.zeros((STEPS, 2), bool)
    resets[1, 0] = True
    flags = {"mask": jnp.asarray(mask), "resets": jnp.asarray(resets)}
    found = anatomy(cell, params, xs, **flags)
    whole = np.asarray(jacobians(cell, params, xs, **flags))
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-11)
    carries, throughs = paths_of(cell, params, xs, flags["mask"], flags["resets"])
    for b in range(2):
        carry, through = carries[:, b], throughs[:, b]
        steps = carry + through.sum(1)
        np.testing.assert_allclose(steps, whole[:, b], rtol=0, atol=1e-13)
        close(found.carry[:, b], np.diagonal(carry, axis1=1, axis2=2))
        close(found.log_norms[:, b], log_norm(steps))
        close(found.carry_log_norms[:, b], log_norm(carry))
        close(found.product_log_norms[:, b], log_norm(through.sum(1)))
        close(found.block_log_norms[:, b], log_norm(through))
        with np.errstate(invalid="ignore"):
            share = np.sum(carry * steps, (1, 2)) / np.sum(steps * steps, (1, 2))
        close(found.carry_share[:, b], share)
        close(found.decay[:, b], log_norm(products(steps)))
        close(found.carry_decay[:, b], log_norm(products(carry)))
        rest = products(steps) - products(carry)
        rest[log_norm(products(steps)) == -np.inf] = 0
        alive = np.linalg.norm(rest, axis=(1, 2)) > 1e-12  # what is left of a difference
        close(found.product_decay[:, b][alive], log_norm(rest)[alive])
        with np.errstate(divide="ignore"):
            kept = np.log(np.abs(np.diagonal(products(carry), axis1=1, axis2=2)))
        close(found.log_carried[:, b], kept)
    np.testing.assert_array_equal(found.lags, np.arange(1, STEPS + 1))


def still(cell, biases):
    """Parameters of zeros but for the biases, one number a gate."""
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    return params._replace(b=jnp.repeat(jnp.array(biases), params.w_hh.shape[0]))


@pytest.mark.slow
def test_an_lstm_without_weights_has_the_carry_alone(x64):
    """C is [[0, o tanh'(c) f], [0, f]] on (h, c); the gate path is exactly zero."""
    cell = SMALL_LSTM
    b_i, b_f, b_g, b_o = 0.3, 2.0, 0.5, -0.4
    c = np.array([-1.0, 0, 1])
    state = jaxrnn.LSTMState(h=jnp.zeros(3), c=jnp.asarray(c))
    steps = 25
    found = anatomy(cell, still(cell, [b_i, b_f, b_g, b_o]), jnp.zeros((steps, 1)), state)
    f, i, o = sigmoid(b_f), sigmoid(b_i), sigmoid(b_o)
    for name in ("product_log_norms", "block_log_norms", "product_decay"):
        np.testing.assert_array_equal(getattr(found, name), -np.inf)
    np.testing.assert_array_equal(found.carry[:, :3], 0)
    np.testing.assert_allclose(found.carry[:, 3:], f, rtol=1e-14)
    np.testing.assert_array_equal(found.time_constants[:, :3], 0)
    np.testing.assert_allclose(found.time_constants[:, 3:], 1 / 0.12692801104297263, rtol=1e-12)
    np.testing.assert_allclose(found.unit_time_constants[3:], 7.87848, rtol=1e-6)
    np.testing.assert_allclose(found.carry_share, 1, rtol=1e-14)
    np.testing.assert_array_equal(found.carry_decay, found.decay)
    for _ in range(steps):
        c = f * c + i * np.tanh(b_g)
    slope = o / np.cosh(c) ** 2
    lags = np.arange(1, steps + 1)
    want = lags * np.log(f) + 0.5 * np.log(np.sum(1 + slope**2))
    np.testing.assert_allclose(found.decay, want, rtol=1e-12)
    # Per unit as known from elsewhere (25 steps).
    known = np.exp(found.log_carried[-1, 3:]) * np.sqrt(1 + slope**2)
    np.testing.assert_allclose(known, [0.0418812, 0.0418794, 0.0418779], rtol=2e-6)


def test_an_open_forget_gate_carries_all_for_ever(x64):
    """The constant error carousel: f = 1."""
    cell = SMALL_LSTM
    params, xs = still(cell, [0.0, 40.0, 0.0, 0.0]), jnp.zeros((25, 1))
    found = anatomy(cell, params, xs, cell.initial_state(params))
    np.testing.assert_array_equal(found.carry[:, 3:], 1)
    np.testing.assert_array_equal(found.time_constants[:, 3:], np.inf)
    np.testing.assert_array_equal(found.unit_time_constants[3:], np.inf)
    np.testing.assert_array_equal(found.log_carried[:, 3:], 0)


@pytest.mark.slow
def test_a_gru_without_weights_keeps_z():
    cell, steps = jaxrnn.gru(1, 3), 2000
    params = still(cell, [0.3, 0.8, 0.2])
    found = anatomy(cell, params, jnp.zeros((steps, 2, 1)))
    z = sigmoid(0.8)
    assert found.carry.dtype == jnp.float32
    np.testing.assert_allclose(found.carry, z, rtol=1e-6)
    np.testing.assert_allclose(found.unit_time_constants, -1 / np.log(z), rtol=1e-5)
    # Down to e^-742, in float32.
    want = np.arange(1, steps + 1) * np.log(z) + np.log(3) / 2
    np.testing.assert_allclose(found.decay, np.stack([want] * 2, 1), rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(found.product_decay, -np.inf)


@pytest.mark.slow
def test_steps_that_are_not_real_do_not_count(x64):
    """The time constants of units are those of the steps that are real and do not reset."""
    params = still(GRU, [0.3, 0.8, 0.2])
    mask = jnp.zeros((STEPS, 2), bool).at[:4, 0].set(True)
    resets = jnp.zeros((STEPS, 2), bool).at[1, 0].set(True)
    found = anatomy(GRU, params, jnp.zeros((STEPS, 2, 2)), mask=mask, resets=resets)
    z = sigmoid(0.8)
    np.testing.assert_allclose(found.unit_time_constants[0], -1 / np.log(z), rtol=1e-12)
    assert np.all(np.isnan(found.unit_time_constants[1]))
    np.testing.assert_allclose(found.carry[:, 0, 0], [z, 0, z, z, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(found.time_constants[1, 0], 0)
    np.testing.assert_array_equal(found.time_constants[4:, 0], np.inf)
    assert np.isnan(found.carry_share[1, 0])


@pytest.mark.slow
def test_a_vmap_is_a_batch(x64):
    params = GRU.init(jax.random.key(0))
    xs = np.random.default_rng(0).normal(size=(STEPS, 2, 2))
    mask, resets = np.ones((STEPS, 2), bool), np.zeros((STEPS, 2), bool)
    mapped = _jit(jax.vmap(functools.partial(gate_anatomy, GRU, params), 1))(xs)
    batched = anatomy(GRU, params, xs, mask=mask, resets=resets)
    for name in ("carry", "log_norms", "decay", "product_decay", "carry_share"):
        one, two = getattr(mapped, name), getattr(batched, name)
        np.testing.assert_allclose(np.moveaxis(one, 0, 1), two, rtol=1e-11, atol=1e-11)


def test_messages():
    for cell in (separable(2, 3), jaxrnn.gru(2, 3, reset="before")):
        with pytest.raises(TypeError, match="^gate_anatomy: got .*Separable.*expected Gated"):
            gate_anatomy(cell, cell.init(jax.random.key(0)), jnp.ones((3, 2)))
    with pytest.raises(TypeError, match="^gate_anatomy: got function"):
        gate_anatomy(jaxrnn.gru, (), jnp.ones((3, 2)))
    cell = jaxrnn.gru(2, 3)
    with pytest.raises(ValueError, match="^gate_anatomy: got xs of 0 steps"):
        gate_anatomy(cell, cell.init(jax.random.key(0)), jnp.ones((0, 2)))
    with pytest.raises(ValueError, match=r"^gate_anatomy: got mask of shape \(4,\)"):
        gate_anatomy(cell, cell.init(jax.random.key(0)), jnp.ones((3, 2)), mask=jnp.ones(4, bool))
