"""LMU: what the memory holds of the past, its discretisation, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre

from jaxrnn import trajectory
from jaxrnn.cells.lmu import LMUParams, legendre_memory, lmu


@pytest.mark.parametrize(("order", "theta"), [(1, 2.0), (6, 4.0), (12, 50.0)])
def test_the_discretisation_is_exact(order, theta):
    """Against the eigenvalues of A, and A^{-1} (exp(A) - 1) B for the input."""
    a = np.zeros((order, order))
    for i in range(order):
        for j in range(order):
            a[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) / theta
    b = np.array([(2 * i + 1) * (-1) ** i for i in range(order)]) / theta
    values, basis = np.linalg.eig(a)
    transition = (basis * np.exp(values) @ np.linalg.inv(basis)).real
    found_a, found_b = legendre_memory(order, theta)
    np.testing.assert_allclose(found_a, transition, atol=1e-9)
    expected = np.linalg.solve(a, (transition - np.eye(order)) @ b)
    np.testing.assert_allclose(found_b, expected, atol=1e-9)


def test_the_memory_is_a_window_of_the_past(x64):
    """Equation 3: u(t - s theta) is the sum of m_i P_i(s), P_i shifted to [0, 1]."""
    order, theta, steps = 8, 40.0, 200
    params = LMUParams(
        w_ih=jnp.array([[0.0, 1.0]]),  # e_x = 1, the rest off
        w_hh=jnp.zeros((1, 2)),
        w_mh=jnp.zeros((order, 1)),
        e_m=jnp.zeros(order),
    )
    u = np.sin(2 * np.pi * np.arange(steps) / 60)
    m = np.asarray(trajectory(lmu(1, 1, order=order, theta=theta), params, u[:, None]).m)
    for lag in (0, 10, 20, 40):
        shifted = [Legendre.basis(i, domain=[0, 1])(lag / theta) for i in range(order)]
        # An input held over a step is on average half a step old.
        past = np.sin(2 * np.pi * (np.arange(steps) - lag + 0.5) / 60)
        np.testing.assert_allclose(m[101:] @ shifted, past[100:], atol=0.02)


def test_the_order_is_the_hidden_size_unless_given(key):
    assert lmu(2, 5).init(key).e_m.shape == (5,)
    params = lmu(2, 5, order=7).init(key)
    assert params.w_mh.shape == (7, 5) and not params.e_m.any()


def test_equal_arguments_make_equal_cells():
    assert lmu(2, 3, theta=5) == lmu(2, 3, theta=5.0)
    assert lmu(2, 3, theta=5) != lmu(2, 3, theta=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theta": 0}, "theta=0; expected a finite number above 0"),
        ({"theta": -1.0}, "theta=-1.0; expected a finite number above 0"),
        ({"order": 0}, "order=0; expected a positive integer"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=f"lmu: got {message}"):
        lmu(2, 3, **options)


def test_theta_may_be_long(key):
    """A window much longer than the sequence loses nothing and overflows nothing."""
    cell = lmu(2, 16, theta=1e5)
    params = cell.init(key)
    states = trajectory(cell, params, jax.random.normal(key, (20, 2)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
