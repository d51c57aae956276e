"""A batch in groups over a mesh: values and gradients are those of the plain call."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxrnn
from cases import needs_two, nested, shifted
from jaxrnn.unrolls import (
    associative_unroll,
    checkpointed,
    chunked_unroll,
    fused_unroll,
    newton_unroll,
    truncated,
    unroll,
)
from jaxrnn.unrolls.batch_groups import in_groups

STEPS, BATCH, INPUT, HIDDEN = 7, 4, 2, 3
RNG = np.random.default_rng(0)
XS = jnp.asarray(RNG.standard_normal((STEPS, BATCH, INPUT)), jnp.float32)
MASK = jnp.asarray(RNG.random((STEPS, BATCH)) < 0.7)
RESETS = jnp.asarray(RNG.random((STEPS, BATCH)) < 0.3)
CELLS = {
    "lstm": shifted(jaxrnn.lstm(INPUT, HIDDEN)),
    "nested": nested(INPUT, HIDDEN),
    "lru": jaxrnn.lru(INPUT, HIDDEN),
    "clockwork": jaxrnn.clockwork(INPUT, 4),
}
DRAWN = jaxrnn.elman(INPUT, HIDDEN)
CELLS["drawn"] = jaxrnn.Cell(  # each sequence begins in another state
    DRAWN.init,
    lambda params, batch_shape=(): jax.random.normal(jax.random.key(7), (*batch_shape, HIDDEN)),
    DRAWN.step,
)
UNROLLS = {
    "fused": functools.partial(fused_unroll, block_size=3),
    "unroll": unroll,
    "chunked": chunked_unroll,
    "associative": associative_unroll,
    "truncated": truncated(fused_unroll, 4, 2),
    "checkpointed": checkpointed(functools.partial(unroll, unroll_factor=2)),
}
ROWS = [("fused", "lstm", True), ("unroll", "nested", True), ("chunked", "lru", True)]
ROWS += [("associative", "lru", False), ("unroll", "clockwork", False)]
ROWS += [("unroll", "drawn", None), ("truncated", "lstm", True), ("checkpointed", "nested", True)]


def around(size=2):
    """Makes a mesh known to what is traced."""
    mesh = jax.make_mesh((size,), ("data",), axis_types=(AxisType.Auto,))
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh), mesh


def inputs_of(name):
    return {"left": XS, "right": XS[..., :1]} if name == "nested" else XS


def total(call, cell, params, xs, state, mask, resets):
    last, ys = call(cell, params, xs, state, mask=mask, resets=resets)
    leaves = [jnp.abs(leaf) for leaf in jax.tree.leaves((last, ys))]
    scales = 1 + jnp.arange(BATCH) / 3  # every sequence counts, each by another weight
    value = 0.0
    for leaf in leaves:
        axis = 1 if leaf.shape[0] == STEPS else 0
        scale = scales.reshape(-1, *[1] * (leaf.ndim - axis - 1))
        value += jnp.sum(jnp.sin(leaf * scale))
    return value, (last, ys)


@needs_two
@pytest.mark.slow
@pytest.mark.parametrize(("run", "name", "given"), ROWS)
def test_groups_are_the_plain_call(run, name, given):
    cell = CELLS[name]
    params, xs = cell.init(jax.random.key(0)), inputs_of(name)
    state = jax.tree.map(lambda leaf: leaf + 1, cell.initial_state(params, (BATCH,)))
    state = state if given else None
    flags = (None, None) if given is False else (MASK, RESETS)

    def slopes(call, params, xs):
        of = functools.partial(total, call, cell)
        return jax.grad(of, argnums=(0, 1), has_aux=True)(params, xs, state, *flags)

    expected = jax.jit(functools.partial(slopes, UNROLLS[run]))(params, xs)
    _, mesh = around()

    def grouped(params, xs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return slopes(functools.partial(in_groups, UNROLLS[run]), params, xs)

    everywhere = jax.NamedSharding(mesh, jax.P())
    split = jax.NamedSharding(mesh, jax.P(None, "data"))
    params, xs = jax.device_put(params, everywhere), jax.device_put(xs, split)
    lowered = jax.jit(grouped).lower(params, xs)
    assert f"2x{STEPS}x2x" in lowered.as_text() or f"{STEPS}x2x2x" in lowered.as_text()
    got = lowered.compile()(params, xs)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


def parts_of(call, *args, size=2, **kwargs):
    """The batch sizes that a cell sees when it is called so."""
    seen = []

    def step(params, h, x):
        seen.append(h.shape[:-1])
        h = jnp.tanh(x @ params["w"] + h)
        return h, h

    cell = jaxrnn.Cell(
        lambda key: {"w": jnp.ones((INPUT, HIDDEN))},
        lambda params, batch_shape=(): jnp.zeros((*batch_shape, HIDDEN)),
        step,
    )
    context, mesh = around(size)
    with context:
        jax.eval_shape(lambda: call(cell, *args, **kwargs))
    return {shape[:1] for shape in seen}


PARAMS = {"w": jnp.ones((INPUT, HIDDEN))}


@needs_two
@pytest.mark.parametrize(
    ("run", "params", "xs", "expected"),
    [
        (unroll, PARAMS, XS, {(2,)}),
        (functools.partial(unroll, unroll_factor=2), PARAMS, XS, {(2,)}),
        (truncated(checkpointed(unroll, 2), 4), PARAMS, XS, {(2,)}),
        (truncated(newton_unroll, 4), PARAMS, XS, {(4,)}),
        (newton_unroll, PARAMS, XS, {(4,)}),  # not tried on parts
        (unroll, PARAMS, XS[:, :3], {(3,)}),  # cannot be split equally
        (unroll, PARAMS, XS[:, 0], {()}),  # one sequence
        (unroll, PARAMS | {"key": jax.random.split(jax.random.key(0), 4)}, XS, {(4,)}),
    ],
)
def test_when_a_batch_is_split(run, params, xs, expected):
    call = functools.partial(in_groups, run)
    found = parts_of(call, params, xs)
    assert {shape for shape in found if shape != ()} or {()} == expected
    assert expected <= found
    assert not (found - expected - {()})


def test_without_a_mesh_it_is_the_plain_call():
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    params = cell.init(jax.random.key(0))
    texts = [
        str(jax.make_jaxpr(functools.partial(call, cell))(params, XS))
        for call in (fused_unroll, functools.partial(in_groups, fused_unroll))
    ]
    assert texts[0] == texts[1]


@needs_two
def test_parameters_of_each_sequence_are_not_split():
    cell = jaxrnn.elman(INPUT, HIDDEN)
    params = cell.init(jax.random.key(0))
    params = params._replace(b=jnp.arange(4 * HIDDEN, dtype=float).reshape(4, HIDDEN))
    expected = unroll(cell, params, XS)
    context, _ = around()
    with context:
        got = jax.jit(functools.partial(in_groups, unroll, cell))(params, XS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)
