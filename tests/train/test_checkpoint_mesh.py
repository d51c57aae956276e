"""Trainings that are stopped on one mesh and gone on with on another, or on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cases import needs_eight
from jaxrnn import sharding, train

pytestmark = needs_eight

OPTIMIZER = optax.adam(0.01)
MESHES = {"none": None, "4x2": (4, 2), "2": (2, 1), "x8": (1, 8)}


def loss(params, x, carried):
    h = jnp.tanh(x @ params["w"] + params["b"] + carried["h"])
    return jnp.mean((h - x) ** 2), {"h": h / 2, "key": carried["key"]}


def draw(key):
    return jax.random.normal(key, (8, 8))


class Stop(Exception):
    pass


def run(shape, checkpoint=None, stop=None, **options):
    mesh = specs = None
    if shape is not None:
        devices = jax.devices()[: shape[0] * shape[1]]
        mesh = sharding.mesh(data=shape[0], model=shape[1], devices=devices)
        specs = {
            "w": NamedSharding(mesh, PartitionSpec("model", "data")),
            "b": NamedSharding(mesh, PartitionSpec("model")),
        }

    def on_chunk(done, metrics):
        if done == stop:
            raise Stop

    batch_fn = train.sampled(draw, jax.random.key(1))
    params = {"w": jnp.eye(8) / 2, "b": jnp.zeros(8)}
    carried = {"h": jnp.zeros((8, 8)), "key": jax.random.key(3)}
    return train.fit(loss, params, OPTIMIZER, batch_fn, steps=8, chunk=2, carried=carried,
                     mesh=mesh, specs=specs, checkpoint=checkpoint, on_chunk=on_chunk,
                     checkpoint_every=4 if checkpoint else None, **options)  # fmt: skip


def numbers(result):
    kept = result.state._replace(carried=result.state.carried["h"])
    return jax.tree.map(np.asarray, (kept, result.metrics))


def check(tmp_path, first, then):
    """A training stopped on one mesh and gone on with on another is that on one device."""
    with pytest.raises(Stop):
        run(first, tmp_path, stop=6)  # of which 4 are saved
    result = run(then, tmp_path, resume=True)
    for got, expected in zip(*map(jax.tree.leaves, (numbers(result), numbers(run(None)))),
                             strict=True):  # fmt: skip
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    return result


def test_a_training_goes_on_without_the_mesh(tmp_path, x64):
    check(tmp_path, (4, 2), None)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("4x2", "2"), ("4x2", "x8"), ("none", "4x2")])
def test_a_training_goes_on_on_another_mesh(tmp_path, x64, first, then):
    check(tmp_path, MESHES[first], MESHES[then])


@pytest.mark.slow
def test_on_the_same_mesh_it_is_bit_for_bit_the_run_without_a_break(tmp_path):
    with pytest.raises(Stop):
        run((4, 2), tmp_path, stop=6)
    result, whole = run((4, 2), tmp_path, resume=True), run((4, 2))
    assert [leaf.sharding for leaf in jax.tree.leaves(result.state)] == [
        leaf.sharding for leaf in jax.tree.leaves(whole.state)
    ]
    for got, expected in zip(*map(jax.tree.leaves, (numbers(result), numbers(whole))), strict=True):
        assert got.tobytes() == expected.tobytes()
