"""The update-gate network: a plain recurrent network with one gate that keeps the state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import hidden_zeros, initial_vector, keep_or_take, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "UGRNN",
    "UGRNN_ENTRY",
    "UGRNNParams",
    "ugrnn",
    "ugrnn_init",
    "ugrnn_initial_state",
    "ugrnn_pointwise",
    "ugrnn_project",
    "ugrnn_step",
]


class UGRNNParams(NamedTuple):
    """Parameters of `ugrnn`; blocks side by side in the order g, c.

    Attributes:
      w_ih: ``(I, 2 H)``.
      w_hh: ``(H, 2 H)``.
      b: ``(2 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def ugrnn_init(key, input_size, hidden_size, *, update_bias=1.0, **options) -> UGRNNParams:
    """Makes the parameters of `ugrnn`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=2, **options)
    b_g = initial_vector(k_b, update_bias, hidden_size, w_hh.dtype)
    return UGRNNParams(w_ih, w_hh, jnp.concatenate([b_g, jnp.zeros_like(b_g)]))


ugrnn_initial_state = hidden_zeros


def ugrnn_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, params.b, x, by="ugrnn")


def ugrnn_pointwise(vectors, h, a):
    """Applies gate and candidate to the pre-activations `a`, ``(*batch, 2 H)``."""
    del vectors
    g, c = jnp.split(a, 2, axis=-1)
    h = keep_or_take(g, h, jnp.tanh(c))
    return h, h


UGRNN = Gated(ugrnn_project, recurrent_matrix, ugrnn_pointwise)
ugrnn_step = UGRNN.step


def ugrnn(
    input_size: int,
    hidden_size: int,
    *,
    update_bias: float | initializers.Initializer = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the update-gate network.

    ::

        g = sigmoid(x W_g + h U_g + b_g)      update gate; near 1 keeps the state
        c = tanh(x W_c + h U_c + b_c)         candidate
        h' = g * h + (1 - g) * c,  y = h'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      update_bias: initial value of b_g: a number (the authors' TensorFlow cell adds 1), or an
        initializer such as ``initializers.chrono(T)``.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `UGRNNParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = ugrnn(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      J. Collins, J. Sohl-Dickstein, D. Sussillo, "Capacity and trainability in recurrent neural
      networks", 2017.
    """
    make = sized_init(
        ugrnn_init,
        input_size,
        hidden_size,
        by="ugrnn",
        dtype=dtype,
        update_bias=update_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, ugrnn_initial_state, UGRNN)


UGRNN_ENTRY = CellEntry(
    make=ugrnn,
    paper="Collins et al. 2017, Capacity and trainability in recurrent neural networks",
    structure="Gated",
    state="h (H)",
    equations=(
        "g = sigmoid(x W_g + h U_g + b_g)\nc = tanh(x W_c + h U_c + b_c)\nh' = g * h + (1 - g) * c"
    ),
    parameters="2 H (I + H + 1)",
    defaults="w_ih Glorot uniform per block, w_hh orthogonal per block, b_g = 1, b_c = 0",
    provenance="torchrecurrent 0.2.5 UGRNNCell, values and gradients",
)
