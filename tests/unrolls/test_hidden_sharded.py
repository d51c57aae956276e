"""`hidden_sharded`: over a mesh axis that splits units, equal to one device; what moves; errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxrnn
from cases import antisymmetric, leaky, needs_eight, shifted, zeros
from jaxrnn import sharding
from jaxrnn.unrolls import (
    associative_unroll,
    checkpointed,
    fused_unroll,
    hidden_sharded,
    newton_unroll,
    truncated,
    unroll,
)
from jaxrnn.wrappers import dropout, residual, seed

STEPS, BATCH, INPUT, HIDDEN = 5, 2, 3, 8
SLOW = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive


CELLS = {name: functools.partial(make, INPUT, HIDDEN) for name, make in {
    "elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru, "cornn": jaxrnn.cornn,
    "peephole_lstm": jaxrnn.peephole_lstm, "clockwork": jaxrnn.clockwork, "cfn": jaxrnn.cfn,
    "minimal_rnn": jaxrnn.minimal_rnn, "ind_rnn": jaxrnn.ind_rnn, "min_gru": jaxrnn.min_gru,
    "skew": antisymmetric,
}.items()} | {
    "learned": lambda: shifted(jaxrnn.lstm(INPUT, HIDDEN)),
    "square": lambda: jaxrnn.gru(HIDDEN, HIDDEN),  # a weight's first axis is as long as its last
}  # fmt: skip
# What is sent in an iteration: where a small step stores, `fused_unroll` takes two of them in one.
IN_LOOPS = {
    unroll: {"all-gather": 1, "reduce-scatter": 1},
    fused_unroll: {"all-gather": 2, "reduce-scatter": 1},
}
OUTPUTS = functools.partial(fused_unroll, storage="outputs", block_size=2)
ROWS = [
    (fused_unroll, "lstm", 4),
    *(
        pytest.param(*row, marks=SLOW)
        for row in [
            (unroll, "lstm", 8),
            (unroll, "skew", 2),
            (fused_unroll, "gru", 8),
            (fused_unroll, "minimal_rnn", 4),
            (unroll, "cornn", 4),
            (fused_unroll, "clockwork", 2),
            (associative_unroll, "min_gru", 4),
        ]
    ),
    *(
        pytest.param(*row, marks=EXHAUSTIVE)
        for row in [
            (unroll, "elman", 8),
            (unroll, "gru", 4),
            (fused_unroll, "peephole_lstm", 2),
            (OUTPUTS, "skew", 4),
            (unroll, "learned", 4),
            (fused_unroll, "square", 2),
            (unroll, "cfn", 4),
            (unroll, "ind_rnn", 8),
            (checkpointed(fused_unroll, 2), "lstm", 2),
        ]
    ),
]


def mesh_of(devices, kind=AxisType.Auto):
    return jax.make_mesh((devices,), ("model",), axis_types=(kind,))


def params_of(cell):
    """Random parameters, without compiling `init`."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(random.standard_normal(x.shape) / 2, x.dtype), shapes)


def inputs(cell, features=INPUT, *, flags=True):
    """Parameters, inputs, a state away from zero, a mask and resets."""
    random = np.random.default_rng(0)
    params = params_of(cell)
    xs = jnp.asarray(random.standard_normal((STEPS, BATCH, features)), float)
    state = jax.tree.map(
        lambda x: x + random.uniform(0.1, 1, x.shape) if x.dtype == xs.dtype else x,
        cell.initial_state(params, (BATCH,)),
    )
    mask = jnp.ones((STEPS, BATCH), bool).at[1, 0].set(False).at[3:, 1].set(False)
    resets = jnp.zeros((STEPS, BATCH), bool).at[2, 0].set(True).at[1, 1].set(True)
    return params, xs, state, *((mask, resets) if flags else (None, None))


def energy(run, cell, params, xs, state, mask, resets):
    """A number that moves with every part of every output in its own way, and the outputs."""
    out = run(cell, params, xs, state, mask=mask, resets=resets)
    each = [jnp.sin(x + jnp.arange(x.size).reshape(x.shape)) for x in jax.tree.leaves(out)]
    return sum(map(jnp.sum, each)), out


def slopes_of(run, cell, state=True):
    """A function that returns the value, the outputs and the gradients of all that has one."""
    of = functools.partial(energy, run, cell)
    return jax.jit(jax.value_and_grad(of, (0, 1, 2) if state else (0, 1), has_aux=True))


def assert_trees_close(got, expected, tolerance=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), got, expected
    )


def assert_equal(run, cell, devices, arguments, tolerance=1e-12):
    """Compares with one device, and returns what the devices send each other."""
    state = all(jnp.issubdtype(s.dtype, jnp.floating) for s in jax.tree.leaves(arguments[2]))
    sharded = hidden_sharded(run, mesh_of(devices), "model")
    program = slopes_of(sharded, cell, state).lower(*arguments).compile()
    got = program(*arguments)
    expected = slopes_of(unroll, cell, state)(*arguments)
    slopes = jax.tree.leaves(expected[1])
    assert sum(np.abs(leaf).max() > 1e-3 for leaf in slopes) >= len(slopes) - 1
    assert_trees_close(got, expected, tolerance)
    _, (last, ys) = got[0]
    split = [leaf for leaf in jax.tree.leaves((last, ys)) if leaf.ndim > 1]
    assert all(leaf.sharding.spec[-1] == "model" for leaf in split)
    return sharding.collectives(program)


@needs_eight
@pytest.mark.parametrize(("run", "name", "devices"), ROWS)
def test_equals_one_device(run, name, devices, x64):
    cell = CELLS[name]()
    arguments = inputs(cell, HIDDEN if name == "square" else INPUT)
    found = assert_equal(run, cell, devices, arguments)
    in_loops = found.in_loops.kinds
    if not isinstance(cell.parts, jaxrnn.Gated):
        assert in_loops == {}
    elif run in (unroll, fused_unroll):
        assert in_loops == IN_LOOPS[run]


@needs_eight
@EXHAUSTIVE
def test_single_precision():
    cell = CELLS["gru"]()
    assert_equal(fused_unroll, cell, 4, inputs(cell), 1e-5)


@needs_eight
@SLOW
def test_half_precision_and_where_xla_would_abort():
    cell = CELLS["lstm"]()
    params, xs, *_ = inputs(cell, flags=False)
    given = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, xs))

    def slopes(run):
        def of(params, xs):
            return jnp.sum(jnp.sin(run(cell, params, xs)[1].astype(jnp.float32)))

        return jax.jit(jax.grad(of, (0, 1)))(*given)

    for mesh in (sharding.mesh(model=2), sharding.mesh(data=2, model=2)):
        got, expected = slopes(hidden_sharded(fused_unroll, mesh)), slopes(fused_unroll)
        got, expected = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (got, expected))
        assert_trees_close(got, expected, 0.1)
    if jax.default_backend() == "cpu":
        run = hidden_sharded(fused_unroll, sharding.mesh(time=2, model=2))
        with pytest.raises(NotImplementedError, match=r"got bfloat16 on CPU .* axes 'time' split"):
            run(cell, *given)


@needs_eight
@SLOW
def test_forward_sends_one_state_a_step_and_nothing_else_that_grows_with_time():
    cell = CELLS["lstm"]()
    mesh = sharding.mesh(data=2, model=4)
    run = hidden_sharded(fused_unroll, mesh, "model")
    outside = []
    for steps in (6, 12):
        params, *_ = inputs(cell)
        params = sharding.shard(params, sharding.param_specs(mesh, params))
        xs = jnp.ones((steps, BATCH, INPUT))
        xs = jax.device_put(xs, jax.NamedSharding(mesh, jax.P(None, "data")))
        program = jax.jit(lambda params, xs: run(cell, params, xs)).lower(params, xs).compile()
        found = sharding.collectives(program)
        (row,) = found.in_loops
        assert (row.kind, row.times, row.group_size) == ("all-gather", steps, 4)
        assert row.result_bytes == 4 * BATCH // 2 * HIDDEN  # of the device's sequences
        outside.append([str(row) for row in found if not row.loops])
        last, ys = program(params, xs)
        assert ys.sharding.spec == jax.P(None, "data", "model")
        assert_trees_close((last, ys), unroll(cell, params, xs), 1e-5)
    assert outside[0] == outside[1]


@needs_eight
@SLOW
@pytest.mark.parametrize("run", [unroll, fused_unroll])
def test_beside_a_split_batch_with_split_parameters(run, x64):
    cell, mesh = CELLS["peephole_lstm"](), sharding.mesh(data=2, model=4)
    arguments = inputs(cell)
    params, xs, state, mask, resets = arguments
    split = sharding.shard(params, sharding.param_specs(mesh, params))
    rows = jax.NamedSharding(mesh, jax.P(None, "data"))
    xs, mask, resets = jax.device_put((xs, mask, resets), rows)
    sharded = slopes_of(hidden_sharded(run, mesh, "model"), cell)
    program = sharded.lower(split, xs, state, mask, resets).compile()
    # The sum over the batch's devices is no part of a loop.
    in_loops = sharding.collectives(program).in_loops
    assert in_loops.kinds == IN_LOOPS[run]
    assert {row.group_size for row in in_loops} == {4}
    got = program(split, xs, state, mask, resets)
    assert_trees_close(got, slopes_of(unroll, cell)(*arguments))
    assert got[0][1][1].sharding.spec == jax.P(None, "data", "model")


@needs_eight
@SLOW
def test_truncated_and_forward_mode_and_tokens(x64):
    cell, mesh = CELLS["gru"](), mesh_of(2)
    arguments = inputs(cell)
    window = truncated(unroll, 2)
    got = slopes_of(hidden_sharded(window, mesh, "model"), cell)(*arguments)
    assert_trees_close(got, slopes_of(window, cell)(*arguments))

    params, xs, *rest = arguments
    runs = unroll, hidden_sharded(unroll, mesh, "model")
    slopes = [
        jax.jit(lambda xs, run=run: jax.jvp(
            lambda xs: energy(run, cell, params, xs, *rest)[0], (xs,), (jnp.cos(xs),)
        ))(xs)
        for run in runs
    ]  # fmt: skip
    assert_trees_close(*slopes)

    tokens = jnp.array([[0, 2], [1, 1], [2, 0]])
    got = [jax.jit(lambda p, run=run: run(cell, p, tokens))(params) for run in runs]
    assert_trees_close(*got)


@needs_eight
@SLOW
def test_dropout_drops_the_same_units(x64):
    cell = dropout(jaxrnn.lstm(INPUT, HIDDEN), 0.3, 0.5)
    params, xs, *_ = inputs(cell, flags=False)
    params = seed(params, jax.random.key(3))
    mesh = mesh_of(4)
    got = hidden_sharded(unroll, mesh, "model")(cell, params, xs)
    expected = unroll(cell, params, xs)
    assert_trees_close(jax.tree.map(jnp.asarray, got[1]), expected[1])


def softmax_cell():
    def pointwise(vectors, h, a):
        del vectors, h
        h = jax.nn.softmax(a)
        return h, h

    structure = jaxrnn.Gated(lambda p, x: x @ p["w"], lambda p: p["u"], pointwise)
    init = antisymmetric(INPUT, HIDDEN).init
    return jaxrnn.from_structure(init, zeros(HIDDEN), structure)


def closed_cell():
    gain = jnp.arange(HIDDEN)

    def pointwise(vectors, h, a):
        del vectors, h
        h = gain * jnp.tanh(a)
        return h, h

    structure = jaxrnn.Gated(lambda p, x: x @ p["w"], lambda p: p["u"], pointwise)
    return jaxrnn.from_structure(antisymmetric(INPUT, HIDDEN).init, zeros(HIDDEN), structure)


def normed_cell():
    """Its input's share is normalised over units: each device must compute all of it."""

    def project(p, x):
        z = x @ p["w"]
        return z - jnp.mean(z, axis=-1, keepdims=True)

    cell = antisymmetric(INPUT, HIDDEN)
    structure = cell.structure._replace(project=project)
    return jaxrnn.from_structure(cell.init, zeros(HIDDEN), structure)


@needs_eight
@SLOW
def test_what_mixes_units_is_refused_or_computed_whole():
    run = hidden_sharded(unroll, mesh_of(4), "model")
    wide = residual(jaxrnn.gru(HIDDEN, HIDDEN))  # it closes over H
    for cell, features in ((softmax_cell(), INPUT), (closed_cell(), INPUT), (wide, HIDDEN)):
        params, xs, *_ = inputs(cell, features, flags=False)
        with pytest.raises(
            TypeError, match=r"hidden_sharded: got a Gated cell with a mix or .*; exp"
        ):
            run(cell, params, xs)
    lru = jaxrnn.lru(INPUT, HIDDEN)
    params, xs, *_ = inputs(lru, flags=False)
    with pytest.raises(TypeError, match=r"got a Linear cell with coeff.*jaxrnn.time_sharded"):
        run(lru, params, xs)
    cell = normed_cell()
    params, xs, *_ = inputs(cell, flags=False)
    assert_trees_close(run(cell, params, xs), unroll(cell, params, xs), 1e-5)


@needs_eight
def test_what_cannot_be_split_is_refused():
    xs = jnp.ones((STEPS, BATCH, INPUT))
    mesh = mesh_of(4)
    run = hidden_sharded(unroll, mesh, "model")
    text = (
        r"^hidden_sharded: got 6 hidden units for mesh axis 'model' of 4 devices; expected a "
        r"multiple of 4; make the cell with hidden_size=8, or the mesh with 3 devices along 'model'"
    )
    cell = jaxrnn.gru(INPUT, 6)
    with pytest.raises(ValueError, match=text):
        run(cell, params_of(cell), xs)
    for make, words in (
        (leaky, "got a cell with General structure; expected Gated, Elementwise or Linear.*XLA"),
        (jaxrnn.mgu, "got a cell with Separable structure"),
    ):
        cell = make(INPUT, HIDDEN)
        with pytest.raises(TypeError, match=f"^hidden_sharded: {words}"):
            run(cell, params_of(cell), xs)
    cell = jaxrnn.gru(INPUT, HIDDEN)
    for newton in (newton_unroll, functools.partial(newton_unroll, block_size=2)):
        with pytest.raises(TypeError, match="got newton_unroll for a Gated cell; .*time_sharded"):
            hidden_sharded(newton, mesh, "model")(cell, params_of(cell), xs)


def test_wrong_arguments():
    mesh = mesh_of(1)
    with pytest.raises(ValueError, match="got unknown mesh axis 'modle'; .*did you mean 'model'"):
        hidden_sharded(unroll, mesh, "modle")
    with pytest.raises(TypeError, match=r"hidden_sharded: got mesh of type int; expected a jax.sh"):
        hidden_sharded(unroll, 2, "model")
    with pytest.raises(TypeError, match=r"hidden_sharded: got int; expected an unroll function"):
        hidden_sharded(3, mesh, "model")
    with pytest.raises(ValueError, match="hidden_sharded: got a mesh .*Explicit; expected Auto"):
        hidden_sharded(unroll, mesh_of(1, AxisType.Explicit), "model")
    cell, run = jaxrnn.elman(INPUT, HIDDEN), hidden_sharded(unroll, mesh)
    with jax.set_mesh(jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))):
        text = r"hidden_sharded: got a mesh {'model': 1} inside a program over {'data': 1}; expect"
        with pytest.raises(ValueError, match=text):
            run(cell, params_of(cell), jnp.ones((2, 1, INPUT)))
