"""Statistics of step Jacobians against NumPy on the same matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import DRIVEN, jacobians, orthogonal
from cases import first_of
from jaxrnn import analysis
from jaxrnn.analysis.statistics import jacobian_eigenvalues, jacobian_statistics

both_dtypes = pytest.mark.parametrize("dtype", first_of(["float64", "float32"]))
SIZE = 4


def steps():
    """Step matrices ``(T, SIZE, SIZE)``, float64: ordinary, orthogonal, singular, zero, extreme."""
    rng = np.random.default_rng(0)
    general = rng.normal(size=(3, SIZE, SIZE))
    singular = np.diag([3.0, 2.0, 0.0, -1.0])
    zero = np.zeros((SIZE, SIZE))
    return np.stack([*general, orthogonal(SIZE), np.eye(SIZE, k=1), singular, zero])


def driven(matrices, dtype):
    """`DRIVEN` over those matrices for two sequences; the second one of 2^40 times the size."""
    flat = matrices.reshape(len(matrices), -1)
    xs = jnp.asarray(np.stack([flat, 2.0**40 * flat], 1), dtype)
    return DRIVEN, jnp.zeros(SIZE, dtype), xs


@both_dtypes
def test_statistics(dtype):
    matrices = steps()
    with jax.enable_x64(dtype == "float64"):
        found = jax.tree.map(np.asarray, jacobian_statistics(*driven(matrices, dtype)))
    assert {leaf.shape for leaf in found} == {(len(matrices), 2)}
    assert {str(leaf.dtype) for leaf in found} == {dtype}
    eps = 50 * float(np.finfo(dtype).eps)
    with np.errstate(divide="ignore"):
        values = np.linalg.svd(matrices, compute_uv=False)
        radii = np.abs(np.linalg.eigvals(matrices)).max(axis=1)
        want = {
            "log_spectral_norm": np.log(values[:, 0]),
            "log_frobenius_norm": np.log(np.linalg.norm(matrices, axis=(1, 2))),
            "log_spectral_radius": np.log(radii),
            "log_abs_det": np.linalg.slogdet(matrices)[1],
        }
    shift = 40 * np.log(2)
    for name, one in want.items():
        got = np.asarray(getattr(found, name))
        scale = SIZE if name == "log_abs_det" else 1
        np.testing.assert_allclose(got[:, 0], one, rtol=eps, atol=eps, err_msg=name)
        np.testing.assert_allclose(got[:, 1], one + scale * shift, rtol=eps, err_msg=name)
        assert np.all(np.isneginf(got[-1]))
    assert np.all(np.isneginf(found.log_spectral_radius[4]))  # the shift is nilpotent
    condition = np.asarray(found.log_condition_number)
    np.testing.assert_allclose(
        condition[:4], np.log(values[:4, 0] / values[:4, -1])[:, None] * [1, 1], rtol=eps, atol=eps
    )
    assert np.all(condition[4:] == np.inf)
    departure = analysis_departure(matrices)
    np.testing.assert_allclose(found.departure, departure[:, None] * [1, 1], atol=1e-6)
    assert np.all(found.departure[3] < eps)


def analysis_departure(matrices):
    size = np.linalg.norm(matrices, axis=(1, 2))
    rest = size**2 - np.sum(np.abs(np.linalg.eigvals(matrices)) ** 2, axis=1)
    return np.sqrt(np.maximum(rest, 0)) / np.where(size == 0, 1, size)


@both_dtypes
def test_eigenvalues(dtype):
    matrices = steps()
    with jax.enable_x64(dtype == "float64"):
        found = np.asarray(jacobian_eigenvalues(*driven(matrices, dtype), stride=3))
    assert found.shape == (3, 2, SIZE)
    assert np.all(np.diff(np.abs(found), axis=-1) <= 1e-5 * np.abs(found[..., :1]))
    rounding = 300 * float(np.finfo(dtype).eps)
    for index, matrix in zip(range(3), matrices[::3], strict=True):
        want = np.linalg.eigvals(matrix)
        for scale, got in zip((1, 2.0**40), found[index] / [[1], [2.0**40]], strict=True):
            distance = np.abs(got[:, None] - want)
            assert max(distance.min(0).max(), distance.min(1).max()) < 1e-5, scale
            # A second way, that knows how often each comes: sums of powers are traces.
            for power in (1, 2, 3):
                trace = np.trace(np.linalg.matrix_power(matrix, power))
                assert np.sum(got**power) == pytest.approx(trace, abs=rounding)


def test_any_cell_flags_and_jit(x64):
    """Against the dense Jacobians of an LSTM; a mask gives the identity, a reset gives zero."""
    cell = jaxrnn.lstm(2, 3)
    rng = np.random.default_rng(0)
    params = jaxrnn.LSTMParams(*(rng.normal(size=shape) for shape in ((2, 12), (3, 12), 12)))
    xs = rng.normal(size=(6, 2, 2))
    mask = np.arange(6)[:, None] < np.array([6, 4])
    resets = np.arange(6)[:, None] == np.array([3, 9])
    run = jax.jit(functools.partial(jacobian_statistics, cell))
    found = run(params, xs, mask=mask, resets=resets)
    dense = np.asarray(jacobians(cell, params, xs, mask=mask, resets=resets))
    norms = np.log(
        np.linalg.norm(dense, 2, (2, 3)), where=dense.any((2, 3)), out=np.full((6, 2), -np.inf)
    )
    np.testing.assert_allclose(found.log_spectral_norm, norms, atol=1e-13)
    assert np.isneginf(found.log_abs_det[3, 0])
    assert found.log_condition_number[3, 0] == np.inf
    for name in ("log_spectral_norm", "log_abs_det", "log_condition_number", "departure"):
        np.testing.assert_allclose(getattr(found, name)[4:, 1], 0, atol=1e-15)
    logs = np.linalg.slogdet(dense)[1]
    real = np.asarray(mask) & ~np.asarray(resets)
    np.testing.assert_allclose(found.log_abs_det[real], logs[real], atol=1e-10)


def avals_of(jaxpr):
    for eqn in jaxpr.eqns:
        yield from (var.aval for var in eqn.outvars)
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from avals_of(inner)


@pytest.mark.parametrize("measure", [jacobian_statistics, jacobian_eigenvalues])
def test_no_stack_of_jacobians_is_made(measure):
    cell, num_steps, size = jaxrnn.gru(2, 8), 50, 8
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((num_steps, 2), jnp.float32)
    sizes = {
        name: max(aval.size for aval in avals_of(jax.make_jaxpr(f)(params, xs).jaxpr))
        for name, f in {
            "dense": lambda *args: analysis.jacobians(cell, *args),
            "measure": lambda *args: measure(cell, *args),
        }.items()
    }
    assert sizes["dense"] >= num_steps * size * size
    assert sizes["measure"] <= num_steps * 3 * size  # the projected inputs


def test_messages():
    cell, params, xs = driven(steps(), "float32")
    for stride in (0, -1):
        with pytest.raises(ValueError, match=rf"^jacobian_eigenvalues: got stride={stride}; exp"):
            jacobian_eigenvalues(cell, params, xs, stride=stride)
    for measure in (jacobian_eigenvalues, jacobian_statistics):
        with pytest.raises(ValueError, match=rf"^{measure.__name__}: got xs of 0 steps; expected"):
            measure(cell, params, xs[:0])
        with pytest.raises(TypeError, match=rf"^{measure.__name__}: got function .*expected a jax"):
            measure(jaxrnn.gru, params, xs)
