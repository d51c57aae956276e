"""Unrolls in `shard_map` and on an explicit mesh: the first state has the type a step gives it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import leaky, needs_two, nested, shifted
from jaxrnn.unrolls import checkpointed, fused_unroll, newton_unroll, truncated, unroll

STEPS, BATCH, INPUT, HIDDEN = 6, 4, 2, 3
CELLS = {
    "lstm": jaxrnn.lstm(INPUT, HIDDEN),
    "leaky": leaky(INPUT, HIDDEN),
    "gru": jaxrnn.gru(INPUT, HIDDEN),
    "learned": shifted(jaxrnn.lstm(INPUT, HIDDEN)),
    "nested": nested(INPUT, HIDDEN),
}
UNROLLS = {
    "unroll": unroll,
    "checkpointed": checkpointed(unroll, 4),
    "truncated": truncated(unroll, 4, 2),
    "fused": functools.partial(fused_unroll, block_size=4),
    "newton": functools.partial(newton_unroll, block_size=4),
}
DEFAULT = [("unroll", "nested", True)]
SLOW = [
    ("unroll", "learned", True),
    ("checkpointed", "learned", True),
    ("truncated", "learned", True),
    ("fused", "learned", True),
    ("newton", "nested", True),
]
MORE = [("unroll", name, True) for name in ("lstm", "leaky", "gru")]
MORE += [("unroll", "nested", False), ("fused", "gru", True), ("fused", "lstm", False)]
ROWS = [
    *DEFAULT,
    *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW),
    *(pytest.param(*row, marks=pytest.mark.exhaustive) for row in MORE),
]
NUMBERS = np.random.default_rng(0)
XS = jnp.asarray(NUMBERS.standard_normal((STEPS, BATCH, INPUT)), jnp.float32)
RESETS = jnp.asarray(NUMBERS.random((STEPS, BATCH)) < 0.3)
MASK = jnp.asarray(NUMBERS.random((STEPS, BATCH)) < 0.7)


def energy(run, cell, params, xs, mask, resets):
    """A number for each sequence."""
    if cell is CELLS["nested"]:
        xs = {"left": xs, "right": xs[..., :1]}
    state, ys = run(cell, params, xs, mask=mask, resets=resets)
    floats = [x for x in jax.tree.leaves((state, ys)) if jnp.issubdtype(x.dtype, jnp.floating)]
    total = 0.0
    for leaf in floats:
        batch = leaf.shape.index(BATCH) if BATCH in leaf.shape else leaf.shape.index(BATCH // 2)
        total += jnp.sum(jnp.sin(leaf), axis=[a for a in range(leaf.ndim) if a != batch])
    return total


@needs_two
@pytest.mark.parametrize(("run", "name", "flags"), ROWS)
def test_shard_map_and_explicit_mesh(run, name, flags):
    cell = CELLS[name]
    params = cell.init(jax.random.key(0))
    of = functools.partial(energy, UNROLLS[run], cell)
    flags = (MASK, RESETS) if flags else (None, None)

    def slopes(of):
        def total(params, xs, mask, resets):
            values = of(params, xs, mask, resets)
            return jnp.sum(values), values

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))

    expected = slopes(of)(params, XS, *flags)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    parts = [P(None, "data") if flag is not None else None for flag in flags]
    shared = jax.shard_map(
        of, mesh=mesh, in_specs=(P(), P(None, "data"), *parts), out_specs=P("data")
    )
    mapped = slopes(shared)(params, XS, *flags)
    with jax.set_mesh(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))):
        put = [None if x is None else jax.device_put(x, P(None, "data")) for x in (XS, *flags)]
        explicit = slopes(of)(jax.device_put(params, P()), *put)
    for got in (mapped, explicit):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected
        )
