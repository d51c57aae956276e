"""Products of 8 x 8 matrices with known spectra, measured together; arithmetic of many digits."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from analysis.flows import DRIVEN, block_diagonal, orthogonal, rotation
from jaxrnn import analysis

SIZE, STEPS = 8, 64


def many_digits(matrices, digits=420):
    """Multiplies and decomposes ``matrices[-1] @ ... @ matrices[0]`` in mpmath.

    Returns:
      Logs of the singular values, float64, and the product as an array of mpmath numbers.
    """
    with mpmath.workdps(digits):
        total = np.array(
            [
                [mpmath.mpf(float(i == j)) for j in range(len(matrices[0]))]
                for i in range(len(matrices[0]))
            ],
            dtype=object,
        )
        for matrix in np.asarray(matrices, np.float64):
            total = np.array([[mpmath.mpf(x) for x in row] for row in matrix], dtype=object) @ total
        values = mpmath.svd_r(mpmath.matrix(total.tolist()), compute_uv=False)
        logs = np.array([float(mpmath.log(value)) if value else -np.inf for value in values])
    return logs, total


def gaussian(num_steps, *batch, size=SIZE, seed=0):
    """Independent Gaussian matrices, ``(T, *batch, D, D)``, float64 numbers exact in float32."""
    draw = np.random.default_rng(seed).normal(size=(num_steps, *batch, size, size))
    return draw.astype(np.float32).astype(np.float64)


def as_input(matrices, dtype):
    """The inputs of `DRIVEN` that stand for these matrices."""
    return jnp.asarray(matrices.reshape(*matrices.shape[:-2], -1), dtype)


def zero_state(size, dtype, *batch):
    """The parameters of `DRIVEN`, and the state to start from."""
    return jnp.zeros((size, 1), dtype), jnp.zeros((*batch, size), dtype)


def _constant(matrix):
    return np.broadcast_to(np.asarray(matrix, np.float64), (STEPS, SIZE, SIZE))


def _closed_forms():
    """Returns name: matrices, ``(T, D, D)``."""
    q = orthogonal(SIZE)
    jordan = 0.9 * np.array([[1, 0.5], [0, 1]])
    skew = np.kron(np.diag([3.0, 2.0, 1.0, 0.5]), np.array([[0, 1], [-1, 0]]))
    normal = q @ np.diag([1.2, -1.1, 1, 0.9, 0.5, -0.4, 0.3, 0.1]) @ q.T
    draw = gaussian(STEPS, seed=3)
    other = orthogonal(SIZE, seed=5)
    return {
        "orthogonal": _constant(0.7 * q),
        "normal": _constant(normal),
        "general": _constant(gaussian(1, seed=1)[0]),
        "jordan": _constant(block_diagonal(jordan, *[1.5**i * rotation(i) for i in range(3)])),
        "diagonal": _constant(np.diag([3, -2, 1, 0.5, 0.1, 1e-3, 1e-5, 1e-8])),
        "shift": _constant(np.eye(SIZE, k=-1)),
        "two dead": _constant(np.diag([2, 0, 0.5, 0, -3, 1, 0.7, 0.1])),
        "antisymmetric": _constant(np.eye(SIZE) + 0.1 * (skew - 0.5 * np.eye(SIZE))),
        "drift": _constant(block_diagonal(*[rotation(i + 0.5) for i in range(4)])),
        "gaussian": draw,
        "gaussian, permuted": draw[:, ::-1][:, :, ::-1],
        "gaussian, transposed": np.swapaxes(draw, 1, 2)[::-1],
        "gaussian, turned": np.einsum("ij,tjk,lk->til", other, draw, other),
    }


CASES = _closed_forms()
_XS = np.stack(list(CASES.values()), axis=1)


@functools.cache
def _together(function, dtype, options):
    with jax.enable_x64(dtype == "float64"):
        measure = {"singular": analysis.singular_spectrum, "lyapunov": analysis.lyapunov_spectrum}
        params, state = zero_state(SIZE, dtype, len(CASES))
        found = measure[function](DRIVEN, params, as_input(_XS, dtype), state, **dict(options))
        return jax.tree.map(np.asarray, found)


def measured(function, name, dtype, **options):
    """One case's result of "singular" or "lyapunov"; all cases are measured in one batch."""
    found = _together(function, dtype, tuple(options.items()))
    index = list(CASES).index(name)
    if function == "lyapunov":
        return found._replace(
            **{
                field: getattr(found, field)[index]
                for field in (
                    "exponents",
                    "stderr",
                    "kaplan_yorke_dimension",
                    "entropy",
                    "reliable",
                )
            },
            history=found.history[:, index],
        )
    return jax.tree.map(lambda leaf: leaf[index], found)


@functools.cache
def exact(name, dtype):
    """The logs of the singular values of one case's product, from the entries as rounded."""
    return many_digits(CASES[name].astype(dtype))[0]
