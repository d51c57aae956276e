"""Oscillatory networks: the Jacobians and the bounds that their papers derive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.cornn import CoRNNParams, CoRNNState

INPUT, HIDDEN, STEPS = 2, 5, 40


def drawn(rng, scale=1.0):
    shapes = (INPUT, HIDDEN), (2 * HIDDEN, HIDDEN), (HIDDEN,)
    return CoRNNParams(*(scale * rng.normal(size=shape) for shape in shapes))


def jacobian(cell, params, state, x):
    """Of the step, over y then z."""
    flat = jnp.concatenate(state)

    def advance(flat):
        new, _ = cell.step(params, type(state)(*jnp.split(flat, 2)), x)
        return jnp.concatenate(new)

    return np.asarray(jax.jit(jax.jacobian(advance))(flat))


def a_state(rng):
    return CoRNNState(*rng.normal(size=(2, HIDDEN)))


@pytest.mark.parametrize(("gamma", "epsilon"), [(9.0, 0.5), (0.2, 3.0)])
def test_oscillators_by_themselves(gamma, epsilon, x64):
    """Without weights each has the two eigenvalues of a damped oscillator.

    They oscillate with the modulus sqrt(1 - dt epsilon) where the frequency exceeds the damping.
    """
    rng, dt = np.random.default_rng(0), 0.1
    cell = jaxrnn.cornn(INPUT, HIDDEN, dt=dt, gamma=gamma, epsilon=epsilon)
    matrix = jacobian(cell, drawn(rng, 0), a_state(rng), rng.normal(size=INPUT))
    roots = np.roots([1, -(2 - dt * epsilon - dt**2 * gamma), 1 - dt * epsilon])
    found = np.linalg.eigvals(matrix)
    distance = np.min(np.abs(found[:, None] - roots), axis=1)
    assert distance.max() < 1e-7  # roots of multiplicity H
    if 4 * gamma > epsilon**2:
        np.testing.assert_allclose(np.abs(found), np.sqrt(1 - dt * epsilon), rtol=1e-7)


def test_the_determinant_is_that_of_the_damping(x64):
    """The step is a shear of y by z after a shear of z by y: volume changes by z alone."""
    rng, dt, epsilon = np.random.default_rng(1), 0.1, 0.7
    cell = jaxrnn.cornn(INPUT, HIDDEN, dt=dt, gamma=2, epsilon=epsilon)
    params, state, x = drawn(rng), a_state(rng), rng.normal(size=INPUT)
    a = np.concatenate(state) @ params.w_hh + x @ params.w_ih + params.b
    of_z = params.w_hh[HIDDEN:].T * (1 - np.tanh(a) ** 2)[:, None]
    expected = np.linalg.det((1 - dt * epsilon) * np.eye(HIDDEN) + dt * of_z)
    assert np.linalg.det(jacobian(cell, params, state, x)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_states_stay_bounded_whatever_the_weights_are(seed, x64):
    """Proposition 3.1, gamma = epsilon = 1: |y_n|^2 + |z_n|^2 <= H n dt, of the implicit form."""
    rng, dt = np.random.default_rng(seed), 0.3
    cell = jaxrnn.cornn(INPUT, HIDDEN, dt=dt, gamma=1, epsilon=1, damping="implicit")
    states = jaxrnn.trajectory(cell, drawn(rng, 10), 10 * rng.normal(size=(STEPS, INPUT)))
    energy = np.sum(np.square(states.y) + np.square(states.z), axis=-1)
    bound = HIDDEN * dt * np.arange(STEPS + 1)
    assert np.all(energy <= bound * (1 + 1e-12))
    assert energy.max() > 0.1 * HIDDEN  # the bound is met by something


@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_is_bounded_by_the_step(seed, x64):
    """Where ``max(dt (1 + |W|), dt |W_z|) / (1 + dt) <= dt^r`` its norm is at most 1 + 3 dt^r."""
    rng, dt, r = np.random.default_rng(seed), 0.01, 0.5
    cell = jaxrnn.cornn(INPUT, HIDDEN, dt=dt, gamma=1, epsilon=1, damping="implicit")
    params = drawn(rng)
    norms = [np.abs(w).sum(axis=0).max() for w in np.split(params.w_hh, 2)]
    most = dt**r * (1 + dt) / dt
    params = params._replace(w_hh=params.w_hh * min((most - 1) / norms[0], most / norms[1]))
    matrix = jacobian(cell, params, CoRNNState(*np.zeros((2, HIDDEN))), np.zeros(INPUT))
    assert 1 < np.abs(matrix).sum(axis=1).max() <= 1 + 3 * dt**r


def test_both_dampings_agree_as_the_step_shrinks(x64):
    rng = np.random.default_rng(0)
    params, xs = drawn(rng), np.ones((1, INPUT))

    def apart(dt):
        ends = [
            jaxrnn.unroll(
                jaxrnn.cornn(INPUT, HIDDEN, dt=dt, gamma=1, epsilon=1, damping=damping),
                params, xs.repeat(round(1 / dt), axis=0),
            )[0].y
            for damping in ("explicit", "implicit")
        ]  # fmt: skip
        return np.max(np.abs(ends[0] - ends[1]))

    assert apart(0.01) < 0.6 * apart(0.02) < 0.1


def test_the_unit_step_of_unicornn_keeps_the_area(x64):
    """It is symplectic: every unit's Jacobian has determinant 1, and units do not mix."""
    rng = np.random.default_rng(0)
    cell = jaxrnn.unicornn(INPUT, HIDDEN, dt=0.7, alpha=3)
    params = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(cell.init, jax.random.key(0))
    )
    state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), cell.initial_state(params))
    blocks = jacobian(cell, params, state, rng.normal(size=INPUT)).reshape(2, HIDDEN, 2, HIDDEN)
    own = blocks[:, np.arange(HIDDEN), :, np.arange(HIDDEN)]
    np.testing.assert_allclose(np.linalg.det(own), 1, rtol=1e-12)
    apart = ~np.eye(HIDDEN, dtype=bool)
    assert not np.any(blocks.transpose(1, 3, 0, 2)[apart])


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (jaxrnn.cornn, {"dt": 0}, ValueError, "cornn: got dt=0; .* above 0"),
        (jaxrnn.cornn, {"gamma": -1}, ValueError, "cornn: got gamma=-1; .* above 0"),
        (jaxrnn.cornn, {"epsilon": 0.0}, ValueError, "cornn: got epsilon=0.0; .* above 0"),
        (jaxrnn.cornn, {"damping": "implict"}, ValueError, "did you mean 'implicit'"),
        (jaxrnn.cornn, {"dt": None}, TypeError, "cornn: got dt=None .NoneType."),
        (jaxrnn.unicornn, {"dt": -0.1}, ValueError, "unicornn: got dt=-0.1; .* above 0"),
        (jaxrnn.unicornn, {"alpha": -1}, ValueError, "unicornn: got alpha=-1; .* at least 0"),
    ],
)
def test_numbers_that_they_cannot_have(make, options, error, message):
    with pytest.raises(error, match=message):
        make(INPUT, HIDDEN, **options)
