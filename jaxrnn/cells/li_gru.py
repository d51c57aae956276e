"""The light gated recurrent unit: no reset gate, and a rectified candidate."""

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
    "LI_GRU",
    "LI_GRU_ENTRY",
    "LiGRUParams",
    "li_gru",
    "li_gru_init",
    "li_gru_initial_state",
    "li_gru_pointwise",
    "li_gru_project",
    "li_gru_step",
]


class LiGRUParams(NamedTuple):
    """Parameters of `li_gru`; blocks side by side in the order z, n.

    Attributes:
      w_ih: ``(I, 2 H)``.
      w_hh: ``(H, 2 H)``.
      b: ``(2 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def li_gru_init(key, input_size, hidden_size, *, update_bias=0.0, **options) -> LiGRUParams:
    """Makes the parameters of `li_gru`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=2, **options)
    b_z = initial_vector(k_b, update_bias, hidden_size, w_hh.dtype)
    return LiGRUParams(w_ih, w_hh, jnp.concatenate([b_z, jnp.zeros_like(b_z)]))


li_gru_initial_state = hidden_zeros


def li_gru_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, params.b, x, by="li_gru")


def li_gru_pointwise(vectors, h, a):
    """Applies gate and candidate to the pre-activations `a`, ``(*batch, 2 H)``."""
    del vectors
    z, n = jnp.split(a, 2, axis=-1)
    h = keep_or_take(z, h, jax.nn.relu(n))
    return h, h


LI_GRU = Gated(li_gru_project, recurrent_matrix, li_gru_pointwise)
li_gru_step = LI_GRU.step


def li_gru(
    input_size: int,
    hidden_size: int,
    *,
    update_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the light gated recurrent unit.

    ::

        z = sigmoid(x W_z + h U_z + b_z)      update gate; near 1 keeps the state
        n = max(0, x W_n + h U_n + b_n)       candidate
        h' = z * h + (1 - z) * n,  y = h'

    The paper normalises ``x W`` over the batch of a training step, which keeps the rectified
    candidate from growing. That is a part of training and stands outside the cell: a step sees one
    input of each sequence and no statistics. A trained normalisation is an affine map and fits in:
    `w_ih` becomes ``w_ih * s`` and b becomes ``shift - mean * s``, with
    ``s = scale / sqrt(variance + epsilon)``.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      update_bias: initial value of b_z: a number, or an initializer such as
        ``initializers.chrono(T)``.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per block, the paper's choice, if not
        given.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform per block, the paper's choice,
        if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `LiGRUParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = li_gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      M. Ravanelli, P. Brakel, M. Omologo, Y. Bengio, "Light gated recurrent units for speech
      recognition", 2018 (without the batch normalisation).
    """
    make = sized_init(
        li_gru_init,
        input_size,
        hidden_size,
        by="li_gru",
        dtype=dtype,
        update_bias=update_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, li_gru_initial_state, LI_GRU)


LI_GRU_ENTRY = CellEntry(
    make=li_gru,
    paper="Ravanelli et al. 2018, without the batch normalisation of x W",
    structure="Gated",
    state="h (H)",
    equations=(
        "z = sigmoid(x W_z + h U_z + b_z)\n"
        "n = max(0, x W_n + h U_n + b_n)\n"
        "h' = z * h + (1 - z) * n"
    ),
    parameters="2 H (I + H + 1)",
    defaults="w_ih Glorot uniform per block, w_hh orthogonal per block, b = 0",
    provenance="torchrecurrent 0.2.5 LiGRUCell, values and gradients",
)
