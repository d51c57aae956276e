"""Jacobians and their products against JAX's own differentiation of plain unrolls, any cell."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import decay, input_jacobians, jacobians, measure, product, whole
from cases import first_of
from jaxrnn import analysis

INPUT, HIDDEN, STEPS = 2, 3, 6


def problem(name, *batch, steps=STEPS):
    """A cell, its parameters, inputs, and a state to start from."""
    cell = jaxrnn.CELLS[name].make(INPUT, HIDDEN)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        cell.init(jax.random.key(0)),
    )
    xs = jax.random.normal(jax.random.key(1), (steps, *batch, INPUT))
    state = jax.tree.map(
        lambda leaf: 0.5 + 0.2 * jax.random.normal(jax.random.key(2), leaf.shape),
        cell.initial_state(params, batch),
    )
    return cell, params, xs, state


def by_autodiff(cell, params, xs, state):
    """Step Jacobians, input Jacobians and the Jacobian of the whole run, from `cell.step` alone."""
    flat, unravel = ravel_pytree(state)

    def step(flat, x):
        return ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

    def run(flat):
        return jax.lax.scan(lambda flat, x: (step(flat, x), flat), flat, xs)

    _, states = run(flat)
    steps = jax.vmap(jax.jacfwd(step))(states, xs)
    inputs = jax.vmap(jax.jacrev(step, 1))(states, xs)
    return steps, inputs, jax.jacrev(lambda flat: run(flat)[0])(flat)


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "gru_reset_before", "irnn"]))
def test_every_cell_agrees_with_autodiff(x64, name):
    cell, params, xs, state = problem(name)
    step, inputs, total = jax.jit(lambda *a: by_autodiff(cell, *a))(params, xs, state)
    np.testing.assert_allclose(jacobians(cell, params, xs, state), step, rtol=0, atol=1e-13)
    np.testing.assert_allclose(input_jacobians(cell, params, xs, state), inputs, rtol=0, atol=1e-13)
    measured, result = measure(cell, params, xs, state)
    np.testing.assert_allclose(whole(result), total, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(np.linalg.multi_dot(step[::-1]), total, rtol=1e-11, atol=1e-14)
    ends = itertools.accumulate(step[::-1], np.matmul)
    want = np.log([np.linalg.norm(end, 2) for end in ends])
    np.testing.assert_allclose(measured.log_norms, want, rtol=0, atol=1e-11)
    assert np.ptp(want) > 0.3  # a test that order, lag or transposition would not pass by chance


def test_forward_and_reverse_products_are_adjoint(x64):
    cell, params, xs, state = problem("lstm", steps=40)
    flat, unravel = ravel_pytree(state)
    u, v = np.random.default_rng(0).normal(size=(2, flat.size))
    forward = whole(product(cell, params, xs, state))

    def end(flat):
        return ravel_pytree(jaxrnn.unroll(cell, params, xs, unravel(flat))[0])[0]

    pulled = jax.jit(lambda flat, u: jax.vjp(end, flat)[1](u)[0])(flat, u)
    scale = np.linalg.norm(forward)
    np.testing.assert_allclose(u @ forward @ v, pulled @ v, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(u @ forward, pulled, rtol=0, atol=1e-12 * scale)


MEASURES = (
    analysis.jacobians,
    analysis.input_jacobians,
    analysis.jacobian_product,
    analysis.gradient_decay,
)


@functools.partial(jax.jit, static_argnums=0)
def everything(cell, params, xs, state=None, mask=None, resets=None):
    """The four measurements, compiled together."""
    return tuple(f(cell, params, xs, state, mask=mask, resets=resets) for f in MEASURES)


@pytest.mark.slow
def test_a_batch_is_its_sequences(x64):
    batch = (2, 2)
    cell, params, xs, state = problem("elman", *batch)
    mask = np.ones((STEPS, *batch), bool)
    mask[4:, -1] = False
    resets = np.zeros((STEPS, *batch), bool)
    resets[2, 0] = True
    xs, state = np.asarray(xs), np.asarray(state)
    steps, inputs, total, logs = jax.tree.map(
        np.asarray, everything(cell, params, xs, state, mask, resets)
    )
    for at in np.ndindex(batch):
        index = (slice(None), *at)
        one = everything(cell, params, xs[index], state[at], mask[index], resets[index])
        picked = (
            steps[index],
            inputs[index],
            jax.tree.map(lambda leaf, at=at: leaf[at], total),
            logs._replace(
                log_norms=logs.log_norms[index], rate=logs.rate[at], stderr=logs.stderr[at]
            ),
        )
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(picked), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", first_of(["elman", "gru_reset_before"]))
def test_resets_cut_exactly(x64, name):
    cell, params, xs, state = problem(name, steps=9)
    resets = np.arange(9) == 4
    steps, inputs, across, measured = everything(cell, params, xs, state, resets=resets)
    steps = np.asarray(steps)
    np.testing.assert_array_equal(steps[4], 0)
    before = np.asarray(jacobians(cell, params, xs[:4], state))
    after, inputs_after, _, alone = everything(cell, params, xs[4:])
    np.testing.assert_allclose(steps[:4], before, rtol=1e-13)
    np.testing.assert_allclose(steps[5:], np.asarray(after)[1:], rtol=1e-13)
    # The input of the step that resets still counts.
    np.testing.assert_allclose(np.asarray(inputs)[4:], inputs_after, rtol=1e-12)
    log_norms = np.asarray(measured.log_norms)
    np.testing.assert_allclose(log_norms[:4], np.asarray(alone.log_norms)[:4], atol=1e-13)
    np.testing.assert_array_equal(log_norms[4:], -np.inf)
    assert measured.rate == -np.inf
    assert np.isnan(measured.stderr)
    np.testing.assert_array_equal(across.matrix, 0)
    assert across.log_scale == -np.inf
    clear = product(cell, params, xs, state, resets=resets, start=5)
    np.testing.assert_allclose(whole(clear), np.linalg.multi_dot(steps[:4:-1]), rtol=1e-11)


def test_masked_steps_are_the_identity(x64):
    cell, params, xs, state = problem("elman")
    real = np.array([True, False, True, True, False, False])
    xs = np.asarray(xs)
    padded = np.where(real[:, None], xs, np.nan)
    steps, inputs, total, measured = everything(cell, params, padded, state, real)
    steps, inputs = np.asarray(steps), np.asarray(inputs)
    np.testing.assert_array_equal(steps[~real], np.broadcast_to(np.eye(3), (3, 3, 3)))
    short, short_inputs, _, alone = everything(cell, params, xs[real], state)
    np.testing.assert_allclose(steps[real], short, rtol=1e-13)
    np.testing.assert_array_equal(inputs[~real], 0)
    np.testing.assert_allclose(inputs[real], short_inputs, rtol=1e-13)
    logs = np.asarray(alone.log_norms)
    np.testing.assert_allclose(
        measured.log_norms, [0, 0, logs[0], logs[1], logs[1], logs[2]], atol=1e-13
    )
    np.testing.assert_allclose(
        whole(total), np.linalg.multi_dot(np.asarray(short)[::-1]), rtol=1e-12
    )


def test_a_masked_step_that_resets_is_zero(x64):
    cell, params, xs, state = problem("elman")
    mask, resets = jnp.arange(STEPS) != 2, jnp.arange(STEPS) == 2
    steps = jacobians(cell, params, xs, state, mask=mask, resets=resets)
    np.testing.assert_array_equal(steps[2], 0)
    want = jacobians(cell, params, xs[3:])
    np.testing.assert_allclose(steps[3:], want, rtol=1e-13)


def counting_step(params, state, x):
    """A leaky unit in a dict, beside a counter that the step depends on, and a random key."""
    key, draw = jax.random.split(state["key"])
    noise = jax.random.normal(draw, (2,), state["h"].dtype)
    share = 1 / (1 + state["count"])
    h = share * jnp.tanh(params @ state["h"] + x + noise)
    return {"count": state["count"] + 1, "h": h, "key": key, "m": (h, state["m"][0])}, h


def counting_state(params, batch_shape=()):
    zeros = jnp.zeros((*batch_shape, 2), params.dtype)
    keys = jax.random.split(jax.random.key(7), batch_shape)
    return {
        "count": jnp.zeros(batch_shape, jnp.int32),
        "h": zeros,
        "key": keys,
        "m": (zeros, zeros),
    }


COUNTING = jaxrnn.Cell(lambda key: jnp.eye(2), counting_state, counting_step)


def test_a_state_with_a_counter_and_a_key(x64):
    params = jnp.array([[0.5, 1.0], [-0.7, 0.2]])
    xs = jax.random.normal(jax.random.key(1), (5, 2))
    found = jacobians(COUNTING, params, xs)
    assert found.shape == (5, 6, 6)

    def step(state, x):
        def floats(h):
            return counting_step(params, {**state, "h": h}, x)[0]["h"]

        return counting_step(params, state, x)[0], jax.jacfwd(floats)(state["h"])

    want = jax.jit(lambda xs: jax.lax.scan(step, counting_state(params), xs)[1])(xs)
    # In ravel_pytree's order: h, then m: (the new h, the old first entry of m).
    np.testing.assert_allclose(found[:, :2, :2], want, rtol=1e-13)
    np.testing.assert_allclose(found[:, 2:4, :2], want, rtol=1e-13)
    shift = np.broadcast_to(np.eye(2), (5, 2, 2))
    np.testing.assert_array_equal(found[:, 4:, 2:4], shift)
    np.testing.assert_array_equal(found[:, :4, 2:], 0)
    logs, total = measure(COUNTING, params, xs)
    total = whole(total)
    np.testing.assert_allclose(total, np.linalg.multi_dot(found[::-1]), rtol=1e-11, atol=1e-18)
    log_norm = np.log(np.linalg.norm(total, 2))
    assert logs.log_norms[-1] == pytest.approx(log_norm, abs=1e-12)


def test_tokens(x64):
    cell = jaxrnn.elman(5, 3)
    params = cell.init(jax.random.key(0))
    tokens = jnp.array([[0, 4], [2, 2], [1, 3], [3, 0]])
    hot = jax.nn.one_hot(tokens, 5)
    np.testing.assert_allclose(
        jacobians(cell, params, tokens), jacobians(cell, params, hot), rtol=1e-13
    )
    one, two = decay(cell, params, tokens), decay(cell, params, hot)
    np.testing.assert_allclose(one.log_norms, two.log_norms, atol=1e-13)
    with pytest.raises(TypeError, match=r"input_jacobians: got .*int.*expected one float.*one_hot"):
        analysis.input_jacobians(cell, params, tokens)
    assert input_jacobians(cell, params, hot).shape == (4, 2, 3, 5)


def test_a_learned_state(x64):
    plain = jaxrnn.gru(2, 3)
    cell = jaxrnn.learned_state(plain)
    params = cell.init(jax.random.key(0))._replace(state=jnp.array([0.5, -0.2, 0.9]))
    xs = jax.random.normal(jax.random.key(1), (6, 2))
    resets = jnp.arange(6) == 3
    # Without a state, and after a reset, it starts from the learned one.
    found = np.asarray(jacobians(cell, params, xs, resets=resets))
    first = jacobians(plain, params.cell, xs[:3], params.state)
    second = jacobians(plain, params.cell, xs[3:], params.state)
    np.testing.assert_allclose(found[:3], first, rtol=1e-13)
    np.testing.assert_array_equal(found[3], 0)
    np.testing.assert_allclose(found[4:], second[1:], rtol=1e-13)
