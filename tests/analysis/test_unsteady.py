"""Trajectories that change their nature: how they begin says nothing of how they go on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank
from jaxrnn import analysis

# A hundred quiet steps, then a hundred that saturate a tanh: growth changes from 0 to -10 nats.
XS = jnp.concatenate([jnp.zeros((100, 1)), 4 * jnp.ones((100, 1))])


def network(size):
    cell = jaxrnn.elman(1, size)
    params = cell.init(jax.random.key(0))
    w_ih = jnp.linspace(0.2, 1, size)[None]
    return cell, params._replace(w_hh=0.98 * params.w_hh, w_ih=w_ih)


@pytest.mark.slow
def test_one_unit():
    cell = jaxrnn.elman(1, 1)
    params = cell.init(jax.random.key(0))
    want = analysis.gradient_decay(cell, params, XS).log_norms[-1]
    assert want < -1000
    product = analysis.singular_spectrum(cell, params, XS)
    np.testing.assert_allclose(product.log_singular_values, [want], rtol=1e-6)
    spectrum = analysis.lyapunov_spectrum(cell, params, XS)
    np.testing.assert_allclose(200 * spectrum.exponents, [want], rtol=1e-6)
    assert bool(product.reliable.all() & spectrum.reliable.all())


@pytest.mark.slow
def test_a_driven_end_in_single_precision():
    cell, params = network(6)
    found = analysis.singular_spectrum(cell, params, XS, start=100)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(float), params)
        exact = analysis.singular_spectrum(cell, params, XS.astype(float), start=100)
        exact = np.asarray(exact.log_singular_values)
    error = np.abs(np.asarray(found.log_singular_values, float) - exact)
    assert np.all(error <= np.asarray(found.error_bound))
    assert np.all(np.isfinite(found.error_bound))
    assert exact[-1] < -400


# After the padding the steps part by 3.9 nats each, which needs an interval of 1 in float32.
RATES = np.array([0.1, -0.9, -3.8])
STEEP = (np.diag(np.exp(RATES)) + 0.01 * np.triu(np.ones((3, 3)), 1)).astype(np.float32)
PADDED = np.arange(300) >= 100


@pytest.mark.slow
def test_padding_at_the_beginning_is_no_evidence():
    found = analysis.lyapunov_spectrum(LINEAR, STEEP, blank(300), np.zeros(3, "f"), mask=PADDED)
    want = RATES * 200 / 300
    np.testing.assert_allclose(found.exponents, want, atol=0.01)
    assert found.qr_every == 1
    assert bool(found.reliable.all())
    np.testing.assert_allclose(found.history[:99], 0, atol=1e-6)


@pytest.mark.slow
def test_padding_at_the_beginning_of_a_product():
    values = analysis.singular_spectrum(LINEAR, STEEP, blank(300), np.zeros(3, "f"), mask=PADDED)
    np.testing.assert_allclose(values.log_singular_values, 200 * RATES, atol=0.5)


@pytest.mark.parametrize("qr_every", [48, pytest.param(32, marks=pytest.mark.slow)])
def test_underflow_is_not_death(qr_every):
    """Over 48 steps the slowest direction shrinks by 144 nats: below the range of float32."""
    w = jnp.diag(jnp.array([0.2, 0.15, 0.1, 0.05])) + 0.02 * jnp.eye(4, k=1)
    found = analysis.lyapunov_spectrum(LINEAR, w, blank(960), jnp.zeros(4), qr_every=qr_every)
    assert not bool(found.reliable[-1])
    assert bool(found.reliable[0])
    assert abs(found.exponents[0] - np.log(0.2)) < 0.01
    right = np.abs(found.exponents - np.log([0.2, 0.15, 0.1, 0.05])) < 0.05
    assert np.all(right | ~np.asarray(found.reliable))
