"""minGRU and minLSTM: the paper's parallel form, weights that sum to 1, first biases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import initializers, unroll
from jaxrnn.cells.min_gru import min_gru, min_lstm, positive_candidate


def log_g(x):
    return np.where(x >= 0, np.log(np.maximum(x, 0) + 0.5), -np.log1p(np.exp(-x)))


def softplus(x):
    return np.logaddexp(0, x)


def parallel(log_keep, log_take, h_0):
    """Appendix B of the paper: a scan in logarithms, here with numpy's cumulative sums."""
    decay = np.cumsum(log_keep, axis=0)
    terms = np.concatenate([np.log(h_0)[None], log_take - decay])
    return np.exp(decay + np.logaddexp.accumulate(terms, axis=0)[1:])


@pytest.mark.parametrize("make", [min_gru, min_lstm])
def test_the_positive_form_is_the_papers_scan_of_logarithms(make, key, x64):
    cell = make(2, 4, positive=True)
    params, xs = cell.init(key), 3 * jax.random.normal(key, (20, 3, 2))
    h_0 = jax.random.uniform(key, (3, 4), minval=0.1)
    parts = np.split(np.asarray(xs @ params.w_ih + params.b), len(params.b) // 4, axis=-1)
    if make is min_gru:
        keep, take = -softplus(parts[0]), -softplus(-parts[0])
    else:
        ratio = softplus(-parts[0]) - softplus(-parts[1])  # log i - log f
        keep, take = -softplus(ratio), -softplus(-ratio)
    expected = parallel(keep, take + log_g(parts[-1]), np.asarray(h_0))
    np.testing.assert_allclose(unroll(cell, params, xs, h_0)[1], expected, rtol=1e-10)


@pytest.mark.parametrize("make", [min_gru, min_lstm])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_the_weights_of_state_and_candidate_sum_to_one(make, scale, key):
    cell = make(2, 4)
    params = cell.init(key)
    params = params._replace(w_ih=params.w_ih.at[:, -4:].set(0), b=params.b.at[-4:].set(1))
    keep, take = cell.parts.coefficients(params, scale * jax.random.normal(key, (100, 2)))
    np.testing.assert_allclose(keep + take, 1, rtol=1e-5)
    assert np.isfinite(keep).all()


def test_g_is_continuous_and_positive():
    x = jnp.array([-30.0, -1e-6, 0.0, 1e-6, 2.0])
    expected = [np.exp(-30.0), 0.5, 0.5, 0.5, 2.5]
    np.testing.assert_allclose(positive_candidate(x), expected, rtol=1e-5)


def test_chrono_biases_keep_for_that_long(key):
    """With chrono's b_i = -b_f the normalised forget gate at rest is sigmoid(b_f)."""
    cell = min_lstm(2, 4, forget_bias=initializers.chrono(100))
    params = cell.init(key)
    b_f, b_i, _ = np.split(np.asarray(params.b), 3)
    np.testing.assert_array_equal(b_i, -b_f)
    keep, _ = cell.parts.coefficients(params, jnp.zeros(2))
    np.testing.assert_allclose(keep, 1 / (1 + np.exp(-b_f)), rtol=1e-6)


def test_first_biases(key):
    np.testing.assert_array_equal(min_gru(2, 2, update_bias=-3.0).init(key).b, [-3, -3, 0, 0])
    found = min_lstm(2, 2, forget_bias=2.0).init(key).b
    np.testing.assert_array_equal(found, [2, 2, 0, 0, 0, 0])
