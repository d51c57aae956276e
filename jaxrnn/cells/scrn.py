"""The structurally constrained recurrent network: a part of the state changes slowly."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "SCRN",
    "SCRN_ENTRY",
    "SCRNParams",
    "SCRNState",
    "scrn",
    "scrn_init",
    "scrn_initial_state",
    "scrn_project",
    "scrn_recur",
    "scrn_step",
]


class SCRNParams(NamedTuple):
    """Parameters of `scrn`.

    Attributes:
      w_ih: ``(I, H + C)``, the paper's A and B side by side.
      w_hh: ``(H, H)``, the paper's R.
      w_ch: ``(C, H)``, the paper's P, from the context to the hidden units.
      beta: ``(C,)``, ``logit(alpha)`` of each context unit; None if alpha is a constant.
    """

    w_ih: Array
    w_hh: Array
    w_ch: Array
    beta: Array | None


class SCRNState(NamedTuple):
    """State of `scrn`.

    Attributes:
      h: ``(*batch, H)``, the hidden units.
      s: ``(*batch, C)``, the slow context units.
    """

    h: Array
    s: Array


def scrn_init(
    key,
    input_size,
    hidden_size,
    *,
    context_size,
    alpha=0.95,
    adaptive=False,
    init=None,
    input_init=None,
    dtype=None,
) -> SCRNParams:
    """Makes the parameters of `scrn`."""
    dtype = initializers.float_dtype(dtype)
    normal = initializers.normal(0.05)
    k_ih, k_hh, k_ch = jax.random.split(key, 3)
    beta = jax.scipy.special.logit(jnp.full(context_size, alpha, dtype)) if adaptive else None
    return SCRNParams(
        w_ih=(input_init or normal)(k_ih, (input_size, hidden_size + context_size), dtype),
        w_hh=(init or normal)(k_hh, (hidden_size, hidden_size), dtype),
        w_ch=normal(k_ch, (context_size, hidden_size), dtype),
        beta=beta,
    )


def scrn_initial_state(params, batch_shape=()) -> SCRNState:
    """Returns zeros, h ``(*batch, H)`` and s ``(*batch, C)``."""
    context_size, hidden_size = params.w_ch.shape
    return SCRNState(
        h=jnp.zeros((*batch_shape, hidden_size), params.w_ch.dtype),
        s=jnp.zeros((*batch_shape, context_size), params.w_ch.dtype),
    )


def scrn_project(params, x):
    """Returns ``x @ w_ih``, ``(*batch, H + C)``."""
    return input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="scrn")


def scrn_recur(prepared, state, z):
    """Moves the context units, then the hidden ones; `z` is ``(*batch, H + C)``."""
    alpha, params = prepared
    z_h, z_s = jnp.split(z, [state.h.shape[-1]], axis=-1)
    s = (1 - alpha) * z_s + alpha * state.s
    h = jax.nn.sigmoid(s @ params.w_ch + z_h + state.h @ params.w_hh)
    return SCRNState(h=h, s=s), jnp.concatenate([h, s], axis=-1)


@functools.lru_cache(maxsize=256)
def _structure(alpha: float | None) -> Separable:
    """Returns one and the same witness for one alpha, so that a jit cache can key on it."""

    def scrn_prepare(params):
        return (jax.nn.sigmoid(params.beta) if alpha is None else alpha), params

    return Separable(scrn_project, scrn_recur, scrn_prepare)


SCRN = _structure(0.95)
scrn_step = SCRN.step


def scrn(
    input_size: int,
    hidden_size: int,
    *,
    context_size: int | None = None,
    alpha: float = 0.95,
    adaptive: bool = False,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the structurally constrained recurrent network.

    ::

        s' = (1 - alpha) x B + alpha s              context units, slow and linear
        h' = sigmoid(s' P + x A + h R)              hidden units
        y = (h', s')

    The paper predicts from ``h' U + s' V``: that is a linear readout of y, ``(*batch, H + C)``. As
    in the paper, nothing has a bias.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      context_size: C, the number of context units; H // 5 (at least 1) if not given, as the 20
        beside 100 hidden units in the authors' example.
      alpha: how much of the context stays from one step to the next, in (0, 1).
      adaptive: whether each context unit learns its own alpha, as the logistic function of a
        parameter that begins at ``logit(alpha)``.
      init: initializer of `w_hh`, ``(H, H)``; normal with standard deviation 0.05 if not given.
      input_init: initializer of `w_ih`, ``(I, H + C)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `SCRNParams` and `SCRNState`.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `alpha` is not between 0 and 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = scrn(3, 10)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (4,)), jnp.ones((4, 3)))
      >>> state.s.shape, y.shape
      ((4, 2), (4, 12))

    Reference:
      T. Mikolov, A. Joulin, S. Chopra, M. Mathieu, M. Ranzato, "Learning longer memory in recurrent
      neural networks", 2015, section 3; initial values from the authors' code.
    """
    by = "scrn"
    if context_size is None:
        context_size = max(1, check_size("hidden_size", hidden_size, by=by) // 5)
    if not 0 < alpha < 1:
        msg = f"scrn: got alpha={alpha!r}; expected a number between 0 and 1, such as 0.95"
        raise ValueError(msg)
    make = sized_init(
        scrn_init,
        input_size,
        hidden_size,
        by=by,
        dtype=dtype,
        context_size=check_size("context_size", context_size, by=by),
        alpha=alpha,
        adaptive=adaptive,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, scrn_initial_state, _structure(None if adaptive else alpha))


SCRN_ENTRY = CellEntry(
    make=scrn,
    paper="Mikolov et al. 2015, Learning longer memory in recurrent neural networks",
    structure="Separable",
    state="h (H), s (C = H // 5, at least 1)",
    equations=(
        "s' = (1 - alpha) x B + alpha s, alpha = 0.95\nh' = sigmoid(s' P + x A + h R)\ny = (h', s')"
    ),
    parameters="I (H + C) + H (H + C)",
    defaults="all weights normal with std 0.05",
    provenance="NumPy transcription of the equations, values and gradients",
)
