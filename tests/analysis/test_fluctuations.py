"""Exponents of windows: their values, mean and spread. Newman's law for them: test_newman.py."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import DRIVEN
from analysis.spectra import as_input, gaussian, many_digits, zero_state
from jaxrnn import analysis

exponents_of = analysis.finite_time_exponents


@pytest.mark.slow
def test_each_window_is_its_product(x64):
    draw = gaussian(35, size=3, seed=10)
    params, _ = zero_state(3, float)
    found = exponents_of(DRIVEN, params, as_input(draw, float), window=8, warmup=2)
    np.testing.assert_array_equal(found.times, [2, 10, 18, 26])
    for time, got in zip(found.times, found.exponents, strict=True):
        want = many_digits(draw[time : time + 8], 60)[0] / 8
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.mean, np.mean(found.exponents, axis=0), rtol=1e-12)
    want = 8 * np.var(found.exponents, axis=0, ddof=1)
    np.testing.assert_allclose(found.diffusion, want, rtol=1e-12)
    assert np.all(np.isnan(found.stderr))  # four windows are too few


@pytest.mark.slow
def test_local_exponents_add_to_the_whole(x64):
    """By QR the windows' mean is the Lyapunov exponent of the same steps, at any window."""
    draw = gaussian(120, size=3, seed=11)
    params, _ = zero_state(3, float)
    xs = as_input(draw, float)
    want = analysis.lyapunov_spectrum(DRIVEN, params, xs, warmup=20, qr_every=1).exponents
    for window in (1, 100):
        found = exponents_of(DRIVEN, params, xs, window=window, warmup=20, method="qr")
        total = np.sum(found.exponents, axis=1)
        dets = np.linalg.slogdet(draw[20:])[1].reshape(-1, window)
        np.testing.assert_allclose(total, np.mean(dets, axis=1), rtol=0, atol=1e-11)
        np.testing.assert_allclose(found.mean, want, rtol=0, atol=0.05)  # another frame
    assert np.all(np.isnan(found.diffusion))


@pytest.mark.slow
def test_messages_and_resets(key):
    cell = jaxrnn.elman(2, 3)
    args = cell, cell.init(key), jnp.ones((9, 2))
    with pytest.raises(
        ValueError, match=r"finite_time_exponents: got window=7; expected at most 6"
    ):
        exponents_of(*args, window=7, warmup=3)
    with pytest.raises(ValueError, match=r"got window=0; expected a positive integer"):
        exponents_of(*args, window=0)
    with pytest.raises(ValueError, match=r"got unknown method 'svd'; expected one of qr, singular"):
        exponents_of(*args, window=3, method="svd")
    found = exponents_of(*args, window=3, resets=jnp.arange(9) == 4)
    np.testing.assert_array_equal(np.isneginf(found.exponents).all(axis=1), [False, True, False])
