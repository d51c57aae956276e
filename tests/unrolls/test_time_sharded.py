"""`time_sharded`: over a mesh axis that splits time, equal to one device; what moves; errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import leaky, needs_eight, needs_two, rotating
from jaxrnn import sharding
from jaxrnn.unrolls import (
    associative_unroll,
    checkpointed,
    chunked_unroll,
    newton_unroll,
    newton_unroll_with_info,
    time_sharded,
    truncated,
    unroll,
)
from jaxrnn.unrolls.newton import damped, diagonal

INPUT, HIDDEN = 2, 3
SLOW = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive
CELLS = {
    "lru": jaxrnn.lru(INPUT, HIDDEN),
    "min_gru": jaxrnn.min_gru(INPUT, HIDDEN),
    "rotating": rotating(INPUT, HIDDEN),
    "mlstm": jaxrnn.mlstm(INPUT, HIDDEN),
    "elman": jaxrnn.elman(INPUT, HIDDEN),
    "gru": jaxrnn.gru(INPUT, HIDDEN),
    "ind_rnn": jaxrnn.ind_rnn(INPUT, HIDDEN),
    "leaky": leaky(INPUT, HIDDEN),
}
newton = functools.partial(functools.partial, newton_unroll)
ROWS = [
    (associative_unroll, "min_gru", True, (2,)),
    *(
        pytest.param(*row, marks=SLOW)
        for row in [
            (newton_unroll, "ind_rnn", True, ()),
            (associative_unroll, "rotating", False, ()),
            (newton(method=damped()), "leaky", False, ()),
            (newton(max_iters=1), "elman", True, (2,)),  # fails: the sequential run
        ]
    ),
]


def mesh_of(*sizes, names=("time", "data"), kind=AxisType.Auto):
    return jax.make_mesh(sizes, names[: len(sizes)], axis_types=(kind,) * len(sizes))


def inputs(cell, steps, batch, *, flags):
    """Parameters, inputs, a state away from zero, a mask and resets."""
    random = np.random.default_rng(0)
    params = cell.init(jax.random.key(0))
    state = jax.tree.map(
        lambda x: x + random.uniform(0.1, 1, x.shape).astype(x.real.dtype),
        cell.initial_state(params, batch),
    )
    xs = jnp.asarray(random.standard_normal((steps, *batch, INPUT)))
    if not flags:
        return params, xs, state, None, None
    mask, resets = random.random((2, steps, *batch)) < np.array([0.7, 0.2]).reshape(
        2, 1, *(1 for _ in batch)
    )
    mask[: steps // 2], resets[: 2 * steps // 3] = True, False  # the state crosses devices
    return params, xs, state, jnp.asarray(mask), jnp.asarray(resets)


def energy(run, cell, params, xs, state, mask, resets):
    """A number that moves with every part of every output in its own way, and the outputs."""
    out = run(cell, params, xs, state, mask=mask, resets=resets)
    parts = [part for leaf in jax.tree.leaves(out) for part in (leaf.real, leaf.imag)]
    each = [jnp.sin(x + jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)) for x in parts]
    return sum(map(jnp.sum, each)), out


def slopes_of(run, cell):
    """A function that returns the value, the outputs and the gradients of all that has one."""
    of = functools.partial(energy, run, cell)
    return jax.jit(jax.value_and_grad(of, (0, 1, 2), has_aux=True))


def assert_trees_close(got, expected, rtol=1e-9, atol=1e-11):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, expected)


def assert_nothing_collects(steps, hlo, *, loops):
    """Devices send each other nothing whose first axis is time.

    Except in a loop in a loop, where there are `loops`: a failure of `newton_unroll` is run again
    step by step. The programs of jax 0.12 do not say which those are.
    """
    if loops and jax.__version_info__ >= (0, 11):
        return
    collective = r"= (.*?) (?:all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\("
    lines = [line for line in hlo.splitlines() if "while/body/while" not in line]
    found = re.findall(collective, "\n".join(lines))
    axes = [int(axis) for shapes in found for axis in re.findall(r"\[(\d+)", shapes)]
    assert axes
    assert steps not in axes


def assert_equal(run, cell, arguments):
    program = slopes_of(run, cell).lower(*arguments).compile()
    got = program(*arguments)
    expected = slopes_of(unroll, cell)(*arguments)
    slopes = jax.tree.leaves(expected[1])
    assert sum(np.abs(leaf).max() > 1e-3 for leaf in slopes) >= len(slopes) - 1
    assert_trees_close(got, expected)
    (_, (last, ys)), (_, d_xs, _) = got
    for leaf in (ys, d_xs):
        assert leaf.sharding.spec[0] == "time"
    assert all("time" not in leaf.sharding.spec for leaf in jax.tree.leaves(last))
    loops = not isinstance(cell.parts, jaxrnn.Linear)
    assert_nothing_collects(len(arguments[1]), program.as_text(), loops=loops)


@needs_two
@pytest.mark.parametrize(("run", "name", "flags", "batch"), ROWS)
def test_equals_one_device(run, name, flags, batch, x64):
    sharded = time_sharded(run, mesh_of(2), "time")
    assert_equal(sharded, CELLS[name], inputs(CELLS[name], 12, batch, flags=flags))


@needs_two
@SLOW
def test_newton_by_another_method_from_a_guess(x64):
    cell = CELLS["elman"]
    params, xs, state, mask, resets = inputs(cell, 12, (2,), flags=True)
    guess = jaxrnn.trajectory(cell, params, xs, state, mask=mask, resets=resets)
    options = {"method": diagonal, "guess": guess, "max_iters": 1, "on_failure": "nan"}
    run = time_sharded(newton(**options), mesh_of(2), "time")
    arguments = params, xs, state, mask, resets
    assert_trees_close(slopes_of(run, cell)(*arguments), slopes_of(unroll, cell)(*arguments))


@needs_two
@pytest.mark.parametrize("max_iters", [None, 1])
def test_newton_says_what_came_of_it(max_iters, x64):
    cell, steps = CELLS["elman"], 12
    params, xs, state, mask, resets = inputs(cell, steps, (2,), flags=True)
    run = functools.partial(newton_unroll_with_info, max_iters=max_iters)
    flags = {"mask": mask, "resets": resets}
    last, ys, info = time_sharded(run, mesh_of(2), "time")(cell, params, xs, state, **flags)
    expected = run(cell, params, xs, state, block_size=steps, **flags)[2]
    assert ys.sharding.spec[0] == "time"
    assert info.converged.tolist() == [max_iters is None] * 2
    assert info.iterations.tolist() == expected.iterations.tolist()
    assert int(info.num_blocks) == 1
    np.testing.assert_allclose(info.residual, expected.residual, rtol=1e-6, atol=1e-14)
    assert_trees_close(info.states, jaxrnn.trajectory(cell, params, xs, state, **flags))
    assert_trees_close((last, ys), unroll(cell, params, xs, state, **flags))


@needs_two
def test_inputs_lie_split_or_whole_and_jit_is_not_needed(x64):
    cell, mesh = CELLS["min_gru"], mesh_of(2)
    params, xs, *_ = inputs(cell, 7, (2,), flags=False)
    expected = unroll(cell, params, xs)
    xs, mask = jnp.pad(xs, ((0, 1), (0, 0), (0, 0))), jaxrnn.length_mask(jnp.full((2,), 7), 8)
    split = jax.device_put(xs, NamedSharding(mesh, P("time")))
    run = time_sharded(associative_unroll, mesh, "time")
    for given in (xs, split):
        last, ys = run(cell, params, given, mask=mask)
        assert ys.sharding.spec[0] == "time"
        assert_trees_close((last, ys[:7]), expected)


@needs_two
@SLOW
def test_modes_and_orders(x64):
    # Those of `associative_unroll` are made in the same way.
    cell, run = CELLS["ind_rnn"], time_sharded(newton_unroll, mesh_of(2), "time")
    params, xs, *_ = inputs(cell, 6, (), flags=False)
    v = jnp.asarray(np.random.default_rng(1).standard_normal(xs.shape))

    @jax.jit
    def of(xs):
        def every(run):
            def value(xs):
                return energy(run, cell, params, xs, None, None, None)[0]

            slope = jax.grad(value)
            return (
                jax.jvp(value, (xs,), (v,))[1],
                jax.jvp(slope, (xs,), (v,))[1],  # forward over reverse
                jax.grad(lambda x: jnp.sum(slope(x) * v))(xs),  # reverse over reverse
            )

        return every(run), every(unroll)

    assert_trees_close(*of(xs))


@needs_eight
@pytest.mark.parametrize(
    ("run", "name", "steps"),
    [
        pytest.param(associative_unroll, "lru", 24, marks=SLOW),
        pytest.param(associative_unroll, "mlstm", 24, marks=EXHAUSTIVE),
        pytest.param(newton_unroll, "elman", 16, marks=SLOW),
        pytest.param(newton_unroll, "gru", 16, marks=EXHAUSTIVE),
    ],
)
def test_eight_devices(run, name, steps, x64):
    sharded = time_sharded(run, mesh_of(8), "time")
    assert_equal(sharded, CELLS[name], inputs(CELLS[name], steps, (2,), flags=True))


@needs_eight
@SLOW
def test_time_and_sequences_are_split(x64):
    cell, mesh = CELLS["min_gru"], mesh_of(4, 2)
    params, xs, state, mask, resets = inputs(cell, 8, (2,), flags=True)
    put = jax.device_put((xs, mask, resets), NamedSharding(mesh, P("time", "data")))
    run = time_sharded(associative_unroll, mesh, "time")
    got = slopes_of(run, cell)(params, put[0], state, *put[1:])
    assert got[0][1][1].sharding.spec[:2] == ("time", "data")
    assert_trees_close(got, slopes_of(unroll, cell)(params, xs, state, mask, resets))


@needs_eight
@SLOW
def test_whole_and_in_windows_with_split_parameters(x64):
    cell, mesh = CELLS["lru"], sharding.mesh(data=2, time=4)
    params, *rest, mask, resets = inputs(cell, 16, (2,), flags=True)
    split = sharding.shard(params, sharding.param_specs(mesh, params))
    xs, mask, resets = jax.device_put(
        (rest[0], mask, resets), NamedSharding(mesh, P("time", "data"))
    )
    run = time_sharded(associative_unroll, mesh, "time")
    for one, other in ((run, unroll), (truncated(run, 8), truncated(unroll, 8))):
        got = slopes_of(one, cell)(split, xs, rest[1], mask, resets)
        assert_trees_close(got, slopes_of(other, cell)(params, *rest, mask, resets))


@needs_two
def test_what_cannot_be_split_is_refused():
    cell, mesh = CELLS["min_gru"], mesh_of(2)
    params = cell.init(jax.random.key(0))
    run = time_sharded(associative_unroll, mesh, "time")
    xs = jnp.ones((7, 4, INPUT))
    text = (
        r"^time_sharded: got xs of 7 steps for mesh axis 'time' of 2 devices; expected a multiple "
        r"of 2; pad time to 8 steps .* mask=jaxrnn.length_mask\(jnp.full\(\(4,\), 7\), 8\)"
    )
    with pytest.raises(ValueError, match=text):
        run(cell, params, xs)
    for other, kind in ((jaxrnn.gru(INPUT, 2), "Gated"), (leaky(INPUT, 2), "General")):
        with pytest.raises(TypeError, match=f"got a cell with {kind} .*expected Linear.*newton"):
            run(other, other.init(jax.random.key(0)), xs[:6])


def test_wrong_arguments():
    mesh = mesh_of(1)
    make = functools.partial(time_sharded, associative_unroll)
    with pytest.raises(ValueError, match="got unknown mesh axis 'tine'; .*did you mean 'time'"):
        make(mesh, "tine")
    with pytest.raises(TypeError, match=r"time_sharded: got mesh of type int; expected a jax.shar"):
        make(2, "time")
    with pytest.raises(ValueError, match="Explicit; expected Auto alone; make it with"):
        make(mesh_of(1, kind=AxisType.Explicit), "time")
    for unroll_fn, name in ((newton(block_size=4), "block_size"), (newton(mask=3), "mask")):
        with pytest.raises(
            ValueError, match=f"got newton_unroll with {name}; expected of its .*me"
        ):
            time_sharded(unroll_fn, mesh, "time")
    for other in (unroll, chunked_unroll, checkpointed(associative_unroll), 3):
        with pytest.raises(TypeError, match=r"time_sharded: got .*; expected jaxrnn.associative_u"):
            time_sharded(other, mesh, "time")
