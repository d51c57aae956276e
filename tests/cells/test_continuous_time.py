"""Cells that know time, `ct_rnn`, `cfc`, `ltc`: what passes between two steps, and bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

INPUT, HIDDEN = 2, 4
CELLS = {
    "ct_rnn": jaxrnn.ct_rnn(INPUT, HIDDEN),
    "cfc": jaxrnn.cfc(INPUT, HIDDEN, backbone_units=3),
    "ltc": jaxrnn.ltc(INPUT, HIDDEN),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def drawn(cell, rng, scale=1.0):
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: scale * rng.normal(size=leaf.shape), shapes)


@every_cell
def test_a_plain_input_is_one_of_steps_of_one(cell, x64):
    rng = np.random.default_rng(0)
    params, xs = drawn(cell, rng), rng.normal(size=(5, 3, INPUT))
    plain = jaxrnn.unroll(cell, params, xs)
    timed = jaxrnn.unroll(cell, params, (xs, np.ones((5, 3, 1))))
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(timed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


@every_cell
def test_time_matters_and_has_a_slope(cell):
    rng = np.random.default_rng(0)
    params, h, x = drawn(cell, rng), rng.normal(size=HIDDEN), rng.normal(size=INPUT)
    slope = jax.jit(jax.jacobian(lambda dt: cell.step(params, h, (x, dt))[0]))(jnp.ones(1))
    assert np.all(slope != 0)


@pytest.mark.parametrize("name", ["ct_rnn", "ltc"])
def test_nothing_happens_in_no_time(name):
    """So do steps that are masked, whose dt is zero: their gradients are finite."""
    cell, rng = CELLS[name], np.random.default_rng(0)
    params, h = drawn(cell, rng), rng.normal(size=HIDDEN)

    def after(params, x):
        return cell.step(params, h, (x, jnp.zeros(1)))[0]

    np.testing.assert_allclose(after(params, jnp.ones(INPUT)), h, rtol=1e-6)
    slope = jax.jit(jax.grad(lambda *given: jnp.sum(after(*given)), argnums=(0, 1)))
    slopes = slope(params, jnp.ones(INPUT))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@every_cell
def test_tokens_are_rows(cell, x64):
    rng = np.random.default_rng(0)
    params, tokens = jax.tree.map(jnp.asarray, drawn(cell, rng)), np.array([0, 1, 1])
    h, dt = rng.normal(size=(3, HIDDEN)), rng.uniform(0.5, 2, size=(3, 1))
    by_token = cell.step(params, h, (tokens, dt))[1]
    by_row = cell.step(params, h, (np.eye(INPUT)[tokens], dt))[1]
    np.testing.assert_allclose(by_token, by_row, rtol=1e-13)
    assert np.all(np.isnan(cell.step(params, h[0], jnp.asarray(INPUT))[1]))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ((np.ones((3, 2)), np.ones(3)), ValueError, r"dt of shape \(3,\); .* dt\[..., None\]"),
        ((np.ones((3, 2)), np.ones((3, 2))), ValueError, r"expected \(\*batch, 1\) = \(3, 1\)"),
        ((np.ones((3, 2)),), ValueError, "got an input of 1 parts; .* pair"),
        ((np.ones((3, 2)), np.ones((3, 1), int)), TypeError, "dt of dtype int"),
        ((np.ones((3, 5)), np.ones((3, 1))), ValueError, "5 features.*; expected 2 features"),
    ],
)
@every_cell
def test_inputs_that_they_cannot_have(cell, x, error, message):
    params = drawn(cell, np.random.default_rng(0))
    with pytest.raises(error, match=message):
        cell.step(params, np.zeros((3, HIDDEN)), x)


# ------------------------------------------------------------------------- one by one
def test_a_leak_by_itself_is_a_power(x64):
    cell = jaxrnn.ct_rnn(INPUT, HIDDEN, tau=4, dt=0.5)
    params = jax.tree.map(lambda leaf: 0 * leaf, cell.init(jax.random.key(0)))
    h = jaxrnn.unroll(cell, params, np.ones((10, INPUT)), jnp.ones(HIDDEN))[0]
    np.testing.assert_allclose(h, (1 - 0.5 / 4) ** 10, rtol=1e-12)


def test_a_learnt_time_constant_starts_where_it_is_told(key, x64):
    fixed, learnt = (jaxrnn.ct_rnn(INPUT, HIDDEN, tau=3, learn_tau=l) for l in (False, True))  # noqa: E741
    assert fixed.init(key).log_tau is None
    xs = np.ones((5, INPUT))
    ys = [jaxrnn.unroll(cell, cell.init(key), xs)[1] for cell in (fixed, learnt)]
    np.testing.assert_allclose(*ys, rtol=1e-12)
    slopes = jax.grad(lambda p: jnp.sum(jaxrnn.unroll(learnt, p, xs)[1]))(learnt.init(key))
    assert np.all(slopes.log_tau != 0)


def test_the_gate_of_time_goes_from_one_head_to_the_other(x64):
    """With f > 0 the state goes from g to k as time passes, with f < 0 back."""
    cell = CELLS["cfc"]
    params = drawn(cell, np.random.default_rng(0))
    params.w_out[:, 2 * HIDDEN : 3 * HIDDEN] = 0
    params.b_out[2 * HIDDEN : 3 * HIDDEN] = 1

    def at(dt):
        return np.asarray(cell.step(params, np.ones(HIDDEN), (np.ones(INPUT), np.full(1, dt)))[0])

    u = 1.7159 * np.tanh(0.666 * (params.w_ih.sum(axis=0) + params.w_hh.sum(axis=0) + params.b))
    g, k, *_ = np.split(np.tanh(u @ params.w_out + params.b_out), 4)
    np.testing.assert_allclose(at(-100.0), g, rtol=1e-12)
    np.testing.assert_allclose(at(100.0), k, rtol=1e-12)


def test_neurons_stay_between_the_potentials_around_them(x64):
    """Theorem 2: a potential is a mean of its old value and of those that draw at it."""
    cell, rng = CELLS["ltc"], np.random.default_rng(0)
    params, xs = drawn(cell, rng, 3), 10 * rng.normal(size=(30, INPUT))
    v = np.asarray(jaxrnn.trajectory(cell, params, xs))
    potentials = np.concatenate([params.ih.e, params.hh.e, params.v_leak[None], v[:1]])
    assert np.all(v <= potentials.max(axis=0) + 1e-12)
    assert np.all(v >= potentials.min(axis=0) - 1e-12)


def test_half_the_time_in_half_the_steps_twice(x64):
    rng = np.random.default_rng(0)
    whole, half = jaxrnn.ltc(INPUT, HIDDEN, unfolds=6), jaxrnn.ltc(INPUT, HIDDEN, unfolds=3)
    params, x = drawn(whole, rng), rng.normal(size=INPUT)
    v = rng.normal(size=HIDDEN)
    expected, _ = whole.step(params, v, (x, np.full(1, 1.4)))
    for _ in range(2):
        v, _ = half.step(params, v, (x, np.full(1, 0.7)))
    np.testing.assert_allclose(v, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (jaxrnn.ct_rnn, {"dt": 0}, ValueError, "ct_rnn: got dt=0; .* above 0"),
        (jaxrnn.ct_rnn, {"tau": -1}, ValueError, "ct_rnn: got tau=-1; .* above 0"),
        (jaxrnn.ct_rnn, {"tau": [1, 2]}, TypeError, "ct_rnn: got tau=.*list"),
        (jaxrnn.cfc, {"backbone_layers": 0}, ValueError, "cfc: got backbone_layers=0"),
        (jaxrnn.cfc, {"backbone_units": 2.5}, TypeError, "cfc: got backbone_units=2.5"),
        (jaxrnn.cfc, {"mode": "gated"}, ValueError, "got unknown mode 'gated'"),
        (jaxrnn.cfc, {"activation": "lecun"}, ValueError, "did you mean 'lecun_tanh'"),
        (jaxrnn.ltc, {"unfolds": 0}, ValueError, "ltc: got unfolds=0"),
    ],
)
def test_options_that_they_cannot_have(make, options, error, message):
    with pytest.raises(error, match=message):
        make(INPUT, HIDDEN, **options)
