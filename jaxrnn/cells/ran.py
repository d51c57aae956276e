"""Recurrent additive networks: the memory is a gated sum of linear maps of the inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import add_to_first, hidden_zeros, initial_vector, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_blocks, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "RAN",
    "RAN_ENTRY",
    "RAN_IDENTITY",
    "RANParams",
    "ran",
    "ran_identity_pointwise",
    "ran_init",
    "ran_initial_state",
    "ran_pointwise",
    "ran_project",
    "ran_step",
]


class RANParams(NamedTuple):
    """Parameters of `ran`; blocks side by side in the order i, f, content.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 2 H)``, i and f: the content sees the input alone.
      b: ``(2 H,)``, i and f: the content has no bias.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def ran_init(key, input_size, hidden_size, *, forget_bias=0.0, **options) -> RANParams:
    """Makes the parameters of `ran`; the other options are those of `init_blocks`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_blocks(k_w, input_size, hidden_size, inputs=3, recurrent=2, **options)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    b_i = -b_f if callable(forget_bias) else jnp.zeros_like(b_f)
    return RANParams(w_ih, w_hh, jnp.concatenate([b_i, b_f]))


ran_initial_state = hidden_zeros


def ran_project(params, x):
    """Returns ``x @ w_ih`` plus b for the gates, ``(*batch, 3 H)``."""
    b = jnp.pad(params.b, (0, params.w_hh.shape[0]))
    return input_share(params.w_ih, b, x, by="ran")


def _memory(c, a):
    i, f, content = jnp.split(a, 3, axis=-1)
    return jax.nn.sigmoid(i) * content + jax.nn.sigmoid(f) * c


def ran_pointwise(vectors, c, a):
    """Applies the gates to `a`, ``(*batch, 3 H)``; puts out tanh of the memory."""
    del vectors
    c = _memory(c, a)
    return c, jnp.tanh(c)


def ran_identity_pointwise(vectors, c, a):
    """Applies the gates to `a`, ``(*batch, 3 H)``; puts out the memory itself."""
    del vectors
    c = _memory(c, a)
    return c, c


RAN = Gated(ran_project, recurrent_matrix, ran_pointwise, add_to_first, hidden=jnp.tanh)
RAN_IDENTITY = Gated(ran_project, recurrent_matrix, ran_identity_pointwise, add_to_first)
_ACTIVATIONS = {"tanh": RAN, "identity": RAN_IDENTITY}
ran_step = RAN.step


def ran(
    input_size: int,
    hidden_size: int,
    *,
    activation: str = "tanh",
    forget_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the recurrent additive network.

    ::

        k = x W_k                             content: linear, without bias
        i = sigmoid(x W_i + h U_i + b_i)      input gate
        f = sigmoid(x W_f + h U_f + b_f)      forget gate
        c' = i * k + f * c
        h' = g(c'),  y = h'                   g = tanh or identity

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      activation: "tanh" or "identity", the function g.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``; with an initializer, b_i starts at -b_f (chrono initialisation).
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `RANParams`. Its state is the array c, ``(*batch, H)``, since h = g(c).

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `activation` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = ran(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> c, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      K. Lee, O. Levy, L. Zettlemoyer, "Recurrent additive networks", 2017, section 2.
    """
    if activation not in _ACTIVATIONS:
        raise unknown_name("activation", activation, _ACTIVATIONS)
    make = sized_init(
        ran_init,
        input_size,
        hidden_size,
        by="ran",
        dtype=dtype,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, ran_initial_state, _ACTIVATIONS[activation])


RAN_ENTRY = CellEntry(
    make=ran,
    paper="Lee et al. 2017, Recurrent additive networks",
    structure="Gated",
    state="c (H)",
    equations=("i, f = sigmoid(x W + h U + b)\nc' = i * (x W_k) + f * c\nh' = tanh(c')"),
    parameters="3 H I + 2 H (H + 1)",
    defaults="w_ih Glorot uniform per block, w_hh orthogonal per gate, b = 0",
    provenance="torchrecurrent 0.2.5 RANCell; NumPy transcription (identity); values and gradients",
)
