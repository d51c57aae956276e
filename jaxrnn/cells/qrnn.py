"""The quasi-recurrent network: gates by convolution over time, memory by fo-pooling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Linear, Separable
from jaxrnn.core.types import Array

__all__ = [
    "QRNN",
    "QRNN_ENTRY",
    "QRNN_WINDOW",
    "QRNNParams",
    "QRNNState",
    "qrnn",
    "qrnn_coefficients",
    "qrnn_init",
    "qrnn_initial_state",
    "qrnn_readout",
    "qrnn_step",
    "qrnn_window_initial_state",
    "qrnn_window_project",
    "qrnn_window_recur",
    "qrnn_window_step",
]


class QRNNParams(NamedTuple):
    """Parameters of `qrnn`; gates side by side in the order z, f, o.

    Attributes:
      w_ih: ``(I, k * 3 H)``, the filter's taps side by side, the present input's first, then the
        one before it.
      b: ``(3 H,)``; the paper has no biases, zeros give its equations.
    """

    w_ih: Array
    b: Array


class QRNNState(NamedTuple):
    """State of `qrnn` with a window of more than one step.

    Attributes:
      c: ``(*batch, H)``, the memory cell.
      pending: ``(*batch, k - 1, 3 H)``, what the past inputs add to the gates of the next step, of
        the one after it, and so on.
    """

    c: Array
    pending: Array


def qrnn_init(
    key, input_size, hidden_size, *, window=1, forget_bias=0.0, input_init=None, dtype=None
) -> QRNNParams:
    """Makes the parameters of `qrnn`."""
    input_init = initializers.glorot_uniform(3 * window) if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_w, k_b = jax.random.split(key)
    w_ih = input_init(k_w, (input_size, window * 3 * hidden_size), dtype)
    b_f = initial_vector(k_b, forget_bias, hidden_size, dtype)
    return QRNNParams(w_ih, jnp.concatenate([jnp.zeros_like(b_f), b_f, jnp.zeros_like(b_f)]))


def qrnn_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.b.shape[0] // 3), params.b.dtype)


def qrnn_coefficients(params, x):
    """Returns ``(f, (1 - f) * z)``, ``(*batch, H)`` each, for a window of one step."""
    n = 2 * params.b.shape[0] // 3
    share = input_share(params.w_ih[:, :n], params.b[:n], x, by="qrnn")
    z, f = jnp.split(share, 2, axis=-1)
    f = jax.nn.sigmoid(f)
    return f, (1 - f) * jnp.tanh(z)


def qrnn_readout(params, c, x):
    """Returns ``h = o * c``."""
    n = 2 * params.b.shape[0] // 3
    return jax.nn.sigmoid(input_share(params.w_ih[:, n:], params.b[n:], x, by="qrnn")) * c


def qrnn_window_initial_state(params, batch_shape=()) -> QRNNState:
    """Returns zeros: no input came before."""
    gates = params.b.shape[0]
    pending = (*batch_shape, params.w_ih.shape[-1] // gates - 1, gates)
    return QRNNState(qrnn_initial_state(params, batch_shape), jnp.zeros(pending, params.b.dtype))


def qrnn_window_project(params, x):
    """Returns what x adds to the gates of this step and of the k - 1 next, ``(*batch, k, 3 H)``."""
    gates = params.b.shape[0]
    b = jnp.pad(params.b, (0, params.w_ih.shape[-1] - gates))
    share = input_share(params.w_ih, b, x, by="qrnn")
    return share.reshape(*share.shape[:-1], -1, gates)


def qrnn_window_recur(prepared, state, share):
    """Adds what is pending to the present share, pools, and moves the rest one step on."""
    del prepared
    pending = jnp.concatenate([state.pending, jnp.zeros_like(share[..., :1, :])], axis=-2) + share
    z, f, o = jnp.split(pending[..., 0, :], 3, axis=-1)
    f = jax.nn.sigmoid(f)
    c = f * state.c + (1 - f) * jnp.tanh(z)
    return QRNNState(c, pending[..., 1:, :]), jax.nn.sigmoid(o) * c


def _nothing(params):
    del params
    return ()


QRNN = Linear(qrnn_coefficients, qrnn_readout)
QRNN_WINDOW = Separable(qrnn_window_project, qrnn_window_recur, _nothing)
qrnn_step = QRNN.step
qrnn_window_step = QRNN_WINDOW.step


def qrnn(
    input_size: int,
    hidden_size: int,
    *,
    window: int = 1,
    forget_bias: float | initializers.Initializer = 0.0,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the quasi-recurrent cell with fo-pooling.

    ::

        z = tanh(W_z * x)          candidate; * convolves the present and the k - 1 last inputs
        f = sigmoid(W_f * x)       forget gate
        o = sigmoid(W_o * x)       output gate
        c' = f . c + (1 - f) . z
        h = o . c',  y = h

    With a window of one step the gates know the input alone and the cell is affine in its state.
    With a longer one the state carries what the past inputs add to the gates, and it is not.
    Biases are added, as in implementations by others; they start at zero.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      window: k, the width of the filter in steps.
      forget_bias: initial value of b_f: a number, or an initializer such as
        ``initializers.chrono(T)``.
      input_init: initializer of `w_ih`, ``(I, k * 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      For ``window=1`` a `Linear` cell with the array c, ``(*batch, H)``, as its state; else a
      `Separable` one with `QRNNState`. Both have `QRNNParams`.

    Raises:
      TypeError: a size or `window` is not an integer, or `dtype` is not floating.
      ValueError: a size or `window` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = qrnn(3, 5, window=2)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.pending.shape, y.shape
      ((2, 1, 15), (2, 5))

    Reference:
      J. Bradbury, S. Merity, C. Xiong, R. Socher, "Quasi-recurrent neural networks", 2017,
      equations 1, 2 and 4.
    """
    window = check_size("window", window, by="qrnn")
    make = sized_init(
        qrnn_init,
        input_size,
        hidden_size,
        by="qrnn",
        dtype=dtype,
        window=window,
        forget_bias=forget_bias,
        input_init=input_init,
    )
    if window == 1:
        return from_structure(make, qrnn_initial_state, QRNN)
    return from_structure(make, qrnn_window_initial_state, QRNN_WINDOW)


QRNN_ENTRY = CellEntry(
    make=qrnn,
    paper="Bradbury et al. 2017, equations 1, 2 and 4 (fo-pooling), with biases",
    structure="Linear",
    state="c (H); with a window of k > 1 steps also pending (k - 1, 3 H)",
    equations=(
        "z = tanh(x W_z + b_z)\nf, o = sigmoid(x W + b)\nc' = f * c + (1 - f) * z\nh = o * c'"
    ),
    parameters="3 H (I + 1)",
    defaults="w_ih Glorot uniform per gate, b = 0, window of 1 step",
    provenance="NumPy transcription of the equations, windows of 1 and 2 steps",
)
