"""The independently recurrent network: every unit hears the input and itself, no other unit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Elementwise
from jaxrnn.core.types import Array

__all__ = [
    "IND_RNN",
    "IND_RNN_ENTRY",
    "IND_RNN_TANH",
    "IndRNNParams",
    "ind_rnn",
    "ind_rnn_init",
    "ind_rnn_initial_state",
    "ind_rnn_project",
    "ind_rnn_relu_pointwise",
    "ind_rnn_step",
    "ind_rnn_tanh_pointwise",
]


class IndRNNParams(NamedTuple):
    """Parameters of `ind_rnn`.

    Attributes:
      w_ih: ``(I, H)``.
      u: ``(H,)``, each unit's weight on itself.
      b: ``(H,)``.
    """

    w_ih: Array
    u: Array
    b: Array


def ind_rnn_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> IndRNNParams:
    """Makes the parameters of `ind_rnn`; `init` is the initializer of u, ``(H,)``."""
    init = jax.random.uniform if init is None else init
    input_init = initializers.glorot_uniform() if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_u = jax.random.split(key)
    w_ih = input_init(k_ih, (input_size, hidden_size), dtype)
    return IndRNNParams(w_ih, init(k_u, (hidden_size,), dtype), jnp.zeros(hidden_size, dtype))


def ind_rnn_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.u.shape[0]), params.u.dtype)


def ind_rnn_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="ind_rnn")


def _ind_rnn_vectors(params):
    return params.u


def ind_rnn_relu_pointwise(u, h, z):
    """Returns ``h' = max(z + u * h, 0)`` as state and output."""
    h = jax.nn.relu(z + u * h)
    return h, h


def ind_rnn_tanh_pointwise(u, h, z):
    """Returns ``h' = tanh(z + u * h)`` as state and output."""
    h = jnp.tanh(z + u * h)
    return h, h


IND_RNN = Elementwise(ind_rnn_project, ind_rnn_relu_pointwise, _ind_rnn_vectors)
IND_RNN_TANH = Elementwise(ind_rnn_project, ind_rnn_tanh_pointwise, _ind_rnn_vectors)
_ACTIVATIONS = {"relu": IND_RNN, "tanh": IND_RNN_TANH}
ind_rnn_step = IND_RNN.step


def ind_rnn(
    input_size: int,
    hidden_size: int,
    *,
    activation: str = "relu",
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the independently recurrent cell.

    ``h' = activation(x W + u * h + b)``, ``y = h'``.

    The gradient through T steps of a unit is ``u**T`` times the slopes met. With relu the paper
    therefore clips ``|u|`` to ``gamma**(1/T)`` after every optimiser step (gamma is 2 or 5 in the
    authors' code); that is left to the training loop. To learn long lags, draw u near 1.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      activation: "relu" (the paper's) or "tanh".
      init: initializer of `u`, ``(H,)``; uniform in [0, 1] if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      An `Elementwise` cell with `IndRNNParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `activation` is an unknown name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = ind_rnn(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      S. Li, W. Li, C. Cook, C. Zhu, Y. Gao, "Independently recurrent neural network (IndRNN):
      building a longer and deeper RNN", 2018, section 3.
    """
    if activation not in _ACTIVATIONS:
        raise unknown_name("activation", activation, _ACTIVATIONS)
    make = sized_init(
        ind_rnn_init,
        input_size,
        hidden_size,
        by="ind_rnn",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, ind_rnn_initial_state, _ACTIVATIONS[activation])


IND_RNN_ENTRY = CellEntry(
    make=ind_rnn,
    paper="Li et al. 2018, section 3",
    structure="Elementwise",
    state="h (H)",
    equations="h' = relu(x W + u * h + b)",
    parameters="H (I + 2)",
    defaults="w_ih Glorot uniform, u uniform in [0, 1] (the authors' code), b = 0",
    provenance="torchrecurrent 0.2.5 IndRNNCell, values and gradients",
)
