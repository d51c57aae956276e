"""Parameters of a cell gate by gate: what every format of weights is put together from."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells import ElmanParams, GRUParams, LSTMParams
from jaxrnn.cells.mgu import MGUParams
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams
from jaxrnn.core.types import Array, Params

__all__ = [
    "GATES",
    "RESETS",
    "Blocks",
    "apart",
    "beside",
    "join_params",
    "kind_of",
    "one_bias",
    "shapes_only",
    "split_params",
    "two_biases",
]

GATES = {
    "elman": "n",
    "lstm": "ifgo",
    "peephole_lstm": "ifgo",
    "projected_lstm": "ifgo",
    "gru": "rzn",
    "gru_reset_before": "rzn",
    "mgu": "fn",
    "mgu_reset_after": "fn",
}
"""The gates of each kind of cell (its name in CELLS), in the order of its parameters."""

RESETS = {
    "gru": "after",
    "gru_reset_before": "before",
    "mgu": "before",
    "mgu_reset_after": "after",
}
"""Where each kind with a reset gate resets."""

_CLASSES = {
    "elman": ElmanParams,
    "lstm": LSTMParams,
    "peephole_lstm": PeepholeLSTMParams,
    "projected_lstm": ProjectedLSTMParams,
    "gru": GRUParams,
    "gru_reset_before": GRUParams,
    "mgu": MGUParams,
    "mgu_reset_after": MGUParams,
}


class Blocks(NamedTuple):
    """Parameters of one cell, gate by gate.

    Attributes:
      w: from a gate's letter to its input matrix, ``(I, H)``.
      u: to its recurrent matrix, ``(H, H)``, or ``(P, H)`` with a projection.
      b: to its bias, ``(H,)``.
      b_hn: ``(H,)``, the candidate's recurrent bias, or None.
      w_hr: ``(H, P)``, the projection, or None.
      p: from a gate's letter to its peephole, ``(H,)``, or None.
    """

    w: dict[str, Array]
    u: dict[str, Array]
    b: dict[str, Array]
    b_hn: Array | None = None
    w_hr: Array | None = None
    p: dict[str, Array] | None = None


def kind_of(params: Any) -> str | None:
    """Returns the name in CELLS of the cell with these parameters; None if they are no cell's."""
    kinds = [kind for kind, fields in _CLASSES.items() if type(params) is fields]
    if len(kinds) > 1:  # the two resets of a GRU or MGU
        reset = "before" if params.b_hn is None else "after"
        kinds = [kind for kind in kinds if RESETS[kind] == reset]
    return kinds[0] if kinds else None


def _namespace(arrays: Iterable[Array]):
    """NumPy, or jax.numpy if there is a JAX array among the arrays, traced ones included."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def beside(parts: Mapping[str, Array], order: Iterable[str]) -> Array:
    """Puts the parts of gates side by side on the last axis.

    Args:
      parts: from a gate's letter to its array.
      order: the letters, in the order that is wanted.
    """
    chosen = [parts[gate] for gate in order]
    return _namespace(chosen).concatenate(chosen, axis=-1)


def apart(joined: Array, order: str) -> dict[str, Array]:
    """Takes apart what `beside` puts together."""
    pieces = _namespace([joined]).split(joined, len(order), axis=-1)
    return dict(zip(order, pieces, strict=True))


def two_biases(blocks: Blocks) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the biases for a library that adds one to each share of a gate.

    The one of the recurrent share is zero but for ``b_hn``.
    """
    second = {gate: _namespace([b]).zeros_like(b) for gate, b in blocks.b.items()}
    return blocks.b, second if blocks.b_hn is None else second | {"n": blocks.b_hn}


def one_bias(
    kind: str, first: dict[str, Array], second: dict[str, Array]
) -> tuple[dict[str, Array], Array | None]:
    """Returns ``b`` and ``b_hn`` from the biases of a library that has one for each share."""
    if RESETS.get(kind) != "after":
        return {gate: first[gate] + second[gate] for gate in first}, None
    return {g: first[g] if g == "n" else first[g] + second[g] for g in first}, second["n"]


def split_params(kind: str, params: Params) -> Blocks:
    """Takes the parameters of one cell apart; JAX arrays stay JAX arrays."""
    order = GATES[kind]
    w, u, b = (apart(leaf, order) for leaf in (params.w_ih, params.w_hh, params.b))
    return Blocks(
        w,
        u,
        b,
        b_hn=getattr(params, "b_hn", None),
        w_hr=getattr(params, "w_hr", None),
        p={gate: getattr(params, f"p_{gate}") for gate in "ifo"}
        if hasattr(params, "p_i")
        else None,
    )


def join_params(kind: str, blocks: Blocks) -> Params:
    """Puts the parameters of one cell together."""
    order = GATES[kind]
    fields = {
        "w_ih": beside(blocks.w, order),
        "w_hh": beside(blocks.u, order),
        "b": beside(blocks.b, order),
    }
    if kind in RESETS:
        fields["b_hn"] = blocks.b_hn
    if blocks.w_hr is not None:
        fields["w_hr"] = blocks.w_hr
    if blocks.p is not None:
        fields |= {f"p_{gate}": peephole for gate, peephole in blocks.p.items()}
    return _CLASSES[kind](**fields)


def shapes_only(params: Params) -> Params:
    """Returns arrays of zeros with the shapes of some parameters, a byte a number."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.int8), params)
