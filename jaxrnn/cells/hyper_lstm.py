"""The HyperLSTM: a small LSTM rescales the weights of a large one at every step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.layer_norm import standardized
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "HYPER_LSTM",
    "HYPER_LSTM_ENTRY",
    "HyperLSTMHyperParams",
    "HyperLSTMNorm",
    "HyperLSTMParams",
    "HyperLSTMState",
    "hyper_lstm",
    "hyper_lstm_gates",
    "hyper_lstm_init",
    "hyper_lstm_initial_state",
    "hyper_lstm_project",
    "hyper_lstm_recur",
    "hyper_lstm_step",
]


class HyperLSTMNorm(NamedTuple):
    """Gains and biases of the layer normalisations of one LSTM, of N units.

    Attributes:
      g: ``(4 N,)``, gains of the gates.
      b: ``(4 N,)``, their biases.
      g_c: ``(N,)``, gain of the memory cell.
      b_c: ``(N,)``, its bias.
    """

    g: Array
    b: Array
    g_c: Array
    b_c: Array


class HyperLSTMHyperParams(NamedTuple):
    """Parameters of the small LSTM, whose input is the main one's h beside x.

    Attributes:
      w_ih: ``(I, 4 K)``.
      w_mh: ``(H, 4 K)``, from the main LSTM.
      w_hh: ``(K, 4 K)``.
      b: ``(4 K,)``, before the normalisation.
      norm: its normalisations.
    """

    w_ih: Array
    w_mh: Array
    w_hh: Array
    b: Array
    norm: HyperLSTMNorm


class HyperLSTMParams(NamedTuple):
    """Parameters of `hyper_lstm`; gates side by side in the order i, f, g, o.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 4 H)``.
      b: ``(4 H,)``, b_0, before the normalisation.
      norm: the main LSTM's normalisations.
      hyper: the small LSTM.
      w_z: ``(K, 12 N)``, to the embeddings: z_h of the four gates, z_x, z_b.
      b_z: ``(8 N,)``, of z_h and z_x.
      w_d: ``(12, N, H)``, from each embedding to its scaling vector.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    norm: HyperLSTMNorm
    hyper: HyperLSTMHyperParams
    w_z: Array
    b_z: Array
    w_d: Array


class HyperLSTMState(NamedTuple):
    """State of `hyper_lstm`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      c: ``(*batch, H)``, the memory cell.
      h_hyper: ``(*batch, K)``, the output of the small LSTM.
      c_hyper: ``(*batch, K)``, its memory cell.
    """

    h: Array
    c: Array
    h_hyper: Array
    c_hyper: Array


def _norm(size, forget_bias, dtype):
    ones, zeros = jnp.ones(size, dtype), jnp.zeros(size, dtype)
    b = jnp.concatenate([zeros, jnp.full_like(zeros, forget_bias), zeros, zeros])
    return HyperLSTMNorm(g=jnp.ones_like(b), b=b, g_c=ones, b_c=zeros)


def _orthogonal(key, shape, dtype):
    """Draws an orthogonal matrix for each gate, whatever its shape."""
    wide, block = jnp.promote_types(dtype, jnp.float32), (shape[0], shape[1] // 4)
    one = jax.nn.initializers.orthogonal()
    blocks = jax.vmap(lambda k: one(k, block, wide))(jax.random.split(key, 4))
    return jnp.concatenate(list(blocks), axis=1).astype(dtype)


def hyper_lstm_init(
    key,
    input_size,
    hidden_size,
    *,
    hyper_size,
    embedding_size,
    forget_bias=1.0,
    init=None,
    input_init=None,
    dtype=None,
) -> HyperLSTMParams:
    """Makes the parameters of `hyper_lstm`."""
    dtype = initializers.float_dtype(dtype)
    k_main, k_hyper, k_mh, k_z = jax.random.split(key, 4)
    options = {"gates": 4, "init": init, "input_init": input_init or _orthogonal, "dtype": dtype}
    w_ih, w_hh = init_weights(k_main, input_size, hidden_size, **options)
    hyper_ih, hyper_hh = init_weights(k_hyper, input_size, hyper_size, **options)
    hyper = HyperLSTMHyperParams(
        w_ih=hyper_ih,
        w_mh=_orthogonal(k_mh, (hidden_size, 4 * hyper_size), dtype),
        w_hh=hyper_hh,
        b=jnp.zeros(4 * hyper_size, dtype),
        norm=_norm(hyper_size, forget_bias, dtype),
    )
    width = 4 * embedding_size
    w_z = initializers.normal(0.01)(k_z, (hyper_size, width), dtype)
    scale = jnp.array([0.1 / embedding_size] * 8 + [0.0] * 4, dtype)
    return HyperLSTMParams(
        w_ih=w_ih,
        w_hh=w_hh,
        b=jnp.zeros(4 * hidden_size, dtype),
        norm=_norm(hidden_size, forget_bias, dtype),
        hyper=hyper,
        w_z=jnp.pad(w_z, ((0, 0), (2 * width, 0))),
        b_z=jnp.ones(2 * width, dtype),
        w_d=jnp.tile(scale[:, None, None], (1, embedding_size, hidden_size)),
    )


def hyper_lstm_initial_state(params, batch_shape=()) -> HyperLSTMState:
    """Returns zeros, h and c ``(*batch, H)``, h_hyper and c_hyper ``(*batch, K)``."""
    main, hyper = params.w_hh.shape[0], params.hyper.w_hh.shape[0]
    sizes, dtype = (main, main, hyper, hyper), params.w_hh.dtype
    return HyperLSTMState(*(jnp.zeros((*batch_shape, size), dtype) for size in sizes))


def hyper_lstm_project(params, x):
    """Returns the shares of both LSTMs: ``(*batch, 4 H)`` without and ``4 K`` with its bias."""
    main = input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="hyper_lstm")
    return main, input_share(params.hyper.w_ih, params.hyper.b, x, by="hyper_lstm")


def hyper_lstm_gates(norm, c, a):
    """Takes an LSTM step whose gates and memory cell are normalised; returns the new h and c."""
    i, f, g, o = jnp.split(standardized(a, groups=4) * norm.g + norm.b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(standardized(c) * norm.g_c + norm.b_c), c


def _scaling(params, h_hyper):
    """Returns d_h, d_x and the generated bias of all gates, ``(*batch, 4 H)`` each."""
    count, embedding_size, hidden_size = params.w_d.shape
    z = h_hyper @ params.w_z + jnp.pad(params.b_z, (0, 4 * embedding_size))
    z = z.reshape(*z.shape[:-1], count, embedding_size)
    d = jnp.einsum("...kn,knh->...kh", z, params.w_d)
    return jnp.split(d.reshape(*d.shape[:-2], count * hidden_size), 3, axis=-1)


def hyper_lstm_recur(params, state, z):
    """Takes a step of the small LSTM, then one of the main LSTM that it rescales."""
    main, share = z
    hyper = params.hyper
    share = share + state.h @ hyper.w_mh + state.h_hyper @ hyper.w_hh
    h_hyper, c_hyper = hyper_lstm_gates(hyper.norm, state.c_hyper, share)
    d_h, d_x, b = _scaling(params, h_hyper)
    a = d_h * (state.h @ params.w_hh) + d_x * main + b + params.b
    h, c = hyper_lstm_gates(params.norm, state.c, a)
    return HyperLSTMState(h=h, c=c, h_hyper=h_hyper, c_hyper=c_hyper), h


HYPER_LSTM = Separable(hyper_lstm_project, hyper_lstm_recur)
hyper_lstm_step = HYPER_LSTM.step


def hyper_lstm(
    input_size: int,
    hidden_size: int,
    *,
    hyper_size: int | None = None,
    embedding_size: int = 4,
    forget_bias: float = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the HyperLSTM with layer normalisation.

    ::

        (i, f, g, o)^ = LN(x W^ + h V^ + h^ U^ + b^)               the small LSTM, of K units
        c^' = sigmoid(f^) * c^ + sigmoid(i^) * tanh(g^)
        h^' = sigmoid(o^) * tanh(LN(c^'))
        z_h = h^' W_hh + b_hh,  z_x = h^' W_hx + b_hx,  z_b = h^' W_hb      for each gate q
        q = LN((z_h W_hz) * (h U_q) + (z_x W_xz) * (x W_q) + z_b W_bz + b_0)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)                 the main LSTM, of H units
        h' = sigmoid(o) * tanh(LN(c')),  y = h'

    LN normalises each gate by itself and has a gain and a bias. The paper's equation 11 computes
    the embeddings from the small LSTM's *last* output; its text says that they are functions of x
    and h, and the authors' code uses the new output, which is what stands here.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the units of the main LSTM.
      hyper_size: K, the units of the small LSTM; H // 8 (at least 4) if not given, about as the 128
        beside 1000 in the paper.
      embedding_size: N, the size of each of the twelve embeddings; 4 to 64 in the paper.
      forget_bias: initial bias of the normalised f of both LSTMs, 1 in the authors' code.
      init: initializer of `w_hh`, ``(H, 4 H)``, and of the small one; orthogonal if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``, and of the small one; orthogonal per gate if
        not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `HyperLSTMParams` and `HyperLSTMState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = hyper_lstm(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.h_hyper.shape, y.shape
      ((2, 4), (2, 5))

    Reference:
      D. Ha, A. Dai, Q. Le, "HyperNetworks", 2017, equations 10 to 13 (without dropout); initial
      values of appendix A.2.3.
    """
    by = "hyper_lstm"
    if hyper_size is None:
        hyper_size = max(4, check_size("hidden_size", hidden_size, by=by) // 8)
    make = sized_init(
        hyper_lstm_init,
        input_size,
        hidden_size,
        by=by,
        dtype=dtype,
        hyper_size=check_size("hyper_size", hyper_size, by=by),
        embedding_size=check_size("embedding_size", embedding_size, by=by),
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, hyper_lstm_initial_state, HYPER_LSTM)


HYPER_LSTM_ENTRY = CellEntry(
    make=hyper_lstm,
    paper="Ha, Dai, Le 2017, HyperNetworks, equations 10 to 13",
    structure="Separable",
    state="h, c (H each), h^, c^ (K = max(4, H // 8) each)",
    equations=(
        "h^', c^' = LSTM with layer normalisation of (x, h), h^, c^\n"
        "z_h, z_x, z_b = h^' W_hh + b_hh, h^' W_hx + b_hx, h^' W_hb for each gate q\n"
        "q = LN((z_h W_hz) * (h U_q) + (z_x W_xz) * (x W_q) + z_b W_bz + b_0)\n"
        "c' = sigmoid(f) * c + sigmoid(i) * tanh(g)\n"
        "h' = sigmoid(o) * tanh(LN(c'))"
    ),
    parameters="4 H (I + H) + 62 H + 4 K (I + H + K) + 62 K + 32",
    defaults=(
        "W, U, V orthogonal per gate; W_hh = W_hx = 0, b_hh = b_hx = 1, W_hb normal with std 0.01; "
        "W_hz = W_xz = 0.1 / 4, W_bz = 0; gains 1, forget bias 1, other biases 0"
    ),
    provenance="labml-nn 0.5.1 HyperLSTMCell, values and gradients",
)
