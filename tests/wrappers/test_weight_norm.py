"""`weight_norm`: the matrices it makes, their gradients, where it is done, and that laws hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of
from jaxrnn.testing import check_cell
from jaxrnn.unrolls import checkpointed, truncated
from jaxrnn.wrappers.dropout import dropout
from jaxrnn.wrappers.weight_norm import weight_norm
from laws import every_law
from wrappers.wrapped import (
    BATCH,
    CELLS,
    HIDDEN,
    INPUT,
    STEPS,
    assert_close,
    equations,
    inputs,
    loss,
    numpy_run,
    one_step,
    random_params,
)

NAMES = {
    "minimal": ("w", "z"),
    "independent": ("w",),
    "separable": ("w", "u", "v"),
    "leaky": ("w", "u"),
}


def make(name):
    return weight_norm(CELLS[name], NAMES.get(name, ("w_ih", "w_hh")))


@pytest.mark.parametrize("name", first_of(CELLS))
def test_it_begins_as_the_cell(name, key, x64):
    inner, cell = CELLS[name], make(name)
    assert type(cell.parts) is (jaxrnn.Separable if name == "leaky" else type(inner.parts))
    assert_close(*(one_step(c, c.init(key)) for c in (cell, inner)))


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
def test_equations(name, key, x64):
    """What NumPy makes of it with the matrices g * v / |v|, column by column."""
    cell, xs = make(name), inputs(STEPS, BATCH)
    params = random_params(cell, key)
    fields = params.cell if name == "minimal" else params.cell._asdict()
    made = {}
    for field, g in params.gain.items():
        v = np.array(fields[field])
        made[field] = np.stack(
            [g[j] * v[:, j] / np.sqrt(v[:, j] @ v[:, j]) for j in range(len(g))], 1
        )
    fields = params.cell | made if name == "minimal" else params.cell._replace(**made)
    expected = numpy_run(name, fields, xs)
    if name == "minimal":  # it puts its input out, too
        expected = np.concatenate([expected, xs], axis=-1)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-12, atol=1e-14)


def test_gradients(key, x64):
    """On the fast path as on the slow; that of v is orthogonal to v, and its length is free."""
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    params = random_params(cell, key)
    got, expected = (
        jax.jit(jax.grad(lambda p, run=run: loss(run, cell, p, xs)))(params)
        for run in (jaxrnn.fused_unroll, jaxrnn.unroll)
    )
    assert_close(got, expected)
    for slope, v in ((got.cell.w_hh, params.cell.w_hh), (got.cell.w_ih, params.cell.w_ih)):
        assert np.abs(slope).max() > 0.01
        np.testing.assert_allclose(jnp.sum(slope * v, axis=0), 0, atol=1e-12)
    longer = params._replace(cell=params.cell._replace(w_hh=3 * params.cell.w_hh))
    assert_close(jaxrnn.unroll(cell, longer, xs), jaxrnn.unroll(cell, params, xs))


@pytest.mark.parametrize("name", first_of(["lstm", "separable", "leaky"]))
def test_it_is_done_in_no_loop(name, key):
    cell, xs = make(name), inputs(STEPS, BATCH)
    params = cell.init(key)
    for run in (jaxrnn.unroll, truncated(jaxrnn.unroll, 3), checkpointed(jaxrnn.unroll, 2)):
        jaxpr = jax.make_jaxpr(jax.grad(lambda p, run=run: loss(run, cell, p, xs)))(params).jaxpr
        roots = [n for eqn, n in equations(jaxpr) if eqn.primitive.name == "sqrt"]
        recurrent = len(roots) - sum(n > 0 for n in roots)
        assert recurrent >= len(params.gain) - 1
        if run is jaxrnn.unroll:
            assert len(roots) == len(params.gain) and not any(roots)


@pytest.mark.slow
def test_a_column_of_zeros(key):
    """It stays zero, and no gradient is NaN."""
    cell, xs = make("gru"), inputs(STEPS, BATCH)
    params = cell.init(key)
    params = params._replace(cell=params.cell._replace(w_hh=params.cell.w_hh.at[:, 2].set(0)))
    params = params._replace(gain=params.gain | {"w_hh": params.gain["w_hh"].at[2].set(0)})
    slope = jax.grad(lambda p: loss(jaxrnn.unroll, cell, p, xs))(params)
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(slope))
    np.testing.assert_array_equal(cell.parts.weights(params)[:, 2], 0)


def test_tokens_and_cells_in_cells(key):
    cell = weight_norm(jaxrnn.elman(4, HIDDEN))
    _, ys = jaxrnn.unroll(cell, cell.init(key), jnp.array([0, 3, 1]))
    assert ys.shape == (3, HIDDEN)
    cell = weight_norm(
        jaxrnn.stacked(dropout(jaxrnn.gru(INPUT, HIDDEN), 0.1), jaxrnn.gru(HIDDEN, 4))
    )
    assert sorted(cell.init(key).gain) == ["0.cell.w_hh", "0.cell.w_ih", "1.w_hh", "1.w_ih"]


def test_messages(key):
    with pytest.raises(TypeError, match="^weight_norm: got function .*expected a jaxrnn.Cell"):
        weight_norm(jaxrnn.lstm)
    with pytest.raises(
        ValueError, match="^weight_norm: got names=.*w_i.*; expected some of b, w_hh"
    ):
        weight_norm(CELLS["lstm"], ("w_i",)).init(key)
    with pytest.raises(
        ValueError, match=r"^weight_norm: got b of shape \(12,\); expected a matrix"
    ):
        weight_norm(CELLS["lstm"], ("w_hh", "b")).init(key)


@every_law
def test_every_law(skip):
    check_cell(make("lstm"), jnp.asarray(inputs(STEPS, 2), jnp.float32), skip=skip)
