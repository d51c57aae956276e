"""`stacked`: what it computes, its layout, and that every law holds for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import minimal
from jaxrnn.testing import check_cell
from jaxrnn.wrappers import stacked
from laws import every_law

CELLS = (jaxrnn.lstm(2, 3), jaxrnn.elman(3, 4))


def equal(one, two, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, two)


def test_it_is_a_stack_of_layers(x64, key):
    cell, net = stacked(*CELLS), jaxrnn.stack(*map(jaxrnn.layer, CELLS))
    params = cell.init(key)
    equal(params, net.init(key), rtol=0)
    assert jax.tree.structure(params) == jax.tree.structure(net.init(key))
    xs = jax.random.normal(key, (6, 2, 2))
    mask = jaxrnn.length_mask(jnp.array([6, 4]), 6)
    resets = jnp.zeros((6, 2), bool).at[2, 0].set(True)
    state = jax.tree.map(lambda leaf: leaf + 0.5, cell.initial_state(params, (2,)))
    assert jax.tree.structure(state) == jax.tree.structure(net.initial_state(params, (2,)))
    flags = {"mask": mask, "resets": resets}

    @jax.jit
    def both(params, state):
        def run(apply):
            def loss(params, state):
                after, ys = apply(params, state)
                return jnp.sum(jnp.sin(ys)), (after, ys)

            return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, state)

        return (
            run(lambda params, state: jaxrnn.unroll(cell, params, xs, state, **flags)),
            run(lambda params, state: net.apply(params, xs, state, **flags)),
        )

    one, two = both(params, state)
    equal(one, two, rtol=1e-12, atol=1e-13)


def equations(jaxpr, name):
    """All equations of a primitive, at any depth."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == name:
            yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner, name)


def test_the_first_projection_is_hoisted():
    """One product with the first input matrix for all steps, none in the loop."""
    cell = stacked(jaxrnn.elman(7, 3), jaxrnn.elman(3, 4))
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((5, 2, 7), jnp.float32)
    jaxpr = jax.make_jaxpr(lambda p, xs: jaxrnn.unroll(cell, p, xs))(params, xs).jaxpr
    (loop,) = equations(jaxpr, "scan")
    inside = equations(loop.params["jaxpr"].jaxpr, "dot_general")
    assert sorted(eqn.invars[1].aval.shape for eqn in inside) == [(3, 3), (3, 4), (4, 4)]
    assert isinstance(cell.parts, jaxrnn.Separable)


def test_messages():
    with pytest.raises(ValueError, match="^stacked: got no cell; expected at least one"):
        stacked()
    with pytest.raises(TypeError, match="^stacked: got function .*expected a jaxrnn.Cell"):
        stacked(jaxrnn.lstm(2, 3), jaxrnn.gru)
    with pytest.raises(ValueError, match="features"):
        cell = stacked(jaxrnn.lstm(2, 3), jaxrnn.gru(2, 3))
        jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((4, 2)))


@every_law
def test_every_law(skip):
    cells = (jaxrnn.learned_state(jaxrnn.gru(2, 3)), minimal(3, 2))
    check_cell(stacked(*cells), jax.random.normal(jax.random.key(0), (4, 2, 2)), skip=skip)
