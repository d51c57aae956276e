"""flax.linen: `RNN` over its cells."""

import jax.numpy as jnp

from jaxrnn.bench.peers.layout import pick_layer, split_gates
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model
from jaxrnn.core.types import Params

__all__ = ["flax_cell", "flax_layer", "pack_flax"]

_CELLS = {"lstm": "OptimizedLSTMCell", "gru": "GRUCell", "elman": "SimpleCell"}
_NAMES = {"lstm": "ifgo", "gru": "rzn", "elman": [""]}


def pack_flax(kind: str, params: Params) -> dict:
    """Returns the variables of a flax cell."""
    found = {}
    for name, w, u, b in zip(_NAMES[kind], *split_gates(kind, params), strict=True):
        bias = {"bias": b}
        found[f"i{name}"] = {"kernel": w} | ({} if kind == "lstm" else bias)
        found[f"h{name}"] = {"kernel": u} | (bias if kind == "lstm" else {})
    if kind == "gru":
        found["hn"]["bias"] = jnp.asarray(params.b_hn)
    return found


def flax_cell(problem: Problem):
    """Returns the flax cell for a problem.

    Raises:
      Unavailable: flax has no such cell.
    """
    from flax import linen

    return pick_layer(problem, _CELLS, owner=linen)(problem.case.hidden)


def flax_layer(problem: Problem) -> Model:
    """Returns flax's layer for a problem.

    Raises:
      Unavailable: flax has no such cell.
    """
    from flax import linen

    network = linen.RNN(flax_cell(problem), time_major=True)
    kind = problem.kind
    return Model(lambda params: {"params": {"cell": pack_flax(kind, params)}}, network.apply)
