"""STAR, the stackable recurrent cell: gradients keep their size through many layers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import add_to_first, hidden_zeros, initial_vector, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_blocks, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "STAR",
    "STAR_ENTRY",
    "STARParams",
    "star",
    "star_init",
    "star_initial_state",
    "star_pointwise",
    "star_project",
    "star_step",
]

_CHRONO = initializers.chrono(784)  # in the authors' code, for the pixels of an MNIST image


class STARParams(NamedTuple):
    """Parameters of `star`; blocks side by side in the order k, z.

    Attributes:
      w_ih: ``(I, 2 H)``.
      w_hh: ``(H, H)``, k: the embedding z sees the input alone.
      b: ``(2 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def _orthogonal_blocks(key, shape, dtype):
    """Draws two blocks ``(I, H)`` with orthonormal rows or columns, whichever are fewer."""
    one = jax.nn.initializers.orthogonal()
    wide = jnp.promote_types(dtype, jnp.float32)  # LAPACK knows no half precision
    block = (shape[0], shape[1] // 2)
    blocks = [one(k, block, wide) for k in jax.random.split(key)]
    return jnp.concatenate(blocks, axis=-1).astype(dtype)


def star_init(
    key, input_size, hidden_size, *, forget_bias=_CHRONO, input_init=None, **options
) -> STARParams:
    """Makes the parameters of `star`; the other options are those of `init_blocks`."""
    k_w, k_b = jax.random.split(key)
    input_init = _orthogonal_blocks if input_init is None else input_init
    sizes = (input_size, hidden_size)
    w_ih, w_hh = init_blocks(k_w, *sizes, inputs=2, recurrent=1, input_init=input_init, **options)
    b_k = -initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    return STARParams(w_ih, w_hh, jnp.concatenate([b_k, jnp.zeros_like(b_k)]))


star_initial_state = hidden_zeros


def star_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, params.b, x, by="star")


def star_pointwise(vectors, h, a):
    """Applies gate and embedding to the pre-activations `a`, ``(*batch, 2 H)``."""
    del vectors
    k, z = jnp.split(a, 2, axis=-1)
    k = jax.nn.sigmoid(k)
    h = jnp.tanh((1 - k) * h + k * jnp.tanh(z))
    return h, h


STAR = Gated(star_project, recurrent_matrix, star_pointwise, add_to_first)
star_step = STAR.step


def star(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float | initializers.Initializer = _CHRONO,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes STAR, the stackable recurrent cell.

    ::

        z = tanh(x W_z + b_z)                        embedding of the input
        k = sigmoid(x W_k + h U_k + b_k)             gate; near 0 keeps the state
        h' = tanh((1 - k) * h + k * z),  y = h'

    The authors' TensorFlow code shifts the gate of z against that of h by 1, as JANET does; the
    equations here are the paper's, which do not.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      forget_bias: b_k starts at minus this: an initializer or a number. If not given,
        ``initializers.chrono(784)`` as in the authors' code, which is for their sequences of 784
        steps: pass ``initializers.chrono(T)`` with the length T of yours.
      init: initializer of `w_hh`, ``(H, H)``; orthogonal if not given.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; orthogonal rows or columns per block if not
        given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `STARParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = star(3, 5, forget_bias=1.0)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      M. Turkoglu, S. D'Aronco, J. Wegner, K. Schindler, "Gating revisited: deep multi-layer RNNs
      that can be trained", 2021.
    """
    make = sized_init(
        star_init,
        input_size,
        hidden_size,
        by="star",
        dtype=dtype,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, star_initial_state, STAR)


STAR_ENTRY = CellEntry(
    make=star,
    paper="Turkoglu et al. 2021, Gating revisited",
    structure="Gated",
    state="h (H)",
    equations=(
        "z = tanh(x W_z + b_z)\nk = sigmoid(x W_k + h U_k + b_k)\nh' = tanh((1 - k) * h + k * z)"
    ),
    parameters="2 H (I + 1) + H H",
    defaults="w_ih and w_hh orthogonal per block, b_k minus chrono for 784 steps, b_z = 0",
    provenance="torchrecurrent 0.2.5 STARCell, values and gradients",
)
