"""Products of triangular factors kept in logs, and their SVD, against 420-digit arithmetic."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxrnn.analysis.frames import Frame, advance_frame, scaled_images
from jaxrnn.analysis.graded import graded_identity, graded_svd, multiply

_svd = jax.jit(graded_svd)


def exact(log_sizes, rows):
    with mpmath.workdps(700):
        matrix = mpmath.matrix(
            [
                [mpmath.exp(float(size)) * float(x) for x in row]
                for size, row in zip(log_sizes, rows, strict=True)
            ]
        )
        return np.array([float(mpmath.log(s)) for s in mpmath.svd_r(matrix, compute_uv=False)])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("spread", [0.0, 3.0, 500.0])
def test_svd(dtype, spread):
    """Rows that differ by e^2500, well past what any float holds."""
    with jax.enable_x64(dtype == "float64"):
        rng = np.random.default_rng(int(spread))
        sizes = np.float32(spread * np.array([2.0, -1, 0, 1, -3]))
        rows = (np.eye(5) + 0.3 * rng.normal(size=(5, 5))).astype(np.float32)
        logs, left, right = (
            np.asarray(x) for x in _svd(*(jnp.asarray(x, dtype) for x in (sizes, rows)))
        )
    eps = np.finfo(dtype).eps
    assert logs.dtype == dtype
    np.testing.assert_allclose(logs, exact(sizes, rows), rtol=2 * eps, atol=50 * eps)
    assert np.all(np.diff(logs) <= 0)
    for side in (left, right):
        np.testing.assert_allclose(side @ side.T, np.eye(5), rtol=0, atol=50 * eps)
    if spread < 10:
        product = left.T * np.exp(logs) @ right
        want = np.exp(sizes.astype(float))[:, None] * rows
        np.testing.assert_allclose(product, want, rtol=0, atol=200 * eps * np.exp(logs[0]))


def test_zero_and_dependent_rows(x64):
    rows = jnp.array([[1.0, 2, 0], [0, 0, 0], [0, 0, 3]])
    logs, left, right = _svd(jnp.array([1.0, 5, -1e30]), rows)
    np.testing.assert_allclose(logs[0], 1 + np.log(5) / 2)
    np.testing.assert_array_equal(logs[1:], -np.inf)
    assert np.all(np.isfinite(left))
    assert np.all(np.isfinite(right))
    logs, _, _ = _svd(jnp.zeros(3), jnp.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 2]]))
    np.testing.assert_allclose(logs[:2], np.log([2, 2]), atol=1e-14)
    assert logs[2] < -30  # dependent rows, which a rotation makes zero or nearly
    logs, _, _ = _svd(jnp.zeros(1), jnp.array([[-3.0]]))
    np.testing.assert_allclose(logs, [np.log(3)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_of_factors(dtype):
    """A frame's images, step after step, are the product of the factors on its last rows."""
    with jax.enable_x64(dtype == "float64"):
        steps = jnp.asarray(np.random.default_rng(1).normal(size=(12, 4, 4)), dtype)
        frame = Frame(jnp.eye(4, dtype=dtype)[:3], jnp.ones(3, bool))

        def one(carry, step):
            frame, product = carry
            images = scaled_images(frame.rows @ step.T, jnp.zeros(3, jnp.int32))
            frame, found = advance_frame(frame, images, jnp.int32(4))
            return (frame, multiply(found, product)), None

        start = (frame, graded_identity(3, steps))
        (frame, product), _ = jax.jit(lambda x: jax.lax.scan(one, start, x))(steps)
        matrix = np.exp(np.asarray(product.log_sizes + product.low, float))[:, None] * product.rows
        total = np.linalg.multi_dot(np.asarray(steps, float)[::-1])
        got = np.asarray(frame.rows, float).T @ matrix  # the image of the first three units
        rounding = 1e-11 if dtype == "float64" else 2e-3
        np.testing.assert_allclose(got, total[:, :3], rtol=0, atol=rounding * np.abs(total).max())


@pytest.mark.slow
def test_logs_are_summed_with_compensation():
    """100,000 logs of 0.1 in float32, a plain sum of which is off by 1e-5 of itself."""
    step = jnp.exp(jnp.float32(0.1))
    log = float(np.log(float(step)))

    def one(product, _):
        frame = Frame(jnp.eye(1), jnp.ones(1, bool))
        images = scaled_images(step * frame.rows, jnp.zeros(1, jnp.int32))
        return multiply(advance_frame(frame, images, jnp.int32(1))[1], product), None

    product, _ = jax.lax.scan(one, graded_identity(1, jnp.eye(1)), None, length=100_000)
    total = float(product.log_sizes[0]) + float(product.low[0])
    assert abs(total - 100_000 * log) < 100_000 * 1e-7  # each log is rounded, their sum is not
