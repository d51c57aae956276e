"""Runs jaxrnn on the arrays of one torch case and measures how far its values and gradients are."""

from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn
from golden import convert
from reference import Params, error

CELLS = {  # case: (torch's module, the cell that computes the same)
    "tanh": ("rnn", jaxrnn.elman),
    "relu": ("rnn", lambda i, h: jaxrnn.elman(i, h, activation="relu")),
    "lstm": ("lstm", jaxrnn.lstm),
    "gru": ("gru", lambda i, h: jaxrnn.gru(i, h, reset="after")),
}


def network(case: str, input_size: int, hidden_size: int, unroll_fn: Any = None) -> jaxrnn.Layer:
    """Makes the two bidirectional layers of the goldens."""
    make = CELLS[case][1]
    layers = [
        jaxrnn.layer(make(size, hidden_size), unroll_fn) for size in (input_size, 2 * hidden_size)
    ]
    return jaxrnn.stack(*[jaxrnn.bidirectional(layer, layer) for layer in layers])


def paired(function: Any, *trees: Any) -> Any:
    """Maps over the (forward, backward) pairs of all layers."""
    return tuple(
        tuple(function(*ways) for ways in zip(*pairs, strict=True))
        for pairs in zip(*trees, strict=True)
    )


def errors(
    case: str, arrays: convert.Arrays, dtype: Any, unroll_fn: Any = None
) -> dict[str, float]:
    """Returns the errors of values and gradients, relative to the largest entry of each array."""
    kind = CELLS[case][0]
    net = network(case, arrays["xs"].shape[-1], arrays["h_0"].shape[-1], unroll_fn)
    blank = jax.eval_shape(net.init, jax.random.key(0))
    params = paired(lambda one, new: one._replace(**new), blank, convert.weights(kind, arrays))
    blank = jax.eval_shape(lambda p: net.initial_state(p, arrays["xs"].shape[1:-1]), blank)
    start, d_final = (
        jax.tree.structure(blank).unflatten(jax.tree.leaves(convert.states(kind, arrays, name)))
        for name in ("{}_0", "d_{}_n")
    )
    params, xs, start, weights = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype),
        (params, arrays["xs"], start, (d_final, arrays["d_ys"])),
    )

    def loss(params, xs, state, mask, weights):
        result = net.apply(params, xs, state, mask=mask)
        products = jax.tree.map(lambda w, r: jnp.sum(w * r), weights, result)
        return sum(jax.tree.leaves(products)), result

    with jax.default_matmul_precision("highest"):
        run = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
        mask = jaxrnn.length_mask(jnp.asarray(arrays["lengths"]), len(xs))
        (d_params, d_xs, d_start), (final, ys) = run(params, xs, start, mask, weights)

    expected = paired(lambda fields: Params(**fields), convert.gradients(kind, arrays))
    return {
        "ys": error(ys, arrays["ys"]),
        "final state": error(final, convert.states(kind, arrays, "{}_n")),
        "gradient of params": error(d_params, expected),
        "gradient of xs": error(d_xs, arrays["grad.xs"]),
        "gradient of the state": error(d_start, convert.states(kind, arrays, "grad.{}_0")),
    }
