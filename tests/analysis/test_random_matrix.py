"""Random-matrix laws: closed forms, quadrature of densities, and spectra of drawn matrices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxrnn.analysis import random_matrix

ratios = pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
products = pytest.mark.parametrize("factors", [1, 2, 3, 5])


def draw(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size)) / size**0.5


def ks(values, cdf):
    return stats.kstest(np.asarray(values).ravel(), lambda x: np.asarray(cdf(x))).statistic


@ratios
def test_marchenko_pastur(ratio, x64):
    low, high = random_matrix.marchenko_pastur_edges(ratio, 2.0)
    np.testing.assert_allclose([low, high], [2 * (1 - ratio**0.5) ** 2, 2 * (1 + ratio**0.5) ** 2])
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    width = (high - low) / 2 * np.sin(angle) * np.pi / 20_000
    mass = random_matrix.marchenko_pastur_density(x, ratio, 2.0) * width
    np.testing.assert_allclose(mass.sum(), min(1, 1 / ratio), rtol=1e-8)
    for order in (1, 2, 3, 4):
        moment = random_matrix.marchenko_pastur_moment(order, ratio, 2.0)
        np.testing.assert_allclose(np.sum(mass * x**order), moment, rtol=1e-8)
    zeros = max(0, 1 - 1 / ratio)
    below = zeros + np.cumsum(mass) - mass / 2
    got = random_matrix.marchenko_pastur_cdf(x, ratio, 2.0)
    np.testing.assert_allclose(got, below, atol=1e-5)
    outside = jnp.array([-1, low / 2 - 1e-9, high + 1])
    np.testing.assert_allclose(
        random_matrix.marchenko_pastur_cdf(outside, ratio, 2.0), [0, 0 if ratio == 1 else zeros, 1]
    )
    np.testing.assert_array_equal(
        random_matrix.marchenko_pastur_density(outside, ratio, 2.0), np.zeros(3)
    )


def test_marchenko_pastur_of_a_drawn_matrix():
    w = np.random.default_rng(0).normal(size=(150, 600)) * (2 / 600) ** 0.5
    values = np.linalg.svd(w, compute_uv=False) ** 2
    assert ks(values, lambda x: random_matrix.marchenko_pastur_cdf(x, 0.25, 2.0)) < 0.02
    assert ks(values, lambda x: random_matrix.marchenko_pastur_cdf(x, 0.5, 2.0)) > 0.05


@products
def test_fuss_catalan(factors, x64):
    edge = random_matrix.fuss_catalan_edge(factors)
    # x = edge sin(angle)^(2 (L + 1)) takes the divergence at 0 away.
    angle = (np.arange(20_000) + 0.5) * np.pi / 40_000
    power = 2 * (factors + 1)
    x = edge * np.sin(angle) ** power
    width = edge * power * np.sin(angle) ** (power - 1) * np.cos(angle) * np.pi / 40_000
    mass = random_matrix.fuss_catalan_density(x, factors) * width
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-6)
    for order in (1, 2, 3):
        moment = random_matrix.fuss_catalan_moment(order, factors)
        np.testing.assert_allclose(np.sum(mass * x**order), moment, rtol=1e-6)
    got = random_matrix.fuss_catalan_cdf(x, factors)
    np.testing.assert_allclose(got, np.cumsum(mass) - mass / 2, atol=1e-6)
    ends = jnp.array([-1, 0, edge, edge + 1])
    np.testing.assert_array_equal(random_matrix.fuss_catalan_cdf(ends, factors), [0, 0, 1, 1])
    np.testing.assert_array_equal(random_matrix.fuss_catalan_density(ends, factors), np.zeros(4))


def test_fuss_catalan_numbers():
    assert [random_matrix.fuss_catalan_moment(2, factors) for factors in range(1, 6)] == [
        2, 3, 4, 5, 6,
    ]  # fmt: skip
    edges = [random_matrix.fuss_catalan_edge(factors) for factors in range(1, 5)]
    np.testing.assert_allclose(edges, [4, 6.75, 9.4815, 12.207], rtol=1e-5)


def test_fuss_catalan_of_one_factor_is_marchenko_pastur(x64):
    x = np.linspace(0.01, 3.99, 50)
    for law in ("density", "cdf"):
        one = getattr(random_matrix, f"fuss_catalan_{law}")(x, 1)
        other = getattr(random_matrix, f"marchenko_pastur_{law}")(x)
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("independent", [True, False])
def test_fuss_catalan_of_drawn_products(independent):
    w = draw(3, 200)
    product = w[0] @ w[1] @ w[2] if independent else np.linalg.matrix_power(w[0], 3)
    values = np.linalg.svd(product, compute_uv=False) ** 2
    assert ks(values, lambda x: random_matrix.fuss_catalan_cdf(x, 3)) < 0.03
    assert ks(values, lambda x: random_matrix.fuss_catalan_cdf(x, 2)) > 0.05
    np.testing.assert_allclose(np.mean(values**2), 4, rtol=0.1)


def test_circular_law():
    eigenvalues = 1.5 * np.linalg.eigvals(draw(1, 250)[0])
    assert ks(np.abs(eigenvalues), lambda r: random_matrix.circular_law_cdf(r, 1.5)) < 0.04
    assert ks(np.abs(eigenvalues), lambda r: random_matrix.circular_law_cdf(r, 1.2)) > 0.1
    density = random_matrix.circular_law_density(jnp.array([0, 1.4j, -1.2 - 1.2j]), 1.5)
    np.testing.assert_allclose(density, [1 / (math.pi * 2.25), 1 / (math.pi * 2.25), 0], rtol=1e-6)


def test_triangular_law():
    """For powers of one matrix: the logarithms of its eigenvalues' magnitudes."""
    exponents = np.log(2 * np.abs(np.linalg.eigvals(draw(1, 250)[0])))
    assert ks(exponents, lambda s: random_matrix.triangular_law_cdf(s, 2.0)) < 0.04
    s = np.linspace(-8, math.log(2), 100_001)
    density = np.asarray(random_matrix.triangular_law_density(s - 1e-6, 2.0), np.float64)
    mass = density * (s[1] - s[0])
    np.testing.assert_allclose([mass.sum(), mass @ s], [1, math.log(2) - 0.5], rtol=1e-3)
    ends = random_matrix.triangular_law_cdf(jnp.array([-jnp.inf, math.log(2), 3]), 2.0)
    np.testing.assert_allclose(ends, [0, 1, 1])
    assert random_matrix.triangular_law_density(1.0, 2.0) == 0


def test_newman_values(x64):
    two = [0.05796575782920621, -0.6351814227307391]
    np.testing.assert_allclose(random_matrix.newman_exponents(2), two, rtol=1e-12)
    five = [0.69815191, 0.55796576, 0.36481858, *two]
    np.testing.assert_allclose(random_matrix.newman_exponents(5), five, atol=6e-9)
    ten = [1.09963242, 1.04100905, 0.97463242]
    np.testing.assert_allclose(random_matrix.newman_exponents(10)[:3], ten, atol=6e-9)
    np.testing.assert_allclose(
        random_matrix.newman_exponents(5, 3.0), random_matrix.newman_exponents(5) + math.log(3)
    )
    want = special.polygamma(1, np.arange(6, 0, -1) / 2) / 4
    np.testing.assert_allclose(random_matrix.newman_variances(6), want, rtol=1e-12)


def test_newman_of_drawn_products():
    """Mean and variance over runs of the QR exponents, as z-scores; the seed is fixed."""
    size, steps, runs = 4, 30, 400
    rng = np.random.default_rng(1)
    frame, sums = np.broadcast_to(np.eye(size), (runs, size, size)), np.zeros((runs, size))
    for _ in range(steps):
        frame, r = np.linalg.qr(rng.normal(size=(runs, size, size)) @ frame)
        sums += np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    exponents = np.asarray(random_matrix.newman_exponents(size))
    variances = np.asarray(random_matrix.newman_variances(size))
    z = (sums.mean(0) - steps * exponents) / np.sqrt(steps * variances / runs)
    assert np.all(np.abs(z) < 4.5)
    # A variance from n runs has a relative error of sqrt(2 / n).
    ratio = sums.var(0, ddof=1) / (steps * variances)
    assert np.all(np.abs(ratio - 1) < 4.5 * (2 / runs) ** 0.5)


def test_newman_goes_over_into_the_triangular_law(x64):
    size = 400
    exponents = random_matrix.newman_exponents(size, size**-0.5)
    assert ks(exponents, random_matrix.triangular_law_cdf) < 0.005
    np.testing.assert_allclose(exponents.mean(), -0.5, atol=math.log(size) / size)


def test_jit_vmap_and_dtypes():
    x = jnp.linspace(0.1, 3, 7)
    density = jax.vmap(lambda x: random_matrix.fuss_catalan_density(x, 2))(x)
    np.testing.assert_allclose(density, random_matrix.fuss_catalan_density(x, 2), rtol=1e-5)
    slope = jax.vmap(jax.grad(random_matrix.marchenko_pastur_cdf))(x)
    np.testing.assert_allclose(slope, random_matrix.marchenko_pastur_density(x), rtol=1e-4)
    for law in (random_matrix.circular_law_cdf, random_matrix.triangular_law_cdf):
        assert law(x).dtype == jnp.float32
    assert random_matrix.newman_exponents(3).dtype == jnp.float32
    # Integers count as floats.
    assert random_matrix.marchenko_pastur_density(1).dtype == jnp.float32


def test_messages():
    with pytest.raises(ValueError, match=r"^fuss_catalan_density: got factors=0; expected"):
        random_matrix.fuss_catalan_density(1.0, 0)
    with pytest.raises(TypeError, match=r"^newman_exponents: got size=2.5 \(float\); expected"):
        random_matrix.newman_exponents(2.5)
    with pytest.raises(ValueError, match=r"^marchenko_pastur_moment: got order=0; expected"):
        random_matrix.marchenko_pastur_moment(0)
