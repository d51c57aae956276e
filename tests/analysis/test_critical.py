"""Cells put at the edge: theory and measurement agree, and what cannot be is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank
from jaxrnn.analysis import mean_field
from jaxrnn.analysis.critical import critical_init, scale_recurrent

# The same arguments in every test compile once.
run = jax.jit(critical_init, static_argnames=("cell", "tune", "warmup"))
W = jnp.array([[0.5, 0.3], [0.0, 0.25]])


def linear_tune(params, scale):
    return scale * params


def tune_linear(w, target, low, high):
    """The exponent of s' = g W s is log g + log of W's spectral radius."""
    args = LINEAR, w, blank(60, 2), jnp.ones((2, 2))
    return run(*args, tune=linear_tune, target=target, low=low, high=high, warmup=40)


def test_linear_cell():
    for target in (0.0, -0.5):
        tuned = tune_linear(W, target, 0.1, 10.0)
        assert tuned.converged
        np.testing.assert_allclose(tuned.scale, 2 * np.exp(target), rtol=2e-3)
        np.testing.assert_allclose(tuned.params, tuned.scale * W, rtol=1e-6)
        np.testing.assert_allclose(tuned.exponent, target, atol=1e-3)


def test_out_of_reach():
    tuned = tune_linear(W, 0.0, 0.5, 1.5)
    assert not tuned.converged
    np.testing.assert_allclose(tuned.scale, 1.5, rtol=1e-6)
    np.testing.assert_allclose(tuned.exponent, np.log(0.75), atol=1e-3)
    assert not tune_linear(0 * W, 0.0, 0.1, 10.0).converged


@pytest.mark.slow
def test_theory_and_measurement_agree():
    """A random tanh network with biases and a white input: where its exponent is 0."""
    size, bias = 120, 0.2**0.5
    gain, total = mean_field.critical_line(2.0)
    power = total**2 - bias**2
    cell = jaxrnn.elman(size, size)  # the recurrent matrix is orthogonal, of gain 1
    k1, k2, k3, k4 = jax.random.split(jax.random.key(0), 4)
    params = cell.init(k1)._replace(
        w_ih=jax.random.normal(k2, (size, size)) * (power / size) ** 0.5,
        b=bias * jax.random.normal(k3, (size,)),
    )
    xs = jax.random.normal(k4, (140, 2, size))
    tuned = run(cell, params, xs, target=0.0, low=0.7 * gain, high=1.4 * gain, warmup=40)
    assert tuned.converged
    np.testing.assert_allclose(tuned.scale, gain, rtol=0.04)
    np.testing.assert_allclose(tuned.params.w_hh, tuned.scale * params.w_hh, rtol=1e-6)
    np.testing.assert_array_equal(tuned.params.b, params.b)


def forget_bias(params, scale):
    i, f, g, o = jnp.split(params.b, 4)
    return params._replace(b=jnp.concatenate([i, jnp.full_like(f, scale), g, o]))


@pytest.mark.slow
def test_forget_bias_of_an_lstm():
    """Any cell, any parameter: the bias at which an LSTM's gradients lose 0.02 nats a step."""
    cell = jaxrnn.lstm(3, 16)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (300, 2, 3))
    tuned = critical_init(cell, params, xs, tune=forget_bias, target=-0.02, high=20.0, warmup=100)
    assert tuned.converged
    again = jaxrnn.analysis.gradient_decay(cell, tuned.params, xs[100:])
    np.testing.assert_allclose(again.rate.mean(), -0.02, atol=0.02)
    assert np.all(tuned.params.b[16:32] == tuned.scale)


def test_scale_recurrent():
    assert scale_recurrent({"w_hh": 2.0, "b": 1.0}, 3.0) == {"w_hh": 6.0, "b": 1.0}
    with pytest.raises(TypeError, match=r"scale_recurrent: got .*without w_hh; expected .*; give"):
        critical_init(LINEAR, jnp.eye(2), blank(20))
