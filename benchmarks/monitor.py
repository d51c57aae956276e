"""What does watching gradient flow cost a training run?

Times a training step of an LSTM on characters and a probe of `train.flow_monitor`, in turn.

    python benchmarks/monitor.py [--rounds 15] [--quick]
"""

import jax
import numpy as np
import optax
from common import make_parser, parse, save

import jaxrnn
from jaxrnn import tasks, train
from jaxrnn.bench import timed


def main(arguments=None):
    options = parse(make_parser(__doc__, cells=None, rounds=15), arguments)
    hidden, length, batch_size = (4, 8, 2) if options.quick else (128, 100, 32)
    task = tasks.text(length=length, batch_size=batch_size)
    cell = jaxrnn.lstm(task.input_size, hidden)
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
    times = timed(
        {
            "step": lambda: jax.block_until_ready(one_step(state, batch)),
            "probe": lambda: jax.block_until_ready(measure(state.params)),
        },
        options.rounds,
    )
    seconds = {name: float(np.median(values)) for name, values in times.items()}
    share = seconds["probe"] / (monitor.every * seconds["step"])
    print(f"step {1e3 * seconds['step']:.1f} ms, probe {1e3 * seconds['probe']:.1f} ms")
    print(f"a probe every {monitor.every} steps takes {100 * share:.2f} % of their time")
    settings = {"hidden": hidden, "rounds": options.rounds}
    save("monitor", {**settings, "seconds": seconds, "share": share}, options)


if __name__ == "__main__":
    main()
