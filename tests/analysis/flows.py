"""Linear cells with known answers, and the functions under test, compiled once a shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import analysis

# Error of a log norm in nats per step. The float32 one covers the rounding of the matrix's entries
# (relative 6e-8 each); what remains of log norms that are large themselves is in `close_logs`.
FLOOR = {"float64": 1e-14, "float32": 3e-7}


def _linear_step(w, h, x):
    del x
    h = h @ w.T
    return h, h


def _linear_state(w, batch_shape=()):
    return jnp.zeros((*batch_shape, w.shape[0]), w.dtype)


# s' = W s for the matrix W that is its parameters, whatever the input.
LINEAR = jaxrnn.Cell(lambda key: jnp.eye(2), _linear_state, _linear_step)


def _driven_step(params, h, x):
    size = params.shape[0]
    h = jnp.einsum("...ij,...j->...i", x.reshape(*x.shape[:-1], size, size), h)
    return h, h


def _driven_state(params, batch_shape=()):
    return jnp.zeros((*batch_shape, params.shape[0]), params.dtype)


# s' = X s for the matrix X that is its input, row after row.
DRIVEN = jaxrnn.Cell(lambda key: jnp.zeros(2), _driven_state, _driven_step)

# Tests compile far more than they compute.
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

decay = _jit(analysis.gradient_decay, static_argnames=("cell", "norm", "num_probes"))
product = _jit(analysis.jacobian_product, static_argnames=("cell", "start", "stop"))
jacobians = _jit(analysis.jacobians, static_argnames="cell")
input_jacobians = _jit(analysis.input_jacobians, static_argnames="cell")


@functools.partial(_jit, static_argnums=0)
def measure(cell, params, xs, state=None):
    """The decay over all lags and the product of all steps, compiled together."""
    return (
        analysis.gradient_decay(cell, params, xs, state),
        analysis.jacobian_product(cell, params, xs, state),
    )


def blank(num_steps, *batch):
    """Inputs that `LINEAR` ignores."""
    return jnp.zeros((num_steps, *batch, 1))


def whole(result):
    """The matrix that a `JacobianProduct` stands for, in float64."""
    scale = np.exp(np.asarray(result.log_scale, np.float64))
    return np.asarray(result.matrix, np.float64) * scale[..., None, None]


def orthogonal(size, seed=0):
    """An orthogonal matrix, float64."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def rotation(angle):
    """A rotation of the plane, float64."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def block_diagonal(*blocks):
    """A block-diagonal matrix."""
    size = sum(len(block) for block in blocks)
    out, at = np.zeros((size, size)), 0
    for block in blocks:
        out[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return out


def close_logs(got, want, num_steps, dtype, floor=None):
    """Asserts that log norms agree within the floor per step and the rounding of their own size."""
    got, want = np.asarray(got, np.float64), np.asarray(want)
    assert got.shape == want.shape
    floor = FLOOR[dtype] if floor is None else floor
    allowed = floor * (np.asarray(num_steps) + 4) + 2 * np.finfo(dtype).eps * np.abs(want)
    excess = np.abs(got - want) / allowed
    assert np.max(excess) <= 1, f"{np.max(excess):.3g} times the tolerance"
