"""Random networks of many units against the values published for infinite ones (oracle D3)."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from jaxrnn import analysis

SIZE, STEPS, WARMUP, K = 500, 260, 100, 156
# Largest exponent, Kaplan-Yorke dimension and entropy per unit of a network of 4,096 units.
PUBLISHED = {3.0: (0.30958, 0.28717, 0.025106)}


@pytest.mark.exhaustive  # of a smaller one: test_lyapunov.test_mean_field
@pytest.mark.parametrize("gain", PUBLISHED)
def test_the_spectrum_of_a_large_chaotic_network(gain):
    cell = jaxrnn.elman(1, SIZE)
    w_hh = gain * jax.random.normal(jax.random.key(0), (SIZE, SIZE)) / SIZE**0.5
    params = jaxrnn.ElmanParams(jnp.zeros((1, SIZE)), w_hh, jnp.zeros(SIZE))
    state = jnp.tanh(jax.random.normal(jax.random.key(1), (SIZE,)))
    spectrum = analysis.lyapunov_spectrum(
        cell, params, jnp.zeros((STEPS, 1)), state, k=K, warmup=WARMUP
    )
    largest, dimension, entropy = PUBLISHED[gain]
    assert bool(spectrum.reliable.all())
    assert abs(spectrum.exponents[0] - largest) < 0.01
    assert abs(spectrum.kaplan_yorke_dimension / SIZE - dimension) < 0.01
    assert abs(spectrum.entropy / SIZE - entropy) < 0.0015
