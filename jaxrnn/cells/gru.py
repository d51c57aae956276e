"""The gated recurrent unit, with the reset gate after or before the recurrent product."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import initial_vector
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated, Separable
from jaxrnn.core.types import Array

__all__ = [
    "GRU",
    "GRU_ENTRY",
    "GRU_RESET_BEFORE",
    "GRU_RESET_BEFORE_ENTRY",
    "GRUParams",
    "gru",
    "gru_init",
    "gru_initial_state",
    "gru_mix",
    "gru_pointwise",
    "gru_project",
    "gru_reset_before_recur",
    "gru_reset_before_step",
    "gru_step",
]


class GRUParams(NamedTuple):
    """Parameters of `gru`; gates side by side in the order r, z, n.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 3 H)``.
      b: ``(3 H,)``.
      b_hn: ``(H,)``, the candidate's recurrent bias, inside the reset gate's product; None with
        ``reset="before"``, where it would only repeat the candidate's part of `b`.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    b_hn: Array | None


def gru_init(
    key, input_size, hidden_size, *, reset="after", update_bias=0.0, **options
) -> GRUParams:
    """Makes the parameters of `gru`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=3, **options)
    zeros = jnp.zeros(hidden_size, w_hh.dtype)
    b_z = initial_vector(k_b, update_bias, hidden_size, w_hh.dtype)
    b = jnp.concatenate([zeros, b_z, zeros])
    return GRUParams(w_ih, w_hh, b, b_hn=zeros if reset == "after" else None)


def gru_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def gru_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return input_share(params.w_ih, params.b, x, by="gru")


def _gru_weights(params):
    return params.w_hh


def _gru_vectors(params):
    return params.b_hn


def gru_mix(z, r):
    """Adds the gates' shares and keeps the candidate's apart: ``(*batch, 3 H)`` to ``4 H``."""
    n = 2 * z.shape[-1] // 3
    z_gates, z_candidate = jnp.split(z, [n], axis=-1)
    r_gates, r_candidate = jnp.split(r, [n], axis=-1)
    return jnp.concatenate([z_gates + r_gates, z_candidate, r_candidate], axis=-1)


def gru_pointwise(b_hn, h, a):
    """Applies the gates to `a`, ``(*batch, 4 H)``: r, z, and the candidate's two shares."""
    r, z, n_input, n_recurrent = jnp.split(a, 4, axis=-1)
    n = jnp.tanh(n_input + jax.nn.sigmoid(r) * (n_recurrent + b_hn))
    z = jax.nn.sigmoid(z)
    h = (1 - z) * n + z * h
    return h, h


def _split_weights(params):
    return jnp.split(params.w_hh, [2 * params.w_hh.shape[0]], axis=-1)


def gru_reset_before_recur(weights, h, share):
    """Takes the two dependent products of the original form; `share` is ``(*batch, 3 H)``."""
    gates, candidate = weights
    gates_input, n_input = jnp.split(share, [gates.shape[-1]], axis=-1)
    r, z = jnp.split(jax.nn.sigmoid(gates_input + h @ gates), 2, axis=-1)
    n = jnp.tanh(n_input + (r * h) @ candidate)
    h = (1 - z) * n + z * h
    return h, h


GRU = Gated(gru_project, _gru_weights, gru_pointwise, gru_mix, _gru_vectors)
GRU_RESET_BEFORE = Separable(gru_project, gru_reset_before_recur, _split_weights)
_RESETS = {"after": GRU, "before": GRU_RESET_BEFORE}
gru_step = GRU.step
gru_reset_before_step = GRU_RESET_BEFORE.step


def gru(
    input_size: int,
    hidden_size: int,
    *,
    reset: str = "after",
    update_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the gated recurrent unit.

    ::

        r = sigmoid(x W_r + h U_r + b_r)                   reset gate
        z = sigmoid(x W_z + h U_z + b_z)                   update gate
        n = tanh(x W_n + b_n + r * (h U_n + b_hn))         candidate, reset="after"
        n = tanh(x W_n + b_n + (r * h) U_n)                candidate, reset="before"
        h' = (1 - z) * n + z * h,  y = h'

    z near 1 keeps the state (some papers and libraries write the opposite).

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      reset: "after" (cuDNN, torch, Keras' default: one recurrent product, the fast form) or
        "before" (the paper's equations: two dependent products).
      update_bias: initial value of b_z: a number, or an initializer such as
        ``initializers.chrono(T)``.
      init: initializer of `w_hh`, ``(H, 3 H)``; orthogonal per gate if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per gate if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A cell with `GRUParams`: `Gated` for "after", `Separable` for "before". Its state is the array
      h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `reset` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = gru(3, 5, reset="before")
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
      machine translation", 2014, equations 5 to 8 (reset before).
    """
    if reset not in _RESETS:
        raise unknown_name("reset", reset, _RESETS)
    make = sized_init(
        gru_init,
        input_size,
        hidden_size,
        by="gru",
        dtype=dtype,
        reset=reset,
        update_bias=update_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, gru_initial_state, _RESETS[reset])


def _gru_reset_before(input_size: int, hidden_size: int) -> Cell:
    return gru(input_size, hidden_size, reset="before")


_GATES = "r, z = sigmoid(x W + h U + b)\n"
_UPDATE = "h' = (1 - z) * n + z * h"
_DEFAULTS = "w_ih Glorot uniform per gate, w_hh orthogonal per gate, biases 0"
GRU_ENTRY = CellEntry(
    make=gru,
    paper="Cho et al. 2014, in cuDNN's form (reset after the product)",
    structure="Gated",
    state="h (H)",
    equations=f"{_GATES}n = tanh(x W_n + b_n + r * (h U_n + b_hn))\n{_UPDATE}",
    parameters="3 H (I + H + 1) + H",
    defaults=_DEFAULTS,
    provenance="NumPy float64 transcription; torch 2.13 nn.GRU, values and gradients",
)
GRU_RESET_BEFORE_ENTRY = CellEntry(
    make=_gru_reset_before,
    paper="Cho et al. 2014, equations 5 to 8",
    structure="Separable",
    state="h (H)",
    equations=f"{_GATES}n = tanh(x W_n + b_n + (r * h) U_n)\n{_UPDATE}",
    parameters="3 H (I + H + 1)",
    defaults=_DEFAULTS,
    provenance="NumPy float64 transcription of the equations",
)
