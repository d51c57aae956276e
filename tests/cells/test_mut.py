"""The mutations: the paper's equations where I = H, and what they are otherwise."""

import jax
import numpy as np
import pytest

from jaxrnn.cells.gru import GRUParams, gru
from jaxrnn.cells.mut import MUTParams, mut1, mut2, mut3
from jaxrnn.core import initializers

SIZE = 4


def sigm(a):
    return 1 / (1 + np.exp(-a))


def as_published(name, params, h, x):
    """One step of MUT1 or MUT2 as the paper prints it, which adds x itself."""
    w_xz, w_xr, w_xh = np.split(params.w_ih, 3, axis=1)
    *w_hz, w_hr, w_hh = np.split(params.w_hh, params.w_hh.shape[1] // SIZE, axis=1)
    b_z, b_r, b_h = np.split(params.b, 3)
    if name == "mut1":
        z, r = sigm(x @ w_xz + b_z), sigm(x @ w_xr + h @ w_hr + b_r)
        share = np.tanh(x) + b_h
    else:
        z, r = sigm(x @ w_xz + h @ w_hz[0] + b_z), sigm(x + h @ w_hr + b_r)
        share = x @ w_xh + b_h
    return np.tanh((r * h) @ w_hh + share) * z + h * (1 - z)


@pytest.mark.parametrize(("name", "make"), [("mut1", mut1), ("mut2", mut2)])
def test_it_begins_as_published_where_inputs_are_as_large_as_the_state(name, make, key):
    rng = np.random.default_rng(0)
    cell = make(SIZE, SIZE)
    params = jax.jit(cell.init)(key)._replace(b=rng.normal(size=3 * SIZE).astype(np.float32))
    h, x = rng.normal(size=(2, 3, SIZE)).astype(np.float32)
    found = jax.jit(cell.step)(params, h, x)[0]
    expected = as_published(name, jax.tree.map(np.asarray, params), h, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("make", "block"), [(mut1, 2), (mut2, 1), (mut3, None)])
def test_only_the_block_of_the_raw_input_begins_as_the_identity(make, block, key):
    eye = np.eye(SIZE)
    blocks = np.split(jax.jit(make(SIZE, SIZE).init)(key).w_ih, 3, axis=1)
    assert [bool(np.all(b == eye)) for b in blocks] == [k == block for k in range(3)]
    normal = make(SIZE, SIZE, input_init=initializers.normal(1.0)).init(key).w_ih
    assert not any(np.all(b == eye) for b in np.split(normal, 3, axis=1))


def test_the_second_is_a_gru_whose_update_gate_is_turned_round():
    cell, other = mut2(3, SIZE), gru(3, SIZE, reset="before")
    rng = np.random.default_rng(0)
    params = MUTParams(*(rng.normal(size=(*rows, 3 * SIZE)) for rows in ((3,), (SIZE,), ())))

    def turned(array):
        z, r, n = np.split(array, 3, axis=-1)
        return np.concatenate([r, -z, n], axis=-1)

    same = GRUParams(*map(turned, params), b_hn=None)
    h, x = rng.normal(size=(2, SIZE)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        jax.jit(cell.step)(params, h, x)[0],
        jax.jit(other.step)(same, h, x)[0],
        rtol=1e-5,
        atol=1e-6,
    )
