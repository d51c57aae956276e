"""Convolutions in place of matrix products: what the convolutional cells have in common."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrnn.core import initializers
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array

__all__ = [
    "check_shapes",
    "check_space",
    "conv_input_share",
    "convolve",
    "grid_zeros",
    "init_kernels",
    "on_grid",
]


def init_kernels(
    key, input_size, hidden_size, *, kernel_size, gates, init=None, input_init=None, dtype=None
) -> tuple[Array, Array]:
    """Draws both kernels, ``(*kernel, I, G * H)`` and ``(*kernel, H, G * H)``.

    They are Glorot uniform per gate if no initializer is given, with the kernel's size counted in
    the fans.
    """
    dtype = initializers.float_dtype(dtype)

    def glorot(key, shape, dtype):
        one, shape = jax.nn.initializers.glorot_uniform(), (*shape[:-1], hidden_size)
        return jnp.concatenate([one(k, shape, dtype) for k in jax.random.split(key, gates)], -1)

    def draw(key, init, channels):
        return (init or glorot)(key, (*kernel_size, channels, gates * hidden_size), dtype)

    k_ih, k_hh = jax.random.split(key)
    return draw(k_ih, input_init, input_size), draw(k_hh, init, hidden_size)


def grid_zeros(params, batch_shape=(), *, spatial_shape) -> Array:
    """Returns zeros, ``(*batch, *space, H)``."""
    shape = (*batch_shape, *spatial_shape, params.w_hh.shape[-2])
    return jnp.zeros(shape, params.w_hh.dtype)


def convolve(x: Array, kernel: Array) -> Array:
    """Convolves over the axes of space, padding with zeros; any number of batch axes before."""
    ndim = kernel.ndim - 1
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    batch, axes = x.shape[:-ndim], "DHW"[4 - ndim :]
    y = jax.lax.conv_general_dilated(
        x.reshape(math.prod(batch), *x.shape[-ndim:]).astype(dtype),
        kernel.astype(dtype),
        window_strides=(1,) * (ndim - 1),
        padding="SAME",
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )
    return y.reshape(*batch, *y.shape[1:])


def conv_input_share(params, x, *, by: str) -> Array:
    """Returns the convolution of x, ``(*batch, *space, I)``, with `w_ih`, plus b.

    Raises:
      TypeError: x is not floating.
      ValueError: x has another number of channels or too few axes.
    """
    *kernel, channels, _ = params.w_ih.shape
    if x.ndim <= len(kernel) or x.shape[-1] != channels:
        msg = (
            f"{by}: got an input of shape {x.shape}; expected (*batch, *space, {channels}) with "
            f"{len(kernel)} axes of space; put the channels last, or make the cell for the data"
        )
        raise ValueError(msg)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        msg = f"{by}: got an input of dtype {x.dtype}; expected floats; cast it, as in x / 255"
        raise TypeError(msg)
    return convolve(x, params.w_ih) + params.b


def check_space(z: Array, h: Array, *, by: str) -> None:
    """Raises ValueError unless the input's share z and the state h lie on the same grid."""
    if z.shape[:-1] != h.shape[:-1]:
        msg = (
            f"{by}: got an input of {z.shape[:-1]} positions (*batch, *space) and a state of "
            f"{h.shape[:-1]}; expected the same; pass the input's own spatial_shape to {by}"
        )
        raise ValueError(msg)


def _sizes(name: str, sizes, by: str) -> tuple[int, ...]:
    return tuple(check_size(name, size, by=by) for size in sizes)


def check_shapes(spatial_shape, kernel_size, *, by: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the sizes of the grid and of the kernel along each axis of space."""
    space = _sizes("spatial_shape", spatial_shape, by)
    if not 1 <= len(space) <= 3:
        msg = (
            f"{by}: got spatial_shape={space}; expected 1 to 3 sizes, one an axis of space; for "
            "none use the cell without convolution"
        )
        raise ValueError(msg)
    whole = hasattr(kernel_size, "__index__")
    kernel = _sizes("kernel_size", [kernel_size] * len(space) if whole else kernel_size, by)
    if len(kernel) != len(space):
        msg = (
            f"{by}: got kernel_size={kernel} for spatial_shape={space}; expected one size an axis "
            "of space; pass one number for all"
        )
        raise ValueError(msg)
    return space, kernel


@functools.lru_cache(maxsize=256)
def on_grid(initial_state, spatial_shape):
    """Binds the grid; equal calls give one function, so that cells made alike are equal."""
    return functools.partial(initial_state, spatial_shape=spatial_shape)
