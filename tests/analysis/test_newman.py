"""B1: products of independent Gaussian matrices, whose QR exponents are known at any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, polygamma

from analysis.flows import DRIVEN
from analysis.spectra import as_input, zero_state
from jaxrnn import analysis

SIZE, STEPS, RUNS = 4, 200, 200
_SHAPES = (SIZE - np.arange(SIZE)) / 2
EXPONENTS = (np.log(2) + digamma(_SHAPES)) / 2
DIFFUSION = polygamma(1, _SHAPES) / 4


def test_the_oracle():
    want = [0.05796576, -0.63518142]
    np.testing.assert_allclose(EXPONENTS[-2:], want, atol=1e-8)
    assert abs(EXPONENTS[1] - 0.36481858) < 1e-8


@pytest.fixture(scope="module", params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def spectra(request):
    dtype = request.param
    with jax.enable_x64(dtype == "float64"):
        draw = np.random.default_rng(7).normal(size=(STEPS, RUNS, SIZE, SIZE))
        params, state = zero_state(SIZE, dtype, RUNS)
        found = analysis.lyapunov_spectrum(DRIVEN, params, as_input(draw, dtype), state, qr_every=1)
        return jax.tree.map(lambda leaf: np.asarray(leaf, float), found)


def test_means_and_variances(spectra):
    """Sums of the logs have mean T l_i and variance T D_i, columns independent: 4.5 sigma."""
    sums = spectra.exponents * STEPS
    # Sorting is not in the theory: at this length the order is the frame's in nearly all runs.
    error = (np.mean(sums, axis=0) - STEPS * EXPONENTS) / np.sqrt(STEPS * DIFFUSION / RUNS)
    assert np.all(np.abs(error) < 4.5), error
    ratio = np.var(sums, axis=0, ddof=1) / (STEPS * DIFFUSION)
    assert np.all(np.abs(ratio - 1) < 4.5 * (2 / RUNS) ** 0.5), ratio
    correlation = np.corrcoef(sums.T)[np.triu_indices(SIZE, 1)]
    assert np.all(np.abs(correlation) < 4.5 / RUNS**0.5)


def test_standard_errors_are_honest(spectra):
    spread = np.std(spectra.exponents, axis=0, ddof=1)
    ratio = np.mean(spectra.stderr, axis=0) / spread
    assert np.all((1 / 1.5 < ratio) & (ratio < 1.5)), ratio


def test_all_are_reliable(spectra):
    assert np.all(spectra.reliable)
    assert np.all(np.diff(spectra.exponents) < 0)


@pytest.mark.slow
def test_diffusion(x64):
    """`finite_time_exponents` by QR: mean, and w times the variance, in any window."""
    draw = np.random.default_rng(8).normal(size=(4000, SIZE, SIZE))
    params, _ = zero_state(SIZE, "float64")
    found = analysis.finite_time_exponents(
        DRIVEN, params, as_input(draw, "float64"), window=10, method="qr"
    )
    error = (found.mean - EXPONENTS) / np.sqrt(DIFFUSION / 4000)
    assert np.all(np.abs(error) < 4.5)
    assert np.all(np.abs(found.diffusion / DIFFUSION - 1) < 4.5 * (2 / 400) ** 0.5)
    ratio = found.stderr / np.sqrt(DIFFUSION / 4000)
    assert np.all((0.6 < ratio) & (ratio < 1.5))
    assert jnp.all(found.times == 10 * jnp.arange(400))
