"""The fitted rate and its error bar; norms and probes; products of random matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.flows import DRIVEN, LINEAR, blank, decay, measure
from cases import first_of
from jaxrnn import analysis
from jaxrnn.analysis.decay import fit_rate
from jaxrnn.analysis.norms import spectral_norm

fit = jax.jit(fit_rate)
fits = jax.jit(jax.vmap(fit_rate))


def test_a_line_is_fitted_exactly(x64):
    rate, error = fit(0.75 - 0.25 * jnp.arange(1.0, 65))
    assert rate == -0.25
    assert error == 0


def test_the_slope_is_that_of_least_squares(x64):
    logs = np.random.default_rng(0).normal(size=40).cumsum()
    want = np.polyfit(np.arange(1, 41), logs, 1)[0]
    assert fit(jnp.asarray(logs))[0] == pytest.approx(want, abs=1e-13)


def test_a_long_line_in_single_precision():
    rate, error = fit(jnp.asarray(-1.2345 * np.arange(1, 10_001), jnp.float32))
    assert rate == pytest.approx(-1.2345, abs=3e-7)
    assert error < 1e-5


def test_dead_directions():
    for logs in ([0.0, -1, -np.inf, -np.inf], [-np.inf] * 4, [-np.inf, 0.0], [-np.inf]):
        rate, error = fit(np.array(logs, np.float32))
        assert rate == -np.inf
        assert np.isnan(error)


def test_few_lags():
    rate, error = fit(np.array([-0.7], np.float32))
    assert rate == np.float32(-0.7)
    assert np.isnan(error)
    rate, error = fit(np.array([-0.5, -1.25], np.float32))
    assert rate == -0.75
    assert np.isnan(error)
    rate, error = fit(np.array([1.0, 2, 4], np.float32))
    assert rate == 1.5
    assert 0 <= error < np.inf


@pytest.mark.parametrize(
    "logs", [[0.0, np.nan, 1.0, 2.0], [0.0, np.inf, 1.0], [0, np.nan, -np.inf]]
)
def test_what_is_no_number_gives_no_rate(logs):
    rate, error = fit(np.array(logs, np.float32))
    assert np.isnan(rate)
    assert np.isnan(error)


@pytest.mark.parametrize(
    ("phi", "num_steps", "low", "high"),
    [(0.0, 400, 0.95, 1.07), (0.5, 400, 0.98, 1.15), (-0.4, 400, 0.85, 1.07), (0.0, 30, 0.9, 1.35)],
)
def test_the_error_bar_is_honest(phi, num_steps, low, high):
    """Spread of the slope over many random walks, over the mean of the errors that it states.

    The spread is known to 1.1 % (one standard error, 4000 runs). The Bartlett window leaves out
    some of the correlation: with phi = 0.5 theory has it 7 % low at this length, hence the bounds.
    The textbook error of a slope would be about ten times too small.
    """
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, num_steps + 50))
    steps = np.zeros_like(noise)
    for t in range(1, noise.shape[1]):
        steps[:, t] = phi * steps[:, t - 1] + noise[:, t]
    logs = np.cumsum(0.3 * steps[:, 50:] - 0.2, axis=1)
    rate, error = (np.asarray(one, np.float64) for one in fits(jnp.asarray(logs, jnp.float32)))
    spread = rate.std()
    assert abs(rate.mean() + 0.2) < 4.5 * spread / np.sqrt(4000)
    assert low < spread / error.mean() < high
    # The exact variance of the slope of a random walk, independent increments.
    if phi == 0:
        lags = np.arange(num_steps) - (num_steps - 1) / 2
        tails = np.cumsum(lags[::-1])[::-1] / np.sum(lags**2)
        assert spread == pytest.approx(0.3 * np.linalg.norm(tails), rel=0.05)


def matrices():
    """Name to matrix: shapes on both sides of the size at which the method changes."""
    rng = np.random.default_rng(0)
    for size in (5, 80):
        q, _ = np.linalg.qr(rng.normal(size=(size, size)))
        values = np.linspace(1, 0.2, size)
        yield f"general {size}", rng.normal(size=(size, size))
        yield f"wide {size}", rng.normal(size=(size, size + 3))
        yield f"tall {size}", rng.normal(size=(size + 3, size))
        yield f"orthogonal {size}", q
        yield f"close {size}", (q * np.r_[1, 1 - 1e-6, values[2:]]) @ q.T
        yield f"rank one {size}", np.outer(q[0], q[1])
        yield f"one entry {size}", np.eye(size) * np.eye(size)[size // 2]
        yield f"tiny {size}", 1e-25 * (q * values) @ q.T
        yield f"huge {size}", 1e25 * (q * values) @ q.T
        yield f"zero {size}", np.zeros((size, size))


@pytest.mark.parametrize("dtype", first_of(["float64", "float32"]))
def test_the_spectral_norm(dtype):
    with jax.enable_x64(dtype == "float64"):
        for size in (5, 80):
            mine = {name: one for name, one in matrices() if name.endswith(f" {size}")}
            square = [name for name in mine if mine[name].shape == (size, size)]
            stacks = [np.stack([mine[name] for name in square])]
            stacks += [mine[name][None] for name in mine if name not in square]
            for stack in stacks:
                found = jax.jit(jax.vmap(spectral_norm))(jnp.asarray(stack, dtype))
                want = np.linalg.norm(np.asarray(stack, dtype).astype(np.float64), 2, (1, 2))
                np.testing.assert_allclose(found, want, rtol=8 * np.finfo(dtype).eps)
            bad = jnp.asarray(stacks[0], dtype).at[:, 1, 0].set(jnp.nan)
            assert np.all(np.isnan(jax.jit(jax.vmap(spectral_norm))(bad)))


@pytest.mark.parametrize("size", [5, 80])
def test_the_slope_of_the_spectral_norm(x64, size):
    rng = np.random.default_rng(1)
    w = rng.normal(size=(size, size))
    u, values, v = np.linalg.svd(w)
    slope = jax.jit(jax.grad(spectral_norm))
    np.testing.assert_allclose(slope(w), np.outer(u[:, 0], v[0]), rtol=0, atol=1e-8)
    # Where all are equal, some direction among them: <slope, W> = the norm, and a unit vector each.
    q = np.linalg.qr(w)[0]
    found = slope(3 * q)
    assert np.sum(found * 3 * q) == pytest.approx(3, rel=1e-12)
    np.testing.assert_allclose(np.linalg.svd(found)[1], np.eye(size)[0], rtol=0, atol=1e-12)


def test_probes_are_unbiased(x64):
    w = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4)))
    exact = decay(LINEAR, w, blank(5), norm="frobenius").log_norms

    def estimate(key):
        kinds = {"norm": "frobenius", "num_probes": 3, "key": key}
        return analysis.gradient_decay(LINEAR, w, blank(5), **kinds).log_norms

    keys = jax.random.split(jax.random.key(5), 4000)
    squares = np.exp(2 * (np.asarray(jax.jit(jax.vmap(estimate))(keys)) - np.asarray(exact)))
    error = squares.std(axis=0) / np.sqrt(len(keys))
    assert np.all(np.abs(squares.mean(axis=0) - 1) < 4.5 * error)
    assert np.all(error < 0.02)
    assert squares.std(axis=0).min() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("size", first_of([2, 5]))
def test_products_of_gaussian_matrices(size):
    """Newman 1986: the growth of a vector is a sum of T independent halves of log chi^2_n.

    Exact at any T: mean T (log 2 + psi(n / 2)) / 2, variance T psi'(n / 2) / 4.
    """
    growth = {2: 0.05796575782920621, 5: 0.69815191}[size]
    trigamma = {2: np.pi**2 / 6, 5: np.pi**2 / 2 - 4 - 4 / 9}[size]
    num_steps, runs = 60, 600
    xs = jax.random.normal(jax.random.key(size), (num_steps, runs, size * size))
    params = jnp.zeros(size)
    _, total = measure(DRIVEN, params, xs)
    vector = np.linalg.norm(np.asarray(total.matrix, np.float64)[..., 0], axis=-1)
    probes = decay(DRIVEN, params, xs, norm="frobenius", num_probes=1, key=jax.random.key(9))
    row = np.asarray(probes.log_norms[-1], np.float64) - np.log(size) / 2
    for logs in (np.asarray(total.log_scale, np.float64) + np.log(vector), row):
        variance = num_steps * trigamma / 4
        score = (logs.mean() - num_steps * growth) / np.sqrt(variance / runs)
        assert abs(score) < 4.5
        assert abs(logs.var() / variance - 1) < 4.5 * np.sqrt(2 / runs)
    # The rate of a run and its error bar: a random walk with drift.
    rate = np.asarray(probes.rate, np.float64)
    assert abs(rate.mean() - growth) < 4.5 * rate.std() / np.sqrt(runs)
    assert 0.9 < rate.std() / np.mean(probes.stderr) < 1.3
