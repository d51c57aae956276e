"""What is computed once and what in every step, read off the jaxpr; and memory, off XLA."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from cases import BASIC, antisymmetric, separable
from jaxrnn.unrolls import checkpointed, truncated, unroll

STEPS, BATCH, INPUT, HIDDEN = 12, 2, 3, 5
XS = jnp.ones((STEPS, BATCH, INPUT))
UNROLLS = {
    "unroll": unroll,
    "truncated": truncated(unroll, 4),
    "truncated_every": truncated(unroll, 6, 3),
    "checkpointed": checkpointed(unroll, 4),
    "both": checkpointed(truncated(unroll, 2), 4),
}
each_unroll = pytest.mark.parametrize("run", UNROLLS.values(), ids=UNROLLS)


def equations(jaxpr, loops=0):
    """Yields every equation with the number of loops around it."""
    for eqn in jaxpr.eqns:
        yield eqn, loops
        inside = loops + (eqn.primitive.name in ("scan", "while"))
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(sub):
                yield from equations(getattr(sub, "jaxpr", sub), inside)


def is_jaxpr(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def loss(run, cell):
    def of(params, xs):
        state, ys = run(cell, params, xs)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves((state, ys)))

    return of


def jaxprs(run, cell):
    params = cell.init(jax.random.key(0))
    of = loss(run, cell)
    return [
        jax.make_jaxpr(f)(params, XS).jaxpr for f in (of, jax.grad(of), jax.grad(of, argnums=1))
    ]


@pytest.mark.parametrize("name", BASIC)
def test_the_projection_is_one_product_for_all_steps(name):
    forward = jaxprs(unroll, jaxrnn.CELLS[name].make(INPUT, HIDDEN))[0]
    dots = [(e, n) for e, n in equations(forward) if e.primitive.name == "dot_general"]
    outside = [e for e, n in dots if n == 0]
    assert len(outside) == 1
    assert outside[0].invars[0].aval.shape == (STEPS, BATCH, INPUT)
    assert outside[0].outvars[0].aval.shape[:2] == (STEPS, BATCH)
    assert len(dots) == (3 if name == "gru_reset_before" else 2)
    assert all(INPUT not in v.aval.shape for e, n in dots if n for v in e.invars)


@each_unroll
@pytest.mark.parametrize(
    ("make", "marker"), [(antisymmetric, "sin"), (antisymmetric, "exp"), (separable, "tanh")]
)
def test_prepare_is_in_no_loop(run, make, marker):
    cell = make(INPUT, HIDDEN)
    square = {(HIDDEN, HIDDEN)} if marker != "exp" else {(HIDDEN,)}
    for jaxpr in jaxprs(run, cell):
        found = [
            n for e, n in equations(jaxpr)
            if e.primitive.name in (marker, "cos" if marker == "sin" else marker)
            and e.outvars[0].aval.shape in square
        ]  # fmt: skip
        assert found and not any(found), found


def test_the_marker_is_seen_inside_a_loop():
    cell = antisymmetric(INPUT, HIDDEN)
    general = jaxrnn.Cell(cell.init, cell.initial_state, cell.step)  # nothing known: not hoisted
    found = [n for e, n in equations(jaxprs(unroll, general)[0]) if e.primitive.name == "sin"]
    assert any(found)


def test_expm_is_in_no_loop_of_the_unroll():
    def pointwise(vectors, h, a):
        h = jnp.tanh(a)
        return h, h

    base = antisymmetric(INPUT, HIDDEN)
    cell = jaxrnn.from_structure(
        base.init,
        base.initial_state,
        jaxrnn.Gated(
            project=base.structure.project,
            weights=lambda p: jax.scipy.linalg.expm(p["u"] - p["u"].T),
            pointwise=pointwise,
        ),
    )
    for run in (UNROLLS["truncated_every"], UNROLLS["checkpointed"]):
        params = cell.init(jax.random.key(0))
        jaxpr = jax.make_jaxpr(jax.grad(loss(run, cell)))(params, XS).jaxpr
        solves = [n for e, n in equations(jaxpr) if e.primitive.name in ("lu", "triangular_solve")]
        assert solves and not any(solves)


def temp_bytes(run, steps):
    cell = jaxrnn.lstm(4, 16)
    params = cell.init(jax.random.key(0))
    of = jax.jit(jax.grad(lambda p, xs: jnp.sum(run(cell, p, xs)[0].h)))
    compiled = of.lower(params, jnp.ones((steps, 8, 4))).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_checkpointed_needs_less_memory():
    # 512 steps in 23 blocks of 23: a sixteenth, where blocks alone would save less than half.
    assert temp_bytes(unroll, 512) > 8 * temp_bytes(checkpointed(unroll), 512)
