"""Products in logarithmic depth against products step by step."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from analysis.flows import DRIVEN
from analysis.spectra import as_input, gaussian, many_digits, zero_state
from jaxrnn import analysis
from jaxrnn.analysis.parallel import tree_product


@pytest.mark.parametrize("length", [1, 2, 17, 37])
def test_trees_keep_the_order(length):
    """Affine maps do not commute; the composition is known."""
    rng = np.random.default_rng(length)
    maps = rng.integers(-1, 2, size=(length, 3, 3)).astype(np.float32)
    found = tree_product(lambda earlier, later: later @ earlier, jnp.asarray(maps))
    want = np.eye(3)
    for one in maps:
        want = one @ want
    np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_product(dtype):
    with jax.enable_x64(dtype == "float64"):
        draw = 1e3 * gaussian(37, size=3, seed=20)  # e^300: beyond float32
        params, _ = zero_state(3, dtype)
        for start, stop in ((0, 37), (5, 5)) if dtype == "float64" else ((0, 37),):
            one, other = (
                analysis.jacobian_product(
                    DRIVEN, params, as_input(draw, dtype), start=start, stop=stop, method=method
                )
                for method in ("scan", "parallel")
            )
            rounding = 1e-12 if dtype == "float64" else 1e-4
            np.testing.assert_allclose(one.matrix, other.matrix, rtol=0, atol=rounding)
            np.testing.assert_allclose(one.log_scale, other.log_scale, rtol=rounding)


@pytest.mark.slow
def test_the_spectrum_in_both_precisions():
    """Up to 87 nats in float32: reliable there and right; below, marked."""
    draw = gaussian(50, size=4, seed=21)
    found = {}
    for dtype in ("float64", "float32"):
        with jax.enable_x64(dtype == "float64"):
            params, _ = zero_state(4, dtype)
            args = DRIVEN, params, as_input(draw, dtype)
            found[dtype] = jax.tree.map(
                np.asarray, analysis.singular_spectrum(*args, method="parallel")
            )
    want, matrix = many_digits(draw)
    np.testing.assert_allclose(found["float64"].log_singular_values, want, rtol=0, atol=1e-10)
    single = found["float32"]
    error = np.abs(single.log_singular_values - want)
    assert np.all(error[single.reliable] < 1e-3)
    np.testing.assert_array_equal(single.reliable, want > want[0] - 87)
    with mpmath.workdps(420):
        u, _, v_rows = mpmath.svd_r(mpmath.matrix(matrix.tolist()))
    sides = (np.array(side.tolist(), float).reshape(4, 4) for side in (u, v_rows.T))
    for a, b in zip(sides, (found["float64"].left, found["float64"].right), strict=True):
        np.testing.assert_allclose(np.abs(np.sum(a * b, axis=0)), 1, rtol=1e-9)
