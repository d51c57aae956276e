"""The Lipschitz network: what beta and gamma steer, and the order of its solvers."""

import jax
import numpy as np
import pytest

import jaxrnn

HIDDEN = 4


def drawn(cell, rng):
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(cell.init, jax.random.key(0))
    )


@pytest.mark.parametrize(("beta", "gamma"), [(1, 0.2), (0.75, 0.2), (0.5, 0), (0, 0.1)])
def test_beta_and_gamma_steer_the_symmetric_part(beta, gamma, x64):
    """Of A it is ``(1 - beta) (M + M^T) - gamma I``; with beta = 1 the real parts are -gamma."""
    cell = jaxrnn.lipschitz(2, HIDDEN, beta_a=beta, gamma_a=gamma, beta_w=0.5, gamma_w=0)
    params = drawn(cell, np.random.default_rng(0))
    a, w = np.split(np.asarray(cell.parts.weights(params)), 2, axis=-1)
    m_a, m_w = np.split(params.w_hh, 2, axis=-1)
    symmetric = (1 - beta) * (m_a + m_a.T) - gamma * np.eye(HIDDEN)
    np.testing.assert_allclose((a + a.T) / 2, symmetric, atol=1e-14)
    np.testing.assert_allclose(w, m_w, atol=1e-14)
    if beta == 1:
        np.testing.assert_allclose(np.linalg.eigvals(a).real, -gamma, atol=1e-12)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2)])
def test_the_solvers_have_their_order(solver, order, x64):
    """Half the step divides the error by 2 and by 4."""
    rng = np.random.default_rng(0)
    xs = np.broadcast_to(rng.normal(size=2), (1024, 2))
    params = drawn(jaxrnn.lipschitz(2, HIDDEN), rng)

    def end(solver, steps):
        cell = jaxrnn.lipschitz(2, HIDDEN, epsilon=1 / steps, solver=solver)
        return np.asarray(jaxrnn.unroll(cell, params, xs[:steps])[0])

    exact = end("midpoint", 1024)
    errors = [np.max(np.abs(end(solver, steps) - exact)) for steps in (32, 64)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "lipschitz: got epsilon=0; .* above 0"),
        ({"beta_a": 1.1}, "got beta_a=1.1; .* at least 0 and at most 1"),
        ({"beta_w": -0.1}, "got beta_w=-0.1; .* at least 0 and at most 1"),
        ({"gamma_a": -1}, "got gamma_a=-1; .* at least 0"),
        ({"gamma_w": -1}, "got gamma_w=-1; .* at least 0"),
        ({"solver": "rk2"}, "got unknown solver 'rk2'; expected one of euler, midpoint"),
    ],
)
def test_numbers_that_it_cannot_have(options, message):
    with pytest.raises(ValueError, match=message):
        jaxrnn.lipschitz(2, HIDDEN, **options)
