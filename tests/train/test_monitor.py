"""The monitor: what it measures, when, and that training is the same with it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import analysis, train

CELL = jaxrnn.elman(2, 4)
NET = jaxrnn.stack(jaxrnn.layer(CELL), jaxrnn.readout(1))
PARAMS = NET.init(jax.random.key(0))
XS = jax.random.normal(jax.random.key(1), (90, 3, 2))


def loss_fn(params, xs):
    return jnp.mean(NET.apply(params, xs)[1] ** 2)


def draw(key):
    return jax.random.normal(key, (5, 2, 2))


def first(params):
    return params[0]


def run(steps, **options):
    batch_fn = train.sampled(draw, jax.random.key(2))
    return train.fit(
        loss_fn, PARAMS, optax.sgd(0.5), batch_fn, steps=steps, clip_norm=0.3, **options
    )


def test_it_measures_what_the_analysis_measures():
    monitor = train.flow_monitor(CELL, XS, select=first, k=2)
    found = jax.jit(monitor.measure)(PARAMS)
    cut = XS[:64]
    spectrum = analysis.lyapunov_spectrum(CELL, PARAMS[0], cut, k=2, qr_every=1)
    np.testing.assert_allclose(found["exponents"], spectrum.exponents.mean(axis=0), rtol=1e-5)
    exact = analysis.gradient_decay(CELL, PARAMS[0], cut, norm="frobenius")
    assert abs(found["decay_rate"] - exact.rate.mean()) < 0.02
    assert monitor.every == 100


@pytest.mark.slow
def test_fit_measures_at_the_interval_and_trains_as_without():
    monitor = train.flow_monitor(CELL, XS, select=first, k=2, every=4)
    plain, watched = run(10, chunk=3), run(10, chunk=3, monitor=monitor)
    assert plain.monitored is None
    for a, b in zip(jax.tree.leaves(plain[:2]), jax.tree.leaves(watched[:2]), strict=True):
        np.testing.assert_array_equal(a, b)
    steps, metrics = watched.monitored
    np.testing.assert_array_equal(steps, [0, 4, 8])
    assert metrics["exponents"].shape == (3, 2)
    assert np.isnan(metrics["loss"][0])
    history = watched.metrics
    np.testing.assert_allclose(
        metrics["loss"][1:], [history.loss[:4].mean(), history.loss[4:8].mean()]
    )
    np.testing.assert_allclose(metrics["clip_fraction"][1], history.clipped[:4].mean())
    np.testing.assert_allclose(metrics["grad_norm"][2], history.grad_norm[4:8].mean())
    measure = jax.jit(monitor.measure)
    np.testing.assert_allclose(metrics["exponents"][0], measure(PARAMS)["exponents"], rtol=1e-6)
    at_four = measure(run(4).state.params)["exponents"]
    np.testing.assert_allclose(metrics["exponents"][1], at_four, rtol=1e-5)
    assert not np.allclose(metrics["exponents"][1], metrics["exponents"][0], rtol=1e-3)


def test_the_last_step_is_measured_where_the_interval_ends_there():
    monitor = train.Monitor(lambda params: {"size": jnp.linalg.norm(params[0].w_hh)}, every=2)
    watched = run(4, monitor=monitor)
    np.testing.assert_array_equal(watched.monitored.steps, [0, 2, 4])
    last = jnp.linalg.norm(watched.state.params[0].w_hh)
    np.testing.assert_allclose(watched.monitored.metrics["size"][-1], last, rtol=1e-6)


def test_messages():
    with pytest.raises(TypeError, match=r"flow_monitor: got function .*expected a jaxrnn\.Cell"):
        train.flow_monitor(jaxrnn.elman, XS)
    with pytest.raises(ValueError, match="flow_monitor: got k=0; expected"):
        train.flow_monitor(CELL, XS, k=0)
    with pytest.raises(ValueError, match="flow_monitor: got every=0; expected"):
        train.flow_monitor(CELL, XS, every=0)
    monitor = train.flow_monitor(CELL, XS, select=first, k=9)
    with pytest.raises(ValueError, match="got k=9; expected at most 4"):
        run(2, monitor=monitor)
