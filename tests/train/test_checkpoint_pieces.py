"""Checkpoints of arrays over many devices and processes: any mesh loads what any other saved.

Several processes are threads here, each of which writes what lies on its own of eight devices;
`test_checkpoint_processes.py` has real ones.
"""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cases import needs_eight
from jaxrnn import train
from jaxrnn.sharding import mesh
from jaxrnn.train import parts, reading
from jaxrnn.train.checkpoint import load_contents, write_snapshot
from jaxrnn.train.pieces import check_tiling, paste, piece_name, whole_box
from jaxrnn.train.snapshot import snapshot
from jaxrnn.train.step_directory import check_writable
from jaxrnn.train.together import ALONE, Processes, all_succeed

pytestmark = needs_eight

TOKEN = "0123456789abcdef"


class Team:
    """Processes that are threads; the devices are dealt out to them in order."""

    def __init__(self, count):
        self.count, self.words = count, [""] * count
        self.barrier = threading.Barrier(count, timeout=30)

    def _exchange(self, index):
        def exchange(word):
            self.words[index] = word
            self.barrier.wait()
            words = list(self.words)
            self.barrier.wait()
            return words

        return exchange

    def run(self, function):
        """Calls a function of `Processes` in each, and returns what they return or raise."""

        def one(index):
            exchange, each = self._exchange(index), len(jax.devices()) // self.count
            try:
                return function(
                    Processes(index, self.count, exchange, lambda device: device.id // each)
                )
            except Exception as error:
                return error

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(one, range(self.count)))

    def save(self, directory, tree, step=5, keep=3, **options):
        def write(processes):
            taken = snapshot(tree, step=step, processes=processes, token=TOKEN, **options)
            return write_snapshot(directory, taken, keep)

        return self.run(write)

    def load(self, directory, like, step=None):
        return self.run(
            lambda p: load_contents(directory, like, step=step, by="x", level=1, processes=p)
        )


def tree_of():
    """Arrays of every kind, with how they are laid over a mesh."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        values = {
            "w": jnp.asarray(rng.normal(size=(8, 16))),
            "b": jnp.asarray(rng.normal(size=8), jnp.bfloat16),
            "cube": jnp.asarray(rng.normal(size=(8, 2, 8)), jnp.float32),
            "z": jnp.asarray(rng.normal(size=8) + 1j, jnp.complex64),
            "small": jnp.arange(8).astype(jnp.float8_e4m3fnuz),
            "flag": jnp.arange(8) % 3 == 0,
            "keys": jax.random.split(jax.random.key(3), 8),
            "rbg": jax.random.split(jax.random.key(3, impl="rbg"), (8, 2)),
            "empty": jnp.zeros((0, 8)),
            "count": jnp.asarray(3, jnp.int32),
        }
    weak = {"rate": jnp.asarray(0.5), "weak": jnp.full((8,), 2)}
    assert all(leaf.weak_type for leaf in weak.values())
    return values | weak


SPECS = {
    "w": ("data", "model"),
    "b": ("model",),
    "cube": ("model", None, "data"),
    "z": (("data", "model"),),
    "small": ("data",),
    "flag": ("model",),
    "keys": ("data",),
    "rbg": ("model",),
    "empty": (None, "model"),
    "weak": ("data",),
}
MESHES = {"4x2": (4, 2), "2x1": (2, 1), "1x8": (1, 8), "8x1": (8, 1), "1x1": (1, 1)}


def lay(values, shape):
    """Puts the tree on a mesh; None for no mesh."""
    if shape is None:
        return values
    on = mesh(data=shape[0], model=shape[1], devices=jax.devices()[: shape[0] * shape[1]])
    return {
        name: jax.device_put(leaf, NamedSharding(on, PartitionSpec(*SPECS.get(name, ()))))
        for name, leaf in values.items()
    }


VALUES = tree_of()


def same(a, b):
    assert set(a) == set(b)
    for name, x in a.items():
        y = b[name]
        assert jax.typeof(x) == jax.typeof(y), name
        assert x.sharding == y.sharding, name
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), name


def test_one_process_writes_whole_arrays_that_every_mesh_loads(tmp_path):
    path = train.save_checkpoint(tmp_path, lay(VALUES, (4, 2)), step=5)
    assert sorted(os.listdir(path)) == ["arrays.safetensors", "manifest.json"]
    assert json.loads((path / "manifest.json").read_text())["version"] == 1
    for shape in (None, *MESHES.values()):
        like = lay(VALUES, shape)
        same(train.load_checkpoint(tmp_path, like).tree, like)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_many_processes_write_pieces_that_every_mesh_loads(tmp_path, count):
    saved = lay(VALUES, (4, 2))
    paths = Team(count).save(tmp_path, saved, info={"a": 1}, extra={"loss": np.arange(3.0)})
    assert paths == [tmp_path / "step_00000005"] * count
    names = [f"part-{k:05d}-of-{count:05d}.safetensors" for k in range(count)]
    assert sorted(os.listdir(paths[0])) == ["manifest.json", *names]
    assert os.listdir(tmp_path) == ["step_00000005"]
    for shape in (None, *MESHES.values()):
        like = lay(VALUES, shape)
        loaded = train.load_checkpoint(tmp_path, like)
        same(loaded.tree, like)
        assert loaded.info == {"a": 1}
    found = train.load_checkpoint(tmp_path, {k: jax.eval_shape(lambda v=v: v)
                                             for k, v in VALUES.items()}).tree  # fmt: skip
    same(found, VALUES)
    for contents in Team(2).load(tmp_path, saved):
        same(contents.tree, saved)
        assert contents.extra["loss"].tolist() == [0, 1, 2]
