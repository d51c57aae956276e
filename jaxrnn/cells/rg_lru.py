"""The real-gated linear recurrent unit of Griffin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.sru import input_itself
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Array

__all__ = [
    "RG_LRU",
    "RG_LRU_ENTRY",
    "RGLRUParams",
    "rg_lru",
    "rg_lru_coefficients",
    "rg_lru_init",
    "rg_lru_initial_state",
    "rg_lru_readout",
    "rg_lru_step",
]

_C = 8  # the paper's constant c
_MOST = 0.999999  # a decay of 1 has no logit


class RGLRUParams(NamedTuple):
    """Parameters of `rg_lru`; gates side by side in the order r, i.

    Attributes:
      w_ih: ``(H, 2 H)``.
      b: ``(2 H,)``.
      a_logit: ``(H,)``, the paper's Lambda: ``a = sigmoid(a_logit)``.
      w_in: ``(I, H)``, what makes H features of I; None where I equals H, as in the paper.
    """

    w_ih: Array
    b: Array
    a_logit: Array
    w_in: Array | None


def rg_lru_init(
    key, input_size, hidden_size, *, decay_min=0.9, decay_max=0.999, dtype=None
) -> RGLRUParams:
    """Makes the parameters of `rg_lru`."""
    dtype = initializers.float_dtype(dtype)
    wide = jnp.promote_types(dtype, jnp.float32)  # decays near 1 are far apart in half precision
    k_w, k_a, k_x = jax.random.split(key, 3)
    lecun = jax.nn.initializers.variance_scaling(1, "fan_in", "normal")
    log_a = jnp.log(jax.random.uniform(k_a, (hidden_size,), wide, decay_min, decay_max)) / _C
    square = input_size == hidden_size
    return RGLRUParams(
        w_ih=lecun(k_w, (hidden_size, 2 * hidden_size), dtype),
        b=jnp.zeros(2 * hidden_size, dtype),
        a_logit=(log_a - jnp.log(-jnp.expm1(log_a))).astype(dtype),
        w_in=None if square else lecun(k_x, (input_size, hidden_size), dtype),
    )


def rg_lru_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.a_logit.shape[0]), params.a_logit.dtype)


def rg_lru_coefficients(params, x):
    """Returns ``(a**(c r), sqrt(1 - a**(2 c r)) * i * x)``, ``(*batch, H)`` each."""
    if params.w_in is None:
        x = input_itself(x, params.w_ih.shape[0], params.w_ih.dtype, by="rg_lru")
    else:
        x = input_share(params.w_in, jnp.zeros((), params.w_in.dtype), x, by="rg_lru")
    gates = jax.nn.sigmoid(input_share(params.w_ih, params.b, x, by="rg_lru"))
    r, i = jnp.split(gates, 2, axis=-1)
    log_a = _C * r * jax.nn.log_sigmoid(params.a_logit)
    rest = -jnp.expm1(2 * log_a)  # 1 - a**2, without cancellation for a near 1
    closed = rest <= 0  # r has underflowed; the root has no slope there
    scale = jnp.where(closed, 0, jnp.sqrt(jnp.where(closed, 1, rest)))
    return jnp.exp(log_a), scale * i * x


def rg_lru_readout(params, h, x):
    """Returns the state."""
    del params, x
    return h


RG_LRU = Linear(rg_lru_coefficients, rg_lru_readout)
rg_lru_step = RG_LRU.step


def rg_lru(
    input_size: int,
    hidden_size: int,
    *,
    decay_min: float = 0.9,
    decay_max: float = 0.999,
    dtype=None,
) -> Cell:
    """Makes the real-gated linear recurrent unit.

    ::

        r = sigmoid(x W_r + b_r)                             recurrence gate
        i = sigmoid(x W_i + b_i)                             input gate
        a = sigmoid(Lambda) ** (c r),  c = 8
        h' = a * h + sqrt(1 - a**2) * (i * x),  y = h'

    The paper's unit has I = H. Where they differ, ``x W_in`` stands for x everywhere, as a linear
    layer stands before the unit in the paper's block. The gates' matrices are full. The authors'
    code can make them block-diagonal, has -Lambda as its parameter, starts a itself, not ``a**c``,
    in [0.9, 0.999], and leaves the root out at a sequence's first step; here the paper is followed.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      decay_min: smallest ``sigmoid(Lambda) ** c`` at first.
      decay_max: largest ``sigmoid(Lambda) ** c`` at first.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `RGLRUParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, a decay no number, or `dtype` is not floating.
      ValueError: a size is less than 1, or ``0 < decay_min <= decay_max <= 0.999999`` does not
        hold.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = rg_lru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      S. De et al., "Griffin: mixing gated linear recurrences with local attention for efficient
      language models", 2024, equations 1 to 4, section 2.4.
    """
    decay_min = check_number("decay_min", decay_min, by="rg_lru", above=0)
    decay_max = check_number("decay_max", decay_max, by="rg_lru", least=decay_min, most=_MOST)
    make = sized_init(
        rg_lru_init,
        input_size,
        hidden_size,
        by="rg_lru",
        dtype=dtype,
        decay_min=decay_min,
        decay_max=decay_max,
    )
    return from_structure(make, rg_lru_initial_state, RG_LRU)


RG_LRU_ENTRY = CellEntry(
    make=rg_lru,
    paper="De et al. 2024, equations 1 to 4",
    structure="Linear",
    state="h (H)",
    equations=(
        "r, i = sigmoid(x W + b)\n"
        "a = sigmoid(Lambda) ** (8 r)\n"
        "h' = a * h + sqrt(1 - a^2) * (i * x), with x W_in for x if I != H"
    ),
    parameters="2 H^2 + 3 H + I H; 2 H^2 + 3 H if I = H",
    defaults="W LeCun normal, b = 0, sigmoid(Lambda) ** 8 uniform in [0.9, 0.999]",
    provenance="recurrentgemma 1.0.1 (the authors), RGLRU, values and gradients",
)
