"""Streaming: inputs come one at a time, for many streams at once, and each can begin anew.

A service reads one number a step from each of three sensors and answers at once. `jaxrnn.stepper`
compiles one step, prepares what depends on parameters alone, and keeps the state in place: the
state passed in is used up (donated). Expect the answers to be those of the whole recording run as
one sequence, up to rounding, also where a sensor is switched on again in between (`reset`) or is
silent (`mask`); and a step to take well under a millisecond.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn


def main(steps=200, sensors=3, hidden_size=32):
    net = jaxrnn.stack(
        jaxrnn.layer(jaxrnn.lstm(1, hidden_size)),
        jaxrnn.layer(jaxrnn.exp_rnn(hidden_size, hidden_size)),  # its matrix is an exponential
        jaxrnn.readout(1),
    )
    params = net.init(jax.random.key(0))
    generator = np.random.default_rng(0)
    recording = generator.normal(size=(steps, sensors, 1)).astype(np.float32)
    switched_on = np.zeros((steps, sensors), bool)
    switched_on[steps // 2, 1] = True
    awake = generator.random((steps, sensors)) < 0.9

    stream = jaxrnn.stepper(net)
    prepared = stream.prepare(params)  # once; again after new parameters
    state = stream.initial_state(prepared, (sensors,))
    answers, seconds = [], []
    for x, reset, mask in zip(recording, switched_on, awake, strict=True):
        start = time.perf_counter()
        old = state
        state, y = stream.step(prepared, state, x, reset, mask=mask)
        answers.append(np.asarray(y))
        seconds.append(time.perf_counter() - start)
    donated = all(leaf.is_deleted() for leaf in jax.tree.leaves(old))

    _, expected = net.apply(params, recording, resets=switched_on, mask=awake)
    error = float(jnp.max(jnp.abs(np.stack(answers) - expected)))
    median = 1e6 * float(np.median(seconds[1:]))
    print(f"{steps} steps of {sensors} streams: {median:.0f} us a step, after compiling")
    print(f"step by step against the whole sequence: they differ by at most {error:.1e}")
    print(f"the old state's memory was used again: {donated}")
    return {"error": error, "donated": donated, "answers": np.stack(answers)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of every stream")
    main(steps=parser.parse_args().steps)
