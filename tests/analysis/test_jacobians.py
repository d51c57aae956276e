"""Jacobians and their products against JAX's own differentiation of plain unrolls, any cell."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import decay, input_jacobians, jacobians, measure, product, whole
from cases import BASIC
from jaxrnn import analysis

INPUT, HIDDEN, STEPS = 2, 3, 6
DEFAULT = ("lstm", "gru")  # one with two parts of state, one with a matrix per gate
every_cell = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in DEFAULT)) for n in BASIC],
)


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


@every_cell
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


@pytest.mark.parametrize("batch", [pytest.param((3,), marks=pytest.mark.slow), (2, 2)])
def test_a_batch_is_its_sequences(x64, batch):
    cell, params, xs, state = problem("elman", *batch)
    mask = np.ones((STEPS, *batch), bool)
    mask[4:, -1] = False
    resets = np.zeros((STEPS, *batch), bool)
    resets[2, 0] = True
    flags = {"mask": jnp.asarray(mask), "resets": jnp.asarray(resets)}
    args = (xs, state)
    functions = {
        "jacobians": (jacobians, 1),
        "input_jacobians": (input_jacobians, 1),
        "product": (product, 0),
        "decay": (decay, None),
    }
    for function, time in functions.values():
        together = function(cell, params, *args, **flags)
        for at in np.ndindex(batch):
            one_xs, one_mask, one_resets = (
                leaf[(slice(None), *at)] for leaf in (xs, flags["mask"], flags["resets"])
            )
            one_state = jax.tree.map(lambda leaf, at=at: leaf[at], state)
            one = function(cell, params, one_xs, one_state, mask=one_mask, resets=one_resets)
            if function is decay:
                picked = (together.lags, together.log_norms[(slice(None), *at)])
                picked += (together.rate[at], together.stderr[at])
            else:
                index = (slice(None), *at) if time else at
                picked = jax.tree.map(lambda leaf, index=index: leaf[index], together)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13),
                tuple(one) if isinstance(one, tuple) else one,
                tuple(picked) if isinstance(picked, tuple) else picked,
            )


@pytest.mark.parametrize(
    "name",
    [
        "elman",
        *[pytest.param(name, marks=pytest.mark.slow) for name in ("lstm", "gru_reset_before")],
    ],
)
def test_resets_cut_exactly(x64, name):
    cell, params, xs, state = problem(name, steps=9)
    resets = jnp.arange(9) == 4
    steps = np.asarray(jacobians(cell, params, xs, state, resets=resets))
    np.testing.assert_array_equal(steps[4], 0)
    before = np.asarray(jacobians(cell, params, xs[:4], state))
    after = np.asarray(jacobians(cell, params, xs[4:]))
    np.testing.assert_allclose(steps[:4], before, rtol=1e-13)
    np.testing.assert_allclose(steps[5:], after[1:], rtol=1e-13)
    # The input of the step that resets still counts.
    inputs = np.asarray(input_jacobians(cell, params, xs, state, resets=resets))
    np.testing.assert_allclose(inputs[4:], input_jacobians(cell, params, xs[4:]), rtol=1e-12)
    measured = decay(cell, params, xs, state, resets=resets)
    alone = decay(cell, params, xs[4:])
    np.testing.assert_allclose(measured.log_norms[:4], alone.log_norms[:4], atol=1e-13)
    np.testing.assert_array_equal(measured.log_norms[4:], -np.inf)
    assert measured.rate == -np.inf
    assert np.isnan(measured.stderr)
    across = product(cell, params, xs, state, resets=resets)
    np.testing.assert_array_equal(across.matrix, 0)
    assert across.log_scale == -np.inf
    clear = product(cell, params, xs, state, resets=resets, start=5)
    np.testing.assert_allclose(whole(clear), np.linalg.multi_dot(steps[:4:-1]), rtol=1e-11)


def test_masked_steps_are_the_identity(x64):
    cell, params, xs, state = problem("elman")
    real = np.array([True, False, True, True, False, False])
    padded = jnp.where(real[:, None], xs, jnp.nan)
    mask = jnp.asarray(real)
    steps = np.asarray(jacobians(cell, params, padded, state, mask=mask))
    np.testing.assert_array_equal(steps[~real], np.broadcast_to(np.eye(3), (3, 3, 3)))
    short = np.asarray(jacobians(cell, params, xs[real], state))
    np.testing.assert_allclose(steps[real], short, rtol=1e-13)
    inputs = np.asarray(input_jacobians(cell, params, padded, state, mask=mask))
    np.testing.assert_array_equal(inputs[~real], 0)
    np.testing.assert_allclose(
        inputs[real], input_jacobians(cell, params, xs[real], state), rtol=1e-13
    )
    measured = decay(cell, params, padded, state, mask=mask)
    alone = decay(cell, params, xs[real], state).log_norms
    np.testing.assert_allclose(
        measured.log_norms, [0, 0, alone[0], alone[1], alone[1], alone[2]], atol=1e-13
    )
    np.testing.assert_allclose(
        whole(product(cell, params, padded, state, mask=mask)),
        np.linalg.multi_dot(short[::-1]),
        rtol=1e-12,
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
    state, want = counting_state(params), []
    for x in xs:

        def floats(h, state=state, x=x):
            after = counting_step(params, {**state, "h": h}, x)[0]
            return after["h"]

        want.append(jax.jacfwd(floats)(state["h"]))
        state = counting_step(params, state, x)[0]
    # In ravel_pytree's order: h, then m: (the new h, the old first entry of m).
    np.testing.assert_allclose(found[:, :2, :2], want, rtol=1e-13)
    np.testing.assert_allclose(found[:, 2:4, :2], want, rtol=1e-13)
    shift = np.broadcast_to(np.eye(2), (5, 2, 2))
    np.testing.assert_array_equal(found[:, 4:, 2:4], shift)
    np.testing.assert_array_equal(found[:, :4, 2:], 0)
    total = whole(product(COUNTING, params, xs))
    np.testing.assert_allclose(total, np.linalg.multi_dot(found[::-1]), rtol=1e-11, atol=1e-18)
    log_norm = np.log(np.linalg.norm(total, 2))
    assert decay(COUNTING, params, xs).log_norms[-1] == pytest.approx(log_norm, abs=1e-12)


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
