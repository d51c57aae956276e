"""The affine map from a layer's outputs to predictions."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.core import initializers
from jaxrnn.core.checks import check_size
from jaxrnn.core.trees import mask_zero
from jaxrnn.core.types import Array
from jaxrnn.layers.layer import Layer, SizedInit
from jaxrnn.layers.parts import Readout
from jaxrnn.unrolls.sequence import check_flags

__all__ = ["ReadoutParams", "readout"]


class ReadoutParams(NamedTuple):
    """Parameters of `readout`.

    Attributes:
      w: ``(input_size, size)``.
      b: ``(size,)``.
    """

    w: Array
    b: Array


def readout(
    size: int,
    *,
    input_size: int | None = None,
    init: initializers.Initializer | None = None,
    dtype=None,
) -> Layer:
    """Makes the affine layer ``ys = xs @ w + b``, zeros on masked steps.

    Args:
      size: number of outputs.
      input_size: number of input features; inside `stack` it is worked out from the layer before.
      init: initializer of `w`; Glorot uniform if not given. `b` starts at zero.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      The layer; its state is empty.

    Raises:
      TypeError: a size is not an integer.
      ValueError: a size is less than 1, or, at `init`, the input size is not known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = readout(2, input_size=3)
      >>> net.apply(net.init(jax.random.key(0)), jnp.ones((7, 3)))[1].shape
      (7, 2)
    """
    size = check_size("size", size, by="readout")
    if input_size is not None:
        input_size = check_size("input_size", input_size, by="readout")
    make = initializers.glorot_uniform() if init is None else init

    def initialize(key, found=None):
        features = found if input_size is None else input_size
        if features is None:
            msg = (
                "readout: got no input size, and none follows from the layer before; expected a "
                f"number of features; pass readout({size}, input_size=...)"
            )
            raise ValueError(msg)
        return ReadoutParams(
            w=make(key, (features, size), initializers.float_dtype(dtype)),
            b=jnp.zeros(size, initializers.float_dtype(dtype)),
        )

    def initial_state(params, batch_shape=()):
        del params, batch_shape
        return ()

    def apply(params, xs, state=None, *, mask=None, resets=None):
        del state, resets  # no memory to hold or to reset
        if xs.ndim == 0 or xs.shape[-1] != params.w.shape[0]:
            msg = (
                f"readout: got xs of shape {xs.shape}; expected {params.w.shape[0]} features on "
                "the last axis"
            )
            raise ValueError(msg)
        if mask is None:
            return (), xs @ params.w + params.b
        mask = check_flags("mask", mask, xs.shape[:-1], by="readout")
        return (), mask_zero(mask, mask_zero(mask, xs) @ params.w + params.b)

    return Layer(SizedInit(initialize), initial_state, apply, Readout(apply))
