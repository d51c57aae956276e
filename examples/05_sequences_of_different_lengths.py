"""Sequences of different lengths: padding changes no number, not even if it is NaN.

Sequences are padded to one length and batched, with a mask that says which steps are real. Expect
the padded batch to give what each sequence gives alone: outputs, final states, the loss and its
gradient. The padding is NaN here, so any leak would turn the results into NaN. A sequence of
length 0 keeps its initial state.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import train


def pad(sequences):
    """Returns one time-major batch (T, B, features), NaN where a sequence has ended, and a mask."""
    lengths = np.array([len(one) for one in sequences])
    xs = np.full((lengths.max(), len(sequences), sequences[0].shape[-1]), np.nan, np.float32)
    for index, one in enumerate(sequences):
        xs[: len(one), index] = one
    return xs, jaxrnn.length_mask(lengths, len(xs))


def main(lengths=(7, 12, 0, 3)):
    generator = np.random.default_rng(0)
    sequences = [generator.normal(size=(n, 3)).astype(np.float32) for n in lengths]
    xs, mask = pad(sequences)
    targets = np.nan_to_num(xs[..., :1])  # a target for every step; those in the padding are unused
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(3, 8)), jaxrnn.readout(1))
    params = net.init(jax.random.key(0))

    def batch_loss(params):
        _, ys = net.apply(params, xs, mask=mask)
        return train.squared_error(ys, targets, mask)

    def loss_one_by_one(params):
        errors = []
        for index, one in enumerate(sequences):
            if len(one):
                _, ys = net.apply(params, one)
                errors.append(jnp.sum((ys - targets[: len(one), index]) ** 2))
        return sum(errors) / sum(lengths)

    batch, batch_grads = jax.jit(jax.value_and_grad(batch_loss))(params)
    single, single_grads = jax.jit(jax.value_and_grad(loss_one_by_one))(params)
    differences = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), batch_grads, single_grads)
    grad_error = float(max(jax.tree.leaves(differences)))
    print(f"NaN entries in the padded batch: {np.isnan(xs).sum()} of {xs.size}")
    print(f"loss of the batch {batch:.6f}, one sequence at a time {single:.6f}")
    print(f"largest difference between their gradients: {grad_error:.1e}")

    (state, _), ys = net.apply(params, xs, mask=mask)
    state_error = 0.0
    for index, one in enumerate(sequences):
        expected = net.initial_state(params)[0]
        if len(one):
            (expected, _), alone = net.apply(params, one)
            state_error = max(state_error, float(jnp.max(jnp.abs(alone - ys[: len(one), index]))))
        state_error = max(state_error, float(jnp.max(jnp.abs(expected.h - state.h[index]))))
    print(f"largest difference between outputs and final states: {state_error:.1e}")
    return float(batch), float(single), grad_error, state_error


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    main()
