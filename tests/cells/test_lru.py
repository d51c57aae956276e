"""LRU: the ring, the variance that gamma keeps, the sum over the past, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.lru import lru


def eigenvalues(params):
    return np.exp(-np.exp(params.nu_log) + 1j * np.exp(params.theta_log))


@pytest.mark.parametrize(
    ("r_min", "r_max", "phase"),
    [(0.9, 0.99, 0.1), pytest.param(0, 1, 6.28, marks=pytest.mark.slow)],
)
def test_the_eigenvalues_start_uniformly_on_the_ring(r_min, r_max, phase, key, x64):
    """Lemma 3.2: uniform on the ring is uniform in the squared modulus and in the phase."""
    params = lru(2, 2000, r_min=r_min, r_max=r_max, max_phase=phase).init(key)
    values = eigenvalues(params)
    place = (np.abs(values) ** 2 - r_min**2) / (r_max**2 - r_min**2)
    turn = np.exp(params.theta_log) / phase
    for found in (place, turn):
        assert found.min() > -1e-12 and found.max() <= 1
        np.testing.assert_allclose(
            np.quantile(found, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05
        )
    np.testing.assert_allclose(np.exp(params.gamma_log), np.sqrt(1 - np.abs(values) ** 2))


@pytest.mark.slow
def test_gamma_keeps_the_variance_of_the_input(key):
    cell = lru(3, 50, r_min=0.5, r_max=0.9)
    params = cell.init(key)
    h, _ = unroll(cell, params, jax.random.normal(key, (100, 400, 3)))
    b = np.asarray(params.w_ih).reshape(3, 2, 50)
    ratio = np.mean(np.abs(h) ** 2, axis=0) / np.sum(b**2, axis=(0, 1))
    assert np.mean(ratio) == pytest.approx(1, rel=0.05)


@pytest.mark.slow
def test_the_state_is_a_sum_over_the_past(key, x64):
    cell = lru(2, 3, output_size=5)
    params, xs = cell.init(key), np.asarray(jax.random.normal(key, (8, 2)))
    w_ih, w_hy = np.asarray(params.w_ih), np.asarray(params.w_hy)
    share = np.exp(params.gamma_log) * (xs @ (w_ih[:, :3] + 1j * w_ih[:, 3:]))
    powers = eigenvalues(params) ** np.arange(8)[::-1, None]
    h, ys = unroll(cell, params, xs)
    expected = np.sum(powers * share, axis=0)
    np.testing.assert_allclose(h, expected, rtol=1e-12)
    y = (expected @ (w_hy[:, :5] + 1j * w_hy[:, 5:])).real + xs[-1] @ np.asarray(params.d)
    np.testing.assert_allclose(ys[-1], y, rtol=1e-12)


def test_half_precision_starts_on_the_ring_too(key):
    cell = lru(2, 200, r_min=0.99, r_max=1, dtype=jnp.bfloat16)
    params = cell.init(key)
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in params)
    h, ys = unroll(cell, params, jnp.ones((4, 2), jnp.bfloat16))
    assert (h.dtype, ys.dtype) == (jnp.complex64, jnp.bfloat16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_min": -0.1}, "r_min=-0.1; expected a finite number at least 0"),
        ({"r_min": 0.9, "r_max": 0.5}, "r_max=0.5; expected a finite number above 0.9"),
        ({"r_max": 1.5}, "r_max=1.5; .* at most 1"),
        ({"max_phase": 0}, "max_phase=0; expected a finite number above 0"),
        ({"output_size": 0}, "output_size=0; expected a positive integer"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=f"lru: got {message}"):
        lru(2, 3, **options)
