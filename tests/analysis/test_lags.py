"""The matrix of log norms over time and lag, and how the last state depends on the inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import LINEAR, blank, close_logs, orthogonal
from jaxrnn.analysis import gradient_decay
from jaxrnn.analysis.jacobians import jacobians
from jaxrnn.analysis.lags import lag_matrix
from jaxrnn.analysis.sensitivity import input_sensitivity

_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
STATIC = ("cell", "norm", "stride", "max_lag", "num_probes")
_steps = _jit(jacobians, static_argnames="cell")
matrix = _jit(lag_matrix, static_argnames=STATIC)
sensitivity = _jit(input_sensitivity, static_argnames=("cell", "norm"))


def flagged(cell, steps=7):
    """Parameters, inputs of two sequences, a mask and resets."""
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (steps, 2, 2))
    mask = jnp.ones((steps, 2), bool).at[3, 1].set(False)
    resets = jnp.zeros((steps, 2), bool).at[2, 0].set(True)
    return params, xs, {"mask": mask, "resets": resets}


def by_products(steps, times, lags, order):
    """Log norms of explicit products of step Jacobians (T, D, D), in float64."""
    out = np.full((len(times), len(lags)), np.nan)
    for row, t in enumerate(times):
        for column, lag in enumerate(lags):
            if lag <= t:
                product = functools.reduce(lambda a, b: b @ a, steps[t - lag : t])
                size = np.linalg.norm(product, order)
                out[row, column] = np.log(size) if size else -np.inf
    return out


@pytest.mark.parametrize(
    ("name", "stride", "max_lag", "norm"),
    [
        ("elman", 2, 4, "frobenius"),
        pytest.param("lstm", 1, None, "spectral", marks=pytest.mark.slow),
        pytest.param("elman", 7, 1, "frobenius", marks=pytest.mark.slow),
        pytest.param("elman", 9, None, "frobenius", marks=pytest.mark.slow),
    ],
)
def test_every_entry_is_the_norm_of_its_product(x64, name, stride, max_lag, norm):
    cell = jaxrnn.CELLS[name].make(2, 3)
    params, xs, flags = flagged(cell)
    found = matrix(cell, params, xs, norm=norm, stride=stride, max_lag=max_lag, **flags)
    steps = np.asarray(_steps(cell, params, xs, **flags))
    times = np.arange(7, 0, -stride)[::-1]
    lags = np.arange(1, (max_lag or 7) + 1)
    np.testing.assert_array_equal(found.times, times)
    np.testing.assert_array_equal(found.lags, lags)
    order = 2 if norm == "spectral" else "fro"
    for batch in range(2):
        want = by_products(steps[:, batch], times, lags, order)
        np.testing.assert_allclose(found.log_norms[..., batch], want, rtol=0, atol=1e-12)
    assert np.any(np.isneginf(found.log_norms)) or max_lag == 1  # across the reset


@pytest.mark.slow
def test_the_last_row_is_the_gradient_decay():
    cell = jaxrnn.elman(2, 3)
    params, xs, flags = flagged(cell)
    probes = {"num_probes": 4, "key": jax.random.key(3), "norm": "frobenius"}
    found = matrix(cell, params, xs, stride=3, **flags, **probes).log_norms[-1]
    decay = _jit(gradient_decay, static_argnames=("cell", "norm", "num_probes"))
    want = decay(cell, params, xs, **flags, **probes).log_norms
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gain", [pytest.param(0.5, marks=pytest.mark.slow), 3.0])
def test_range_is_unlimited_in_single_precision(gain):
    """Up to 10,986 nats, where a float32 ends at 88."""
    steps = 10_000
    w = jnp.asarray(gain * orthogonal(2), jnp.float32)
    found = matrix(LINEAR, w, blank(steps), stride=4000, norm="spectral").log_norms
    lags = np.arange(1, steps + 1)
    for t, row in zip((2000, 6000, 10_000), found, strict=True):
        close_logs(row[:t], lags[:t] * np.log(gain), lags[:t], "float32")
        assert np.all(np.isnan(row[t:]))


@pytest.mark.slow
def test_a_delay_line_dies_exactly(x64):
    found = matrix(LINEAR, jnp.eye(3, k=-1), blank(6)).log_norms
    want = np.log(np.maximum(3 - np.arange(1.0, 7), 1e-300)) / 2
    want[2:] = -np.inf
    for t in range(1, 7):
        np.testing.assert_allclose(found[t - 1, :t], want[:t], atol=1e-12)


@pytest.mark.slow
def test_a_vmap_is_a_batch():
    cell = jaxrnn.elman(2, 3)
    params, xs, flags = flagged(cell)

    def alone(xs, mask, resets):
        flags = {"mask": mask, "resets": resets}
        return (
            lag_matrix(cell, params, xs, stride=3, **flags).log_norms,
            input_sensitivity(cell, params, xs, **flags).log_norms,
        )

    mapped = _jit(jax.vmap(alone, 1, -1))(xs, flags["mask"], flags["resets"])
    batched = _jit(alone)(xs, flags["mask"], flags["resets"])
    for one, two in zip(mapped, batched, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_differentiable():
    """s' = w s: the log norm is lag log |w|, for three lags at one time and one at another."""

    def total(w):
        return jnp.nansum(lag_matrix(LINEAR, w, blank(3), stride=2).log_norms)

    slope = _jit(jax.grad(total))(jnp.full((1, 1), 0.4))
    np.testing.assert_allclose(slope, [[(1 + 2 + 3 + 1) / 0.4]], rtol=1e-5)


def test_messages():
    params, xs = jnp.eye(2), blank(5)
    for max_lag in (0, 6):
        with pytest.raises(ValueError, match=rf"^lag_matrix: got max_lag={max_lag}; expected 1 to"):
            lag_matrix(LINEAR, params, xs, max_lag=max_lag)
    with pytest.raises(ValueError, match="^lag_matrix: got stride=0; expected a positive"):
        lag_matrix(LINEAR, params, xs, stride=0)
    with pytest.raises(ValueError, match="got unknown norm 'spectra'"):
        lag_matrix(LINEAR, params, xs, norm="spectra")
    with pytest.raises(ValueError, match="^lag_matrix: got num_probes=2 .*no key; expected"):
        lag_matrix(LINEAR, params, xs, num_probes=2)
    with pytest.raises(ValueError, match="^lag_matrix: got xs of 0 steps"):
        lag_matrix(LINEAR, params, xs[:0])
    with pytest.raises(TypeError, match=r"^input_sensitivity: got xs with dtypes \['int32'\]"):
        input_sensitivity(LINEAR, params, jnp.zeros(5, jnp.int32))
    with pytest.raises(ValueError, match="got unknown norm 'l2'"):
        input_sensitivity(LINEAR, params, xs, norm="l2")
    with pytest.raises(TypeError, match="^input_sensitivity: got function"):
        input_sensitivity(jaxrnn.gru, params, xs)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("elman", "frobenius"),
        pytest.param("lstm", "spectral", marks=pytest.mark.slow),
    ],
)
def test_sensitivity_is_that_of_the_whole_run(x64, name, norm):
    cell = jaxrnn.CELLS[name].make(2, 3)
    params, xs, flags = flagged(cell)
    found = sensitivity(cell, params, xs, norm=norm, **flags)
    np.testing.assert_array_equal(found.lags, np.arange(7))

    def last(xs):
        state = jaxrnn.unroll(cell, params, xs, **flags)[0]
        return jax.vmap(lambda one: ravel_pytree(one)[0])(state)

    whole = np.asarray(_jit(jax.jacrev(last))(xs))  # (2, D, T, 2, F)
    order = 2 if norm == "spectral" else "fro"
    for batch in range(2):
        sizes = [np.linalg.norm(whole[batch, :, 6 - lag, batch], order) for lag in range(7)]
        with np.errstate(divide="ignore"):
            want = np.log(sizes)
        np.testing.assert_allclose(found.log_norms[:, batch], want, rtol=0, atol=1e-12)
    assert np.all(found.log_norms[5:, 0] == -np.inf)  # before the reset
    assert found.log_norms[3, 1] == -np.inf  # the masked input


def test_sensitivity_in_closed_form():
    """s' = w s + 2 x, ten thousand steps in float32: the log norm is lag log w + log 2."""
    steps = 10_000

    def step(w, h, x):
        h = w * h + 2 * x
        return h, h

    cell = LINEAR._replace(step=step)
    w = jnp.full((1, 1), 1.5)
    cell = cell._replace(step=lambda w, h, x: step(w[0, 0], h, x))
    found = sensitivity(cell, w, blank(steps))
    want = np.arange(steps) * np.log(1.5) + np.log(2)
    close_logs(found.log_norms, want, np.arange(steps), "float32")
