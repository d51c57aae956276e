"""QRNN: a window is one filter over several inputs, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.qrnn import qrnn


@pytest.mark.parametrize("window", [2, 3])
def test_a_window_is_a_window_of_one_step_on_joined_inputs(window, key, x64):
    wide, narrow = qrnn(2, 4, window=window), qrnn(2 * window, 4)
    params, xs = wide.init(key), jax.random.normal(key, (6, 3, 2))
    past = jnp.pad(xs, ((window - 1, 0), (0, 0), (0, 0)))
    joined = [past[window - 1 - k : len(past) - k] for k in range(window)]
    same = params._replace(w_ih=jnp.concatenate(jnp.split(params.w_ih, window, axis=1)))
    state, ys = unroll(wide, params, xs)
    c, expected = unroll(narrow, same, jnp.concatenate(joined, axis=-1))
    np.testing.assert_allclose(ys, expected, rtol=1e-12)
    np.testing.assert_allclose(state.c, c, rtol=1e-12)


def test_a_reset_forgets_the_inputs_before_it(key):
    cell = qrnn(2, 3, window=2)
    params, xs = cell.init(key), jax.random.normal(key, (6, 2))
    resets = jnp.arange(6) == 3
    ys = unroll(cell, params, xs, resets=resets)[1]
    np.testing.assert_allclose(ys[3:], unroll(cell, params, xs[3:])[1], rtol=1e-6)


@pytest.mark.parametrize("bias", [2.0, jax.nn.initializers.constant(2.0)])
def test_forget_bias(bias, key):
    b = qrnn(2, 3, forget_bias=bias).init(key).b
    np.testing.assert_array_equal(b, np.repeat(np.float32([0, 2, 0]), 3))


def test_bad_window():
    with pytest.raises(ValueError, match="qrnn: got window=0; expected a positive integer"):
        qrnn(2, 3, window=0)
