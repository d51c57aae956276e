"""Maps and flows of known exponents, wrapped as cells."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import blank
from jaxrnn import analysis

lyapunov = analysis.lyapunov_spectrum


def system(step, size):
    """A cell that iterates a map, whatever its input and parameters."""

    def advance(params, s, x):
        del params, x
        s = step(s)
        return s, s

    return jaxrnn.Cell(lambda key: (), lambda params, batch=(): jnp.zeros((*batch, size)), advance)


def henon(s):
    x, y = s[..., 0], s[..., 1]
    return jnp.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def cat(s):
    x, y = s[..., 0], s[..., 1]
    return jnp.stack([2 * x + y, x + y], -1) % 1


def logistic(s):
    return 4 * s * (1 - s)


def standard(s):
    theta, p = s[..., 0], s[..., 1]
    p = p + jnp.sin(theta)
    return jnp.stack([theta + p, p], -1)


def lorenz(s):
    """One step of RK4, h = 0.01."""

    def slope(s):
        x, y, z = s[..., 0], s[..., 1], s[..., 2]
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    h = 0.01
    a = slope(s)
    b = slope(s + h / 2 * a)
    c = slope(s + h / 2 * b)
    return s + h / 6 * (a + 2 * b + 2 * c + slope(s + h * c))


def run(step, start, num_steps, **options):
    start = jnp.asarray(start)
    return lyapunov(system(step, len(start)), (), blank(num_steps), start, **options)


@pytest.mark.slow
def test_henon(x64):
    found = run(henon, [0.1, 0.1], 100_000, warmup=1000)
    np.testing.assert_allclose(found.exponents, [0.41922, -1.62319], rtol=0, atol=3e-3)
    assert abs(np.sum(found.exponents) - np.log(0.3)) < 1e-12
    assert abs(found.kaplan_yorke_dimension - 1.2583) < 3e-3
    assert abs(found.entropy - found.exponents[0]) < 1e-14
    assert np.all(np.abs(found.exponents - np.array([0.41922, -1.62319])) < 5 * found.stderr)
    assert np.all(found.reliable)
    assert 1 < found.qr_every < 16


def test_the_cat_map(x64):
    found = run(cat, [0.1, 0.3], 1000, warmup=50, qr_every=4)
    want = np.log((3 + 5**0.5) / 2)
    np.testing.assert_allclose(found.exponents, [want, -want], rtol=0, atol=1e-10)
    vectors = analysis.covariant_lyapunov_vectors(
        system(cat, 2), (), blank(200), jnp.array([0.1, 0.3]), warmup=50, cooldown=50
    )
    golden = (1 + 5**0.5) / 2
    slope = vectors.vectors[:, 1] / vectors.vectors[:, 0]
    np.testing.assert_allclose(slope, np.tile([1 / golden, -golden], (100, 1)), rtol=1e-9)
    np.testing.assert_allclose(vectors.exponents, [want, -want], rtol=0, atol=1e-10)
    np.testing.assert_allclose(vectors.angles[:, 0, 1], np.pi / 2, atol=1e-7)


@pytest.mark.slow
def test_the_logistic_map(x64):
    found = run(logistic, [0.3], 100_000, warmup=100)
    assert abs(found.exponents[0] - np.log(2)) < 1e-3
    assert found.kaplan_yorke_dimension == 1


@pytest.mark.slow
def test_the_standard_map_pairs_its_exponents(x64):
    found = run(standard, [1.0, 0.5], 20_000)
    assert abs(np.sum(found.exponents)) < 1e-12
    assert found.exponents[0] > 0.01


@pytest.mark.slow
def test_lorenz(x64):
    found = run(lorenz, [1.0, 1.0, 20.0], 102_000, warmup=2000)
    rates = found.exponents / 0.01  # nats per unit of time
    np.testing.assert_allclose(rates, [0.9056, 0, -14.5723], rtol=0, atol=0.01)
    assert abs(np.sum(rates) + 41 / 3) < 3e-4
    assert abs(found.kaplan_yorke_dimension - 2.062) < 2e-3


@pytest.mark.slow
def test_henon_in_single_precision():
    found = run(henon, [0.1, 0.1], 100_000, warmup=1000)
    np.testing.assert_allclose(found.exponents, [0.41922, -1.62319], rtol=0, atol=1e-2)
    assert abs(np.sum(found.exponents) - np.log(0.3)) < 1e-5
