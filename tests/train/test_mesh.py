"""Training over a mesh: the numbers of one device, and what the devices send each other."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import needs_eight
from jaxrnn import sharding, train
from jaxrnn.tasks import adding, copy
from jaxrnn.tasks.types import StreamBatch
from jaxrnn.train.fit import _make_chunk
from jaxrnn.train.placement import read_placement

pytestmark = needs_eight

STEPS, BATCH, HIDDEN = 6, 8, 8
OPTIMIZER = optax.adam(0.03)
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


def net_of(*cells):
    """Layers with dropout after the first."""
    layers = [jaxrnn.layer(cell) for cell in cells]
    return jaxrnn.stack(layers[0], jaxrnn.dropout(0.2), *layers[1:], jaxrnn.readout(1))


NETS = {
    "elman": net_of(jaxrnn.elman(2, HIDDEN)),
    "lstm": net_of(jaxrnn.lstm(2, HIDDEN), jaxrnn.gru(HIDDEN, HIDDEN)),
    "lru": net_of(jaxrnn.lru(2, HIDDEN)),
}


def sample(key):
    return TASK.sample(key), jax.random.fold_in(key, 1)


BATCH_FN = train.sampled(sample, jax.random.key(5))


def loss_of(net):
    """The loss with dropout; the last step alone counts."""

    def loss_fn(params, batch):
        batch, key = batch
        state = jaxrnn.seed_dropout(net.initial_state(params, batch.xs.shape[1:2]), key)
        _, ys = net.apply(params, batch.xs, state)
        return train.squared_error(ys, batch.targets, batch.mask)

    return loss_fn


def fit(name="elman", mesh=None, batch_fn=BATCH_FN, **options):
    net = NETS[name]
    params = net.init(jax.random.key(0))
    options = {"steps": 50, "chunk": 20} | options
    return train.fit(loss_of(net), params, OPTIMIZER, batch_fn, mesh=mesh, **options)


def assert_close(a, b, tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def assert_same(got, expected, tolerance):
    assert_close(got.state, expected.state, tolerance)
    assert_close(got.metrics, expected.metrics, tolerance)


def assert_spread(state, mesh):
    """Every leaf lies where the rules say, in its type too where the mesh is explicit."""
    params = sharding.param_specs(mesh, state.params)
    specs = state._replace(
        params=params,
        opt_state=sharding.optimizer_specs(mesh, state.opt_state, state.params, params),
        carried=sharding.state_specs(mesh, state.carried),
        step=NamedSharding(mesh, P()),
        skipped=NamedSharding(mesh, P()),
    )
    for leaf, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs), strict=True):
        assert leaf.sharding.is_equivalent_to(spec, leaf.ndim)
        if AxisType.Explicit in mesh.axis_types:
            typed = jax.typeof(leaf).sharding
            assert NamedSharding(mesh, typed.spec).is_equivalent_to(spec, leaf.ndim)
            assert typed.mesh.axis_types == mesh.axis_types
    if mesh.shape["model"] > 1:
        assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))


class Compilations:
    """Counts the programs that are compiled while training, by the log of JAX."""

    def __init__(self, caplog):
        self._caplog = caplog

    def __call__(self, name):
        start = f"Compiling jit({name})"
        return sum(record.getMessage().startswith(start) for record in self._caplog.records)


def test_a_mesh_changes_three_lines_and_no_number(caplog):
    mesh = sharding.mesh(data=2, model=2, explicit=True)
    compiled, seen = Compilations(caplog), []
    expected = fit()
    with jax.log_compiles():
        result = fit(mesh=mesh, on_chunk=lambda done, _: seen.append(compiled("run_chunk")))
    assert seen == [1, 1, 1]  # the state goes out of a chunk as it goes into the next
    assert_same(result, expected, 1e-5)
    assert_spread(result.state, mesh)
    assert all(type(leaf) is np.ndarray for leaf in result.metrics)
    assert 0 < result.metrics.clipped.sum() < 50


ROWS = [("lstm", "both"), ("lstm", "all"), ("lstm", "explicit")]
ROWS += [("elman", "data"), ("elman", "explicit data"), ("lru", "model")]


@slow
@pytest.mark.parametrize(("net", "name"), ROWS)
def test_every_mesh(net, name):
    mesh = sharding.mesh(**MESHES[name])
    result = fit(net, mesh)
    assert_same(result, fit(net), 1e-5)
    assert_spread(result.state, mesh)


@slow
@pytest.mark.parametrize("name", ["both"])
def test_double_precision(name, x64):
    assert_same(fit(mesh=sharding.mesh(**MESHES[name])), fit(), 1e-12)


@slow
@pytest.mark.parametrize("name", ["explicit", "both"])
def test_a_loop_of_ones_own_over_data_that_were_read(name, caplog):
    mesh = sharding.mesh(**MESHES[name])
    net = NETS["elman"]
    params, loss_fn = net.init(jax.random.key(0)), loss_of(net)
    rng = np.random.default_rng(0)

    def read():
        xs = rng.normal(size=(STEPS, BATCH, 2)).astype(np.float32)
        mask = np.arange(STEPS)[:, None] < rng.integers(1, STEPS, BATCH)
        return StreamBatch(xs, xs.sum(-1, keepdims=True), mask, np.zeros_like(mask))

    def run(mesh, batches):
        state = train.init(params, OPTIMIZER, mesh=mesh)
        step = jax.jit(train.make_step(loss_fn, OPTIMIZER, clip_norm=1.0, mesh=mesh))
        history = []
        for index, batch in enumerate(batches):
            if mesh is not None:
                batch = sharding.from_processes(mesh, batch)
            state, metrics = step(state, (batch, jax.random.key(index)))
            history.append(metrics)
        return state, history

    batches = [read() for _ in range(4)]
    with jax.log_compiles():
        state, history = run(mesh, batches)
    compiled = Compilations(caplog)
    assert compiled("run") + compiled("spread") == 1
    expected = run(None, batches)
    assert_close((state, history), expected, 1e-5)
    assert_spread(state, mesh)


def compiled_chunk(net, task, mesh):
    """The program that `fit` runs."""

    def loss_fn(params, batch):
        return train.cross_entropy(net.apply(params, batch.xs)[1], batch.targets, batch.mask)

    state = train.init(net.init(jax.random.key(0)), OPTIMIZER, mesh=mesh)
    step = train.make_step(loss_fn, OPTIMIZER, clip_norm=1.0)
    chunk = _make_chunk(step, 5, read_placement(mesh, None, None, by="test"), state)
    return chunk.lower(state, train.sampled(task.sample, jax.random.key(1)), 5).compile()


SUMMED = [jaxrnn.elman, *(pytest.param(cell, marks=slow) for cell in (jaxrnn.lstm, jaxrnn.mgu))]


@pytest.mark.parametrize("cell", SUMMED)
def test_a_batch_in_parts_needs_one_sum_a_step(cell):
    """Whatever the number of time steps: no sum stands in a loop over them, nothing is gathered."""
    net = jaxrnn.stack(jaxrnn.layer(cell(10, HIDDEN)), jaxrnn.readout(10))
    task = copy(length=101, memory=2, batch_size=24)
    program = compiled_chunk(net, task, sharding.mesh(data=8))
    found = sharding.collectives(program)
    # The loop is that over training steps; the count of the mask does not depend on them.
    assert [(row.kind, len(row.loops)) for row in found] == [("all-reduce", 0), ("all-reduce", 1)]
    # All gradients and the loss, in float32; the number of counted positions.
    numbers = sum(leaf.size for leaf in jax.tree.leaves(net.init(jax.random.key(0)))) + 1
    assert [row.operand_bytes for row in found] == [4, 4 * numbers]
    # Each device draws its three sequences of 24, and nobody has a whole batch.
    shapes = re.findall(r"\w\d+\[([\d,]*)\]", program.as_text())
    sizes = {size for shape in shapes for size in shape.split(",")}
    assert {"105", "3"} <= sizes
    assert "24" not in sizes


@slow
def test_units_in_parts_send_states_in_every_step():
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.elman(10, HIDDEN)), jaxrnn.readout(10))
    task = copy(length=20, memory=2, batch_size=4)
    found = sharding.collectives(compiled_chunk(net, task, sharding.mesh(model=4)))
    state = 4 * 4 * HIDDEN  # bytes of all sequences' states
    inner = [row for row in found if len(row.loops) > 1]
    # A step of time multiplies the whole state: it is gathered, and its cotangent added up.
    kinds = sorted((row.kind, row.result_bytes) for row in inner if row.result_bytes == state)
    # In the forward loop two steps as small as this share an iteration.
    assert kinds == [("all-gather", state)] * 2 + [("all-reduce", state)]
    # For the gradient of the matrix all states are gathered, once; no gates are.
    rest = [row for row in found if row.kind == "all-gather" and row.result_bytes > state]
    assert [row.result_bytes for row in rest] == [state * 24]


@slow
def test_a_mesh_of_one_device_is_the_same_program():
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(10, HIDDEN)), jaxrnn.readout(10))
    task = copy(length=20, memory=2, batch_size=4)
    with_mesh, without = (compiled_chunk(net, task, mesh) for mesh in (sharding.mesh(), None))
    assert with_mesh.cost_analysis()["flops"] == without.cost_analysis()["flops"]
    opcodes = [sorted(re.findall(r" ([a-z\-]+)\(", p.as_text())) for p in (with_mesh, without)]
    assert opcodes[0] == opcodes[1]


def mean_square(w, x):
    return jnp.mean((x - w) ** 2)


def test_a_gradient_that_is_not_finite_on_one_device_skips_the_step_everywhere():
    def batch_fn(step):
        x = 3 + jax.random.normal(jax.random.fold_in(jax.random.key(3), step), (BATCH, 2))
        bad = (step == 2) & (jnp.arange(BATCH) == BATCH - 1)
        return jnp.where(bad[:, None], jnp.nan, x)

    def run(mesh=None, **options):
        # Sequences stand on axis 0 here.
        options |= {"mesh": mesh, "batch_specs": None if mesh is None else P("data")}
        return train.fit(mean_square, jnp.zeros(2), OPTIMIZER, batch_fn, steps=6, **options)

    mesh = sharding.mesh(data=8)
    result = run(mesh)
    assert np.flatnonzero(result.metrics.skipped).tolist() == [2]
    assert result.state.skipped == 1
    assert all(np.isfinite(copy.data).all() for copy in result.state.params.addressable_shards)
    assert_same(result, run(), 1e-5)
    with pytest.raises(FloatingPointError, match="step 2 "):
        run(mesh, max_skipped=1)


@slow
@pytest.mark.parametrize("name", ["explicit"])
def test_a_stream_of_tokens_with_masks_resets_and_a_carried_state(name):
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(5, HIDDEN)), jaxrnn.readout(5))
    params = net.init(jax.random.key(0))

    def batch_fn(step):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(3), step), 3)
        tokens = jax.random.randint(keys[0], (STEPS, BATCH), 0, 5)
        lengths = jax.random.randint(keys[1], (BATCH,), 2, STEPS)
        resets = jax.random.bernoulli(keys[2], 0.1, (STEPS, BATCH))
        return tokens, lengths, resets

    def loss_fn(params, batch, carried):
        tokens, lengths, resets = batch
        mask = jaxrnn.length_mask(lengths, STEPS)
        carried, logits = net.apply(params, tokens, carried, mask=mask, resets=resets)
        return train.next_token_loss(logits, tokens, mask), carried

    def run(mesh=None):
        carried = net.initial_state(params, (BATCH,))
        options = {"steps": 50, "carried": carried, "mesh": mesh}
        return train.fit(loss_fn, params, OPTIMIZER, batch_fn, **options)

    mesh = sharding.mesh(**MESHES[name])
    result = run(mesh)
    assert_same(result, run(), 1e-5)
    assert_spread(result.state, mesh)
    assert result.state.carried[0].sharding.spec == P("data", "model")


@slow
@pytest.mark.parametrize("name", ["explicit"])
def test_what_happens_between_chunks(name, tmp_path):
    """A monitor, `stop_fn`, checkpoints, and going on, also without a mesh."""
    net = NETS["elman"]
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2, 2))
    monitor = train.flow_monitor(jaxrnn.elman(2, HIDDEN), xs, select=lambda p: p[0], k=2, every=5)
    mesh = sharding.mesh(**MESHES[name])
    whole = fit(steps=20, monitor=monitor)

    def stop_fn(done, measured, params):
        assert measured["exponents"].shape == (2,)
        assert jax.tree.structure(params) == jax.tree.structure(net.init(jax.random.key(0)))
        return done >= 10

    options = {"monitor": monitor, "chunk": 5, "checkpoint": tmp_path, "steps": 20}
    first = fit(mesh=mesh, stop_fn=stop_fn, **options)
    assert first.state.step == 10
    second = fit(mesh=mesh, resume=True, checkpoint_every=5, **options)
    assert_spread(second.state, mesh)
    assert_same(second, whole, 1e-5)
    assert_close(second.monitored.metrics, whole.monitored.metrics, 1e-4)
    third = fit(resume=True, **(options | {"steps": 25}))
    assert_same(third, fit(steps=25), 1e-5)


@slow
@pytest.mark.parametrize("explicit", [False, True])
def test_an_optimiser_that_makes_arrays_of_its_own(explicit):
    mesh = sharding.mesh(data=2, model=4, explicit=explicit)
    params = jaxrnn.lstm(3, 128).init(jax.random.key(0))
    # Factored: a row and a column for a matrix that is large enough.
    got, expected = (
        train.init(params, optax.adafactor(1e-2), mesh=where) for where in (mesh, None)
    )
    assert got.params.w_hh.sharding.spec[1] == "model"
    jax.tree.map(np.testing.assert_array_equal, got.opt_state, expected.opt_state)


def test_a_specification_of_ones_own():
    mesh = sharding.mesh(model=4)
    params = NETS["elman"].init(jax.random.key(0))
    state = train.init(params, OPTIMIZER, mesh=mesh, specs={".w_hh": P("model")})
    assert state.params[0].w_hh.sharding.spec == P("model")
    assert state.opt_state[0].mu[0].w_hh.sharding.spec == P("model")
    assert state.params[0].w_ih.sharding.spec == P(None, "model")
    specs = jax.tree.map(lambda _: NamedSharding(mesh, P()), params)
    state = train.init(params, OPTIMIZER, mesh=mesh, specs=specs)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("axis", ["data", "model", "time"])
def test_a_mesh_that_does_not_divide_says_which_number_to_change(axis):
    said = {"data": "batch size 8 to 10", "model": "hidden size 8 to 10", "time": "steps 6 to 10"}
    with pytest.raises(ValueError, match=rf"{said[axis]}, or use a mesh with {axis}=1"):
        fit(mesh=sharding.mesh(**{axis: 5}), steps=1)


def test_other_errors():
    wrong = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    mesh = sharding.mesh()
    with pytest.raises(ValueError, match=r"fit: got a mesh with the axes 'data'; expected"):
        fit(mesh=wrong)
    with pytest.raises(TypeError, match=r"make_step: got mesh of type dict"):
        train.make_step(loss_of(NETS["elman"]), OPTIMIZER, mesh={"data": 2})
    with pytest.raises(ValueError, match=r"fit: got specs without mesh"):
        fit(specs={".w_hh": P()})
    with pytest.raises(ValueError, match="fits no leaf"):
        fit(mesh=mesh, specs={".w_xx": P()})
    with pytest.raises(ValueError, match="at most 2 entries"):
        fit(mesh=mesh, specs={".w_hh": P(None, None, "model")})
    with pytest.raises(ValueError, match="over the mesh given"):
        fit(mesh=mesh, specs={".w_hh": NamedSharding(sharding.mesh(data=2), P())})
