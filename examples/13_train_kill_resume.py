"""Train, kill, resume: a run that is killed without warning goes on to the same numbers.

Another process trains and saves a checkpoint every 20 steps; once it has saved one it is killed, as
by a power cut or a scheduler. `fit(..., resume=True)` takes the newest checkpoint and goes on.
Expect parameters and losses equal, bit for bit, to those of a run that nothing disturbed. (From the
command line: `jaxrnn train --checkpoint DIR`, and after the kill the same with `--resume`.)
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import optax

import jaxrnn
from jaxrnn import tasks, train


def train_network(directory, steps, pause=0.0):
    """Trains from the newest checkpoint in the directory, or from the beginning."""
    task = tasks.adding(length=10, batch_size=16)
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(2, 16)), jaxrnn.readout(1))

    def loss_fn(params, batch):
        ys = net.apply(params, batch.xs)[1]
        return train.squared_error(ys, batch.targets, batch.mask)

    return train.fit(
        loss_fn,
        net.init(jax.random.key(0)),
        optax.adam(1e-2),
        train.sampled(task.sample, jax.random.key(1)),
        steps=steps,
        chunk=10,
        checkpoint=directory,
        checkpoint_every=20,
        resume=True,
        on_chunk=lambda *_: time.sleep(pause),
    )


def train_and_kill(directory, steps, pause):
    """Lets another process train, and kills it once it has saved; returns the step saved."""
    words = [sys.executable, __file__, "--directory", directory, "--steps", str(steps)]
    with subprocess.Popen([*words, "--pause", str(pause)]) as process:
        while process.poll() is None and not list(pathlib.Path(directory).glob("step_*")):
            time.sleep(0.01)
        process.kill()
    saved = pathlib.Path(directory).glob("step_*")
    return max(int(path.name.removeprefix("step_")) for path in saved)


def main(steps=200, pause=0.05):
    with tempfile.TemporaryDirectory() as killed, tempfile.TemporaryDirectory() as whole:
        saved = train_and_kill(killed, steps, pause)
        print(f"killed; the newest checkpoint is of step {saved} of {steps}")
        resumed, expected = train_network(killed, steps), train_network(whole, steps)
    pairs = zip(jax.tree.leaves(resumed), jax.tree.leaves(expected), strict=True)
    same = all(np.array_equal(a, b) for a, b in pairs)
    print(f"gone on to step {steps}: loss {resumed.metrics.loss[-10:].mean():.4f}")
    print(f"parameters, optimiser and every loss as without the kill, bit for bit: {same}")
    return saved, same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--directory", help="train there, as the process that is killed does")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds after ten steps")
    options = parser.parse_args()
    if options.directory:
        train_network(options.directory, options.steps, options.pause)
    else:
        main(options.steps, options.pause)
