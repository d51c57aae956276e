"""The antisymmetric network: the spectrum that its paper derives."""

import jax
import numpy as np
import pytest

import jaxrnn

HIDDEN = 6


def drawn(cell, rng):
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(cell.init, jax.random.key(0))
    )


@pytest.mark.parametrize("gamma", [0, 0.3])
def test_the_equation_neither_explodes_nor_vanishes(gamma, x64):
    """Section 3: the eigenvalues are imaginary, and diffusion moves them to the left."""
    rng, epsilon = np.random.default_rng(0), 0.25
    cell = jaxrnn.antisymmetric(2, HIDDEN, epsilon=epsilon, gamma=gamma)
    params, h, x = drawn(cell, rng), rng.normal(size=HIDDEN), rng.normal(size=2)
    step = jax.jit(jax.jacobian(lambda h: cell.step(params, h, x)[0]))(h)
    equation = (np.asarray(step) - np.eye(HIDDEN)) / epsilon
    a = x @ params.w_ih + params.b + h @ np.asarray(cell.parts.weights(params))
    slopes = 1 - np.tanh(a) ** 2
    eigenvalues = np.linalg.eigvals(equation)
    assert np.max(np.abs(eigenvalues.imag)) > 0.1
    assert np.all(eigenvalues.real <= -gamma * slopes.min() + 1e-12)
    assert np.all(eigenvalues.real >= -gamma * slopes.max() - 1e-12)


def test_the_step_of_euler_where_it_is_linear(x64):
    """At h = 0 the eigenvalues are 1 - epsilon gamma +- i epsilon omega."""
    epsilon, gamma = 0.2, 0.5
    cell = jaxrnn.antisymmetric(2, HIDDEN, epsilon=epsilon, gamma=gamma)
    params = cell.init(jax.random.key(0))
    zero = cell.initial_state(params)
    step = jax.jit(jax.jacobian(lambda h: cell.step(params, h, np.zeros(2))[0]))(zero)
    omega = np.linalg.eigvals(params.w_hh - params.w_hh.T).imag
    expected = (1 - epsilon * gamma) ** 2 + (epsilon * omega) ** 2
    found = np.abs(np.linalg.eigvals(step)) ** 2
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-12)


def test_an_open_gate_is_no_gate(x64):
    rng = np.random.default_rng(0)
    plain, gated = (jaxrnn.antisymmetric(2, HIDDEN, gated=gated) for gated in (False, True))
    params, h, x = drawn(plain, rng), rng.normal(size=HIDDEN), rng.normal(size=2)
    wide = params._replace(
        w_ih=np.concatenate([0 * params.w_ih, params.w_ih], axis=1),
        b=np.concatenate([np.full(HIDDEN, 60.0), params.b]),
    )
    np.testing.assert_allclose(gated.step(wide, h, x)[0], plain.step(params, h, x)[0], rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epsilon": 0}, ValueError, "antisymmetric: got epsilon=0; .* above 0"),
        ({"epsilon": float("nan")}, ValueError, "got epsilon=nan; .* finite"),
        ({"gamma": -0.1}, ValueError, "got gamma=-0.1; .* at least 0"),
        ({"gamma": "0.1"}, TypeError, "got gamma='0.1' .str.; expected a finite number"),
        ({"epsilon": True}, TypeError, "got epsilon=True .bool."),
    ],
)
def test_numbers_that_it_cannot_have(options, error, message):
    with pytest.raises(error, match=message):
        jaxrnn.antisymmetric(2, HIDDEN, **options)


def test_equal_cells_share_what_is_compiled():
    one, other = (jaxrnn.antisymmetric(2, HIDDEN, epsilon=e) for e in (1, np.float32(1)))
    assert one == other
    assert one != jaxrnn.antisymmetric(2, HIDDEN)
