"""`jax.experimental.rnn`: cuDNN's LSTM as JAX has it.

It takes the batch first, and is handed such arrays: one that its own program has transposed it
reads wrongly (jax 0.11.2).
"""

import jax.numpy as jnp

from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model, Unavailable
from jaxrnn.interop.weights import pack_weights

__all__ = ["cudnn_layer"]


def cudnn_layer(problem: Problem) -> Model:
    """Returns JAX's own cuDNN layer for a problem.

    Raises:
      Unavailable: any cell but the LSTM, or no GPU.
    """
    if problem.platform != "gpu":
        msg = "jax.experimental.rnn needs a GPU"
        raise Unavailable(msg)
    if problem.kind != "lstm":
        msg = f"jax.experimental.rnn has an LSTM only, no {problem.kind}"
        raise Unavailable(msg)
    from jax.experimental import rnn

    _, _, inputs, hidden = problem.case

    def pack(params):
        return pack_weights("cudnn", params)["weights"]

    def apply(weights, xs):
        batch, steps, _ = xs.shape
        zeros = jnp.zeros((1, batch, hidden), xs.dtype)
        ys, _, _ = rnn.lstm(
            xs,
            zeros,
            zeros,
            weights,
            jnp.full(batch, steps, jnp.int32),
            input_size=inputs,
            hidden_size=hidden,
            num_layers=1,
            dropout=0.0,
            bidirectional=False,
            precision="highest" if problem.precision == "fp32" else None,
        )
        return ys

    return Model(pack, apply, batch_first=True)
