"""`dropout` of cells: its equations, its masks, the structure it keeps, and that laws hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import counted, first_of
from jaxrnn.cells.conv_gru import conv_gru
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.dropout import MaskedState, dropout
from jaxrnn.wrappers.randomness import fold, keep_mask, seed
from jaxrnn.wrappers.zoneout import zoneout
from laws import every_law
from wrappers.wrapped import (
    BATCH,
    CELLS,
    GATED,
    HIDDEN,
    INPUT,
    KEY,
    OF_ONE_SEQUENCE,
    STEPS,
    assert_close,
    carried,
    inputs,
    loops_of_draws,
    numpy_run,
    one_step,
    random_params,
    seeded,
    slopes,
    stored,
)

RATE, RECURRENT = 0.4, 0.5


def make(name, recurrent=RECURRENT):
    return dropout(CELLS[name], RATE, recurrent if name in GATED else 0)


@pytest.mark.parametrize("name", first_of(CELLS))
def test_evaluation_is_the_cell(name, key):
    inner, cell = CELLS[name], make(name)
    kept = jaxrnn.Separable if name == "leaky" else type(inner.parts)
    assert type(cell.parts) is kept
    params = cell.init(key)
    jax.tree.map(np.testing.assert_array_equal, params.cell, inner.init(key))
    state, y = one_step(cell, params)
    if name in GATED:
        assert isinstance(state, MaskedState) and state.hidden is None
        state = state.cell
    assert_close((state, y), one_step(inner, params.cell), rtol=1e-6)


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
def test_equations(name, key, x64):
    """What NumPy makes of the equations with the same masks."""
    cell = make(name)
    params, xs = seed(random_params(cell, key), KEY, (BATCH,)), inputs(STEPS, BATCH)
    m_x = keep_mask(fold(params.random.key, 1), RATE, (INPUT,)) / (1 - RATE)
    assert m_x.shape == (BATCH, INPUT)
    if name in GATED:
        keep = np.asarray(cell.parts.vectors(params)[1])
        assert keep.shape == (BATCH, HIDDEN) and keep.dtype == bool and keep.any() < keep.size
        expected = numpy_run(name, params.cell, xs * m_x, mask=lambda h: h * keep / (1 - RECURRENT))
    else:
        expected = numpy_run(name, params.cell, xs * m_x)
        expected = np.concatenate([expected, xs * m_x], axis=-1)  # it puts its input out, too
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "storage"),
    [("lstm", "gates"), pytest.param("gru", "outputs", marks=pytest.mark.slow)],
)
def test_the_fast_path(name, storage, key, x64):
    cell, xs = make(name), inputs(STEPS, BATCH)
    mask = jaxrnn.length_mask(jnp.array([6, 4, 0, 5]), STEPS)
    flags = {"mask": mask, "resets": jnp.zeros((STEPS, BATCH), bool).at[3, 0].set(True)}
    params = random_params(cell, key)

    def fused(*args, **flags):
        return jaxrnn.fused_unroll(*args, **flags, block_size=4, storage=storage)

    got, expected = (slopes(run, cell, params, xs, KEY, **flags) for run in (fused, jaxrnn.unroll))
    assert_close(got, expected)
    assert all(np.abs(a).max() > 0 for a in jax.tree.leaves(got))


@pytest.mark.parametrize("name", first_of(["lstm", "minimal"]))
def test_masks_are_drawn_once_and_stored_once(name, key):
    cell, xs = make(name), inputs(STEPS, BATCH)
    params = cell.init(key)
    assert not any(loops_of_draws(jaxrnn.unroll, cell, params, xs))
    runs = (jaxrnn.unroll, jaxrnn.fused_unroll) if name in GATED else (jaxrnn.unroll,)
    for run in runs:
        assert carried(run, cell, params, xs) <= {"float32", "int32"}  # and the number of the step
        kept = stored(run, cell, params, xs)
        assert kept <= {("bool", (BATCH, n)) for n in (INPUT, HIDDEN)} | {("key<fry>", (BATCH,))}


def test_one_mask_a_sequence(key):
    """The inputs that a dropped unit's row of weights reads do not matter, in any step."""
    cell = dropout(jaxrnn.elman(30, 3), 0.5, 0)
    params = seed(cell.init(key), KEY, (200,))
    xs = jnp.ones((5, 200, 30))
    slope = jax.jit(jax.grad(lambda xs: jnp.sum(jaxrnn.unroll(cell, params, xs)[1])))(xs)
    dropped = np.asarray(slope == 0)
    assert (dropped == dropped[:1]).all()
    assert abs(dropped[0].mean() - 0.5) < 5 * 0.5 / np.sqrt(200 * 30)
    assert len(np.unique(dropped[0], axis=0)) == 200


@pytest.mark.slow
def test_the_mean_of_the_share_is_that_of_evaluation(key):
    inner = CELLS["elman"]
    cell = dropout(inner, 0.3, 0.3)
    params, count = random_params(cell, key), 20_000
    keyed, h = seed(params, KEY, (count,)), jnp.array([0.3, -0.8, 0.5])
    keep = cell.parts.vectors(keyed)[1]
    masked = jnp.where(keep, h / 0.7, 0)  # as a step leaves it
    a = cell.parts.project(keyed, jnp.ones((count, 2))) + masked @ params.cell.w_hh
    expected = inner.parts.project(params.cell, jnp.ones(2)) + h @ params.cell.w_hh
    error = np.std(np.asarray(a), axis=0) / np.sqrt(count)
    assert np.all(np.abs(np.mean(np.asarray(a), axis=0) - expected) < 5 * error)


def test_states(key):
    """Its own state runs on; a reset goes back to the initial state and its mask."""
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    params = seed(cell.init(key), KEY, (BATCH,))
    state, first = jaxrnn.unroll(cell, params, xs[:3])
    _, second = jaxrnn.unroll(cell, params, xs[3:], state)
    np.testing.assert_allclose(jnp.concatenate([first, second]), jaxrnn.unroll(cell, params, xs)[1])
    packed = jnp.concatenate([xs, xs])
    resets = jnp.zeros((2 * STEPS, BATCH), bool).at[STEPS].set(True)
    _, ys = jaxrnn.unroll(cell, params, packed, resets=resets)
    np.testing.assert_array_equal(ys[:STEPS], ys[STEPS:])
    with pytest.raises(TypeError, match="unroll: got a state"):  # one of evaluation
        jaxrnn.unroll(cell, params, xs, cell.initial_state(cell.init(key), (BATCH,)))


def test_a_learned_state_is_masked(key, x64):
    cell = dropout(jaxrnn.learned_state(CELLS["gru"]), 0.0, 0.5)
    params = cell.init(key)
    params = params._replace(cell=params.cell._replace(state=jnp.ones(HIDDEN)))
    keyed = seed(params, KEY, (BATCH,))
    keep = cell.parts.vectors(keyed)[1]
    np.testing.assert_array_equal(cell.initial_state(keyed, (BATCH,)).hidden, 2.0 * keep)
    run = slopes(jaxrnn.fused_unroll, cell, params, inputs(STEPS, BATCH), KEY)
    assert_close(run, slopes(jaxrnn.unroll, cell, params, inputs(STEPS, BATCH), KEY))


def test_trees_of_inputs(key):
    """Floats are dropped, each leaf by a mask of its own; tokens are not."""
    cell = dropout(counted(HIDDEN), 0.5, 0)
    params = seed(cell.init(key), KEY, (BATCH,))
    tokens, floats = jnp.zeros((STEPS, BATCH), int), jnp.ones((STEPS, BATCH, INPUT))
    slope = jax.grad(lambda xs: jnp.sum(jaxrnn.unroll(cell, params, (tokens, xs))[1]))(floats)
    keep = keep_mask(fold(params.random.key, 2), 0.5, (INPUT,))
    np.testing.assert_array_equal(slope != 0, jnp.broadcast_to(keep, slope.shape))


@pytest.mark.slow
def test_images(key):
    """A mask covers all feature axes of a grid."""
    cell = dropout(conv_gru(2, 3, spatial_shape=(5,)), 0.5, 0)
    params = seed(cell.init(key), KEY, (BATCH,))
    xs = jnp.ones((STEPS, BATCH, 5, 2))
    slope = jax.grad(lambda xs: jnp.sum(jaxrnn.unroll(cell, params, xs)[1]))(xs)
    keep = keep_mask(fold(params.random.key, 1), 0.5, (5, 2))
    np.testing.assert_array_equal(slope != 0, jnp.broadcast_to(keep, slope.shape))


def test_messages(key):
    gru = CELLS["gru"]
    with pytest.raises(TypeError, match="^dropout: got function .*expected a jaxrnn.Cell"):
        dropout(jaxrnn.lstm, 0.5)
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="^dropout: got rate=.*in .0, 1"):
            dropout(gru, rate)
        with pytest.raises(ValueError, match="^dropout: got recurrent_rate=.*in .0, 1"):
            dropout(gru, 0.5, rate)
    with pytest.raises(TypeError, match="^dropout: got recurrent_rate=0.5 .* Linear .* Gated.*=0"):
        dropout(CELLS["minimal"], 0.5)
    cell = dropout(jaxrnn.elman(4, HIDDEN), 0.5)
    with pytest.raises(TypeError, match="^dropout: got inputs of dtype int32 .* floats.*rate=0"):
        jaxrnn.unroll(cell, cell.init(key), jnp.zeros((STEPS, BATCH), int))
    tokens = dropout(jaxrnn.elman(4, HIDDEN), 0, recurrent_rate=0.5)
    params = seed(tokens.init(key), KEY)
    assert jaxrnn.unroll(tokens, params, jnp.zeros((STEPS,), int))[1].shape == (STEPS, HIDDEN)
    inside = zoneout(dropout(gru, 0.5), 0.1)
    with pytest.raises(TypeError, match=r"^zoneout: got .* dropout\(zoneout\(cell"):
        jaxrnn.unroll(inside, inside.init(key), inputs(STEPS))
    outside = dropout(zoneout(gru, 0.1), 0.5)
    params = seed(outside.init(key), KEY)
    assert jaxrnn.unroll(outside, params, inputs(STEPS))[1].shape == (STEPS, HIDDEN)


@every_law
def test_every_law(skip):
    xs = jnp.asarray(inputs(STEPS, 2), jnp.float32)
    check_cell(seeded(make("lstm"), (2,)), xs, skip=(*OF_ONE_SEQUENCE, *skip))
