"""Records what torch and keras compute for the basic cells.

Run from the repository root with torch 2.13, keras 3.15 and jax:
``KERAS_BACKEND=jax PYTHONPATH=tests python tests/golden/make_basic.py``
"""

import jax
import jax.numpy as jnp
import keras
import torch

from golden.record import About, record, with_jax, with_torch

TORCH = f"torch {torch.__version__.partition('+')[0]}"


def through(module, weights):
    """Makes a run of a torch cell; `weights(params)` are its parameters by torch's names."""

    def run(params, xs, state):
        ys, state = [], tuple(state) if isinstance(state, tuple) else state
        for x in xs:
            state = torch.func.functional_call(module, weights(params), (x, state))
            ys.append(state[0] if isinstance(state, tuple) else state)
        return state, torch.stack(ys)

    return run


def plain_weights(params):
    """One bias is enough: the other is zero."""
    return {
        "weight_ih": params.w_ih.T,
        "weight_hh": params.w_hh.T,
        "bias_ih": params.b,
        "bias_hh": torch.zeros_like(params.b),
    }


def gru_weights(params):
    """The candidate's recurrent bias stands inside the reset gate's product."""
    zeros = torch.zeros(2 * params.b_hn.shape[0])
    return plain_weights(params) | {"bias_hh": torch.cat([zeros, params.b_hn])}


def keras_gru(params, xs, state):
    """keras orders the gates z, r, n; ours are r, z, n."""
    cell = keras.layers.GRUCell(state.shape[-1], reset_after=False, dtype="float64")
    cell.build((None, xs.shape[-1]))

    def reordered(array):
        r, z, n = jnp.split(array, 3, axis=-1)
        return jnp.concatenate([z, r, n], axis=-1)

    weights = [reordered(leaf) for leaf in (params.w_ih, params.w_hh, params.b)]
    fixed, ys = [variable.value for variable in cell.non_trainable_variables], []
    for x in xs:
        (y, (state,)), _ = cell.stateless_call(weights, fixed, x, [state])
        ys.append(y)
    return state, jnp.stack(ys)


def main():
    """Writes the files."""
    sizes = (3, 4)
    cases = {
        "elman": ("elman", {}, torch.nn.RNNCell(*sizes), plain_weights, "nn.RNNCell"),
        "irnn": (
            "elman",
            {"activation": "relu"},
            torch.nn.RNNCell(*sizes, nonlinearity="relu"),
            plain_weights,
            "nn.RNNCell, relu",
        ),
        "lstm": ("lstm", {}, torch.nn.LSTMCell(*sizes), plain_weights, "nn.LSTMCell"),
        "gru": ("gru", {}, torch.nn.GRUCell(*sizes), gru_weights, "nn.GRUCell"),
    }
    for name, (factory, options, module, weights, what) in cases.items():
        about = About(factory, options, sizes, f"{TORCH}, {what}", "library")
        record(name, about, through(module, weights), with_torch)
    about = About(
        "gru",
        {"reset": "before"},
        sizes,
        f"keras {keras.__version__}, GRUCell(reset_after=False), which computes in float32",
        "library",
    )
    with jax.enable_x64(True):
        record("gru_reset_before", about, keras_gru, with_jax)


if __name__ == "__main__":
    main()
