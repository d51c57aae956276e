"""Exact singular values of long products, against closed forms and 420-digit arithmetic."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxrnn
from analysis.flows import DRIVEN, LINEAR, blank
from analysis.spectra import (
    CASES,
    SIZE,
    STEPS,
    as_input,
    exact,
    gaussian,
    many_digits,
    measured,
    zero_state,
)
from cases import first_of
from jaxrnn import analysis

singular, lyapunov = analysis.singular_spectrum, analysis.lyapunov_spectrum
FLOOR = {"float64": 1e-11, "float32": 1e-5 * STEPS}
METHODS = ["sweeps", "dense", pytest.param("parallel", marks=pytest.mark.slow)]
every_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
every_case = pytest.mark.parametrize("name", CASES)


def inside(found, want, floor):
    """Asserts that values are right, that the bound holds, and that reliable means what it says."""
    got, bound = found.log_singular_values, found.error_bound
    dead = np.isneginf(want)
    np.testing.assert_array_equal(np.isneginf(got), dead)
    error = np.where(dead, 0, np.abs(np.where(dead, 0, got) - np.where(dead, 0, want)))
    assert np.all(error <= bound)
    np.testing.assert_array_equal(found.reliable, bound < 0.1)
    assert np.all(error <= floor)


def test_the_oracle():
    """mpmath against values that stand in closed form."""
    logs, _ = many_digits(CASES["diagonal"])
    want = STEPS * np.log(np.abs(np.diag(CASES["diagonal"][0])))
    np.testing.assert_allclose(logs, np.sort(want)[::-1], rtol=1e-14)
    jordan = np.array([[0.9, 0.45], [0, 0.9]])  # A4 of the literature: 0.638681, 0.00281363
    values = np.exp(many_digits([jordan] * 30)[0])
    np.testing.assert_allclose(values, [0.638681, 0.00281363], rtol=2e-6)
    assert np.all(np.isneginf(many_digits(CASES["shift"])[0]))


@pytest.mark.parametrize("dtype", first_of(["float64", "float32"]))
@every_case
def test_sweeps(dtype, name):
    """A1 to A8, and Gaussian products that span 116 nats."""
    found = measured("singular", name, dtype)
    inside(found, exact(name, dtype), FLOOR[dtype])
    assert np.all(found.reliable)


@pytest.mark.parametrize("dtype", first_of(["float64", "float32"]))
def test_the_vectors(dtype):
    """Both sides against mpmath's; what rounding mixes are vectors of values close together."""
    for name in CASES:
        found = measured("singular", name, dtype)
        rounding = 1e-12 if dtype == "float64" else 1e-4
        for side in (found.left, found.right):
            np.testing.assert_allclose(side.T @ side, np.eye(SIZE), rtol=0, atol=rounding)
    for name in ("gaussian", "gaussian, turned"):
        found = measured("singular", name, dtype)
        _, matrix = many_digits(CASES[name].astype(dtype))
        with mpmath.workdps(420):
            u, _, v_rows = mpmath.svd_r(mpmath.matrix(matrix.tolist()))
        u, v = (np.array(side.tolist(), float).reshape(SIZE, SIZE) for side in (u, v_rows.T))
        rounding = 1e-10 if dtype == "float64" else 1e-3
        for got, want in ((found.left, u), (found.right, v)):
            np.testing.assert_allclose(np.abs(got.T @ want), np.eye(SIZE), rtol=0, atol=rounding)
        signs = np.sum(found.left * u, axis=0) * np.sum(found.right * v, axis=0)
        assert np.all(signs > 0)  # J v = s u, not -s u


def test_qr_exponents_are_no_singular_values():
    """What tools report as such, T times the exponents of one forward sweep, is off by nats."""
    errors = []
    for name in ("gaussian", "gaussian, transposed", "gaussian, turned"):
        want = exact(name, "float64")
        qr_only = measured("lyapunov", name, "float64").exponents * STEPS
        errors.append(np.max(np.abs(qr_only - want)))
        assert (
            abs(np.sum(qr_only) - np.sum(want)) < FLOOR["float64"] * 4
        )  # which the sum does not tell
    assert min(errors) > 1
    assert max(errors) < 10


@pytest.mark.parametrize("method", ["dense", pytest.param("parallel", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", first_of(["float64", "float32"]))
def test_other_methods(method, dtype):
    """Where a method says reliable it is; what it cannot hold, it says."""
    reliable, wrong = 0, 0
    for name in CASES:
        found = measured("singular", name, dtype, method=method)
        want = exact(name, dtype)
        got, bound = found.log_singular_values, found.error_bound
        error = np.where(got == want, 0, np.abs(got - np.where(np.isneginf(want), 0, want)))
        assert np.all((error <= bound) | ~found.reliable), name
        np.testing.assert_array_equal(found.reliable, bound < 0.1)
        reliable += np.sum(found.reliable)
        wrong += np.sum(error > 0.1)
    assert reliable > 3 * len(CASES)
    if method == "dense":
        assert wrong > 0  # the range of a float32 matrix, or of float64's digits, has been left


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sweeps", "dense", "parallel"])
def test_a_product_of_no_steps_is_the_identity(method):
    params, _ = zero_state(2, "float32")
    xs = np.zeros((3, 4), np.float32)
    found = singular(DRIVEN, params, xs, start=2, stop=2, method=method)
    np.testing.assert_array_equal(found.log_singular_values, 0)
    assert np.all(found.reliable)


@pytest.mark.slow
def test_start_and_stop(x64):
    """A18: log-determinants of parts add up, and a part is what its matrices are."""
    draw = gaussian(9, size=2, seed=4)
    params, _ = zero_state(2, float)
    parts = [
        singular(DRIVEN, params, as_input(draw, float), start=a, stop=b).log_singular_values
        for a, b in ((0, 4), (4, 9))
    ]
    for (a, b), part in zip(((0, 4), (4, 9)), parts, strict=True):
        np.testing.assert_allclose(part, many_digits(draw[a:b])[0], rtol=0, atol=1e-13)
    assert abs(np.sum(parts) - np.sum(np.linalg.slogdet(draw)[1])) < 1e-13


@pytest.mark.slow
def test_few_of_many(x64):
    """k < D, with more directions left out than are tracked besides."""
    draw = gaussian(20, 12, size=12, seed=6) / 3
    params, state = zero_state(12, float, 12)
    want = np.array([many_digits(draw[:, i], 60)[0][:2] for i in range(3)])
    errors = []
    for sweeps in (1, 2):
        found = singular(DRIVEN, params, as_input(draw, float), state, k=2, sweeps=sweeps)
        error = np.abs(found.log_singular_values[:3] - want)
        assert np.all(error <= found.error_bound[:3])
        errors.append(np.max(error))
    assert errors[1] < 1e-8
    assert errors[1] < 1e-2 * errors[0]
    assert np.all(found.reliable)


@functools.cache
def _long(num_steps):
    draw = gaussian(num_steps, seed=num_steps)
    return draw, many_digits(draw)[0]


@pytest.mark.parametrize(
    ("num_steps", "dtype"),
    [
        pytest.param(256, "float32", marks=pytest.mark.slow),
        pytest.param(480, "float64", marks=pytest.mark.slow),
        pytest.param(256, "float64", marks=pytest.mark.exhaustive),
        pytest.param(480, "float32", marks=pytest.mark.exhaustive),
    ],
)
def test_long_products(num_steps, dtype):
    with jax.enable_x64(dtype == "float64"):
        draw, want = _long(num_steps)
        params, _ = zero_state(SIZE, dtype)
        found = singular(DRIVEN, params, as_input(draw, dtype))
        floor = 1e-6 if dtype == "float64" else 1e-5 * num_steps
        # A nearly singular matrix costs the smallest value digits, and the bound says so.
        lost = found.error_bound > 5 * floor
        lost |= (found.error_bound > floor) & (np.arange(SIZE) == SIZE - 1)
        assert np.sum(lost) <= 1
        inside(found, want, np.where(lost, np.inf, floor))
        assert np.all(found.reliable)
        assert want[0] - want[-1] > (397 if num_steps == 256 else 790) * 0.9
        if (num_steps, dtype) == (480, "float32"):
            few = singular(DRIVEN, params, as_input(draw, dtype), k=3)
            inside(few, want[:3], floor)
            qr_only = lyapunov(DRIVEN, params, as_input(draw, dtype), qr_every=1).exponents
            assert np.max(np.abs(qr_only * num_steps - want)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sweeps", "parallel"])
def test_the_bound_holds(x64, method):
    """Float32's error is known from float64, whose own is a thousandth of the bound."""
    draw, want = _many()
    found = singular(DRIVEN, *_batch_arguments(draw, "float32"), method=method)
    error = np.abs(np.asarray(found.log_singular_values, float) - want)
    assert np.all(error <= found.error_bound)
    finite = np.isfinite(found.error_bound)
    ratio = np.asarray(found.error_bound)[finite] / np.maximum(error[finite], 1e-9)
    assert np.median(ratio) < 1000  # nor is it empty
    if method == "sweeps":
        assert np.mean(found.reliable) > 0.995
    else:  # 116 nats are more than float32's exponents hold
        assert np.mean(found.reliable) > 0.6
        assert not np.all(found.reliable)
        assert not np.any(found.reliable[want < want[:, :1] - 89])


@functools.cache
def _many():
    draw = gaussian(STEPS, 150, seed=8)
    found = singular(DRIVEN, *_batch_arguments(draw, "float64"))
    return draw, np.asarray(found.log_singular_values)


def _batch_arguments(draw, dtype):
    params, state = zero_state(draw.shape[-1], dtype, *draw.shape[1:-2])
    return params, as_input(draw, dtype), state


@functools.cache
def _trained_lstm():
    """An LSTM of 8 units after 40 steps of learning to sum its inputs, float64."""
    key = jax.random.key(0)
    cell = jaxrnn.lstm(2, 8)
    readout = jax.random.normal(key, (8,)) / 3
    xs = jax.random.normal(key, (20, 16, 2))
    target = jnp.cumsum(xs[..., 0], axis=0) / 4

    @jax.jit
    def descend(params, _):
        def loss(params):
            _, hs = jaxrnn.unroll(cell, params, xs)
            return jnp.mean((hs @ readout - target) ** 2)

        value, slope = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, slope), value

    params, losses = jax.lax.scan(descend, cell.init(key), None, length=40)
    assert losses[-1] < 0.8 * losses[0]
    return cell, params


@pytest.mark.slow
@every_dtype
def test_a_trained_lstm(dtype, x64):
    cell, params = _trained_lstm()
    xs = jax.random.normal(jax.random.key(1), (64, 2), dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    found = singular(cell, params, xs)
    steps = analysis.jacobians(cell, params, xs)
    # In float32 the matrices of `jacobians` are rounded as those that act in the sweeps are, not
    # bit for bit alike: the smallest values feel it.
    want, _ = many_digits(steps)
    assert want[0] - want[-1] > 50
    inside(found, want, 1e-6 if dtype == "float64" else 1e-5 * 64)


@pytest.mark.slow
def test_a_cell_of_one_unit():
    found = singular(LINEAR, jnp.full((1, 1), -0.7), blank(7))
    assert abs(found.log_singular_values[0] - 7 * np.log(0.7)) < 1e-6
    assert found.left[0, 0] * found.right[0, 0] < 0  # (-0.7)^7
