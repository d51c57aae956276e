"""JANET: an LSTM with a forget gate only."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import hidden_zeros, initial_vector, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "JANET",
    "JANET_ENTRY",
    "JANETParams",
    "janet",
    "janet_init",
    "janet_initial_state",
    "janet_pointwise",
    "janet_project",
    "janet_step",
]

_CHRONO = initializers.chrono(784)  # for the pixels of an MNIST image


class JANETParams(NamedTuple):
    """Parameters of `janet`; blocks side by side in the order f, c.

    Attributes:
      w_ih: ``(I, 2 H)``.
      w_hh: ``(H, 2 H)``.
      b: ``(2 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def janet_init(key, input_size, hidden_size, *, forget_bias=_CHRONO, **options) -> JANETParams:
    """Makes the parameters of `janet`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=2, **options)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    return JANETParams(w_ih, w_hh, jnp.concatenate([b_f, jnp.zeros_like(b_f)]))


janet_initial_state = hidden_zeros


def janet_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, params.b, x, by="janet")


def janet_pointwise(beta, c, a):
    """Applies gate and candidate to the pre-activations `a`, ``(*batch, 2 H)``."""
    s, candidate = jnp.split(a, 2, axis=-1)
    take = jax.nn.sigmoid(beta - s)  # 1 - sigmoid(s - beta), exact where that is tiny
    c = jax.nn.sigmoid(s) * c + take * jnp.tanh(candidate)
    return c, c


@functools.lru_cache(maxsize=256)
def _structure(beta: float) -> Gated:
    """Returns one and the same witness for one beta, so that a jit cache can key on it."""

    def janet_vectors(params):
        return jnp.asarray(beta, params.b.dtype)

    return Gated(janet_project, recurrent_matrix, janet_pointwise, vectors=janet_vectors)


JANET = _structure(1.0)
janet_step = JANET.step


def janet(
    input_size: int,
    hidden_size: int,
    *,
    beta: float = 1.0,
    forget_bias: float | initializers.Initializer = _CHRONO,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes JANET, "just another network": the LSTM with its forget gate only.

    ::

        s = x W_f + h U_f + b_f
        g = tanh(x W_c + h U_c + b_c)                               candidate
        c' = sigmoid(s) * c + (1 - sigmoid(s - beta)) * g
        h' = c',  y = h'

    With beta > 0 a unit takes in more than it forgets. beta is a constant chosen beforehand, as in
    the paper, and is not trained.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      beta: the shift between what is forgotten and what is taken in; 1 in the paper's experiments,
        0 couples the two.
      forget_bias: initial value of b_f: an initializer or a number. The paper's is
        ``initializers.chrono(T)`` with T the length of the longest sequence (b_c = 0), and if not
        given that for 784 steps, the paper's sequential MNIST: pass your own T.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `JANETParams`. Its state is the array c = h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.core import initializers
      >>> cell = janet(3, 5, forget_bias=initializers.chrono(100))
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      J. van der Westhuizen, J. Lasenby, "The unreasonable effectiveness of the forget gate", 2018,
      section 3.
    """
    make = sized_init(
        janet_init,
        input_size,
        hidden_size,
        by="janet",
        dtype=dtype,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, janet_initial_state, _structure(float(beta)))


JANET_ENTRY = CellEntry(
    make=janet,
    paper="van der Westhuizen & Lasenby 2018, The unreasonable effectiveness of the forget gate",
    structure="Gated",
    state="h (H)",
    equations=(
        "s = x W_f + h U_f + b_f\n"
        "g = tanh(x W_c + h U_c + b_c)\n"
        "h' = sigmoid(s) * h + (1 - sigmoid(s - 1)) * g"
    ),
    parameters="2 H (I + H + 1)",
    defaults=(
        "w_ih Glorot uniform per block, w_hh orthogonal per block, b_f chrono for 784 steps, "
        "b_c = 0; beta = 1, not trained"
    ),
    provenance="torchrecurrent 0.2.5 JANETCell, values and gradients",
)
