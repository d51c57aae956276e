"""The simple recurrent unit: gates that hear the memory unit by unit, and a highway around it."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Elementwise
from jaxrnn.core.types import Array

__all__ = [
    "SRU",
    "SRU_ENTRY",
    "SRUParams",
    "input_itself",
    "sru",
    "sru_init",
    "sru_initial_state",
    "sru_pointwise",
    "sru_project",
    "sru_step",
]


class SRUParams(NamedTuple):
    """Parameters of `sru`.

    Attributes:
      w_ih: ``(I, 4 H)``, blocks side by side: candidate, f, r, highway; ``(I, 3 H)`` without the
        highway's block where I equals H.
      v: ``(2 H,)``, the weights of the memory in the gates f, r.
      b: ``(2 H,)``, of the gates f, r.
      alpha: ``()``, the scale of the input on the highway where I equals H, else None.
    """

    w_ih: Array
    v: Array
    b: Array
    alpha: Array | None


def sru_init(key, input_size, hidden_size, *, highway_bias=0.0, dtype=None) -> SRUParams:
    """Makes the parameters of `sru`."""
    dtype = initializers.float_dtype(dtype)
    k_w, k_v = jax.random.split(key)
    square = input_size == hidden_size
    alpha, half = math.sqrt(1 + 2 * math.exp(highway_bias)), math.sqrt(0.5)
    sizes = [1, half, half] if square else [1, half, half, alpha]
    shape, bound = (len(sizes), input_size, hidden_size), math.sqrt(3 / input_size)
    blocks = jax.random.uniform(k_w, shape, dtype, -bound, bound)
    bound = half * math.sqrt(3)
    return SRUParams(
        w_ih=jnp.concatenate([size * block for size, block in zip(sizes, blocks, strict=True)], 1),
        v=jax.random.uniform(k_v, (2 * hidden_size,), dtype, -bound, bound),
        b=jnp.repeat(jnp.array([0, highway_bias], dtype), hidden_size),
        alpha=jnp.full((), alpha, dtype) if square else None,
    )


def sru_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.v.shape[0] // 2), params.v.dtype)


def input_itself(x: Array, size: int, dtype, *, by: str) -> Array:
    """Returns x, or for tokens their unit vectors, ``(*batch, size)``: x times the identity."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return input_share(jnp.eye(size, dtype=dtype), jnp.zeros((), dtype), x, by=by)
    return x


def sru_project(params, x):
    """Returns the shares of candidate, f, r and highway, ``(*batch, 4 H)``."""
    hidden, blocks = params.v.shape[0] // 2, params.w_ih.shape[-1]
    b = jnp.pad(params.b, (hidden, blocks - 3 * hidden))
    share = input_share(params.w_ih, b, x, by="sru")
    if params.alpha is None:
        return share
    x = params.alpha * input_itself(x, hidden, share.dtype, by="sru")
    return jnp.concatenate([share, x], axis=-1)


def _sru_vectors(params):
    return params.v


def sru_pointwise(v, c, z):
    """Applies the gates to the shares `z`, ``(*batch, 4 H)``; the state is c, the output h."""
    v_f, v_r = jnp.split(v, 2)
    candidate, f, r, highway = jnp.split(z, 4, axis=-1)
    f, r = jax.nn.sigmoid(f + v_f * c), jax.nn.sigmoid(r + v_r * c)
    c = f * c + (1 - f) * candidate
    return c, r * c + (1 - r) * highway


SRU = Elementwise(sru_project, sru_pointwise, _sru_vectors)
sru_step = SRU.step


def sru(input_size: int, hidden_size: int, *, highway_bias: float = 0.0, dtype=None) -> Cell:
    """Makes the simple recurrent unit.

    ::

        f = sigmoid(x W_f + v_f * c + b_f)         forget gate
        c' = f * c + (1 - f) * (x W)
        r = sigmoid(x W_r + v_r * c + b_r)         reset gate
        h = r * c' + (1 - r) * (alpha x)           highway; x W_x in place of alpha x if I != H
        y = h

    alpha starts at ``sqrt(1 + 2 exp(b_r))``, which keeps the variance of h (section 3.2). It is a
    constant in the paper and a parameter here; a W_x starts scaled by it, as in the authors' code.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      highway_bias: initial value of b_r; negative values let more of the input through.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      An `Elementwise` cell with `SRUParams`; its state is the array c, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, `highway_bias` is not a number, or `dtype` is not
        floating.
      ValueError: a size is less than 1, or `highway_bias` is not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = sru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> c, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      T. Lei, Y. Zhang, S. Wang, H. Dai, Y. Artzi, "Simple recurrent units for highly parallelizable
      recurrence", 2018, equations 1 to 4 (with the vectors v, which the preprint of 2017 lacks).
    """
    highway_bias = check_number("highway_bias", highway_bias, by="sru")
    make = sized_init(
        sru_init, input_size, hidden_size, by="sru", dtype=dtype, highway_bias=highway_bias
    )
    return from_structure(make, sru_initial_state, SRU)


SRU_ENTRY = CellEntry(
    make=sru,
    paper="Lei et al. 2018, equations 1 to 4",
    structure="Elementwise",
    state="c (H)",
    equations=(
        "f, r = sigmoid(x W + v * c + b)\n"
        "c' = f * c + (1 - f) * (x W_c)\n"
        "h = r * c' + (1 - r) * (x W_x), or alpha x for x W_x if I = H"
    ),
    parameters="4 H (I + 1); 3 H I + 4 H + 1 if I = H",
    defaults=(
        "w_ih uniform +-sqrt(3/I), v uniform +-sqrt(3), those of the gates times sqrt(1/2), b = 0, "
        "alpha and the scale of W_x sqrt(1 + 2 exp(b_r))"
    ),
    provenance="sru 2.6.0 (the authors), SRUCell, values and gradients",
)
