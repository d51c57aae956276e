"""The recurrent highway network: several highway layers between two time steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "RHN",
    "RHN_ENTRY",
    "RHNParams",
    "rhn",
    "rhn_highway",
    "rhn_init",
    "rhn_initial_state",
    "rhn_project",
    "rhn_recur",
    "rhn_step",
]


class RHNParams(NamedTuple):
    """Parameters of `rhn`; blocks side by side in the order h, t (and c, if it is not coupled).

    Attributes:
      w_ih: ``(I, G H)``, into the first layer; G is 2, or 3 with a carry gate of its own.
      w_hh: ``(L, H, G H)``, one matrix a layer.
      b: ``(L, G H)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def _uniform(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -0.04, 0.04)


def rhn_init(
    key,
    input_size,
    hidden_size,
    *,
    depth,
    coupled=True,
    transform_bias=-2.0,
    init=None,
    input_init=None,
    dtype=None,
) -> RHNParams:
    """Makes the parameters of `rhn`."""
    dtype = initializers.float_dtype(dtype)
    init, input_init = init or _uniform, input_init or _uniform
    biases = [0.0, transform_bias] if coupled else [0.0, transform_bias, -transform_bias]
    width = len(biases) * hidden_size
    k_ih, k_hh = jax.random.split(key)
    w_ih = input_init(k_ih, (input_size, width), dtype)
    layers = [init(k, (hidden_size, width), dtype) for k in jax.random.split(k_hh, depth)]
    b = jnp.repeat(jnp.array(biases, dtype), hidden_size)
    return RHNParams(w_ih, jnp.stack(layers), jnp.tile(b, (depth, 1)))


def rhn_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[1]), params.w_hh.dtype)


def rhn_project(params, x):
    """Returns the first layer's ``x @ w_ih + b``, ``(*batch, G H)``."""
    return input_share(params.w_ih, params.b[0], x, by="rhn")


def rhn_highway(s, a):
    """Takes one layer from its pre-activations `a`: 2 H of them, or 3 H if not coupled."""
    h, t, *c = jnp.split(a, a.shape[-1] // s.shape[-1], axis=-1)
    t = jax.nn.sigmoid(t)
    c = jax.nn.sigmoid(c[0]) if c else 1 - t
    return jnp.tanh(h) * t + s * c


def _layers(params):
    return list(zip(params.w_hh, params.b, strict=True))


def rhn_recur(layers, s, z):
    """Takes all layers, the first with the input's share `z`, which holds its bias."""
    (w, _), *rest = layers
    s = rhn_highway(s, z + s @ w)
    for w, b in rest:
        s = rhn_highway(s, s @ w + b)
    return s, s


RHN = Separable(rhn_project, rhn_recur, _layers)
rhn_step = RHN.step


def rhn(
    input_size: int,
    hidden_size: int,
    *,
    depth: int = 4,
    coupled: bool = True,
    transform_bias: float = -2.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the recurrent highway network.

    ::

        s_0 = s
        h_l = tanh(x W_h [l = 1] + s_{l-1} R_hl + b_hl)         l = 1, ..., L
        t_l = sigmoid(x W_t [l = 1] + s_{l-1} R_tl + b_tl)      transform gate
        c_l = 1 - t_l                                           carry gate, coupled
        c_l = sigmoid(x W_c [l = 1] + s_{l-1} R_cl + b_cl)      carry gate, not coupled
        s_l = h_l * t_l + s_{l-1} * c_l
        s' = s_L,  y = s'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      depth: L, the number of highway layers a step.
      coupled: whether the carry gate is 1 - t, as in the paper's experiments.
      transform_bias: initial value of b_t, negative to carry at first: -2 as in the paper's word
        models (its character models use -4). A carry gate of its own starts at its negative.
      init: initializer of each layer's ``(H, G H)``; uniform in [-0.04, 0.04] if not given.
      input_init: initializer of `w_ih`, ``(I, G H)``; uniform in [-0.04, 0.04] if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `RHNParams`; its state is the array s, ``(*batch, H)``.

    Raises:
      TypeError: a size or `depth` is not an integer, or `dtype` is not floating.
      ValueError: a size or `depth` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = rhn(3, 5, depth=2)
      >>> params = cell.init(jax.random.key(0))
      >>> s, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> params.w_hh.shape, y.shape
      ((2, 5, 10), (2, 5))

    Reference:
      J. Zilly, R. Srivastava, J. Koutnik, J. Schmidhuber, "Recurrent highway networks", 2017,
      equations 6 to 9; initial values from the authors' code, whose default depth is 4.
    """
    make = sized_init(
        rhn_init,
        input_size,
        hidden_size,
        by="rhn",
        dtype=dtype,
        depth=check_size("depth", depth, by="rhn"),
        coupled=coupled,
        transform_bias=transform_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, rhn_initial_state, RHN)


RHN_ENTRY = CellEntry(
    make=rhn,
    paper="Zilly et al. 2017, Recurrent highway networks, equations 6 to 9",
    structure="Separable",
    state="s (H)",
    equations=(
        "s_0 = s\n"
        "h_l = tanh(x W_h [l = 1] + s_{l-1} R_hl + b_hl), l = 1, ..., L = 4\n"
        "t_l = sigmoid(x W_t [l = 1] + s_{l-1} R_tl + b_tl)\n"
        "s_l = h_l * t_l + s_{l-1} * (1 - t_l)\n"
        "s' = s_L"
    ),
    parameters="2 H (I + L (H + 1)), L = 4",
    defaults="w_ih, w_hh uniform in [-0.04, 0.04], b_t = -2, b_h = 0",
    provenance="NumPy transcription of the equations, coupled and not, values and gradients",
)
