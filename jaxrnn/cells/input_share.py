"""The input's share of a step, as every cell with an input matrix has it."""

import jax.numpy as jnp

from jaxrnn.core.types import Array

__all__ = ["input_share"]


def input_share(w_ih: Array, b: Array, x: Array, *, by: str) -> Array:
    """Returns ``x @ w_ih + b``, or row x of `w_ih`, plus b, for an integer x.

    Args:
      w_ih: ``(I, G * H)``.
      b: ``(G * H,)``.
      x: floats, ``(*batch, I)``, or integers (tokens), ``(*batch,)``. A token outside ``[0, I)``
        gives NaN: under `jit` an error cannot depend on the data, and a clipped token would be
        another token.
      by: the cell's name, for the message.

    Returns:
      ``(*batch, G * H)``.

    Raises:
      ValueError: x has another feature size, or no feature axis.
    """
    if jnp.issubdtype(x.dtype, jnp.integer):
        rows = w_ih.at[jnp.where(x < 0, w_ih.shape[0], x)]
        return rows.get(mode="fill", fill_value=jnp.nan) + b
    if x.ndim == 0 or x.shape[-1] != w_ih.shape[0]:
        got = f"an input of shape {x.shape}" + (f" ({x.shape[-1]} features)" if x.ndim else "")
        msg = (
            f"{by}: got {got}; expected {w_ih.shape[0]} features on the last axis (time-major "
            f"(T, *batch, {w_ih.shape[0]}) over time); make the cell with the data's input size, "
            "or check the order of the axes"
        )
        raise ValueError(msg)
    return x @ w_ih + b
