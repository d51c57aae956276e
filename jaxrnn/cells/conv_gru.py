"""The convolutional GRU: a grid of one to three dimensions with a state at every position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.convolution import (
    check_shapes,
    check_space,
    conv_input_share,
    convolve,
    grid_zeros,
    init_kernels,
    on_grid,
)
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "CONV_GRU",
    "CONV_GRU_ENTRY",
    "ConvGRUParams",
    "conv_gru",
    "conv_gru_init",
    "conv_gru_project",
    "conv_gru_recur",
    "conv_gru_step",
]


class ConvGRUParams(NamedTuple):
    """Parameters of `conv_gru`; gates side by side in the order r, z, n.

    Attributes:
      w_ih: ``(*kernel, I, 3 H)``.
      w_hh: ``(*kernel, H, 3 H)``.
      b: ``(3 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def conv_gru_init(key, input_size, hidden_size, **options) -> ConvGRUParams:
    """Makes the parameters of `conv_gru`; the options are those of `init_kernels`."""
    w_ih, w_hh = init_kernels(key, input_size, hidden_size, gates=3, **options)
    return ConvGRUParams(w_ih, w_hh, jnp.zeros(3 * hidden_size, w_hh.dtype))


def conv_gru_project(params, x):
    """Returns the input's convolution plus b, ``(*batch, *space, 3 H)``."""
    return conv_input_share(params, x, by="conv_gru")


def _split_kernel(params):
    return jnp.split(params.w_hh, [2 * params.w_hh.shape[-2]], axis=-1)


def conv_gru_recur(kernels, h, share):
    """Takes the two dependent convolutions; `share` is ``(*batch, *space, 3 H)``."""
    check_space(share, h, by="conv_gru")
    gates, candidate = kernels
    gates_input, n_input = jnp.split(share, [gates.shape[-1]], axis=-1)
    r, z = jnp.split(jax.nn.sigmoid(gates_input + convolve(h, gates)), 2, axis=-1)
    n = jnp.tanh(n_input + convolve(r * h, candidate))
    h = (1 - z) * n + z * h
    return h, h


CONV_GRU = Separable(conv_gru_project, conv_gru_recur, _split_kernel)
conv_gru_step = CONV_GRU.step


def conv_gru(
    input_size: int,
    hidden_size: int,
    *,
    spatial_shape: tuple[int, ...] = (8, 8),
    kernel_size: int | tuple[int, ...] = 3,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the convolutional GRU (GRU-RCN), for images and other grids over time.

    ::

        r = sigmoid(x (*) W_r + h (*) U_r + b_r)
        z = sigmoid(x (*) W_z + h (*) U_z + b_z)
        n = tanh(x (*) W_n + (r * h) (*) U_n + b_n)
        h' = (1 - z) * n + z * h,  y = h'

    with the convolution ``(*)``, which keeps the grid: zeros lie around it. As in `gru`, z near 1
    keeps the state; the paper's z is 1 - z, and it writes no biases.

    Args:
      input_size: I, the number of input channels; inputs are ``(*batch, *space, I)``.
      hidden_size: H, the number of channels of the state.
      spatial_shape: the sizes of the grid, 1 to 3.
      kernel_size: the size of the kernels along every axis of space, or one for each.
      init: initializer of `w_hh`, ``(*kernel, H, 3 H)``; Glorot uniform per gate if not given.
      input_init: initializer of `w_ih`, ``(*kernel, I, 3 H)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `ConvGRUParams`; its state is the array h, ``(*batch, *space, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or the numbers of axes do not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = conv_gru(3, 5, spatial_shape=(16,))
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 16, 3)))
      >>> y.shape
      (2, 16, 5)

    Reference:
      N. Ballas, L. Yao, C. Pal, A. Courville, "Delving deeper into convolutional networks for
      learning video representations", 2016, section 3.
    """
    space, kernel = check_shapes(spatial_shape, kernel_size, by="conv_gru")
    make = sized_init(
        conv_gru_init,
        input_size,
        hidden_size,
        by="conv_gru",
        dtype=dtype,
        kernel_size=kernel,
        init=init,
        input_init=input_init,
    )
    initial_state = on_grid(grid_zeros, space)
    return from_structure(make, initial_state, CONV_GRU, input_ndim=1 + len(space))


def _small_conv_gru(input_size: int, hidden_size: int) -> Cell:
    return conv_gru(input_size, hidden_size, spatial_shape=(3, 2))


CONV_GRU_ENTRY = CellEntry(
    make=_small_conv_gru,
    paper="Ballas et al. 2016, GRU-RCN, section 3",
    structure="Separable",
    state="h (3, 2, H), on a grid of 3 x 2",
    equations=(
        "r, z = sigmoid(x (*) W + h (*) U + b)\n"
        "n = tanh(x (*) W_n + (r * h) (*) U_n + b_n)\n"
        "h' = (1 - z) * n + z * h"
    ),
    parameters="3 H (9 I + 9 H + 1)",
    defaults="kernels Glorot uniform per gate, b = 0; grid 8 x 8, kernel 3 x 3",
    provenance="NumPy transcription of the equations, values and gradients",
)
