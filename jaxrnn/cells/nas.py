"""The recurrent cell that a neural architecture search found."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "NAS",
    "NAS_ENTRY",
    "NASParams",
    "NASState",
    "nas",
    "nas_init",
    "nas_initial_state",
    "nas_mix",
    "nas_pointwise",
    "nas_project",
    "nas_step",
]


class NASParams(NamedTuple):
    """Parameters of `nas`; the eight leaves of the found tree side by side.

    Attributes:
      w_ih: ``(I, 8 H)``.
      w_hh: ``(H, 8 H)``.
      b: ``(8 H,)``, on the side of h: it matters in the leaf that multiplies x's share by h's.
    """

    w_ih: Array
    w_hh: Array
    b: Array


class NASState(NamedTuple):
    """State of `nas`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      c: ``(*batch, H)``, the memory cell.
    """

    h: Array
    c: Array


def nas_init(key, input_size, hidden_size, **options) -> NASParams:
    """Makes the parameters of `nas`; the options are those of `init_weights`."""
    w_ih, w_hh = init_weights(key, input_size, hidden_size, gates=8, **options)
    return NASParams(w_ih, w_hh, jnp.zeros(8 * hidden_size, w_hh.dtype))


def nas_initial_state(params, batch_shape=()) -> NASState:
    """Returns zeros, h and c ``(*batch, H)`` each."""
    shape, dtype = (*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype
    return NASState(h=jnp.zeros(shape, dtype), c=jnp.zeros(shape, dtype))


def nas_project(params, x):
    """Returns ``x @ w_ih``, ``(*batch, 8 H)``."""
    return input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="nas")


def _nas_weights(params):
    return params.w_hh


def _nas_vectors(params):
    return jnp.split(params.b, 8)


def _nas_hidden(state):
    return state.h


def nas_mix(z, r):
    """Adds the shares but for the fourth leaf, which needs them apart: ``8 H`` to ``9 H``."""
    n = z.shape[-1] // 8
    z_first, z_fourth, z_last = jnp.split(z, [3 * n, 4 * n], axis=-1)
    r_first, r_fourth, r_last = jnp.split(r, [3 * n, 4 * n], axis=-1)
    parts = z_first + r_first, z_fourth, r_fourth, z_last + r_last
    return jnp.concatenate(parts, axis=-1)


def nas_pointwise(b, state, a):
    """Applies the found tree to its leaves `a`, ``(*batch, 9 H)``, the fourth in two parts."""
    sigmoid, relu, tanh = jax.nn.sigmoid, jax.nn.relu, jnp.tanh
    a1, a2, a3, x4, h4, a5, a6, a7, a8 = jnp.split(a, 9, axis=-1)
    left = tanh(sigmoid(a1 + b[0]) * relu(a2 + b[1]))
    right = tanh(sigmoid(a3 + b[2]) + relu(x4 * (h4 + b[3])))
    out = tanh(tanh(a5 + b[4]) * sigmoid(a6 + b[5])) + sigmoid(tanh(a7 + b[6]) + sigmoid(a8 + b[7]))
    c = tanh(left + state.c) * right
    h = tanh(c * tanh(out))
    return NASState(h=h, c=c), h


NAS = Gated(nas_project, _nas_weights, nas_pointwise, nas_mix, _nas_vectors, _nas_hidden)
nas_step = NAS.step


def nas(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the cell found by neural architecture search (NASCell).

    ::

        a_k = x W_k + h U_k + b_k                          k = 1, 2, 3, 5, 6, 7, 8
        a_4 = (x W_4) * (h U_4 + b_4)                      a product
        m_1 = tanh(sigmoid(a_1) * relu(a_2))
        m_2 = tanh(sigmoid(a_3) + relu(a_4))
        m_3 = tanh(tanh(a_5) * sigmoid(a_6))
        m_4 = sigmoid(tanh(a_7) + sigmoid(a_8))
        c' = tanh(m_1 + c) * m_2
        h' = tanh(c' * tanh(m_3 + m_4)),  y = h'

    These are the equations of the first author's NASCell in TensorFlow; the paper shows the tree as
    a figure without biases.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, 8 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 8 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `NASParams` and `NASState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = nas(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.c.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      B. Zoph, Q. Le, "Neural architecture search with reinforcement learning", 2017, appendix A
      (the cell found without max and sin).
    """
    make = sized_init(
        nas_init, input_size, hidden_size, by="nas", dtype=dtype, init=init, input_init=input_init
    )
    return from_structure(make, nas_initial_state, NAS)


NAS_ENTRY = CellEntry(
    make=nas,
    paper="Zoph & Le 2017, Neural architecture search, appendix A",
    structure="Gated",
    state="h, c (H each)",
    equations=(
        "a_k = x W_k + h U_k + b_k, but a_4 = (x W_4) * (h U_4 + b_4)\n"
        "m_1 = tanh(sigmoid(a_1) * relu(a_2))\n"
        "m_2 = tanh(sigmoid(a_3) + relu(a_4))\n"
        "m_3 = tanh(tanh(a_5) * sigmoid(a_6))\n"
        "m_4 = sigmoid(tanh(a_7) + sigmoid(a_8))\n"
        "c' = tanh(m_1 + c) * m_2\n"
        "h' = tanh(c' * tanh(m_3 + m_4))"
    ),
    parameters="8 H (I + H + 1)",
    defaults="w_ih Glorot uniform per block, w_hh orthogonal per block, b = 0",
    provenance="NumPy transcription of the first author's TensorFlow cell, values and gradients",
)
