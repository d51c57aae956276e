"""The chaos-free network: without input its state decays to zero, whatever the weights."""

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
    "CFN",
    "CFN_ENTRY",
    "CFNParams",
    "cfn",
    "cfn_init",
    "cfn_initial_state",
    "cfn_pointwise",
    "cfn_project",
    "cfn_step",
]


class CFNParams(NamedTuple):
    """Parameters of `cfn`; blocks side by side in the order theta, eta, content.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 2 H)``, theta and eta: the content sees the input alone.
      b: ``(2 H,)``, theta and eta: the content has no bias.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def cfn_init(
    key, input_size, hidden_size, *, forget_bias=1.0, input_bias=-1.0, **options
) -> CFNParams:
    """Makes the parameters of `cfn`; the other options are those of `init_blocks`."""
    k_w, k_forget, k_input = jax.random.split(key, 3)
    w_ih, w_hh = init_blocks(k_w, input_size, hidden_size, inputs=3, recurrent=2, **options)
    b_theta = initial_vector(k_forget, forget_bias, hidden_size, w_hh.dtype)
    b_eta = initial_vector(k_input, input_bias, hidden_size, w_hh.dtype)
    return CFNParams(w_ih, w_hh, jnp.concatenate([b_theta, b_eta]))


cfn_initial_state = hidden_zeros


def cfn_project(params, x):
    """Returns ``x @ w_ih`` plus b for the gates, ``(*batch, 3 H)``."""
    b = jnp.pad(params.b, (0, params.w_hh.shape[0]))
    return input_share(params.w_ih, b, x, by="cfn")


def cfn_pointwise(vectors, h, a):
    """Applies the gates to `a`, ``(*batch, 3 H)``."""
    del vectors
    theta, eta, content = jnp.split(a, 3, axis=-1)
    h = jax.nn.sigmoid(theta) * jnp.tanh(h) + jax.nn.sigmoid(eta) * jnp.tanh(content)
    return h, h


CFN = Gated(cfn_project, recurrent_matrix, cfn_pointwise, add_to_first)
cfn_step = CFN.step


def cfn(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float | initializers.Initializer = 1.0,
    input_bias: float | initializers.Initializer = -1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the chaos-free network.

    ::

        theta = sigmoid(x V_theta + h U_theta + b_theta)      forget gate
        eta = sigmoid(x V_eta + h U_eta + b_eta)              input gate
        h' = theta * tanh(h) + eta * tanh(x W),  y = h'       the content x W has no bias

    Units meet in the gates alone, and theta < 1: without input every unit decays to zero.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      forget_bias: initial value of b_theta: a number or an initializer.
      input_bias: initial value of b_eta: a number or an initializer.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `CFNParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = cfn(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      T. Laurent, J. von Brecht, "A recurrent neural network without chaos", 2017.
    """
    make = sized_init(
        cfn_init,
        input_size,
        hidden_size,
        by="cfn",
        dtype=dtype,
        forget_bias=forget_bias,
        input_bias=input_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, cfn_initial_state, CFN)


CFN_ENTRY = CellEntry(
    make=cfn,
    paper="Laurent & von Brecht 2017, A recurrent neural network without chaos",
    structure="Gated",
    state="h (H)",
    equations="theta, eta = sigmoid(x V + h U + b)\nh' = theta * tanh(h) + eta * tanh(x W)",
    parameters="3 H I + 2 H (H + 1)",
    defaults=("w_ih Glorot uniform per block, w_hh orthogonal per gate, b_theta = 1, b_eta = -1"),
    provenance="torchrecurrent 0.2.5 CFNCell without its bias of x W, values and gradients",
)
