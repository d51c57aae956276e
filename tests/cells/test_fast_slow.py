"""The Fast-Slow RNN of cells of any kind: how it joins them, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.cells.fast_slow import fast_slow
from jaxrnn.cells.gru import gru
from jaxrnn.cells.layer_norm import layer_norm_lstm
from jaxrnn.cells.lstm import lstm


def drawn(cell, batch=()):
    """Parameters and a state of normally distributed numbers."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    states = jax.eval_shape(lambda: cell.initial_state(shapes, batch))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (shapes, states))


@pytest.mark.parametrize("make", [lstm, gru, layer_norm_lstm])
def test_it_takes_the_steps_of_its_cells(make, key):
    cell = fast_slow(3, 5, fast_cells=3, slow_size=4, cell=make)
    params, state = drawn(cell, (2,))
    x = np.ones((2, 3))
    after, y = jax.jit(cell.step)(params, state, x)
    fast, h = jax.jit(make(3, 5).step)(params.fast[0], state.fast, x)
    slow, h = jax.jit(make(5, 4).step)(params.slow, state.slow, h)
    fast, h = jax.jit(make(4, 5).step)(params.fast[1], fast, h)
    fast, h = jax.jit(make(1, 5).step)(params.fast[2], fast, np.zeros((2, 1)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        (tuple(after), y),
        ((fast, slow), h),
    )


def test_the_dtype_reaches_every_cell(key):
    params = jax.eval_shape(fast_slow(3, 5, dtype=jnp.bfloat16).init, key)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


def test_cells_made_alike_are_equal():
    assert fast_slow(3, 5, cell=gru) == fast_slow(3, 5, cell=gru)
    assert fast_slow(3, 5, cell=gru) != fast_slow(3, 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fast_cells": 1}, ValueError, "got fast_cells=1; expected at least 2"),
        ({"slow_size": 0}, ValueError, "got slow_size=0"),
        ({"cell": lstm(3, 5)}, TypeError, "expected a function that makes a cell"),
        ({"cell": lambda i, h: None}, TypeError, "got NoneType None; expected a jaxrnn.Cell"),
    ],
)
def test_what_it_cannot_be_made_of(options, error, message):
    with pytest.raises(error, match=message):
        fast_slow(3, 5, **options)
