"""keras on JAX; it wants the batch first, so that two transpositions belong to it."""

import os
import sys

import jax.numpy as jnp

from jaxrnn.bench.peers.layout import pick_layer
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model, Unavailable
from jaxrnn.interop.weights import pack_weights

__all__ = ["keras_layer"]


def _keras():
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")  # keras reads it when it is imported
    import keras

    if keras.backend.backend() != "jax":
        msg = f"keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=jax"
        raise Unavailable(msg)
    return keras


def keras_layer(problem: Problem) -> Model:
    """Returns keras' layer for a problem.

    Raises:
      Unavailable: keras has no such cell, or runs on another library than JAX.
    """
    keras = _keras()
    layers = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}
    make = pick_layer(problem, layers, owner=keras.layers)
    layer = make(problem.case.hidden, return_sequences=True)
    layer.build((None, None, problem.case.inputs))
    rest = [variable.value for variable in layer.non_trainable_variables]

    def pack(params):
        return list(pack_weights("keras", params).values())

    def apply(weights, xs):
        ys, _ = layer.stateless_call(weights, rest, jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(ys, 0, 1)

    return Model(pack, apply)
