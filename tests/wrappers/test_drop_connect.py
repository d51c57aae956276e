"""`drop_connect`: one mask of the matrix a run, outside the loop, and that every law holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import antisymmetric, first_of
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.drop_connect import drop_connect
from jaxrnn.wrappers.randomness import fold, keep_mask, seed
from laws import every_law
from wrappers.wrapped import (
    BATCH,
    CELLS,
    GATED,
    HIDDEN,
    KEY,
    STEPS,
    assert_close,
    inputs,
    loops_of_draws,
    numpy_run,
    one_step,
    random_params,
    seeded,
    slopes,
    stored,
)

NAMES = {"minimal": ("w",), "independent": ("u",), "separable": ("u", "v"), "leaky": ("u",)}


def make(name):
    return drop_connect(CELLS[name], 0.4, NAMES.get(name))


@pytest.mark.parametrize("name", first_of(CELLS))
def test_evaluation_is_the_cell(name, key):
    inner, cell = CELLS[name], make(name)
    assert type(cell.parts) is (jaxrnn.Separable if name == "leaky" else type(inner.parts))
    assert_close(*(one_step(c, c.init(key)) for c in (cell, inner)), rtol=1e-6)


@pytest.mark.parametrize("name", first_of(["lstm", "gru", "minimal"]))
def test_it_is_the_cell_with_other_parameters(name, key, x64):
    cell, xs = make(name), inputs(STEPS, BATCH)
    params = seed(random_params(cell, key), KEY, (BATCH,))
    assert params.random.key.shape == ()
    inner = params.cell
    if name in GATED:
        keep = keep_mask(params.random.key, 0.4, inner.w_hh.shape)
        np.testing.assert_array_equal(cell.parts.weights(params) != 0, keep)
        inner = inner._replace(w_hh=inner.w_hh * keep / 0.6)
    else:
        keep = keep_mask(fold(params.random.key, 0), 0.4, inner["w"].shape)
        inner = inner | {"w": inner["w"] * keep / 0.6}
    expected = numpy_run(name, inner, xs)
    if name == "minimal":  # it puts its input out, too
        expected = np.concatenate([expected, xs], axis=-1)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-12, atol=1e-14)


def test_the_fast_path(key, x64):
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    params = random_params(cell, key)
    got, expected = (
        slopes(run, cell, params, xs, KEY) for run in (jaxrnn.fused_unroll, jaxrnn.unroll)
    )
    assert_close(got, expected)
    keep = cell.parts.weights(seed(params, KEY, (BATCH,))) != 0
    np.testing.assert_array_equal(got[1][0].cell.w_hh != 0, keep)


def test_the_mask_is_drawn_and_stored_once(key):
    cell, xs = make("lstm"), inputs(STEPS, BATCH)
    params = cell.init(key)
    for run in (jaxrnn.unroll, jaxrnn.fused_unroll, jaxrnn.checkpointed(jaxrnn.unroll, 2)):
        assert loops_of_draws(run, cell, params, xs) == [0]
        shapes = {shape for _, shape in stored(run, cell, params, xs)}
        assert shapes <= {(), (HIDDEN, 4 * HIDDEN)}


@pytest.mark.slow
def test_the_mean_is_the_matrix(key):
    cell = make("gru")
    params, count = random_params(cell, key), 5000
    keyed = jax.vmap(lambda k: cell.parts.weights(seed(params, k)))(jax.random.split(KEY, count))
    error = np.abs(params.cell.w_hh) * np.sqrt(0.4 / 0.6 / count)
    assert np.all(np.abs(keyed.mean(0) - params.cell.w_hh) < 5 * error + 1e-6)


def test_the_matrix_is_the_one_that_is_multiplied(key):
    """Of a cell that computes its matrix from parameters, that one is dropped."""
    inner = antisymmetric(2, 30)
    cell = drop_connect(inner, 0.5)
    params = seed(cell.init(key), KEY)
    got, whole = cell.parts.weights(params), inner.parts.weights(params.cell)
    np.testing.assert_allclose(got, np.where(got == 0, 0, 2 * whole), rtol=1e-6)
    lower = np.tril_indices(30, -1)
    assert 0.2 < np.mean((got == 0)[lower] != (got.T == 0)[lower]) < 0.8


def test_messages(key):
    with pytest.raises(TypeError, match="^drop_connect: got function .*expected a jaxrnn.Cell"):
        drop_connect(jaxrnn.lstm, 0.5)
    with pytest.raises(ValueError, match="^drop_connect: got rate=1.*in .0, 1"):
        drop_connect(CELLS["gru"], 1)
    with pytest.raises(
        TypeError, match="^drop_connect: got .* Linear structure .*expected Gated.*names="
    ):
        drop_connect(CELLS["minimal"], 0.5)
    for names in (("w_hi",), ()):
        with pytest.raises(
            ValueError, match="^drop_connect: got names=.*some of b, b_hn, w_hh, w_"
        ):
            drop_connect(CELLS["gru"], 0.5, names).init(key)


@every_law
def test_every_law(skip):
    check_cell(seeded(make("lstm")), jnp.asarray(inputs(STEPS, 2), jnp.float32), skip=skip)
