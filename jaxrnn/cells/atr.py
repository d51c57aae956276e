"""ATR, the addition-subtraction twin-gated network: two gates from the matrices of a plain one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import hidden_zeros, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "ATR",
    "ATR_ENTRY",
    "ATRParams",
    "atr",
    "atr_init",
    "atr_initial_state",
    "atr_mix",
    "atr_pointwise",
    "atr_project",
    "atr_step",
]


class ATRParams(NamedTuple):
    """Parameters of `atr`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(H, H)``.
      b_p: ``(H,)``, added to the input's share p; None without biases.
      b_q: ``(H,)``, added to the recurrent share q; None without biases.
    """

    w_ih: Array
    w_hh: Array
    b_p: Array | None
    b_q: Array | None


def atr_init(key, input_size, hidden_size, *, bias=False, **options) -> ATRParams:
    """Makes the parameters of `atr`; the other options are those of `init_weights`."""
    w_ih, w_hh = init_weights(key, input_size, hidden_size, gates=1, **options)
    b = jnp.zeros(hidden_size, w_hh.dtype) if bias else None
    return ATRParams(w_ih, w_hh, b_p=b, b_q=b)


atr_initial_state = hidden_zeros


def atr_project(params, x):
    """Returns ``x @ w_ih``, plus b_p where there is one, ``(*batch, H)``."""
    b = jnp.zeros((), params.w_ih.dtype) if params.b_p is None else params.b_p
    return input_share(params.w_ih, b, x, by="atr")


def _recurrent_bias(params):
    return params.b_q


def atr_mix(z, r):
    """Keeps the two shares apart, p and q side by side: twice ``(*batch, H)`` to ``2 H``."""
    return jnp.concatenate([z, r], axis=-1)


def atr_pointwise(b_q, h, a):
    """Applies the twin gates to `a`, ``(*batch, 2 H)``: p and q."""
    p, q = jnp.split(a, 2, axis=-1)
    q = q if b_q is None else q + b_q
    i, f = jax.nn.sigmoid(p + q), jax.nn.sigmoid(p - q)
    h = i * p + f * h
    return h, h


ATR = Gated(atr_project, recurrent_matrix, atr_pointwise, atr_mix, _recurrent_bias)
atr_step = ATR.step


def atr(
    input_size: int,
    hidden_size: int,
    *,
    bias: bool = False,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the addition-subtraction twin-gated network.

    ::

        p = x W                         with bias=True: x W + b_p
        q = h U                         with bias=True: h U + b_q
        i = sigmoid(p + q)              input gate
        f = sigmoid(p - q)              forget gate; near 1 keeps the state
        h' = i * p + f * h,  y = h'

    The two gates need no matrices of their own. The order p - q is that of the authors' code, which
    calls the forget gate printed in the paper a misprint: with it, what q adds to one gate it takes
    from the other. There is no tanh: the state is a sum of all p, each weighted by its gates.

    The authors' cell has no biases; that in their translation system has b_q, that of
    torchrecurrent has both.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      bias: whether there are b_p and b_q, zeros at first.
      init: initializer of `w_hh`, ``(H, H)``; orthogonal if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `ATRParams`. Its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = atr(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      B. Zhang, D. Xiong, J. Su, Q. Lin, H. Zhang, "Simplifying neural machine translation with
      addition-subtraction twin-gated recurrent networks", 2018.
    """
    make = sized_init(
        atr_init,
        input_size,
        hidden_size,
        by="atr",
        dtype=dtype,
        bias=bool(bias),
        init=init,
        input_init=input_init,
    )
    return from_structure(make, atr_initial_state, ATR)


ATR_ENTRY = CellEntry(
    make=atr,
    paper="Zhang et al. 2018, Addition-subtraction twin-gated recurrent networks",
    structure="Gated",
    state="h (H)",
    equations=("p = x W\nq = h U\ni = sigmoid(p + q)\nf = sigmoid(p - q)\nh' = i * p + f * h"),
    parameters="H (I + H)",
    defaults="w_ih Glorot uniform, w_hh orthogonal, no biases",
    provenance="torchrecurrent 0.2.5 ATRCell, without and with its biases, values and gradients",
)
