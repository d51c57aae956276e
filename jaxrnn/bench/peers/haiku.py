"""haiku: `dynamic_unroll` over its LSTM."""

import jax.numpy as jnp

from jaxrnn.bench.peers.layout import joined, pick_layer, split_gates
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model

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
        w, u, b = split_gates("lstm", params)
        both = [jnp.concatenate(pair) for pair in zip(w, u, strict=True)]
        b = [b[0], b[1] - 1, *b[2:]]  # it adds 1 to the forget gate
        order = (0, 2, 1, 3)  # i, g, f, o
        return {"lstm/linear": {"w": joined(both, order), "b": joined(b, order)}}

    return Model(pack, hk.without_apply_rng(hk.transform(of)).apply)
