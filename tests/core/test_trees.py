"""Helpers on trees, `hoist` and `require`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import CASES
from jaxrnn.core import hoist
from jaxrnn.core.trees import batch_shape_of, mask_zero, num_parameters, select


def test_select_and_mask_zero():
    flags = jnp.array([True, False])
    tree = {"a": jnp.ones((2, 3)), "b": jnp.full((2, 2, 2), jnp.nan), "c": jnp.arange(2)}
    zeroed = mask_zero(flags, {**tree, "b": tree["b"].at[0].set(1.0)})
    np.testing.assert_array_equal(zeroed["a"], [[1] * 3, [0] * 3])
    assert (zeroed["b"][0] == 1).all() and (zeroed["b"][1] == 0).all()
    assert zeroed["c"].dtype == tree["c"].dtype
    np.testing.assert_array_equal(select(flags, jnp.zeros(2), jnp.ones(2)), [0, 1])


def test_batch_shape_of():
    assert batch_shape_of(jnp.ones((2, 3, 4))) == (2, 3)
    assert batch_shape_of(jnp.ones((2, 3), int)) == (2, 3)
    assert batch_shape_of({"a": jnp.ones((2, 4)), "b": jnp.ones((2,), int)}) == (2,)


def test_num_parameters(key):
    assert num_parameters(jaxrnn.lstm(3, 5).init(key)) == 4 * 5 * (3 + 5 + 1)
    assert num_parameters(jax.eval_shape(jaxrnn.gru(3, 5).init, key)) == 3 * 5 * (3 + 5 + 1) + 5


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.zoo])
def test_hoist_changes_nothing(name, key):
    cell, xs, *_ = CASES[name]
    params = cell.init(key)
    other, hoisted = hoist(cell, params)
    assert type(other.parts) is type(cell.parts)
    x = jax.tree.map(lambda leaf: leaf[0], xs)
    state = cell.initial_state(params, (2,))
    for again, first in (
        (other.initial_state(hoisted, (2,)), state),
        (other.step(hoisted, state, x), cell.step(params, state, x)),
    ):
        jax.tree.map(np.testing.assert_array_equal, again, first)


def test_require():
    cell = jaxrnn.lstm(2, 3)
    assert jaxrnn.require(cell, jaxrnn.Gated, "x") is cell.structure
    with pytest.raises(TypeError, match="x: got a cell with Gated structure; expected Linear; use"):
        jaxrnn.require(cell, jaxrnn.Linear, "x")
    with pytest.raises(TypeError, match="x: got function .*; expected a jaxrnn.Cell"):
        jaxrnn.require(jaxrnn.lstm, jaxrnn.Gated, "x")
