"""`pipelined`: a stack over a mesh axis, equal to one device; its ticks and its sends; errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxrnn
from cases import needs_eight
from jaxrnn import layer, pipelined, sharding, stack
from jaxrnn.layers import bidirectional, dropout, readout, residual, reverse, seed_dropout

STEPS, BATCH, SIZE = 6, 2, 4
SLOW = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive
LAYERS = {
    "lstm": lambda: layer(jaxrnn.lstm(SIZE, SIZE)),
    "elman": lambda: layer(jaxrnn.elman(SIZE, SIZE), jaxrnn.unroll),
    "residual": lambda: residual(layer(jaxrnn.gru(SIZE, SIZE))),
    "lru": lambda: layer(jaxrnn.lru(SIZE, SIZE)),
    "clockwork": lambda: layer(jaxrnn.clockwork(SIZE, SIZE)),  # counts its steps
    "readout": lambda: stack(layer(jaxrnn.gru(SIZE, SIZE)), readout(SIZE)),
}


def mesh_of(*sizes, names=("pipe", "data"), kind=AxisType.Auto):
    return jax.make_mesh(sizes, names[: len(sizes)], axis_types=(kind,) * len(sizes))


def deep(name, count):
    return stack(*(LAYERS[name]() for _ in range(count)))


def params_of(net):
    """Random parameters, without compiling `init`."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(random.standard_normal(x.shape) / 2, x.dtype), shapes)


def inputs(net, *, flags=True, steps=STEPS):
    """Parameters, inputs, a state away from zero, a mask and resets."""
    random = np.random.default_rng(0)
    params = params_of(net)
    xs = jnp.asarray(random.standard_normal((steps, BATCH, SIZE)), float)
    state = jax.tree.map(
        lambda x: x + random.uniform(0.1, 1, x.shape) if x.dtype == xs.dtype else x,
        net.initial_state(params, (BATCH,)),
    )
    mask = jnp.ones((steps, BATCH), bool).at[1, 0].set(False).at[4:, 1].set(False)
    resets = jnp.zeros((steps, BATCH), bool).at[3, 0].set(True).at[2, 1].set(True)
    return params, xs, state, *((mask, resets) if flags else (None, None))


def energy(net, params, xs, state, mask, resets):
    """A number that moves with every part of every output in its own way, and the outputs."""
    out = net.apply(params, xs, state, mask=mask, resets=resets)
    parts = [part for leaf in jax.tree.leaves(out) for part in (leaf.real, leaf.imag)]
    each = [jnp.sin(x + jnp.arange(x.size).reshape(x.shape)) for x in parts]
    return sum(map(jnp.sum, each)), out


def slopes_of(net):
    of = functools.partial(energy, net)
    return jax.jit(jax.value_and_grad(of, (0, 1, 2), has_aux=True, allow_int=True))


def assert_trees_close(got, expected, tolerance=1e-12):
    def compare(a, b):
        if a.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    jax.tree.map(compare, got, expected)


def assert_equal(net, mesh, blocks, tolerance=1e-12, **options):
    """Compares with the stack on one device, and returns the compiled program."""
    run = pipelined(net, mesh, "pipe", blocks=blocks)
    arguments = inputs(net, **options)
    program = slopes_of(run).lower(*arguments).compile()
    assert_trees_close(program(*arguments), slopes_of(net)(*arguments), tolerance)
    return program


@needs_eight
def test_equals_the_stack_on_one_device(x64):
    program = assert_equal(deep("elman", 2), mesh_of(2), 3)
    sent = sharding.collectives(program).in_loops
    assert set(sent.kinds) == {"collective-permute"}  # forward one, backward one
    assert [row.times for row in sent] == [3 + 2 - 1] * 2
    assert {row.result_bytes for row in sent} == {8 * STEPS // 3 * BATCH * SIZE}


@needs_eight
@pytest.mark.parametrize(
    ("name", "count", "devices", "blocks"),
    [
        pytest.param("lstm", 4, 2, None, marks=SLOW),
        pytest.param("residual", 2, 2, 4, marks=SLOW),  # of 2, 2, 2 and no steps
        pytest.param("clockwork", 2, 2, 3, marks=SLOW),
        pytest.param("lstm", 8, 8, 6, marks=EXHAUSTIVE),
        pytest.param("elman", 4, 4, 1, marks=EXHAUSTIVE),
        pytest.param("elman", 2, 2, 8, marks=EXHAUSTIVE),  # more blocks than steps
        pytest.param("lru", 4, 2, 2, marks=EXHAUSTIVE),
        pytest.param("readout", 2, 2, 2, marks=EXHAUSTIVE),
    ],
)
def test_equals_the_stack(name, count, devices, blocks, x64):
    assert_equal(deep(name, count), mesh_of(devices), blocks)


@needs_eight
@EXHAUSTIVE
def test_without_flags_and_state_and_in_single_precision():
    assert_equal(deep("lstm", 2), mesh_of(2), 2, 1e-5, flags=False)
    net = deep("lstm", 2)
    params, xs, *_ = inputs(net, steps=7)
    got = pipelined(net, mesh_of(2), "pipe", blocks=3).apply(params, xs)  # without jit
    assert_trees_close(got, net.apply(params, xs), 1e-5)


@needs_eight
@SLOW
def test_beside_a_split_batch_with_split_parameters(x64):
    mesh = sharding.mesh(data=2, model=4)
    net = stack(
        layer(jaxrnn.gru(3, 8)), stack(*(layer(jaxrnn.gru(8, 8)) for _ in range(4))), readout(2)
    )
    before, inner, after = net.parts.layers
    piped = stack(before, pipelined(inner, mesh, "model", blocks=3), after)
    params = params_of(net)
    xs = jnp.asarray(np.random.default_rng(0).standard_normal((STEPS, BATCH, 3)))

    def slopes(net):
        return jax.jit(jax.value_and_grad(lambda p, xs: jnp.sum(jnp.sin(net.apply(p, xs)[1]))))

    expected = slopes(net)(params, xs)
    split = sharding.shard(params, sharding.param_specs(mesh, params))
    shares = [
        leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(split[1])
    ]
    assert max(shares) <= 1 / 4  # no device holds more than its layers have
    xs = jax.device_put(xs, jax.NamedSharding(mesh, jax.P(None, "data")))
    assert_trees_close(slopes(piped)(split, xs), expected)


@pytest.mark.parametrize("blocks", [pytest.param(1, marks=SLOW), 5])
def test_ticks(blocks):
    """K + n - 1 ticks, of T / K steps of a layer each."""
    devices = min(2, len(jax.devices()))
    net = deep("elman", devices)
    params, xs, *_ = inputs(net, steps=10)
    run = pipelined(net, mesh_of(devices), "pipe", blocks=blocks)
    text = str(jax.make_jaxpr(run.apply)(params, xs))
    assert f"length={blocks + devices - 1}\n" in text
    assert text.count(f"length={10 // blocks}\n") == 1  # the layer's own loop


@needs_eight
@SLOW
def test_dropout_draws_for_each_block():
    net = stack(*(stack(layer(jaxrnn.gru(SIZE, SIZE)), dropout(0.5)) for _ in range(2)))
    params, xs, *_ = inputs(net, flags=False)
    state = seed_dropout(net.initial_state(params, (BATCH,)), jax.random.key(1))
    _, ys = pipelined(net, mesh_of(2), "pipe", blocks=2).apply(params, xs, state)
    half = STEPS // 2
    state, first = net.apply(params, xs[:half], state)
    _, second = net.apply(params, xs[half:], state)
    assert_trees_close(ys, jnp.concatenate([first, second]), 1e-5)
    assert np.any(np.asarray(first) == 0)


def test_is_a_stack_for_those_who_read_it():
    net = deep("lstm", 2)
    piped = pipelined(net, mesh_of(1), "pipe", blocks=8)
    assert piped.init is net.init
    shapes = jax.eval_shape(stack(piped, readout(3)).init, jax.random.key(0))
    assert shapes[1].w.shape == (SIZE, 3)
    assert jaxrnn.layers.parts.layer_parts(piped).layers == net.parts.layers


def test_what_cannot_be_pipelined_is_refused():
    mesh = mesh_of(1)
    gru = layer(jaxrnn.gru(SIZE, SIZE))
    for net, words in (
        (gru, "got a layer of recurrent; expected a stack"),
        (stack(gru, reverse(gru)), "got reverse in the stack; expected layers that go forwards"),
        (stack(residual(bidirectional(gru, gru))), "got bidirectional in the stack"),
        (stack(gru._replace(parts=None)), "got a layer of unknown parts in the stack"),
        (jaxrnn.gru(SIZE, SIZE), r"got Cell; expected a jaxrnn.Layer; wrap the cell"),
    ):
        with pytest.raises(TypeError, match=f"pipelined: {words}"):
            pipelined(net, mesh, "pipe")
    xs = jnp.ones((3, BATCH, SIZE))

    def refused(net, text, xs=xs, **options):
        with pytest.raises(ValueError, match=f"pipelined: {text}"):
            pipelined(net, mesh, "pipe", **options).apply(params_of(net), xs)

    refused(stack(gru, layer(jaxrnn.lstm(SIZE, SIZE))), "got layers with different parameters")
    relu = layer(jaxrnn.elman(SIZE, SIZE, activation="relu"))
    refused(stack(LAYERS["elman"](), relu), "got layers 0 and 1 that compute different things")
    wide = stack(layer(jaxrnn.gru(SIZE, 5)))
    refused(wide, r"got inputs of shape \(3, 2, 4\) and outputs of shape \(3, 2, 5\) of the first")
    refused(stack(gru), "got blocks=0; expected a positive", blocks=0)
    refused(stack(gru), r"got an array of shape \(3,\); expected one array", xs=xs[:, 0, 0])
    with pytest.raises(ValueError, match="got states that are a tuple of 2; expected a tuple of 1"):
        params = params_of(stack(gru))
        pipelined(stack(gru), mesh, "pipe").apply(params, xs, (jnp.ones((BATCH, SIZE)),) * 2)


def test_layers_that_are_split_themselves_are_refused():
    mesh = mesh_of(1)
    unit = jaxrnn.hidden_sharded(jaxrnn.unroll, mesh, "pipe")
    net = stack(layer(jaxrnn.elman(SIZE, SIZE), unit))
    with pytest.raises(NotImplementedError, match="hidden_sharded: got a call inside .* over pipe"):
        pipelined(net, mesh, "pipe").apply(params_of(net), jnp.ones((2, BATCH, SIZE)))


@needs_eight
def test_a_mesh_that_does_not_fit_is_refused():
    text = r"got 3 layers for mesh axis 'pipe' of 2 devices; .* stack 4 layers, .* with 1 devices"
    with pytest.raises(ValueError, match=f"pipelined: {text}"):
        pipelined(deep("lstm", 3), mesh_of(2), "pipe")
    with pytest.raises(ValueError, match="got unknown mesh axis 'pip'"):
        pipelined(deep("lstm", 2), mesh_of(2), "pip")
