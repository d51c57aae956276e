"""Covariant Lyapunov vectors: what they are mapped to, how they grow, what carries them."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import DRIVEN, LINEAR, blank
from analysis.spectra import as_input, gaussian, zero_state
from jaxrnn import analysis

covariant = analysis.covariant_lyapunov_vectors


@pytest.mark.slow
def test_covariance(x64):
    """A_{t+1} v_i(t) is parallel to v_i(t + 1), and the logs of the factors add up."""
    draw = gaussian(160, size=3, seed=9)
    params, _ = zero_state(3, float)
    found = covariant(DRIVEN, params, as_input(draw, float), warmup=30, cooldown=30)
    np.testing.assert_array_equal(found.times, np.arange(30, 130))
    v = np.asarray(found.vectors)
    images = draw[30:129] @ v[:-1]
    sizes = np.linalg.norm(images, axis=1)
    along = np.abs(np.sum(images / sizes[:, None] * v[1:], axis=1))
    np.testing.assert_allclose(along, 1, rtol=0, atol=1e-9)
    last = np.linalg.norm(draw[129] @ v[-1], axis=0)
    growth = (np.sum(np.log(sizes), axis=0) + np.log(last)) / 100
    np.testing.assert_allclose(found.exponents, growth, rtol=0, atol=1e-8)
    qr = analysis.lyapunov_spectrum(DRIVEN, params, as_input(draw, float), warmup=30).exponents
    np.testing.assert_allclose(found.exponents, qr, rtol=0, atol=0.1)
    cosines = np.abs(np.einsum("tdi,tdj->tij", v, v))
    np.testing.assert_allclose(np.cos(found.angles), cosines, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.participation_ratio, 1 / np.sum(v**4, axis=1), rtol=1e-12)
    assert np.all((found.participation_ratio >= 1) & (found.participation_ratio <= 3 + 1e-9))


@pytest.mark.slow
def test_a_matrix_that_is_not_normal(x64):
    """The vectors of a constant matrix are its eigenvectors, not the orthonormal frame."""
    w = np.array([[2.0, 3.0], [0, 0.5]])
    found = covariant(LINEAR, jnp.asarray(w), blank(160), warmup=60, cooldown=60)
    second = np.array([3, -1.5]) / np.hypot(3, 1.5)
    np.testing.assert_allclose(np.abs(found.vectors[:, :, 0]), [[1, 0]] * 40, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.vectors[:, :, 1] * np.sign(found.vectors[:, :1, 1]), [second] * 40, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(found.exponents, np.log([2, 0.5]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.angles[:, 0, 1], np.arccos(second[0]), rtol=1e-9)


@pytest.mark.slow
def test_participation_ratio_goes_from_one_to_all(x64):
    """A diagonal matrix: one unit each. A circulant one, whose leading mode is uniform: all."""
    found = covariant(LINEAR, jnp.diag(jnp.array([3, 2, 1.0])), blank(90), warmup=40, cooldown=40)
    np.testing.assert_allclose(found.participation_ratio, 1, rtol=1e-9)
    w = jnp.eye(4) + 0.2 * jnp.ones((4, 4))
    found = covariant(LINEAR, w, blank(200), k=1, warmup=150, cooldown=10)
    np.testing.assert_allclose(found.participation_ratio, 4, rtol=1e-9)


@pytest.mark.slow
def test_messages_and_resets(key):
    cell = jaxrnn.elman(2, 3)
    args = cell, cell.init(key), jnp.ones((9, 2))
    with pytest.raises(ValueError, match=r"covariant_lyapunov_vectors: got cooldown=6; expected"):
        covariant(*args, warmup=3, cooldown=6)
    with pytest.raises(ValueError, match=r"got warmup=9 with a sequence of 9 steps; expected"):
        covariant(*args, warmup=9)
    found = covariant(*args, k=2, resets=jnp.arange(9) == 4)
    assert np.all(np.isneginf(found.exponents))
    assert np.all(np.isnan(found.vectors))
