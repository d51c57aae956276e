"""Departure from normality, numerical radius, transient growth, Kreiss constant: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.flows import block_diagonal, orthogonal, rotation
from cases import needs_schur
from jaxrnn.analysis.nonnormality import henrici_departure, numerical_abscissa, numerical_radius
from jaxrnn.analysis.transient import kreiss_constant, transient_growth

SLOW = pytest.param("float32", marks=pytest.mark.slow)
slow_in_float32 = pytest.mark.parametrize("dtype", ["float64", SLOW])
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
FUNCTIONS = {
    "henrici_departure": henrici_departure,
    "numerical_abscissa": numerical_abscissa,
    "numerical_radius": numerical_radius,
    "kreiss_constant": kreiss_constant,
    "transient_growth": lambda matrix: transient_growth(matrix, 3),
}


def four_by_four():
    """Name to 4 x 4 matrix, float64."""
    q = orthogonal(4)
    yield "orthogonal", q
    yield "symmetric", (q * [0.9, 0.5, -0.3, -1.1]) @ q.T
    turn = block_diagonal(0.9 * rotation(0.7), 1.2 * rotation(2.5))
    yield "normal", q @ turn @ q.T
    yield "general", np.random.default_rng(1).normal(size=(4, 4))
    yield "shift", np.eye(4, k=1)
    yield "zero", np.zeros((4, 4))
    yield "pairs", q @ block_diagonal([[0.5, 2.0], [-0.1, 0.5]], [[0.1, 3.0], [-1.0, 0.1]]) @ q.T


def embedded(a, b, c):
    """Seven matrices [[a, b], [0, c]] beside a block of zeros: 4 x 4, to compile once for all."""
    stack = np.zeros((7, 4, 4))
    stack[:, 0, 0], stack[:, 0, 1], stack[:, 1, 1] = a, b, c
    return stack


NAMES, MATRICES = zip(*four_by_four(), strict=True)
NORMAL = {"orthogonal", "symmetric", "normal", "zero"}


@needs_schur
@both_dtypes
def test_henrici_departure(dtype):
    """Normal matrices have none, to rounding and not to its square root; others by the formula."""
    with jax.enable_x64(dtype == "float64"):
        found = jax.tree.map(np.asarray, henrici_departure(jnp.asarray(MATRICES, dtype)))
    eps = float(np.finfo(dtype).eps)
    for name, matrix, absolute, relative in zip(NAMES, MATRICES, *found, strict=True):
        size = np.linalg.norm(matrix)
        squares = size**2 - np.sum(np.abs(np.linalg.eigvals(matrix)) ** 2)
        want = 0 if name in NORMAL else np.sqrt(squares)
        assert absolute == pytest.approx(want, abs=20 * eps * size), name
        assert relative == pytest.approx(want / size if size else 0, abs=20 * eps), name
    assert found.relative[NAMES.index("shift")] == pytest.approx(1, abs=4 * eps)


@needs_schur
def test_henrici_departure_of_a_triangle(x64):
    b = np.array([0.0, 1e-140, 1e-9, 0.5, -3.0, 1e9, 1e150])
    found = henrici_departure(embedded(0.9, b, -0.4)).absolute
    np.testing.assert_allclose(found, np.abs(b), rtol=1e-15, atol=0)


def test_henrici_departure_without_a_schur_form(x64):
    """What a GPU computes: the formula, which loses half of the digits."""
    from jaxrnn.analysis.eigen import _from_eigenvalues

    values, departure = jax.jit(jax.vmap(_from_eigenvalues))(np.array(MATRICES))
    want = henrici_departure(np.array(MATRICES)).absolute
    np.testing.assert_allclose(departure, want, atol=3e-7)
    np.testing.assert_allclose(values.sum(1), np.trace(MATRICES, axis1=1, axis2=2), atol=1e-13)


@slow_in_float32
def test_numerical_abscissa_and_radius(dtype):
    with jax.enable_x64(dtype == "float64"):
        stack = jnp.asarray(MATRICES, dtype)
        abscissae = np.asarray(numerical_abscissa(stack))
        radii = np.asarray(numerical_radius(stack))
    eps = float(np.finfo(dtype).eps)
    thetas = np.linspace(0, np.pi, 4001)[:, None, None]
    for name, matrix, abscissa, radius in zip(NAMES, MATRICES, abscissae, radii, strict=True):
        size = np.linalg.norm(matrix)
        top = np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]
        assert abscissa == pytest.approx(top, abs=20 * eps * size)
        around = np.exp(1j * thetas) * matrix
        want = np.linalg.eigvalsh((around + around.conj().transpose(0, 2, 1)) / 2).max()
        if name in NORMAL:
            want = np.abs(np.linalg.eigvals(matrix)).max()
        # The brute force of 4001 angles is up to 4e-7 low.
        assert -20 * eps * size <= radius - want <= (4e-7 + 20 * eps) * size, name
    shift = radii[NAMES.index("shift")]
    assert shift == pytest.approx(np.cos(np.pi / 5), rel=8 * eps)


def test_numerical_radius_of_two_by_two(x64):
    """[[a, b], [0, -a]]: an ellipse with foci +-a, minor axis |b|."""
    a, b = np.array([[0, 1], [0.5, 2], [1, 0], [0.9, 0.3], [3, 9], [0.1, 1], [1, 1e-9]]).T
    want = np.sqrt(a**2 + b**2 / 4)
    np.testing.assert_allclose(numerical_radius(embedded(a, b, -a)), want, rtol=1e-14)


@pytest.mark.slow
def test_the_slope_of_the_numerical_radius(x64):
    slope = jax.jit(jax.grad(lambda b: numerical_radius(jnp.array([[0.5, b], [0.0, -0.5]]))))
    assert slope(2.0) == pytest.approx(2 / 4 / np.sqrt(0.25 + 1), rel=1e-7)


@slow_in_float32
def test_growth_of_a_jordan_block(dtype):
    """A4: sigma_max(W^T) = l^T (sqrt((a T)^2 + 4) + a T) / 2."""
    a = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0])
    with jax.enable_x64(dtype == "float64"):
        stack = np.stack([embedded(0.9, 0.9 * a, 0.9), embedded(0.5, 0.5 * a, 0.5)])
        found = jax.tree.map(np.asarray, transient_growth(jnp.asarray(stack, dtype), 60))
    times = np.arange(1, 61)
    np.testing.assert_array_equal(found.times, times)
    growth = (np.sqrt((times[:, None] * a) ** 2 + 4) + times[:, None] * a) / 2
    want = times[:, None, None] * np.log([[0.9], [0.5]]) + np.log(growth)[:, None]
    assert np.exp(want[29, 0, 2]) == pytest.approx(0.638681, abs=1e-6)
    tolerance = 300 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found.log_norms, want, atol=tolerance)
    logs = np.concatenate([0 * want[:1], want])
    np.testing.assert_allclose(found.log_peak, logs.max(axis=0), atol=tolerance)
    np.testing.assert_array_equal(found.peak_time, logs.argmax(axis=0))


def test_growth_of_many(x64):
    """Normal matrices go with their radius; no overflow, no underflow; zeros are -inf."""
    stack = np.stack([MATRICES, 1e9 * np.array(MATRICES)])
    found = jax.tree.map(np.asarray, transient_growth(stack, 60))
    assert found.log_norms.shape == (60, 2, len(NAMES))
    times = np.arange(1, 61)
    for index, (name, matrix) in enumerate(zip(NAMES, MATRICES, strict=True)):
        plain, large = found.log_norms[:, 0, index], found.log_norms[:, 1, index]
        np.testing.assert_allclose(large, plain + times * np.log(1e9), rtol=1e-13)
        if name == "shift":
            np.testing.assert_allclose(plain[:3], 0, atol=1e-15)
            assert np.all(plain[3:] == -np.inf)
        elif name == "zero":
            assert np.all(plain == -np.inf)
            assert found.log_peak[0, index] == found.peak_time[0, index] == 0
        elif name in NORMAL:
            radius = np.abs(np.linalg.eigvals(matrix)).max()
            np.testing.assert_allclose(plain, times * np.log(radius), atol=1e-12)
        else:
            powers = [np.linalg.matrix_power(matrix, t) for t in times]
            want = np.log([np.linalg.norm(power, 2) for power in powers])
            np.testing.assert_allclose(plain, want, atol=1e-10)
            # Berger's inequality.
            assert np.all(plain <= np.log(2) + times * np.log(numerical_radius(matrix)) + 1e-12)


def test_kreiss_constant_of_a_nilpotent_matrix(x64):
    """[[0, b], [0, 0]]: with y = e^u, 2 sinh u = b / |z|, K = max of y - (y^2 - 1) / b, y >= 1.

    So b / 4 + 1 / b from b = 2 on, and 1 below.
    """
    b = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 8.0, 50.0])
    want = np.where(b > 2, b / 4 + 1 / np.maximum(b, 1), 1)
    np.testing.assert_allclose(kreiss_constant(embedded(0, b, 0)), want, rtol=1e-13)


@slow_in_float32
def test_kreiss_constant_of_others(dtype):
    with jax.enable_x64(dtype == "float64"):
        stack = np.array(MATRICES)
        stack[NAMES.index("shift")] *= 4
        constants = np.asarray(kreiss_constant(jnp.asarray(stack, dtype)))
    found = dict(zip(NAMES, constants, strict=True))
    noise = float(np.finfo(dtype).eps) ** (2 / 3)
    assert found["orthogonal"] == pytest.approx(1, abs=10 * noise)
    assert found["zero"] == 1
    for name in ("symmetric", "normal", "general", "pairs"):
        radius = np.abs(np.linalg.eigvals(MATRICES[NAMES.index(name)])).max()
        assert (found[name] == np.inf) == (radius > 1), name
    # Four times the shift: turning z turns the resolvent by a unitary similarity.
    radii = 1 + np.logspace(-3, 2, 20001)
    resolved = radii[:, None, None] * np.eye(4) - 4 * np.eye(4, k=1)
    norms = 1 / np.linalg.svd(resolved, compute_uv=False)[:, -1]
    assert found["shift"] == pytest.approx(((radii - 1) * norms).max(), rel=1e-6)


def test_the_kreiss_bounds(x64):
    """K <= max ||A^t|| <= e D K, and a brute-force grid finds nothing above K."""
    rng = np.random.default_rng(3)
    matrices = rng.normal(size=(7, 4, 4)) + 6 * np.triu(rng.normal(size=(7, 4, 4)), 1)
    matrices *= 0.95 / np.abs(np.linalg.eigvals(matrices)).max(axis=1)[:, None, None]
    kreiss = np.asarray(kreiss_constant(matrices))
    peak = np.exp(transient_growth(np.stack([matrices, matrices]), 60).log_peak[0])
    assert np.all(kreiss <= peak * (1 + 1e-12))
    assert np.all(peak <= np.e * 4 * kreiss)
    assert kreiss.max() > 2
    radii, angles = np.logspace(-3, 1, 120), np.linspace(0, np.pi, 181)
    z = (1 + radii)[:, None] * np.exp(1j * angles)
    for matrix, want in zip(matrices, kreiss, strict=True):
        resolved = z[..., None, None] * np.eye(4) - matrix
        grid = radii[:, None] / np.linalg.svd(resolved, compute_uv=False)[..., -1]
        assert want * (1 - 3e-3) <= grid.max() <= want * (1 + 1e-12)


def test_messages():
    for name, function in FUNCTIONS.items():
        with pytest.raises(ValueError, match=rf"^{name}: got a matrix of shape \(2, 3\); expected"):
            function(jnp.ones((2, 3)))
        with pytest.raises(ValueError, match=rf"^{name}: got a matrix of shape \(3,\); expected"):
            function(jnp.ones(3))
        with pytest.raises(TypeError, match=rf"^{name}: got a matrix of dtype complex64; expected"):
            function(1j * jnp.eye(2))
    with pytest.raises(ValueError, match=r"^transient_growth: got steps=0; expected"):
        transient_growth(jnp.eye(2), 0)
    with pytest.raises(TypeError, match=r"^kreiss_constant: got num_radii=1.5"):
        kreiss_constant(jnp.eye(2), num_radii=1.5)


def test_a_platform_without_eigenvalues(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(NotImplementedError, match=r"^henrici_departure: got platform 'tpu'"):
        henrici_departure(jnp.eye(7))


def test_integers_and_half_precision():
    assert numerical_abscissa(np.array([[0, 2], [0, 0]])) == 1
    found = numerical_abscissa(jnp.array([[0, 2], [0, 0]], jnp.bfloat16))
    assert found.dtype == jnp.float32
    assert found == 1
