"""haiku: `dynamic_unroll` over its LSTM."""

from jaxrnn.bench.peers.layout import pick_layer
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model
from jaxrnn.interop.weights import pack_weights

__all__ = ["haiku_layer"]


def haiku_layer(problem: Problem) -> Model:
    """Returns haiku's layer for a problem.

    Raises:
      Unavailable: any cell but the LSTM.
    """
    import haiku as hk

    # Its GRU resets before the product, its plain cell is rectified.
    make = pick_layer(problem, {"lstm": "LSTM"}, owner=hk)

    def of(xs):
        core = make(problem.case.hidden)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    def pack(params):
        return pack_weights("haiku", params, nested=True)

    return Model(pack, hk.without_apply_rng(hk.transform(of)).apply)
