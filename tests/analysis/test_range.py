"""Growth far beyond the dtype's range, and parameters that are no numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank, close_logs, decay, measure, orthogonal
from cases import first_of
from jaxrnn.analysis.scaled import add, log_scale, rescale, scaled

LONG = 10_000


@pytest.mark.parametrize("gain", [3.0, 0.1])
def test_ten_thousand_steps_in_single_precision(gain):
    """Norms up to e^10986 and down to e^-23026; float32 ends at e^88.7 and e^-87.3."""
    w = np.asarray(gain * orthogonal(4), np.float32)
    lags = np.arange(1, LONG + 1)
    measured, total = measure(LINEAR, jnp.asarray(w), blank(LONG))
    assert np.all(np.isfinite(measured.log_norms))
    close_logs(measured.log_norms, lags * np.log(gain), lags, "float32")
    assert abs(measured.rate - np.log(gain)) < 3e-7
    assert measured.stderr < 3e-6
    size = np.log(np.linalg.norm(np.asarray(total.matrix, np.float64), 2))
    close_logs(total.log_scale + size, LONG * np.log(gain), LONG, "float32")


@pytest.mark.parametrize("gain", [1e30, 3e38, 1e-30, 2.4e-38])
def test_gains_at_the_ends_of_single_precision(gain):
    """Two steps leave the range; so does the square of a single one, as in a Gram matrix."""
    w = jnp.asarray(gain * np.eye(4)[[1, 2, 3, 0]], jnp.float32)
    want = np.log(np.float64(np.float32(gain)))
    lags = np.arange(1, 51)
    measured, total = measure(LINEAR, w, blank(50))
    close_logs(measured.log_norms, lags * want, lags, "float32")
    close_logs(total.log_scale, 50 * want, 50, "float32")
    frobenius = decay(LINEAR, w, blank(50), norm="frobenius").log_norms
    close_logs(frobenius, lags * want + np.log(2), lags, "float32")


def test_directions_far_apart():
    w = jnp.diag(jnp.array([1e20, 1e-20, 1.0]))
    measured, total = measure(LINEAR, w, blank(30))
    close_logs(measured.log_norms, np.arange(1, 31) * np.log(1e20), np.arange(30), "float32")
    np.testing.assert_array_equal(total.matrix, np.diag([1.0, 0, 0]))


def test_growth_that_comes_and_goes():
    """W maps one unit to the other times 1e25 and back times 1e-25: W^2 is the identity."""
    w = jnp.array([[0, 1e25], [1e-25, 0]])
    measured, _ = measure(LINEAR, w, blank(21))
    want = np.log(1e25) * (np.arange(1, 22) % 2)
    np.testing.assert_allclose(measured.log_norms, want, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("gain", [1e-39, 1e-42, 1.5e-45])
def test_subnormal_numbers(gain):
    """Most devices take them for zero: either answer is right, nothing in between is."""
    measured, total = measure(LINEAR, jnp.full((1, 1), gain), blank(3))
    wants = [np.arange(1, 4) * np.log(np.float64(np.float32(gain))), np.full(3, -np.inf)]
    assert any(np.allclose(measured.log_norms, want, rtol=1e-6) for want in wants)
    assert np.isclose(total.log_scale, measured.log_norms[-1], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_linear_parameters_that_are_no_numbers(bad):
    w = jnp.eye(3).at[1, 2].set(bad)
    measured, total = measure(LINEAR, w, blank(4))
    assert not np.any(np.isfinite(measured.log_norms))
    assert not np.any(np.isneginf(measured.log_norms))
    assert np.isnan(measured.rate)
    assert np.isnan(measured.stderr)
    assert not np.isfinite(total.log_scale)
    assert not np.all(np.isfinite(total.matrix))


@pytest.mark.parametrize("name", first_of(["elman", "lstm"]))
def test_a_single_nan_parameter_is_seen(name, key):
    cell = jaxrnn.CELLS[name].make(2, 3)
    params = cell.init(key)
    params = params._replace(w_hh=params.w_hh.at[1, 0].set(jnp.nan))
    measured, total = measure(cell, params, jnp.ones((5, 2)))
    assert np.all(np.isnan(measured.log_norms))
    assert np.isnan(measured.rate)
    assert np.isnan(total.log_scale)


@pytest.mark.parametrize("at", [(0, 0), (1, 2), (79, 79)])
def test_a_nan_in_a_large_matrix_is_seen(at):
    """Reductions over 64 x 64 entries and more take another path on CPU, where maxima lose NaN."""
    w, zeros = np.eye(80, dtype="f"), np.zeros((80, 80), "f")
    w[at] = zeros[at] = np.nan
    measured, total = measure(LINEAR, w, blank(3))
    assert np.all(np.isnan(measured.log_norms))
    assert np.isnan(measured.rate)
    assert np.isnan(total.log_scale)
    one = jax.jit(scaled)(zeros)
    assert np.isnan(one.values[at])
    assert one.exponent == 0


# What the scaling itself promises.


@pytest.mark.parametrize("exponents", [range(-12, 13), range(-125, 128)])
def test_taking_out_a_power_of_two_is_exact(exponents):
    mantissas = np.array([0.75, -0.5, 0.625], np.float32)
    exponents = np.array(exponents)
    taken = jax.jit(jax.vmap(scaled))(np.ldexp(mantissas, exponents[:, None]))
    np.testing.assert_array_equal(taken.exponent, exponents)
    np.testing.assert_array_equal(taken.values, np.tile(mantissas, (len(exponents), 1)))


def test_taking_out_a_power_of_two_is_exact_in_double(x64):
    mantissas = np.array([0.75, -0.5, 0.625])
    exponents = np.arange(-1020, 1024)
    taken = jax.jit(jax.vmap(scaled))(np.ldexp(mantissas, exponents[:, None]))
    np.testing.assert_array_equal(taken.exponent, exponents)
    np.testing.assert_array_equal(taken.values, np.tile(mantissas, (len(exponents), 1)))


def test_adding_scaled_numbers():
    def of(value, exponent=0):
        return rescale(jnp.array([value, 0.0]), jnp.int32(exponent))

    def value(one):
        return float(log_scale(one.exponent, jnp.max(jnp.abs(one.values))))

    log2 = np.log(2)
    assert value(add(of(3.0), of(5.0))) == pytest.approx(np.log(8))
    assert value(add(of(3.0, 5000), of(5.0, 5000))) == pytest.approx(np.log(8) + 5000 * log2)
    assert value(add(of(1.0, -9000), of(1.0, 9000))) == pytest.approx(9000 * log2)
    assert value(add(of(0.0), of(1.0, -9000))) == pytest.approx(-9000 * log2)
    assert value(add(of(1.0, -9000), of(0.0))) == pytest.approx(-9000 * log2)
    assert value(add(of(0.0), of(0.0))) == -np.inf
    assert value(add(of(2.0, 7), of(-2.0, 7))) == -np.inf
    assert np.isnan(value(add(of(jnp.nan), of(1.0))))
