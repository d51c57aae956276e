"""What does watching gradient flow cost a training run?

Times a training step of an LSTM on characters and a probe of `train.flow_monitor`, in turn.

    python benchmarks/monitor.py [--rounds 15]
"""

import argparse

import jax
import numpy as np
import optax
from timing import timed, write

import jaxrnn
from jaxrnn import tasks, train

HIDDEN = 128


def main(rounds):
    task = tasks.text(length=100, batch_size=32)
    cell = jaxrnn.lstm(task.input_size, HIDDEN)
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.readout(task.output_size))
    step = train.make_step(
        lambda params, batch: train.cross_entropy(
            net.apply(params, batch.xs)[1], batch.targets, batch.mask
        ),
        optax.adam(1e-3),
        clip_norm=1.0,
    )
    batch = task.sample(jax.random.key(1))
    monitor = train.flow_monitor(cell, batch.xs, select=lambda params: params[0])
    state = train.init(net.init(jax.random.key(0)), optax.adam(1e-3))
    # Compiled apart and timed apart: `fit` compiles both once in a run.
    one_step, measure = jax.jit(step), jax.jit(monitor.measure)
    assert np.all(np.isfinite(measure(state.params)["exponents"]))
    seconds = timed(
        {
            "step": lambda: jax.block_until_ready(one_step(state, batch)),
            "probe": lambda: jax.block_until_ready(measure(state.params)),
        },
        rounds,
    )
    share = seconds["probe"] / (monitor.every * seconds["step"])
    print(f"step {1e3 * seconds['step']:.1f} ms, probe {1e3 * seconds['probe']:.1f} ms")
    print(f"a probe every {monitor.every} steps takes {100 * share:.2f} % of their time")
    write("monitor", {"hidden": HIDDEN, "seconds": seconds, "share": share})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)
