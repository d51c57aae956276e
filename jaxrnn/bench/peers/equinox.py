"""equinox: `jax.lax.scan` over its cells, mapped over the batch."""

import jax
import jax.numpy as jnp

from jaxrnn.bench.peers.layout import pick_layer
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model
from jaxrnn.interop.weights import pack_weights

__all__ = ["equinox_layer"]


def equinox_layer(problem: Problem) -> Model:
    """Returns equinox's layer for a problem.

    Raises:
      Unavailable: equinox has no such cell.
    """
    import equinox

    kind, (_, _, inputs, hidden) = problem.kind, problem.case
    make = pick_layer(problem, {"lstm": "LSTMCell", "gru": "GRUCell"}, owner=equinox.nn)
    template = make(inputs, hidden, key=jax.random.key(0))

    def where(cell):
        leaves = (cell.weight_ih, cell.weight_hh, cell.bias)
        return (*leaves, cell.bias_n) if kind == "gru" else leaves

    def pack(params):
        return tuple(pack_weights("equinox", params).values())

    def apply(weights, xs):
        cell = equinox.tree_at(where, template, weights)
        zeros = jnp.zeros((xs.shape[1], hidden), xs.dtype)

        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if kind == "lstm" else state

        return jax.lax.scan(step, (zeros, zeros) if kind == "lstm" else zeros, xs)[1]

    return Model(pack, apply)
