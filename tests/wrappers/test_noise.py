"""`noise`: its equation, what is drawn, and that every law holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.noise import noise
from jaxrnn.wrappers.randomness import draw, fold, seed
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
    inputs,
    numpy_run,
    one_step,
    random_params,
    seeded,
    slopes,
    stored,
)

SCALES = {name: 0.3 for name in CELLS} | {"lstm": LSTMState(h=0.0, c=0.5)}


def make(name):
    return noise(CELLS[name], SCALES[name])


@pytest.mark.parametrize("name", first_of(CELLS))
def test_evaluation_is_the_cell(name, key):
    inner, cell = CELLS[name], make(name)
    kept = isinstance(inner.parts, jaxrnn.Gated | jaxrnn.Elementwise)
    assert type(cell.parts) is (type(inner.parts) if kept else jaxrnn.Separable)
    state, y = one_step(cell, cell.init(key))
    assert state.step is None
    assert_close((state.cell, y), one_step(inner, inner.init(key)), rtol=1e-6)


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
def test_equations(name, key, x64):
    """What NumPy makes of the equation with the same noise."""
    cell, xs = make(name), inputs(STEPS, BATCH)
    params, scales = seed(random_params(cell, key), KEY, (BATCH,)), jax.tree.leaves(SCALES[name])

    def change(t, old, new):
        now = fold(params.random.key, jnp.full(BATCH, t))
        parts = new if isinstance(new, tuple) else (new,)
        noisy = [
            part + scale * np.asarray(draw(fold(now, k), lambda k: jax.random.normal(k, (HIDDEN,))))
            for k, (scale, part) in enumerate(zip(scales, parts, strict=True))
        ]
        return tuple(noisy) if isinstance(new, tuple) else noisy[0]

    expected = numpy_run(name, params.cell, xs, change)
    if name == "minimal":  # it puts its input out, too
        expected = np.concatenate([expected, xs], axis=-1)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_the_fast_path(key, x64):
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    flags = {"resets": jnp.zeros((STEPS, BATCH), bool).at[3, 0].set(True)}
    params = random_params(cell, key)
    got, expected = (
        slopes(run, cell, params, xs, KEY, **flags) for run in (jaxrnn.fused_unroll, jaxrnn.unroll)
    )
    assert_close(got, expected)


def test_nothing_of_it_is_stored(key):
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    assert stored(jaxrnn.unroll, cell, cell.init(key), xs) == set()


def test_a_random_walk(key):
    """Of a state that else would rest, what is added is white: mean 0, variance scale^2 a step."""
    steps, batch, units = 40, 50, 20

    def step(params, h, x):
        del params, x
        return h, h

    resting = jaxrnn.Cell(
        lambda key: (), lambda params, batch_shape=(): jnp.zeros((*batch_shape, units)), step
    )
    cell = noise(resting, 2.0)
    params, xs = seed(cell.init(key), KEY, (batch,)), jnp.ones((steps, batch, 1))
    moves = np.diff(np.asarray(jaxrnn.unroll(cell, params, xs)[1]), axis=0, prepend=0) / 2
    assert abs(moves.mean()) < 5 / np.sqrt(moves.size)
    assert abs(moves.var() - 1) < 5 * np.sqrt(2 / moves.size)
    assert abs((moves**4).mean() - 3) < 5 * np.sqrt(96 / moves.size)
    for axis in range(3):
        rows = np.moveaxis(moves, axis, 0).reshape(moves.shape[axis], -1)
        bound = 6 / np.sqrt(rows.shape[1])
        assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < bound


def test_messages():
    with pytest.raises(TypeError, match="^noise: got function .*expected a jaxrnn.Cell"):
        noise(jaxrnn.lstm, 0.5)
    for scale in (-0.1, float("inf"), float("nan"), LSTMState(0.1, -1.0)):
        with pytest.raises(ValueError, match="^noise: got scale=.*; expected a finite standard"):
            noise(CELLS["lstm"], scale)
    cell = noise(CELLS["gru"], LSTMState(0.5, 0.5))
    with pytest.raises(ValueError, match="^noise: got scale=LSTMState.*expected one value, or a"):
        cell.initial_state(cell.init(KEY))


@every_law
def test_every_law(skip):
    xs = jnp.asarray(inputs(STEPS, 2), jnp.float32)
    check_cell(seeded(make("lstm"), (2,)), xs, skip=(*OF_ONE_SEQUENCE, *skip))


def test_half_precision(key):
    """Noise is of the state's dtype, and a step keeps it."""
    cell = noise(jaxrnn.gru(INPUT, HIDDEN, dtype=jnp.bfloat16), 0.1)
    params = seed(cell.init(key), KEY, (BATCH,))
    xs = inputs(STEPS, BATCH).astype(jnp.bfloat16)
    assert jaxrnn.unroll(cell, params, xs)[0].cell.dtype == jnp.bfloat16
