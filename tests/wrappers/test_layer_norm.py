"""`layer_norm`: its equation for each part and place, its parameters, and that every law holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of, nested
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.layer_norm import layer_norm
from laws import every_law
from wrappers.wrapped import (
    BATCH,
    CELLS,
    HIDDEN,
    STEPS,
    first,
    inputs,
    loss,
    numpy_run,
    random_params,
)

PARTS = {name: True for name in CELLS} | {"lstm": LSTMState(h=True, c=False)}


def make(name, where):
    return layer_norm(CELLS[name], PARTS[name], where=where)


def normalized(v, gain, bias):
    return np.stack([gain * (u - u.mean()) / np.sqrt(u.var() + 1e-5) + bias for u in v])


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
@pytest.mark.parametrize("where", ["state", "output"])
def test_equations(name, where, key, x64):
    cell, xs = make(name, where), inputs(STEPS, BATCH)
    params = random_params(cell, key)
    gain, bias = (np.asarray(first(part)) for part in (params.gain, params.bias))

    def change(t, old, new):
        if name == "lstm":
            return normalized(new[0], gain, bias), new[1]
        return normalized(new, gain, bias)

    if where == "state":
        expected = numpy_run(name, params.cell, xs, change)
    else:
        expected = [normalized(h, gain, bias) for h in numpy_run(name, params.cell, xs)]
    if name == "minimal":  # it puts its input out, too
        expected = np.concatenate([expected, xs], axis=-1)
    state, ys = jaxrnn.unroll(cell, params, xs)
    np.testing.assert_allclose(ys, expected, rtol=1e-10, atol=1e-12)
    inside = jaxrnn.unroll(CELLS[name], params.cell, xs)[0]
    assert np.allclose(first(state), first(inside)) is (where == "output")


def test_both_parts(key, x64):
    """c is normalised after the step, so that h of the same step is made of the c before."""
    cell, xs = layer_norm(CELLS["lstm"]), inputs(STEPS, BATCH)
    params = random_params(cell, key)

    def change(t, old, new):
        parts = zip(new, params.gain, params.bias, strict=True)
        return tuple(normalized(*map(np.asarray, part)) for part in parts)

    expected = numpy_run("lstm", params.cell, xs, change)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", first_of(CELLS))
def test_structure_and_parameters(name, key):
    linear = isinstance(CELLS[name].parts, jaxrnn.Linear)
    assert type(make(name, "state").parts) is jaxrnn.Separable
    assert type(make(name, "output").parts) is (jaxrnn.Linear if linear else jaxrnn.Separable)
    params = make(name, "state").init(key)
    jax.tree.map(np.testing.assert_array_equal, params.cell, CELLS[name].init(key))
    assert [leaf.tolist() for leaf in jax.tree.leaves(params.gain)] == [[1.0] * HIDDEN]
    assert [leaf.tolist() for leaf in jax.tree.leaves(params.bias)] == [[0.0] * HIDDEN]


def test_scale_and_shift_of_the_state_do_not_matter(key, x64):
    """The output of a cell whose state is normalised is invariant to them, up to epsilon."""
    cell = layer_norm(CELLS["minimal"], where="output", epsilon=1e-12)
    params, x = cell.init(key), inputs(BATCH)
    h = jnp.asarray(np.random.default_rng(1).standard_normal((BATCH, HIDDEN)))
    got, expected = (cell.parts.readout(params, s, x) for s in (3 * h + 2, h))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_gradients_are_finite_where_all_units_are_equal(key):
    cell, xs = make("gru", "state"), jnp.zeros((STEPS, BATCH, 2))
    slope = jax.grad(lambda p: loss(jaxrnn.unroll, cell, p, xs))(cell.init(key))
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(slope))


def test_messages(key):
    with pytest.raises(TypeError, match="^layer_norm: got function .*expected a jaxrnn.Cell"):
        layer_norm(jaxrnn.lstm)
    lstm = CELLS["lstm"]
    with pytest.raises(ValueError, match="unknown where 'states'; .*did you mean 'state'"):
        layer_norm(lstm, where="states")
    with pytest.raises(ValueError, match="^layer_norm: got epsilon=0; expected a positive number"):
        layer_norm(lstm, epsilon=0)
    with pytest.raises(ValueError, match="^layer_norm: got parts=LSTMState.*; expected True for"):
        layer_norm(lstm, LSTMState(False, False))
    with pytest.raises(ValueError, match="^layer_norm: got parts=.* expected one value, or a tree"):
        layer_norm(CELLS["gru"], LSTMState(True, False)).init(key)
    with pytest.raises(TypeError, match="^layer_norm: got a part .* int32 .* choose others with"):
        layer_norm(nested(2, 3)).init(key)


@every_law
def test_every_law(skip):
    check_cell(make("gru", "state"), jnp.asarray(inputs(STEPS, 2), jnp.float32), skip=skip)
