"""A character model: train on a text as a stream, then write with it.

The text is read in parallel streams. The recurrent state is carried from each batch to the next, so
the network has read everything before; gradients travel back 25 characters at most (`truncated`).
Expect the loss to fall well below that of character frequencies, and a sample that has words and
line breaks of about the right length, but no sense: the model is small and has trained for seconds.
"""

import argparse

import jax
import jax.numpy as jnp
import optax

import jaxrnn
from jaxrnn import tasks, train

WINDOW = 25


def make_sampler(net, count):
    """Returns a jitted function that writes `count` characters, one step at a time."""

    @jax.jit
    def write(params, token, temperature, key):
        def advance(carry, key):
            state, token = carry
            state, logits = net.apply(params, token[None], state)  # a sequence of one step
            token = jax.random.categorical(key, logits[0] / temperature)
            return (state, token), token

        start = (net.initial_state(params), token)
        return jax.lax.scan(advance, start, jax.random.split(key, count))[1]

    return write


def main(steps=150, hidden_size=96, count=200, temperature=0.7):
    task = tasks.text(length=2 * WINDOW, batch_size=32)
    vocabulary = task.info["vocabulary"]
    unroll_fn = jaxrnn.truncated(jaxrnn.unroll, WINDOW)
    net = jaxrnn.stack(
        jaxrnn.layer(jaxrnn.gru(task.input_size, hidden_size), unroll_fn),
        jaxrnn.readout(task.output_size),
    )

    def loss_fn(params, batch, state):
        state, logits = net.apply(params, batch.xs, state, resets=batch.resets)
        return train.cross_entropy(logits, batch.targets, batch.mask), state

    params = net.init(jax.random.key(0))
    result = train.fit(
        loss_fn,
        params,
        optax.adam(1e-2),
        task.stream,
        steps=steps,
        carried=net.initial_state(params, (32,)),
        on_chunk=lambda done, metrics: print(f"step {done:4d}  loss {metrics.loss.mean():.3f}"),
    )
    last = float(result.metrics.loss[-10:].mean())
    print(f"loss {last:.3f}, from character frequencies {task.info['baseline_loss']:.3f}")

    write = make_sampler(net, count)
    first = jnp.asarray(vocabulary.index("\n"), jnp.int32)  # begin as after a line break
    tokens = write(result.state.params, first, temperature, jax.random.key(1))
    sample = tasks.decode(tokens, vocabulary)
    print(f"--- {count} characters at temperature {temperature} ---\n{sample}\n---")
    return {"loss": last, "baseline": task.info["baseline_loss"], "sample": sample}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="training steps")
    parser.add_argument("--temperature", type=float, default=0.7, help="below 1: more cautious")
    options = parser.parse_args()
    main(steps=options.steps, temperature=options.temperature)
