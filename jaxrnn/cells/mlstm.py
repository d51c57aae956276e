"""The xLSTM's mLSTM: a matrix memory with exponential gates, written and read by keys."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Array

__all__ = [
    "MLSTM",
    "MLSTM_ENTRY",
    "MLSTMParams",
    "MLSTMState",
    "check_heads",
    "mlstm",
    "mlstm_apply",
    "mlstm_coefficients",
    "mlstm_combine",
    "mlstm_init",
    "mlstm_initial_state",
    "mlstm_readout",
    "mlstm_step",
    "small_init",
]


class MLSTMParams(NamedTuple):
    """Parameters of `mlstm` with N heads.

    Attributes:
      w_ih: ``(I, 4 H)``, blocks side by side: keys, values, queries, output gate.
      b: ``(4 H,)``.
      w_if: ``(I, 2 N)``, of the gates i, f, one of each a head.
      b_if: ``(2 N,)``.
    """

    w_ih: Array
    b: Array
    w_if: Array
    b_if: Array


class MLSTMState(NamedTuple):
    """State of `mlstm` with N heads of size d = H / N: the memory is ``c * exp(m)``.

    Attributes:
      c: ``(*batch, N, d, d)``, the matrix memory, values by keys.
      n: ``(*batch, N, d)``, the normaliser, of the same scale.
      m: ``(*batch, N)``, the logarithm of the scale, which keeps c and n from overflowing.
    """

    c: Array
    n: Array
    m: Array


def check_heads(heads: int, hidden_size: int, *, by: str) -> int:
    """Returns `heads` if it divides `hidden_size`.

    Raises:
      TypeError: one of the two is not an integer.
      ValueError: `heads` does not divide `hidden_size`, or one of the two is less than 1.
    """
    heads = check_size("heads", heads, by=by)
    if check_size("hidden_size", hidden_size, by=by) % heads:
        msg = (
            f"{by}: got heads={heads} with hidden_size={hidden_size}; expected a divisor of the "
            "hidden size, since the heads share it equally; change one of the two"
        )
        raise ValueError(msg)
    return heads


def small_init(key, shape, dtype) -> Array:
    """Draws ``(I, ...)`` normal with variance 2 / (5 I), as the xLSTM's projections start."""
    return math.sqrt(0.4 / shape[0]) * jax.random.normal(key, shape, dtype)


def mlstm_init(key, input_size, hidden_size, *, heads=1, dtype=None) -> MLSTMParams:
    """Makes the parameters of `mlstm`."""
    dtype = initializers.float_dtype(dtype)
    k_w, k_b = jax.random.split(key)
    b_i = 0.1 * jax.random.normal(k_b, (heads,), dtype)
    return MLSTMParams(
        w_ih=small_init(k_w, (input_size, 4 * hidden_size), dtype),
        b=jnp.zeros(4 * hidden_size, dtype),
        w_if=jnp.zeros((input_size, 2 * heads), dtype),
        b_if=jnp.concatenate([b_i, jnp.linspace(3, 6, heads, dtype=dtype)]),
    )


def _sizes(params):
    heads = params.b_if.shape[0] // 2
    return heads, params.b.shape[0] // 4 // heads


def mlstm_initial_state(params, batch_shape=()) -> MLSTMState:
    """Returns zeros."""
    heads, size = _sizes(params)
    shape, dtype = (*batch_shape, heads), params.b.dtype
    return MLSTMState(
        c=jnp.zeros((*shape, size, size), dtype),
        n=jnp.zeros((*shape, size), dtype),
        m=jnp.zeros(shape, dtype),
    )


def mlstm_coefficients(params, x):
    """Returns the map of one step: log f, ``(*batch, N)``, and what the input adds to the state."""
    heads, size = _sizes(params)
    n = heads * size
    share = input_share(params.w_ih[:, : 2 * n], jnp.zeros((), params.b.dtype), x, by="mlstm")
    k = share[..., :n] / math.sqrt(size) + params.b[:n]
    v = share[..., n:] + params.b[n : 2 * n]
    k, v = (part.reshape(*part.shape[:-1], heads, size) for part in (k, v))
    i, f = jnp.split(input_share(params.w_if, params.b_if, x, by="mlstm"), 2, axis=-1)
    return jax.nn.log_sigmoid(f), MLSTMState(c=v[..., :, None] * k[..., None, :], n=k, m=i)


def mlstm_apply(element, state):
    """Lets the memory decay by f and adds the new part, on the scale of the larger of the two."""
    log_f, new = element
    m = jnp.maximum(log_f + state.m, new.m)
    old, fresh = jnp.exp(log_f + state.m - m)[..., None], jnp.exp(new.m - m)[..., None]
    return MLSTMState(
        c=old[..., None] * state.c + fresh[..., None] * new.c,
        n=old * state.n + fresh * new.n,
        m=m,
    )


def mlstm_combine(first, then):
    """Composes two maps, `first` before `then`: what the first adds is carried on by the second."""
    return first[0] + then[0], mlstm_apply(then, first[1])


def mlstm_readout(params, state, x):
    """Returns ``o * C q / max(|n q|, 1)`` on the state's own scale, ``(*batch, H)``."""
    heads, size = _sizes(params)
    half = 2 * heads * size
    share = input_share(params.w_ih[:, half:], params.b[half:], x, by="mlstm")
    q, o = jnp.split(share, 2, axis=-1)
    q = q.reshape(*q.shape[:-1], heads, size)
    # Both sides of the fraction are divided by exp(max(m, 0)): neither of them overflows.
    low = jnp.exp(jnp.minimum(state.m, 0))
    read = low[..., None] * jnp.einsum("...vk,...k->...v", state.c, q)
    dot = low * jnp.sum(state.n * q, axis=-1)
    h = read / jnp.maximum(jnp.abs(dot), jnp.exp(-jnp.maximum(state.m, 0)))[..., None]
    return jax.nn.sigmoid(o) * h.reshape(o.shape)


MLSTM = Linear(mlstm_coefficients, mlstm_readout, mlstm_combine, mlstm_apply)
mlstm_step = MLSTM.step


def mlstm(input_size: int, hidden_size: int, *, heads: int = 1, dtype=None) -> Cell:
    """Makes the matrix long short-term memory of the xLSTM.

    ::

        q = W_q x + b_q,   k = W_k x / sqrt(d) + b_k,   v = W_v x + b_v      in each head
        i = exp(w_i x + b_i)                             input gate, one a head
        f = sigmoid(w_f x + b_f)                         forget gate, one a head
        o = sigmoid(W_o x + b_o)                         output gate
        C' = f C + i v k^T
        n' = f n + i k
        y = o * C' q / max(|n' q|, 1)

    C and n are kept divided by exp(m) with ``m' = max(log f + m, log i)``, which changes no output.
    The paper allows an exponential forget gate too; the authors' code has the sigmoid. That code
    scales the bias of the keys by 1/sqrt(d) as well and adds 1e-6 to the denominator; here the
    paper's equations are followed. The block's convolution, norm and skip are not part of the cell.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      heads: N, the number of memories, of ``d = H / N`` by d numbers each.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `MLSTMParams` and `MLSTMState`.

    Raises:
      TypeError: a size or `heads` is not an integer, or `dtype` is not floating.
      ValueError: a size or `heads` is less than 1, or `heads` does not divide `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = mlstm(3, 6, heads=2)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (5,)), jnp.ones((5, 3)))
      >>> state.c.shape, y.shape
      ((5, 2, 3, 3), (5, 6))

    Reference:
      M. Beck et al., "xLSTM: extended long short-term memory", 2024, equations 19 to 27, and 15 to
      17 for the scale m.
    """
    heads = check_heads(heads, hidden_size, by="mlstm")
    make = sized_init(mlstm_init, input_size, hidden_size, by="mlstm", dtype=dtype, heads=heads)
    return from_structure(make, mlstm_initial_state, MLSTM)


MLSTM_ENTRY = CellEntry(
    make=mlstm,
    paper="Beck et al. 2024, equations 15 to 17, 19 to 27",
    structure="Linear",
    state="C (H, H), n (H), m (1); with N heads N of each, of size H/N",
    equations=(
        "q = W_q x + b_q, k = W_k x / sqrt(H) + b_k, v = W_v x + b_v\n"
        "i = exp(w_i x + b_i), f = sigmoid(w_f x + b_f), o = sigmoid(W_o x + b_o)\n"
        "C' = f C + i v k^T, n' = f n + i k\n"
        "y = o * C' q / max(|n' q|, 1)"
    ),
    parameters="4 H (I + 1) + 2 (I + 1) (1 head)",
    defaults=(
        "w_ih normal with variance 2/(5 I), w_i = w_f = 0, b_i normal / 10, b_f from 3 to 6 over "
        "the heads, else b = 0"
    ),
    provenance="xlstm 2.0.6 (the authors), one recurrent step, values and gradients",
)
