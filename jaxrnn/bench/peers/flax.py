"""flax.linen: `RNN` over its cells."""

from jaxrnn.bench.peers.layout import pick_layer
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model
from jaxrnn.interop.weights import pack_weights

__all__ = ["flax_cell", "flax_layer"]

_CELLS = {"lstm": "OptimizedLSTMCell", "gru": "GRUCell", "elman": "SimpleCell"}


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

    def pack(params):
        return {"params": {"cell": pack_weights("linen", params, nested=True)}}

    return Model(pack, network.apply)
