"""`zoneout`: its equations, its masks, what it keeps of them, and that every law holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of, leaky
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.randomness import fold, keep_mask, seed
from jaxrnn.wrappers.zoneout import zoneout
from laws import every_law
from wrappers.wrapped import (
    BATCH,
    CELLS,
    HIDDEN,
    INPUT,
    KEY,
    OF_ONE_SEQUENCE,
    STEPS,
    assert_close,
    carried,
    inputs,
    numpy_run,
    random_params,
    seeded,
    slopes,
    stored,
)

RATES = {name: 0.3 for name in CELLS} | {"lstm": LSTMState(h=0.2, c=0.5)}


def make(name):
    return zoneout(CELLS[name], RATES[name])


def masks(params, rates):
    """d of every step and part, by the rule that the docstring states."""
    key = params.random.key
    steps = (fold(key, jnp.full(key.shape, t)) for t in range(STEPS))
    return [
        [np.asarray(~keep_mask(fold(now, k), p, (HIDDEN,)), float) for k, p in enumerate(rates)]
        for now in steps
    ]


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
@pytest.mark.parametrize("training", [False, True])
def test_equations(name, training, key, x64):
    """What NumPy makes of the equations with the same masks, or with their mean."""
    cell, xs = make(name), inputs(STEPS, BATCH)
    params, rates = random_params(cell, key), jax.tree.leaves(RATES[name])
    ds = [rates] * STEPS
    if training:
        params = seed(params, KEY, (BATCH,))
        ds = masks(params, rates)

    def change(t, old, new):
        if name == "lstm":
            parts = zip(ds[t], old, new, strict=True)
            return tuple(d * a + (1 - d) * b for d, a, b in parts)
        return ds[t][0] * old + (1 - ds[t][0]) * new

    expected = numpy_run(name, params.cell, xs, change)
    if name == "minimal":  # it puts its input out, too
        expected = np.concatenate([expected, xs], axis=-1)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", first_of(CELLS))
def test_structure(name):
    kind = type(CELLS[name].parts)
    kept = kind in (jaxrnn.Gated, jaxrnn.Elementwise)
    assert type(make(name).parts) is (kind if kept else jaxrnn.Separable)


@pytest.mark.slow
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


def test_of_the_masks_a_counter_is_kept(key):
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    params = cell.init(key)
    allowed = {("key<fry>", (BATCH,)), ("int32", (BATCH,)), ("int32", (STEPS, BATCH))}
    assert stored(jaxrnn.unroll, cell, params, xs) == allowed - {("int32", (BATCH,))}
    kept = stored(jaxrnn.fused_unroll, cell, params, xs)
    assert kept <= allowed | {("int32", (1, STEPS, BATCH))}
    for run in (jaxrnn.unroll, jaxrnn.fused_unroll):
        assert carried(run, cell, params, xs) <= {"float32", "int32"}


def test_every_step_and_sequence_draws_anew(key):
    """Of a state that would move each step by 1, what was kept counts the moves."""
    steps, batch, units = 40, 50, 20

    def step(params, h, x):
        del params
        h = h + x
        return h, h

    counting = jaxrnn.Cell(
        lambda key: (), lambda params, batch_shape=(): jnp.zeros((*batch_shape, units)), step
    )
    cell = zoneout(counting, 0.25)
    params, xs = seed(cell.init(key), KEY, (batch,)), jnp.ones((steps, batch, units))
    state, ys = jaxrnn.unroll(cell, params, xs)
    moved = np.diff(np.asarray(ys), axis=0, prepend=0)
    assert set(np.unique(moved)) == {0.0, 1.0}
    assert abs(moved.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / moved.size)
    np.testing.assert_array_equal(state.step, np.full(batch, steps))
    correlation = np.corrcoef(moved.reshape(steps, -1))
    assert np.abs(correlation - np.eye(steps)).max() < 6 / np.sqrt(batch * units)
    correlation = np.corrcoef(moved.transpose(1, 0, 2).reshape(batch, -1))
    assert np.abs(correlation - np.eye(batch)).max() < 6 / np.sqrt(steps * units)
    evaluated = jaxrnn.unroll(cell, cell.init(key), xs)[1]
    np.testing.assert_allclose(evaluated[-1], 0.75 * steps, rtol=1e-5)


def test_parts_of_the_state_have_rates_of_their_own(key):
    """With rate 0 a part is that of the cell; h and c are not kept by the same mask."""
    inner, count = CELLS["lstm"], 4000
    old = LSTMState(*(jnp.full((count, HIDDEN), 9.0) for _ in range(2)))
    kept = {}
    for rates in ((0.0, 0.5), (0.5, 0.0), (0.5, 0.5)):
        cell = zoneout(inner, LSTMState(*rates))
        params = seed(cell.init(key), KEY, (count,))
        state = cell.initial_state(params, (count,))._replace(cell=old)
        after, y = cell.step(params, state, jnp.ones((count, INPUT)))
        np.testing.assert_array_equal(y, after.cell.h)
        kept[rates] = [np.asarray(part == 9.0) for part in after.cell]
        for part, rate in zip(kept[rates], rates, strict=True):
            assert abs(part.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / part.size)
    both = kept[0.5, 0.5]
    assert abs(np.mean(both[0] & both[1]) - 0.25) < 5 * np.sqrt(0.19 / both[0].size)


def test_a_reset_starts_the_draws_again(key):
    cell, xs = make("gru"), inputs(STEPS, BATCH)
    params = seed(cell.init(key), KEY, (BATCH,))
    resets = jnp.zeros((2 * STEPS, BATCH), bool).at[STEPS].set(True)
    state, ys = jaxrnn.unroll(cell, params, jnp.concatenate([xs, xs]), resets=resets)
    np.testing.assert_array_equal(ys[:STEPS], ys[STEPS:])
    np.testing.assert_array_equal(state.step, np.full(BATCH, STEPS))
    mask = jaxrnn.length_mask(jnp.arange(BATCH), STEPS)
    state, _ = jaxrnn.unroll(cell, params, xs, mask=mask)
    np.testing.assert_array_equal(state.step, np.arange(BATCH))


def test_what_is_no_number_takes_its_new_value(key):
    inner = leaky(INPUT, HIDDEN)

    def step(params, state, x):
        h, y = inner.step(params, state[0], x)
        return (h, state[1] + 1), y

    counted = jaxrnn.Cell(
        inner.init,
        lambda p, batch_shape=(): (
            inner.initial_state(p, batch_shape),
            jnp.zeros(batch_shape, int),
        ),
        step,
    )
    cell = zoneout(counted, 0.5)
    for params in (cell.init(key), seed(cell.init(key), KEY, (BATCH,))):
        state, _ = jaxrnn.unroll(cell, params, inputs(STEPS, BATCH))
        np.testing.assert_array_equal(state.cell[1], np.full(BATCH, STEPS))


def test_messages(key):
    with pytest.raises(TypeError, match="^zoneout: got function .*expected a jaxrnn.Cell"):
        zoneout(jaxrnn.lstm, 0.5)
    for rate in (1.0, LSTMState(0.5, -0.1)):
        with pytest.raises(ValueError, match="^zoneout: got rate=.*in .0, 1"):
            zoneout(CELLS["lstm"], rate)
    cell = zoneout(CELLS["gru"], LSTMState(0.5, 0.5))
    with pytest.raises(ValueError, match="^zoneout: got rate=LSTMState.*expected one value, or a"):
        jaxrnn.unroll(cell, cell.init(key), inputs(STEPS, BATCH))
    cell = jaxrnn.learned_state(make("gru"))
    params = seed(cell.init(key), KEY, (BATCH,))
    with pytest.raises(
        TypeError, match=r"^zoneout: got a state without .*zoneout\(learned_state\("
    ):
        jaxrnn.unroll(cell, params, inputs(STEPS, BATCH))


@every_law
def test_every_law(skip):
    xs = jnp.asarray(inputs(STEPS, 2), jnp.float32)
    check_cell(seeded(make("lstm"), (2,)), xs, skip=(*OF_ONE_SEQUENCE, *skip))
