"""A program of several processes for the tests: it imports everything once, and forks.

``python together.py COUNT FILE``: process 0 writes what came out to FILE, a line of JSON.
"""

import json
import os
import pathlib
import signal
import socket
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import sharding, train

HIDDEN, INPUT, LENGTH, BATCH, STEPS = 4, 3, 5, 8, 6


def training(mesh=None):
    """Trains a small network on data of its own; returns losses, norms and parameters."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(STEPS, LENGTH, BATCH, INPUT)).astype(np.float32)
    shapes = {"w_ih": (INPUT, HIDDEN), "w_hh": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    cell = jaxrnn.elman(INPUT, HIDDEN)
    kind = type(jax.eval_shape(cell.init, jax.eval_shape(lambda: jax.random.key(0))))
    params = kind(*(rng.normal(size=shapes[k]).astype(np.float32) / 2 for k in kind._fields))

    def loss_fn(params, xs):
        ys = jaxrnn.unroll(cell, params, xs)[1]
        return jnp.mean((ys - jnp.flip(ys, 0) - xs[..., :1]) ** 2)

    batch_fn = jax.tree_util.Partial(lambda xs, step: xs[step], xs)
    result = train.fit(
        loss_fn, params, optax.sgd(0.5), batch_fn, steps=STEPS, clip_norm=0.1, mesh=mesh
    )
    params = sharding.unshard(result.state.params)
    numbers = [result.metrics.loss, result.metrics.grad_norm, *params]
    return [np.asarray(one).tolist() for one in numbers]


def compared(index):
    """What `check_same` says where one process was told something else."""
    try:
        sharding.check_same({"--hidden": 32, "--lr": 0.1})
        sharding.check_same(
            {"--hidden": 64 if index else 32, "data": f"sha {index}", "--lr": 0.1},
            notes={"data": f"{'other' * index}.txt"},
        )
    except ValueError as error:
        return str(error)
    return "nothing"


def ends_at_sigterm():
    """Whether the signal would end this process, as JAX's own handler of it would not."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return True  # only Linux says
    caught = int(status.read_text("utf-8").split("SigCgt:")[1].split()[0], 16)
    return not caught >> (signal.SIGTERM - 1) & 1


def main(count, name):
    with socket.create_server(("localhost", 0)) as server:
        coordinator = f"localhost:{server.getsockname()[1]}"
    children, index = [], 0
    for one in range(1, count):
        child = os.fork()
        if not child:
            children, index = [], one
            break
        children.append(child)
    sharding.start_processes(coordinator, count, index, timeout=30)
    said = compared(index)
    mesh = sharding.mesh(data=-1)
    found = {
        "processes": [jax.process_count(), jax.process_index(), jax.device_count()],
        "ends at SIGTERM": ends_at_sigterm(),
        "texts": sharding.gather_texts("é" * index),
        "said": said,
        "all said": sharding.gather_texts(said),
        "numbers": training(mesh),
    }
    sharding.gather_texts("done")
    if index == 0:
        with open(name, "w", encoding="utf-8") as file:
            json.dump(found, file)
    jax.distributed.shutdown()
    if children:
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.exit(max(map(abs, codes)))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
