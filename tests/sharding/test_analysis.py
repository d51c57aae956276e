"""Analysis over a mesh: the numbers of one device, and batches that stay split."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import leaky, needs_eight
from jaxrnn import analysis, sharding

SLOW = pytest.mark.slow
STEPS, BATCH, INPUT, HIDDEN = 8, 8, 3, 4
CELLS = {
    "elman": jaxrnn.elman(INPUT, HIDDEN),
    "lstm": jaxrnn.lstm(INPUT, HIDDEN),
    "leaky": leaky(INPUT, HIDDEN),
    "lru": jaxrnn.lru(INPUT, HIDDEN),
}


def profile(cell, params, xs):
    return analysis.loss_gradient_profile(lambda ys: jnp.sum(jnp.sin(ys)), cell, params, xs)


# Of each leaf of the result the axis of the batch, None where there is none; and the tolerance.
# Directions that part little are found from numbers that differ by rounding: 1e-9.
MEASURES = {
    "trajectory": (jaxrnn.trajectory, 1, 1e-12),
    "jacobians": (analysis.jacobians, 1, 1e-12),
    "decay": (analysis.gradient_decay, (None, 1, 0, 0), 1e-12),
    "profile": (profile, (None, 1, 1, 1), 1e-12),
    "lyapunov": (analysis.lyapunov_spectrum, (0, 0, 1, 0, 0, None, 0), 1e-10),
    "singular": (analysis.singular_spectrum, 0, 1e-9),
}
MESHES = {
    "data": {"data": 4},
    "model": {"model": 4},
    "both": {"data": 2, "model": 2},
    "explicit": {"data": 4, "explicit": True},
    "explicit both": {"data": 2, "model": 2, "explicit": True},
}
BOTH = ("both", "explicit both")
ROWS = [
    ("decay", "elman", ("both",)),
    *(
        pytest.param(measure, name, BOTH, marks=SLOW)
        for measure, name in [
            *((measure, "lstm") for measure in ("trajectory", "jacobians", "profile")),
            *((measure, "elman") for measure in ("lyapunov", "singular")),
        ]
    ),
    *(
        pytest.param(*row, marks=pytest.mark.exhaustive)
        for row in [
            ("trajectory", "lru", ("data", "both", "explicit")),
            ("decay", "leaky", MESHES),
            ("lyapunov", "lstm", ("explicit", "model")),
            ("singular", "lstm", ("data", "explicit")),
        ]
    ),
]


@needs_eight
@pytest.mark.parametrize(("measure", "name", "meshes"), ROWS)
def test_equals_one_device(measure, name, meshes, x64):
    cell, (function, axes, tolerance) = CELLS[name], MEASURES[measure]
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (STEPS, BATCH, INPUT))
    run = jax.jit(functools.partial(function, cell))
    expected = run(params, xs)
    for mesh in meshes:
        assert_equal(sharding.mesh(**MESHES[mesh]), run, params, xs, expected, axes, tolerance)


def assert_equal(mesh, run, params, xs, expected, axes, tolerance):
    with jax.set_mesh(mesh):
        params = sharding.shard(params, sharding.param_specs(mesh, params))
        xs = sharding.shard(xs, sharding.batch_specs(mesh, xs))
        got = run(params, xs)
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
    assert held == sum(leaf.nbytes for leaf in jax.tree.leaves(params)) / mesh.shape["model"]
    leaves, others = jax.tree.leaves(got), jax.tree.leaves(expected)
    axes = axes if isinstance(axes, tuple) else (axes,) * len(leaves)
    for leaf, other, axis in zip(leaves, others, axes, strict=True):
        np.testing.assert_allclose(leaf, other, rtol=tolerance, atol=tolerance)
        if axis is not None:
            part = leaf.sharding.shard_shape(leaf.shape)
            assert part[axis] == BATCH // mesh.shape["data"]


@needs_eight
@SLOW
def test_options_and_flags_on_an_explicit_mesh(x64):
    """What goes through `on_automatic_axes` beside inputs: states, flags, keys, two batch axes."""
    cell, mesh = CELLS["lstm"], sharding.mesh(data=4, explicit=True)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (STEPS, 4, 2, INPUT))
    state = jax.tree.map(lambda leaf: leaf + 0.1, cell.initial_state(params, (4, 2)))
    resets = jnp.zeros((STEPS, 4, 2), bool).at[3, 1].set(True)
    options = {"norm": "frobenius", "num_probes": 3, "key": jax.random.key(2)}

    @jax.jit
    def run(params, xs, state, resets):
        return analysis.gradient_decay(cell, params, xs, state, resets=resets, **options)

    expected = run(params, xs, state, resets)
    with jax.set_mesh(mesh):
        xs, resets = sharding.shard((xs, resets), P(None, "data"))
        got = run(sharding.shard(params, P()), xs, sharding.shard(state, P("data")), resets)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), got, expected)
    assert np.isneginf(np.asarray(got.log_norms)[-1, 1]).all()  # across the reset
    assert got.rate.sharding.spec == P("data", None)


@needs_eight
@SLOW
def test_a_gradient_through_an_explicit_mesh(x64):
    cell, mesh = CELLS["elman"], sharding.mesh(data=4, explicit=True)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (STEPS, BATCH, INPUT))

    @jax.jit
    @jax.grad
    def slope(params, xs):
        return jnp.sum(analysis.gradient_decay(cell, params, xs, norm="frobenius").rate)

    expected = slope(params, xs)
    assert max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(expected)) > 1e-3
    with jax.set_mesh(mesh):
        got = slope(sharding.shard(params, P()), sharding.shard(xs, P(None, "data")))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14), got, expected
    )
