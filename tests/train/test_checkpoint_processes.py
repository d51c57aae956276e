"""Checkpoints of two real processes, of which one is killed; run as a program it is one of them."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import sharding, train

STEPS, EVERY, SIZE = 24, 2, 64
OPTIMIZER = optax.adam(1e-2)


def loss(params, x):
    return jnp.mean((jnp.tanh(x @ params["w"]) + params["b"] - x) ** 2)


def params():
    return {"w": jnp.eye(SIZE) / 2, "b": jnp.zeros(SIZE)}


def draw(key):
    return jax.random.normal(key, (8, SIZE))


def run(directory, mesh, specs, **options):
    batch_fn = train.sampled(draw, jax.random.key(1))
    return train.fit(loss, params(), OPTIMIZER, batch_fn, steps=STEPS, chunk=EVERY, mesh=mesh,
                     specs=specs, checkpoint=directory, checkpoint_every=EVERY, resume=True,
                     keep=2, **options)  # fmt: skip


def halves(mesh):
    """Half of the columns of w for every process, and half of b for every device of one."""
    spec = jax.sharding.PartitionSpec
    return {
        "w": jax.sharding.NamedSharding(mesh, spec("model", "data")),
        "b": jax.sharding.NamedSharding(mesh, spec("model")),
    }


def main(coordinator, index, directory):
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(
        coordinator, 2, index, initialization_timeout=30, heartbeat_timeout_seconds=10
    )
    mesh = sharding.mesh(data=2, model=2)

    def tell(done, metrics):
        print(done, flush=True)

    result = run(directory, mesh, halves(mesh), on_chunk=tell)
    by_hand(pathlib.Path(directory) / "by_hand", mesh)
    print("loss", np.asarray(result.metrics.loss).tobytes().hex(), flush=True)


def by_hand(directory, mesh):
    """Saves keys, weak types and what is empty, and loads them as they lay and otherwise."""
    spec, other = jax.sharding.PartitionSpec, sharding.mesh(model=4)
    tree = {
        "key": (jax.random.key(3), spec()),
        "keys": (jax.random.split(jax.random.key(4), 4), spec("data")),
        "rate": (jnp.asarray(0.5), spec()),
        "weak": (jnp.full(4, 2.0), spec("data")),
        "empty": (jnp.zeros((0, 4)), spec(None, "data")),
        "half": (jnp.arange(8).astype(jnp.bfloat16), spec(("data", "model"))),
    }

    def lay(over):
        def put(leaf, where):  # jit keeps a weak type
            placed = jax.sharding.NamedSharding(over, where)
            return jax.jit(lambda leaf: leaf, out_shardings=placed)(leaf)

        own = {"n": 3, "own": np.arange(3)}
        return {name: put(*leaf) for name, leaf in tree.items()} | own

    on, there = lay(mesh), lay(other)
    assert on["weak"].weak_type
    if not directory.exists():
        train.save_checkpoint(directory, on, step=1)
    for like in (on, there):
        found = train.load_checkpoint(directory, like).tree
        assert found.pop("n") == 3
        assert found.pop("own").tolist() == [0, 1, 2]
        for name, leaf in found.items():
            assert jax.typeof(leaf) == jax.typeof(like[name]), name
            assert leaf.sharding == like[name].sharding
            for shard in leaf.addressable_shards:
                got, expected = shard.data, tree[name][0][shard.index[: leaf.ndim]]
                if "key" in name:
                    got, expected = jax.random.key_data(got), jax.random.key_data(expected)
                assert np.asarray(got).tobytes() == np.asarray(expected).tobytes(), name
    try:
        train.save_checkpoint(directory, on | {"own": np.full(3, jax.process_index())}, step=2)
    except (ValueError, OSError) as error:
        assert "got an array of its own at ['own'] in process 1" in str(error)
    else:
        raise AssertionError


class Pair:
    """Two processes that train together."""

    def __init__(self, directory, where):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        root = pathlib.Path(train.__file__).parent.parent.parent
        environment = os.environ | {
            "PYTHONPATH": str(root),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(where / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        environment.pop("JAX_NUM_CPU_DEVICES", None)
        self.logs = [where / f"log{index}" for index in range(2)]
        self.processes = []
        for index, log in enumerate(self.logs):
            command = [sys.executable, "-W", "ignore", __file__, coordinator, str(index), directory]
            with log.open("w") as out:
                self.processes.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=out)
                )

    def wait(self, limit=100):
        end = time.monotonic() + limit
        for process in self.processes:
            process.wait(max(end - time.monotonic(), 0.1))
        return [process.returncode for process in self.processes]

    def wait_for(self, word):
        """Waits until the log of process 0 has a line."""
        end = time.monotonic() + 100
        while word not in self.logs[0].read_text().split("\n"):
            assert time.monotonic() < end, self.logs[0].read_text()
            if any(process.poll() is not None for process in self.processes):
                return
            time.sleep(0.001)

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def newest(directory, like):
    loaded = train.load_checkpoint(directory, like)  # a warning would be an error
    return loaded.step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(loaded.tree)]


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_lose_nothing(tmp_path):
    rng = np.random.default_rng()
    like = train.init(params(), OPTIMIZER)
    whole = tmp_path / "whole"
    pair = Pair(whole, tmp_path)
    try:
        assert pair.wait() == [0, 0], [log.read_text() for log in pair.logs]
        path = whole / f"step_{STEPS:08d}"
        assert sorted(os.listdir(path)) == ["manifest.json", "part-00000-of-00002.safetensors",
                                            "part-00001-of-00002.safetensors"]  # fmt: skip
        expected, losses = newest(whole, like), pair.logs[0].read_text().split("\n")[-2]
        assert losses.startswith("loss")
        here, at, victim = tmp_path / "here", 10, int(rng.integers(2))
        pair = Pair(here, tmp_path)
        pair.wait_for(str(at))
        time.sleep(rng.uniform(0, 0.02))
        pair.processes[victim].kill()
        codes = pair.wait()
        assert codes[victim] == -signal.SIGKILL
        assert codes[1 - victim] not in (0, None)
        step, _ = newest(here, like)
        assert at - 2 * EVERY <= step < STEPS
        pair = Pair(here, tmp_path)
        assert pair.wait() == [0, 0], [log.read_text() for log in pair.logs]
        assert newest(here, like) == expected
        assert pair.logs[1].read_text().split("\n")[-2] == losses
        assert not any(name.startswith(".tmp") for name in os.listdir(here))
    finally:
        pair.end()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
