"""Trainings that are killed at random moments lose nothing but time.

Run as a program this file is a process that has imported everything but started no device, and
forks a training for each line it reads.
"""

import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train

STEPS = 160
SIZE = 192  # with Adam's moments 442 kB a checkpoint


def loss(w, x):
    return jnp.mean((jnp.tanh(x @ w) - x) ** 2)


def start():
    return jnp.eye(SIZE) / 2, optax.adam(1e-2)


def draw(key):
    return jax.random.normal(key, (2, SIZE))


def run_training(directory, tell):
    """Saves after every second step; writes a byte to `tell` after each."""
    params, optimizer = start()
    batch_fn = train.sampled(draw, jax.random.key(1))
    train.fit(loss, params, optimizer, batch_fn, steps=STEPS, chunk=2, checkpoint_every=2,
              checkpoint=directory, resume=True, keep=2,
              on_chunk=lambda done, metrics: os.write(tell, b"."))  # fmt: skip


def serve():
    for line in sys.stdin:
        directory, at_chunk, delay = line.rsplit(maxsplit=2)
        heard, tell = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                run_training(directory, tell)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(tell)
        if at_chunk == "1":
            select.select([heard], [], [], 100)
        ended, waited = (0, 0), time.monotonic()
        while ended[0] == 0 and time.monotonic() < waited + float(delay):
            time.sleep(0.001)
            ended = os.waitpid(child, os.WNOHANG)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
        os.close(heard)
        print(os.waitstatus_to_exitcode(ended[1]), flush=True)


class Parent:
    def __init__(self, cache):
        environment = os.environ | {
            "PYTHONPATH": str(pathlib.Path(train.__file__).parent.parent.parent),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def train(self, directory, at_chunk=0, delay=100.0):
        """Returns the exit code of a training, killed so many seconds after its first chunk."""
        self.process.stdin.write(f"{directory} {at_chunk} {delay}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def contents(directory):
    """The newest checkpoint as bytes; a broken one would be an error."""
    like = train.init(*start())
    loaded = train.load_checkpoint(directory, like)
    (path,) = [p for p in directory.iterdir() if p.name == f"step_{loaded.step:08d}"]
    bits = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(loaded.tree)]
    return loaded.step, bits, (path / "arrays.safetensors").read_bytes()


@pytest.mark.parametrize(
    "number",
    [pytest.param(12, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.exhaustive)],
)
def test_killed_trainings_end_as_if_they_had_not_been(number, tmp_path):
    rng = np.random.default_rng()
    parent = Parent(tmp_path / "cache")
    try:
        whole = tmp_path / "whole"
        assert parent.train(whole) == 0
        expected = contents(whole)
        assert expected[0] == STEPS
        kills = completed = unfinished = resumed = 0
        while kills < number or resumed:
            here, before = tmp_path / f"run{completed}", resumed
            # one in eight before or while it compiles, the others between and within writes
            moment = (0, rng.uniform(0, 1)) if rng.random() < 1 / 8 else (1, rng.uniform(0, 0.4))
            code = parent.train(here, *(moment if kills < number else ()))
            assert code in (0, -signal.SIGKILL)
            names = os.listdir(here) if here.exists() else []
            unfinished += any(name.startswith(".tmp") for name in names)
            if code:
                kills += 1
                if any(name.startswith("step") for name in names):
                    resumed = contents(here)[0]
                assert resumed >= before
            else:
                assert contents(here) == expected
                assert not any(name.startswith(".tmp") for name in names)
                completed, resumed = completed + 1, 0
        print(f"{kills} kills, {unfinished} within a write, {completed} trainings completed")
        assert completed >= 1
        assert unfinished >= 3 or number < 50
    finally:
        parent.process.stdin.close()
        parent.process.wait(60)
        parent.process.stdout.close()


if __name__ == "__main__":
    serve()
