"""MinimalRNN: the state is a gated average of embedded inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import (
    add_to_first,
    hidden_zeros,
    initial_vector,
    keep_or_take,
    recurrent_matrix,
)
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_blocks, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "MINIMAL_RNN",
    "MINIMAL_RNN_ENTRY",
    "MinimalRNNParams",
    "minimal_rnn",
    "minimal_rnn_init",
    "minimal_rnn_initial_state",
    "minimal_rnn_pointwise",
    "minimal_rnn_project",
    "minimal_rnn_step",
]


class MinimalRNNParams(NamedTuple):
    """Parameters of `minimal_rnn`.

    Attributes:
      w_ih: ``(I, H)``, embeds the input.
      b_z: ``(H,)``, the embedding's bias.
      w_zh: ``(H, H)``, from the embedding to the gate.
      w_hh: ``(H, H)``, from the state to the gate.
      b: ``(H,)``, the gate's bias.
    """

    w_ih: Array
    b_z: Array
    w_zh: Array
    w_hh: Array
    b: Array


def minimal_rnn_init(
    key, input_size, hidden_size, *, update_bias=0.0, **options
) -> MinimalRNNParams:
    """Makes the parameters of `minimal_rnn`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hzh = init_blocks(k_w, input_size, hidden_size, inputs=1, recurrent=2, **options)
    w_hh, w_zh = jnp.split(w_hzh, 2, axis=-1)
    b = initial_vector(k_b, update_bias, hidden_size, w_hh.dtype)
    return MinimalRNNParams(w_ih, jnp.zeros_like(b), w_zh, w_hh, b)


minimal_rnn_initial_state = hidden_zeros


def minimal_rnn_project(params, x):
    """Returns the gate's share ``z @ w_zh + b`` and the embedding z, ``(*batch, 2 H)``."""
    z = jnp.tanh(input_share(params.w_ih, params.b_z, x, by="minimal_rnn"))
    return jnp.concatenate([z @ params.w_zh + params.b, z], axis=-1)


def minimal_rnn_pointwise(vectors, h, a):
    """Applies the gate to `a`, ``(*batch, 2 H)``: the gate's pre-activation and the embedding."""
    del vectors
    u, z = jnp.split(a, 2, axis=-1)
    h = keep_or_take(u, h, z)
    return h, h


MINIMAL_RNN = Gated(minimal_rnn_project, recurrent_matrix, minimal_rnn_pointwise, add_to_first)
minimal_rnn_step = MINIMAL_RNN.step


def minimal_rnn(
    input_size: int,
    hidden_size: int,
    *,
    update_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes MinimalRNN: states stay in the space of the embedded inputs.

    ::

        z = tanh(x W_x + b_z)                 embedding of the input
        u = sigmoid(h U_h + z U_z + b_u)      update gate; near 1 keeps the state
        h' = u * h + (1 - u) * z,  y = h'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      update_bias: initial value of b_u: a number, or an initializer such as
        ``initializers.chrono(T)``.
      init: initializer of U_h and U_z side by side, ``(H, 2 H)``; orthogonal each if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `MinimalRNNParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = minimal_rnn(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      M. Chen, "MinimalRNN: toward more interpretable and trainable recurrent neural networks",
      2017.
    """
    make = sized_init(
        minimal_rnn_init,
        input_size,
        hidden_size,
        by="minimal_rnn",
        dtype=dtype,
        update_bias=update_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, minimal_rnn_initial_state, MINIMAL_RNN)


MINIMAL_RNN_ENTRY = CellEntry(
    make=minimal_rnn,
    paper="Chen 2017, MinimalRNN",
    structure="Gated",
    state="h (H)",
    equations=("z = tanh(x W_x + b_z)\nu = sigmoid(h U_h + z U_z + b_u)\nh' = u * h + (1 - u) * z"),
    parameters="H (I + 2 H + 2)",
    defaults="w_ih Glorot uniform, w_hh and w_zh orthogonal, biases 0",
    provenance="torchrecurrent 0.2.5 MinimalRNNCell, values and gradients",
)
