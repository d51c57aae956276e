"""Training over a mesh: the numbers of one device, and what the devices send each other."""

import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from jax.tree_util import Partial

import jaxrnn
from cases import needs_eight
from jaxrnn import sharding, train
from jaxrnn.tasks import adding, copy
from jaxrnn.tasks.types import StreamBatch

pytestmark = needs_eight

STEPS, BATCH, HIDDEN = 12, 8, 8
OPTIMIZER = optax.adam(0.03)
NET = jaxrnn.stack(
    jaxrnn.layer(jaxrnn.lstm(2, HIDDEN)),
    jaxrnn.dropout(0.2),
    jaxrnn.layer(jaxrnn.gru(HIDDEN, HIDDEN)),
    jaxrnn.readout(1),
)
TASK = adding(length=STEPS, batch_size=BATCH)
MESHES = {
    "data": {"data": 8},
    "model": {"model": 4},
    "both": {"data": 2, "model": 4},
    "all": {"time": 2, "data": 2, "model": 2},
    "explicit data": {"data": 8, "explicit": True},
    "explicit": {"data": 2, "model": 4, "explicit": True},
}
slow = pytest.mark.slow


def sample(key):
    return TASK.sample(key), jax.random.fold_in(key, 1)


BATCH_FN = train.sampled(sample, jax.random.key(5))


def loss_fn(params, batch):
    """Dropout between two recurrent layers; the loss counts the last step alone."""
    batch, key = batch
    state = jaxrnn.seed_dropout(NET.initial_state(params, (BATCH,)), key)
    _, ys = NET.apply(params, batch.xs, state)
    return train.squared_error(ys, batch.targets, batch.mask)


def fit(mesh=None, **options):
    params = NET.init(jax.random.key(0))
    options = {"steps": 50, "chunk": 20} | options
    return train.fit(loss_fn, params, OPTIMIZER, BATCH_FN, mesh=mesh, **options)


def assert_close(a, b, tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def assert_same_result(got, expected, tolerance):
    assert_close(got.state, expected.state, tolerance)
    assert_close(got.metrics, expected.metrics, tolerance)


def specs_of_state(mesh, state):
    params = sharding.param_specs(mesh, state.params)
    return state._replace(
        params=params,
        opt_state=sharding.optimizer_specs(mesh, state.opt_state, state.params, params),
        carried=sharding.state_specs(mesh, state.carried),
        step=jax.NamedSharding(mesh, P()),
        skipped=jax.NamedSharding(mesh, P()),
    )


def assert_spread(state, mesh):
    """Every leaf lies where the rules say, in its type too where the mesh is explicit."""
    for leaf, spec in zip(
        jax.tree.leaves(state), jax.tree.leaves(specs_of_state(mesh, state)), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(spec, leaf.ndim)
        if jax.sharding.AxisType.Explicit in mesh.axis_types:
            entries = (*spec.spec, *[None] * leaf.ndim)[: leaf.ndim]
            assert jax.typeof(leaf).sharding.spec == P(*entries)


@pytest.fixture(scope="module")
def expected():
    return fit()


@pytest.mark.parametrize(
    "name", ["both", *(pytest.param(name, marks=slow) for name in MESHES if name != "both")]
)
def test_fifty_steps_are_those_of_one_device(name, expected):
    mesh = sharding.mesh(**MESHES[name])
    result = fit(mesh)
    assert_same_result(result, expected, 1e-5)
    assert_spread(result.state, mesh)
    assert all(type(leaf) is np.ndarray for leaf in result.metrics)
    assert 0 < result.metrics.clipped.sum() < 50
