"""Initial values of weights and biases.

An initializer is a function ``(key, shape, dtype) -> array``, as in `jax.nn.initializers`. A
recurrent matrix is ``(H, G * H)``: G gates side by side, each a square block.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array, Key

__all__ = [
    "Initializer",
    "chrono",
    "constant",
    "float_dtype",
    "glorot_uniform",
    "identity",
    "normal",
    "orthogonal",
    "uniform_by_hidden",
]

Initializer = Callable[[Key, tuple[int, ...], Any], Array]


def float_dtype(dtype: Any = None) -> Any:
    """Returns `dtype`, or JAX's default floating dtype (float32, float64 under x64) for None.

    Raises:
      TypeError: `dtype` is not a floating dtype.
    """
    if dtype is None:
        return jnp.result_type(float)
    if not jnp.issubdtype(dtype, jnp.floating):
        msg = f"got dtype={dtype!r}; expected a floating dtype such as jax.numpy.float32"
        raise TypeError(msg)
    return jnp.dtype(dtype)


def _gates(shape: tuple[int, ...], by: str) -> int:
    """Returns G for a recurrent matrix of shape ``(H, G * H)``."""
    if len(shape) != 2 or shape[1] % shape[0]:
        msg = (
            f"{by}: got shape {shape}; expected a recurrent matrix (H, gates * H); "
            "use an initializer that takes any shape, such as glorot_uniform"
        )
        raise ValueError(msg)
    return shape[1] // shape[0]


def orthogonal(scale: float = 1.0) -> Initializer:
    """Draws each gate's square block from the orthogonal group (Haar measure), times `scale`.

    Every gate's block has all singular values equal to `scale`, so a linear recurrence neither
    vanishes nor explodes at ``scale=1``.

    Args:
      scale: the common singular value.

    Returns:
      The initializer, for shapes ``(H, G * H)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = orthogonal(0.5)(jax.random.key(0), (3, 6), jnp.float32)
      >>> jnp.allclose(w[:, :3] @ w[:, :3].T, 0.25 * jnp.eye(3), atol=1e-6).item()
      True

    Reference:
      A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in
      deep linear neural networks", 2014, section 3.
    """

    def initialize(key, shape, dtype=None):
        gates, dtype = _gates(shape, "orthogonal"), float_dtype(dtype)
        one = jax.nn.initializers.orthogonal(scale)
        wide = jnp.promote_types(dtype, jnp.float32)  # LAPACK knows no half precision
        blocks = [one(k, (shape[0], shape[0]), wide) for k in jax.random.split(key, gates)]
        return jnp.concatenate(blocks, axis=1).astype(dtype)

    return initialize


def identity(scale: float = 1.0) -> Initializer:
    """Sets each gate's square block to `scale` times the identity (the IRNN of Le et al.).

    Args:
      scale: the value on the diagonal.

    Returns:
      The initializer, for shapes ``(H, G * H)``; it uses no randomness.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> identity()(jax.random.key(0), (2, 2), jnp.float32).tolist()
      [[1.0, 0.0], [0.0, 1.0]]

    Reference:
      Q. Le, N. Jaitly, G. Hinton, "A simple way to initialize recurrent networks of rectified
      linear units", 2015, section 2.
    """

    def initialize(key, shape, dtype=None):
        del key
        gates = _gates(shape, "identity")
        return scale * jnp.tile(jnp.eye(shape[0], dtype=float_dtype(dtype)), (1, gates))

    return initialize


def normal(stddev: float) -> Initializer:
    """Draws from a normal distribution with mean 0 and standard deviation `stddev`."""
    return jax.nn.initializers.normal(stddev)


def constant(value: float) -> Initializer:
    """Sets every entry to `value`."""

    def initialize(key, shape, dtype=None):
        del key
        return jnp.full(shape, value, float_dtype(dtype))

    return initialize


def glorot_uniform(gates: int = 1) -> Initializer:
    """Draws uniformly with the variance 2 / (fan in + fan out) of one gate's block.

    Args:
      gates: number of gates side by side in the matrix. With 1 the whole matrix counts as one map,
        as in Keras; with G each ``(I, H)`` block does.

    Returns:
      The initializer, for shapes ``(I, gates * H)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = glorot_uniform(gates=4)(jax.random.key(0), (10, 40), jnp.float32)
      >>> bool(jnp.max(jnp.abs(w)) <= (6 / (10 + 10)) ** 0.5)
      True

    Reference:
      X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
      networks", 2010, equation 16.
    """

    def initialize(key, shape, dtype=None):
        bound = math.sqrt(6 / (shape[0] + shape[1] / gates))
        return jax.random.uniform(key, shape, float_dtype(dtype), -bound, bound)

    return initialize


def uniform_by_hidden(hidden_size: int) -> Initializer:
    """Draws uniformly from ``[-1/sqrt(H), 1/sqrt(H)]``, the default of torch, equinox and cuDNN.

    Args:
      hidden_size: H.

    Returns:
      The initializer, for any shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> b = uniform_by_hidden(16)(jax.random.key(0), (64,), jnp.float32)
      >>> bool(jnp.max(jnp.abs(b)) <= 0.25)
      True
    """
    bound = 1 / math.sqrt(hidden_size)

    def initialize(key, shape, dtype=None):
        return jax.random.uniform(key, shape, float_dtype(dtype), -bound, bound)

    return initialize


def chrono(max_lag: float) -> Initializer:
    """Draws forget biases whose time constants spread over ``[1, max_lag]`` steps.

    ``b_f = log(u)`` with ``u`` uniform in ``[1, max_lag - 1]``: a gate held at its bias forgets
    over about ``1 + u`` steps. A cell that takes this as its forget bias sets the bias of its input
    gate to ``-b_f``, as the paper prescribes.

    Args:
      max_lag: T_max, the longest dependency to be learnt, in steps; more than 2.

    Returns:
      The initializer, for the shape of one gate's bias.

    Raises:
      ValueError: `max_lag` is 2 or less.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> b = chrono(100)(jax.random.key(0), (8,), jnp.float32)
      >>> bool(jnp.all((b >= 0) & (b <= jnp.log(99.0))))
      True

    Reference:
      C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", 2018, equation 16.
    """
    if not max_lag > 2:
        msg = f"chrono: got max_lag={max_lag}; expected more than 2 steps"
        raise ValueError(msg)

    def initialize(key, shape, dtype=None):
        return jnp.log(jax.random.uniform(key, shape, float_dtype(dtype), 1.0, max_lag - 1.0))

    return initialize
