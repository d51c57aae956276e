"""The minimal gated unit, in the paper's form and in flax's, which are different functions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import hidden_zeros, initial_vector, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated, Separable
from jaxrnn.core.types import Array

__all__ = [
    "MGU",
    "MGU_ENTRY",
    "MGU_RESET_AFTER",
    "MGU_RESET_AFTER_ENTRY",
    "MGUParams",
    "mgu",
    "mgu_init",
    "mgu_initial_state",
    "mgu_mix",
    "mgu_pointwise",
    "mgu_project",
    "mgu_recur",
    "mgu_reset_after_step",
    "mgu_step",
]


class MGUParams(NamedTuple):
    """Parameters of `mgu`; blocks side by side in the order f, n.

    Attributes:
      w_ih: ``(I, 2 H)``.
      w_hh: ``(H, 2 H)``.
      b: ``(2 H,)``.
      b_hn: ``(H,)``, the candidate's recurrent bias, inside the gate's product; None with
        ``reset="before"``, where it would only repeat the candidate's part of `b`.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    b_hn: Array | None


def mgu_init(
    key, input_size, hidden_size, *, reset="before", forget_bias=0.0, **options
) -> MGUParams:
    """Makes the parameters of `mgu`; the other options are those of `init_weights`."""
    k_w, k_b = jax.random.split(key)
    w_ih, w_hh = init_weights(k_w, input_size, hidden_size, gates=2, **options)
    b_f = initial_vector(k_b, forget_bias, hidden_size, w_hh.dtype)
    zeros = jnp.zeros_like(b_f)
    b_hn = zeros if reset == "after" else None
    return MGUParams(w_ih, w_hh, jnp.concatenate([b_f, zeros]), b_hn)


mgu_initial_state = hidden_zeros


def mgu_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, params.b, x, by="mgu")


def _split_weights(params):
    return jnp.split(params.w_hh, 2, axis=-1)


def mgu_recur(weights, h, share):
    """Takes the two dependent products of the paper's form; `share` is ``(*batch, 2 H)``."""
    gate, candidate = weights
    f, n = jnp.split(share, 2, axis=-1)
    f = jax.nn.sigmoid(f + h @ gate)
    n = jnp.tanh(n + (f * h) @ candidate)
    h = (1 - f) * h + f * n
    return h, h


def _recurrent_bias(params):
    return params.b_hn


def mgu_mix(z, r):
    """Adds the gate's shares and keeps the candidate's apart: ``(*batch, 2 H)`` to ``3 H``."""
    n = z.shape[-1] // 2
    z_gates, z_candidate = jnp.split(z, [n], axis=-1)
    r_gates, r_candidate = jnp.split(r, [n], axis=-1)
    return jnp.concatenate([z_gates + r_gates, z_candidate, r_candidate], axis=-1)


def mgu_pointwise(b_hn, h, a):
    """Applies the gate of flax's form to `a`, ``(*batch, 3 H)``: f, the candidate's two shares."""
    f, n_input, n_recurrent = jnp.split(a, 3, axis=-1)
    f = jax.nn.sigmoid(f)
    n = jnp.tanh(n_input + f * (n_recurrent + b_hn))
    h = (1 - f) * n + f * h
    return h, h


MGU = Separable(mgu_project, mgu_recur, _split_weights)
MGU_RESET_AFTER = Gated(mgu_project, recurrent_matrix, mgu_pointwise, mgu_mix, _recurrent_bias)
_RESETS = {"before": MGU, "after": MGU_RESET_AFTER}
mgu_step = MGU.step
mgu_reset_after_step = MGU_RESET_AFTER.step


def mgu(
    input_size: int,
    hidden_size: int,
    *,
    reset: str = "before",
    forget_bias: float | initializers.Initializer = 0.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the minimal gated unit: one gate both resets and updates.

    ::

        f = sigmoid(x W_f + h U_f + b_f)                   the gate

        n = tanh(x W_n + b_n + (f * h) U_n)                reset="before", the paper's
        h' = (1 - f) * h + f * n                           f near 1 replaces the state

        n = tanh(x W_n + b_n + f * (h U_n + b_hn))         reset="after", flax.linen's MGUCell
        h' = f * h + (1 - f) * n                           f near 1 keeps the state

        y = h'

    The two are different functions, and the weights of neither convert to the other: beside the
    place of the product, the gate does the opposite in the update, while it multiplies the
    candidate's recurrent part in both. "before" is also the form of Heck & Salem, whose MGU1, MGU2
    and MGU3 leave out W_f, W_f and b_f, W_f and U_f.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      reset: "before" (the paper's equations: two dependent products) or "after" (flax's: one
        recurrent product, the fast form).
      forget_bias: initial value of b_f: a number (flax's default is 1, where f keeps), or an
        initializer.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A cell with `MGUParams`: `Separable` for "before", `Gated` for "after". Its state is the array
      h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `reset` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = mgu(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      G. Zhou, J. Wu, C. Zhang, Z. Zhou, "Minimal gated unit for recurrent neural networks", 2016
      (before). J. Heck, F. Salem, "Simplified minimal gated unit variations for
      recurrent neural networks", 2017.
    """
    if reset not in _RESETS:
        raise unknown_name("reset", reset, _RESETS)
    make = sized_init(
        mgu_init,
        input_size,
        hidden_size,
        by="mgu",
        dtype=dtype,
        reset=reset,
        forget_bias=forget_bias,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, mgu_initial_state, _RESETS[reset])


def _mgu_reset_after(input_size: int, hidden_size: int) -> Cell:
    return mgu(input_size, hidden_size, reset="after")


_GATE = "f = sigmoid(x W_f + h U_f + b_f)\n"
_DEFAULTS = "w_ih Glorot uniform per block, w_hh orthogonal per block, biases 0"
MGU_ENTRY = CellEntry(
    make=mgu,
    paper="Zhou et al. 2016, Minimal gated unit for recurrent neural networks",
    structure="Separable",
    state="h (H)",
    equations=f"{_GATE}n = tanh(x W_n + b_n + (f * h) U_n)\nh' = (1 - f) * h + f * n",
    parameters="2 H (I + H + 1)",
    defaults=_DEFAULTS,
    provenance="torchrecurrent 0.2.5 MGUCell, values and gradients",
)
MGU_RESET_AFTER_ENTRY = CellEntry(
    make=_mgu_reset_after,
    paper="flax.linen MGUCell (after Zhou et al. 2016, but another function)",
    structure="Gated",
    state="h (H)",
    equations=f"{_GATE}n = tanh(x W_n + b_n + f * (h U_n + b_hn))\nh' = f * h + (1 - f) * n",
    parameters="2 H (I + H + 1) + H",
    defaults=_DEFAULTS,
    provenance="flax 0.12.8 linen.MGUCell, values and gradients",
)
