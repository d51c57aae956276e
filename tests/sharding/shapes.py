"""Shapes of parameters, meshes without devices, and specs by path, for the tests of specs."""

import jax
from jax.sharding import AbstractMesh, AxisType

import jaxrnn

INPUT, HIDDEN = 5, 16  # 5 divides by nothing, and is no hidden size
KEY = jax.random.key(0)
NAMES = ("data", "time", "model")


def mesh_of(data=2, time=1, model=2, *, kind=AxisType.Auto):
    """A mesh without devices: specs need none."""
    return AbstractMesh((data, time, model), NAMES, axis_types=(kind,) * 3)


def made(network):
    """The shapes of a network's parameters."""
    return jax.eval_shape(network.init, KEY)


def flat(specs):
    """Path and spec of every leaf."""
    return {
        jax.tree_util.keystr(path): tuple(one.spec)
        for path, one in jax.tree.leaves_with_path(specs)
    }


def zoo_params(name):
    return made(jaxrnn.CELLS[name].make(INPUT, HIDDEN))


MODEL, LAST = ("model",), (None, "model")
