"""The profile of a loss's gradient over time, against perturbations injected between the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import LINEAR, blank
from jaxrnn import analysis
from jaxrnn.wrappers import stacked

STEPS = 6


def profile_of(loss, cell, params, xs, state=None, **flags):
    """The profile, compiled."""

    def run(params, xs, state, flags):
        return analysis.loss_gradient_profile(loss, cell, params, xs, state, **flags)

    return jax.jit(run)(params, xs, state, flags)


def by_injection(loss, cell, params, xs, state):
    """Gradients for a perturbation added to the state that step t hands to step t + 1."""
    flat, unravel = ravel_pytree(state)

    def run(deltas):
        def step(state, at):
            state, y = cell.step(params, unravel(state + at[0]), at[1])
            return ravel_pytree(state)[0], y

        return loss(jax.lax.scan(step, flat, (deltas, xs))[1])

    return jax.jit(jax.grad(run))(jnp.zeros((len(xs), flat.size)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_every_time_agrees_with_an_injected_perturbation(x64, name):
    cell = jaxrnn.CELLS[name].make(2, 3)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2))
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.initial_state(params))
    weights = jax.random.normal(jax.random.key(2), (STEPS, 3))

    def loss(ys):
        return jnp.sum(jnp.sin(3 * ys) * weights) ** 2

    want = np.linalg.norm(by_injection(loss, cell, params, xs, state), axis=1)
    found = profile_of(loss, cell, params, xs, state)
    np.testing.assert_array_equal(found.times, np.arange(STEPS + 1))
    np.testing.assert_allclose(found.log_norms[:-1], np.log(want), rtol=0, atol=1e-12)
    assert found.log_norms[-1] == -np.inf

    def loss_of_state(state):
        return loss(jaxrnn.unroll(cell, params, xs, state)[1])

    gradient, _ = ravel_pytree(jax.jit(jax.grad(loss_of_state))(state))
    assert found.log_norms[0] == pytest.approx(np.log(np.linalg.norm(gradient)), abs=1e-12)


def test_the_last_output_alone(x64):
    """dL/ds_t = (W^T)^(T - t) u, in closed form."""
    w = np.random.default_rng(0).normal(size=(3, 3)) / 2
    u = np.array([1.0, -2, 0.5])
    found = profile_of(lambda ys: ys[-1] @ u, LINEAR, jnp.asarray(w), blank(40))
    want = [np.log(np.linalg.norm(np.linalg.matrix_power(w.T, 40 - t) @ u)) for t in range(40)]
    np.testing.assert_allclose(found.log_norms, [*want, -np.inf], rtol=0, atol=1e-11)


def test_a_loss_on_an_early_output_gives_nothing_later(x64):
    found = profile_of(lambda ys: jnp.sum(ys[3]), LINEAR, jnp.eye(4), blank(8))
    want = [np.log(2)] * 4 + [-np.inf] * 5
    np.testing.assert_allclose(found.log_norms, want, rtol=0, atol=1e-15)


def test_all_outputs_add_up(x64):
    """With W = 2 and a loss on every output, dL/ds_t = 2 + ... + 2^(T - t)."""
    found = profile_of(jnp.sum, LINEAR, jnp.full((1, 1), 2.0), blank(30))
    want = np.log(2.0 ** (31 - np.arange(30)) - 2)
    np.testing.assert_allclose(found.log_norms[:-1], want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("gain", [3.0, 0.1])
def test_ten_thousand_steps_in_single_precision(gain):
    """A gradient of e^10986 or e^-23026, where plain BPTT gives inf or 0."""
    steps = 10_000
    found = profile_of(lambda ys: ys[-1, 0], LINEAR, jnp.full((1, 1), gain), blank(steps))
    want = np.log(np.float64(np.float32(gain))) * (steps - np.arange(steps))
    error = np.abs(np.asarray(found.log_norms[:-1], np.float64) - want)
    assert np.all(error <= 2e-7 * np.abs(want) + 1e-7 * (steps - np.arange(steps)))


def test_a_tiny_gradient_beside_a_large_one_is_not_lost():
    """The loss reads the last output with weight 1e30 and the first with 1e-30, in float32."""
    found = profile_of(
        lambda ys: 1e30 * ys[-1, 0] + 1e-30 * ys[0, 1],
        LINEAR,
        jnp.diag(jnp.array([0.0, 1])),
        blank(4),
    )
    # W's first unit has no memory, so that only the tiny part comes back before the last step.
    want = [np.log(1e-30), -np.inf, -np.inf, -np.inf, -np.inf]
    np.testing.assert_allclose(found.log_norms, want, rtol=1e-6)


def test_flags_and_batch(x64):
    cell = jaxrnn.elman(2, 3)
    params = cell.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    xs, weights = rng.normal(size=(8, 2, 2)), rng.normal(size=(8, 2, 3))
    mask, resets = np.ones((8, 2), bool), np.zeros((8, 2), bool)
    mask[4:, 1], resets[4, 0] = False, True
    padded = np.where(mask[..., None], xs, np.nan)

    @jax.jit
    def run(xs, weights, **flags):
        def loss(ys):
            return jnp.sum(ys**2 * weights)

        return analysis.loss_gradient_profile(loss, cell, params, xs, **flags).log_norms

    found = np.asarray(run(padded, weights, mask=mask, resets=resets))
    assert found.shape == (9, 2)
    first, second, short = (
        np.asarray(run(xs[at], weights[at]))
        for at in ((slice(4), 0), (slice(4, None), 0), (slice(4), 1))
    )
    np.testing.assert_allclose(found[:4, 0], first[:4], rtol=0, atol=1e-12)
    assert found[4, 0] == -np.inf  # the state at the reset reaches nothing
    np.testing.assert_allclose(found[5:, 0], second[1:], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[:4, 1], short[:4], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found[4:, 1], -np.inf)


def test_a_tree_of_outputs(x64):
    def step(w, h, x):
        h = jnp.tanh(w @ h + x)
        return h, {"h": h, "square": h**2}

    cell = LINEAR._replace(step=step)
    w = jnp.array([[0.5, 1.0], [-0.7, 0.2]])
    xs = jax.random.normal(jax.random.key(1), (5, 2))

    def loss(ys):
        return jnp.sum(ys["h"]) + jnp.sum(ys["square"][2:])

    found = profile_of(loss, cell, w, xs).log_norms[0]
    gradient = jax.grad(lambda h: loss(jaxrnn.unroll(cell, w, xs, h)[1]))(jnp.zeros(2))
    assert found == pytest.approx(np.log(np.linalg.norm(gradient)), abs=1e-12)


def test_a_loss_that_is_no_scalar():
    for loss in (lambda ys: ys[-1], lambda ys: {"loss": ys.sum()}):
        with pytest.raises(
            ValueError, match=r"loss_gradient_profile: got a loss_fn .*expected a scalar"
        ):
            analysis.loss_gradient_profile(loss, LINEAR, jnp.eye(2), blank(3))


def test_the_parts_of_a_state(x64):
    """At time 0 they are the gradients of the parts of the initial state; always they add up."""
    cell = stacked(jaxrnn.lstm(2, 3), jaxrnn.gru(3, 2))
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2))
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.initial_state(params))

    def loss(ys):
        return jnp.sum(jnp.sin(3 * ys))

    found = profile_of(loss, cell, params, xs, state)
    assert len(found.parts) == 2
    squares = sum(np.exp(2 * np.asarray(part)) for part in found.parts)
    np.testing.assert_allclose(np.log(squares[:-1]) / 2, found.log_norms[:-1], atol=1e-12)
    slopes = jax.jit(jax.grad(lambda s: loss(jaxrnn.unroll(cell, params, xs, s)[1])))(state)
    for part, slope in zip(found.parts, slopes, strict=True):
        want = np.log(np.linalg.norm(ravel_pytree(slope)[0]))
        assert part[0] == pytest.approx(want, abs=1e-12)
        assert part[-1] == -np.inf


def test_the_container_of_the_parts():
    """That of the state; None for a part without floats, and for a state that is one array."""

    def step(w, state, x):
        state = {"h": (w @ state["h"][0], 0 * state["h"][1]), "n": state["n"] + 1}
        return state, state["h"][0]

    def initial_state(w, batch_shape=()):
        h = jnp.zeros((*batch_shape, 2))
        return {"h": (h, h), "n": jnp.zeros(batch_shape, jnp.int32)}

    cell = jaxrnn.Cell(lambda key: jnp.eye(2), initial_state, step)
    found = profile_of(lambda ys: ys[-1, 0], cell, jnp.eye(2), blank(4))
    assert set(found.parts) == {"h", "n"}
    assert found.parts["n"] is None
    np.testing.assert_array_equal(found.parts["h"], found.log_norms)
    assert profile_of(lambda ys: ys[-1, 0], LINEAR, jnp.eye(2), blank(4)).parts is None


def test_a_part_far_below_the_whole_is_not_lost():
    """Two units of their own, one that grows and one that fades, 69 nats apart after 50 steps."""

    def step(w, state, x):
        state = tuple(factor * one for factor, one in zip(w, state, strict=True))
        return state, jnp.concatenate(state, -1)

    cell = LINEAR._replace(
        initial_state=lambda w, batch_shape=(): (jnp.zeros((*batch_shape, 1)),) * 2, step=step
    )
    found = profile_of(lambda ys: ys[-1].sum(), cell, jnp.array([2.0, 0.5]), blank(50))
    lags = 50 - np.arange(50)
    np.testing.assert_allclose(found.parts[0][:-1], lags * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(found.parts[1][:-1], -lags * np.log(2), rtol=1e-6)
