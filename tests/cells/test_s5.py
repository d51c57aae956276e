"""S5: HiPPO at first, the same system in real numbers, irregular times, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.s5 import hippo_eigenvectors, s5


def normal_hippo(size):
    """The normal part of HiPPO-LegS as appendix B.1 of the paper has it, entry by entry."""
    a = np.zeros((size, size))
    for n in range(size):
        for k in range(size):
            if n == k:
                a[n, k] = -0.5
            else:
                a[n, k] = np.sqrt((n + 0.5) * (k + 0.5)) * (-1 if n > k else 1)
    return a


@pytest.mark.parametrize("size", [2, 8, 64])
def test_the_eigenvectors_diagonalise_hippo(size):
    values, vectors = hippo_eigenvectors(size)
    assert (values.imag < 0).all()
    both = np.concatenate([values, values.conj()]), np.hstack([vectors, vectors.conj()])
    made = both[1] * both[0] @ both[1].conj().T
    np.testing.assert_allclose(made, normal_hippo(size), atol=1e-12 * size)
    np.testing.assert_allclose(both[1].conj().T @ both[1], np.eye(size), atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2])
def test_it_is_a_real_system_with_a_hippo_matrix(blocks, key, x64):
    """The whole state ``V h + conj`` follows dx/dt = A x + B u, held over each step."""
    size, step = 8, 0.05
    cell = s5(2, size, blocks=blocks, dt_min=step, dt_max=step)
    params, xs = cell.init(key), np.asarray(jax.random.normal(key, (6, 2)))
    vectors = np.kron(np.eye(blocks), hippo_eigenvectors(size // blocks)[1])
    w_ih = np.asarray(params.w_ih)
    b = 2 * (vectors @ (w_ih[:, : size // 2] + 1j * w_ih[:, size // 2 :]).T).real
    a = np.kron(np.eye(blocks), normal_hippo(size // blocks))
    values, basis = np.linalg.eig(a)
    decay = (basis * np.exp(step * values) @ np.linalg.inv(basis)).real
    x = np.zeros(size)
    for u in xs:
        x = decay @ x + np.linalg.solve(a, (decay - np.eye(size)) @ b @ u)
    h, _ = unroll(cell, params, xs)
    np.testing.assert_allclose(2 * (vectors @ h).real, x, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_long_step_is_many_short_ones(key, x64):
    cell, u = s5(2, 6), jnp.array([[0.3, -1.0]])
    params = cell.init(key)
    once, _ = unroll(cell, params, (u, jnp.array([[2.5]])))
    often, _ = unroll(cell, params, (jnp.repeat(u, 5, 0), jnp.full((5, 1), 0.5)))
    np.testing.assert_allclose(once, often, rtol=1e-12)
    still, _ = unroll(cell, params, (u, jnp.zeros((1, 1))), once)
    np.testing.assert_array_equal(still, once)
    plain, timed = unroll(cell, params, u), unroll(cell, params, (u, jnp.ones((1, 1))))
    for one, other in zip(plain, timed, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.slow
def test_steps_start_in_their_range(key):
    steps = np.exp(s5(2, 1000, blocks=100, dt_min=0.01, dt_max=0.2).init(key).log_step)
    assert 0.0099 < steps.min() < 0.012
    assert 0.17 < steps.max() < 0.201


@pytest.mark.parametrize(
    ("hidden", "options", "message"),
    [
        (3, {}, "hidden_size=3 with blocks=1; expected a multiple of 2"),
        (6, {"blocks": 2}, "hidden_size=6 with blocks=2; expected a multiple of 2 \\* blocks = 4"),
        (4, {"blocks": 0}, "blocks=0; expected a positive integer"),
        (4, {"dt_min": 0}, "dt_min=0; expected a finite number above 0"),
        (4, {"dt_min": 0.2}, "dt_max=0.1; expected a finite number at least 0.2"),
        (4, {"output_size": 0}, "output_size=0; expected a positive integer"),
    ],
)
def test_bad_input(hidden, options, message):
    with pytest.raises(ValueError, match=f"s5: got {message}"):
        s5(2, hidden, **options)


def test_bad_times(key):
    cell = s5(2, 4)
    params = cell.init(key)
    with pytest.raises(ValueError, match="s5: got dt of shape"):
        unroll(cell, params, (jnp.ones((5, 3, 2)), jnp.ones((5, 3, 2))))
