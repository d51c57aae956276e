"""IndRNN: what a unit passes on over many steps, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.analysis import jacobian_product
from jaxrnn.cells.ind_rnn import IndRNNParams, ind_rnn


def test_an_active_unit_passes_on_u_to_the_number_of_steps(key, x64):
    """Section 3 of the paper: the gradient over T steps is u**T where relu is active."""
    u, steps = jnp.array([0.5, 0.99, 1.02]), 30
    params = IndRNNParams(w_ih=jnp.zeros((2, 3)), u=u, b=jnp.ones(3))
    found = jacobian_product(ind_rnn(2, 3), params, jnp.zeros((steps, 2)))
    product = np.asarray(found.matrix) * np.exp(float(found.log_scale))
    np.testing.assert_allclose(product, np.diag(u**steps), rtol=1e-12)


def test_the_recurrent_weights_start_between_0_and_1(key):
    u = np.asarray(ind_rnn(2, 1000).init(key).u)
    assert u.min() >= 0 and u.max() < 1
    assert np.abs(u.mean() - 0.5) < 0.05


def test_init_draws_the_recurrent_weights(key):
    u = ind_rnn(2, 3, init=jax.nn.initializers.constant(0.7)).init(key).u
    np.testing.assert_array_equal(u, np.full(3, 0.7, np.float32))


def test_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'rleu'.*did you mean 'relu'"):
        ind_rnn(2, 3, activation="rleu")
