"""Irregular time: the time since the last step travels inside the input, ``x = (features, dt)``."""

import jax.numpy as jnp

from jaxrnn.core.types import Array, Input

__all__ = ["features_and_dt"]


def features_and_dt(x: Input, *, by: str) -> tuple[Array, Array | None]:
    """Splits the input of a cell that knows time.

    Args:
      x: features, ``(*batch, I)`` or tokens ``(*batch,)``; or a pair ``(features, dt)``, dt
        ``(*batch, 1)``: the time since the last step, not negative.
      by: the cell's name, for the messages.

    Returns:
      The features, and dt; None in place of dt where x has none.

    Raises:
      TypeError: dt is not floating.
      ValueError: x has another number of parts, or dt another shape.

    Example:
      >>> features, dt = features_and_dt((jnp.ones((2, 3)), jnp.ones((2, 1))), by="ltc")
      >>> dt.shape
      (2, 1)
    """
    if not isinstance(x, tuple | list):
        return x, None
    if len(x) != 2:
        msg = f"{by}: got an input of {len(x)} parts; expected features, or a pair (features, dt)"
        raise ValueError(msg)
    features, dt = x
    if not jnp.issubdtype(dt.dtype, jnp.floating):
        msg = f"{by}: got dt of dtype {dt.dtype}; expected floats (*batch, 1); cast it"
        raise TypeError(msg)
    tokens = jnp.issubdtype(features.dtype, jnp.integer)
    batch = features.shape if tokens else features.shape[:-1]
    if dt.shape != (*batch, 1):
        msg = (
            f"{by}: got dt of shape {dt.shape}; expected (*batch, 1) = {(*batch, 1)} for features "
            f"of shape {features.shape}; add the last axis, as in dt[..., None]"
        )
        raise ValueError(msg)
    return features, dt
