"""The phased LSTM: its time gate, what a closed gate does, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.cells.peephole_lstm import PEEPHOLE_LSTM, PeepholeLSTMParams
from jaxrnn.cells.phased_lstm import phased_lstm, phased_lstm_time_gate


@pytest.fixture
def params(key):
    """Parameters of two units with periods 10 and 20, both open for half of their period."""
    params = phased_lstm(3, 2).init(key)
    tau, s = jnp.array([10.0, 20.0]), jnp.array([0.0, 5.0])
    return params._replace(tau=tau, s=s, r_on=jnp.array([0.5, 0.5]))


def state_of(key, batch=()):
    h, c = jax.random.normal(key, (2, *batch, 2))
    return phased_lstm(3, 2).initial_state(phased_lstm(3, 2).init(key), batch)._replace(h=h, c=c)


def test_the_gate_opens_closes_and_leaks(params):
    times = jnp.array([0.0, 1.0, 2.5, 4.0, 5.0, 9.0, 12.5, -7.5])[:, None]
    k = phased_lstm_time_gate(params, times, leak=0.01)
    # Its phases at the first unit: 0, 0.1, 0.25, 0.4, 0.5, 0.9, and 0.25 one period on and back.
    np.testing.assert_allclose(k[:, 0], [0, 0.4, 1, 0.4, 0.005, 0.009, 1, 1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(k[2:4, 1], [0.00875, 0.0095], rtol=1e-5)  # phases 0.875 and 0.95


def test_a_closed_gate_holds_the_state_and_its_gradient(params, key):
    cell = phased_lstm(3, 2, leak=0)
    state, x = state_of(key), (jnp.ones(3), jnp.array([26.0]))  # phases 0.6 and 0.05
    after, _ = cell.step(params, state, x)
    assert (after.h[0], after.c[0]) == (state.h[0], state.c[0])
    assert abs(after.c[1] - state.c[1]) > 1e-3
    slope = jax.jacobian(lambda c: cell.step(params, state._replace(c=c), x)[0].c)(state.c)
    assert slope[0].tolist() == [1, 0]


def test_an_open_gate_takes_the_step_of_the_peephole_lstm(params, key):
    cell, state = phased_lstm(3, 2), state_of(key, (4,))
    params = params._replace(tau=jnp.full(2, 10.0), s=jnp.zeros(2))
    x = jax.random.normal(key, (4, 3))
    after, y = cell.step(params, state, (x, jnp.full((4, 1), 2.5)))
    inner = PeepholeLSTMParams(*params[:6])
    expected, _ = PEEPHOLE_LSTM.step(inner, LSTMState(state.h, state.c), x)
    np.testing.assert_allclose(after.h, expected.h, rtol=1e-5)
    np.testing.assert_allclose(after.c, expected.c, rtol=1e-5)
    np.testing.assert_array_equal(y, after.h)


def test_without_times_the_steps_are_counted(params, key):
    cell, xs = phased_lstm(3, 2), jax.random.normal(key, (6, 4, 3))
    times = jnp.broadcast_to(jnp.arange(6.0)[:, None, None], (6, 4, 1))
    state, ys = jaxrnn.unroll(cell, params, xs)
    timed, zs = jaxrnn.unroll(cell, params, (xs, times))
    np.testing.assert_allclose(ys, zs, rtol=1e-5, atol=1e-7)
    assert state.step.tolist() == timed.step.tolist() == [6] * 4
    resets = jnp.zeros((6, 4), bool).at[4, 0].set(True)
    assert jaxrnn.unroll(cell, params, xs, resets=resets)[0].step.tolist() == [2, 6, 6, 6]


def test_times_keep_their_precision(key):
    """Times of 1000 and more steps are distinct in bfloat16 too."""
    cell = phased_lstm(3, 2, dtype=jnp.bfloat16)
    params = cell.init(key)._replace(tau=jnp.full(2, 8.0, jnp.bfloat16))
    times = jnp.arange(1000.0, 1004.0)[:, None]
    gates = jax.vmap(lambda t: phased_lstm_time_gate(params, t))(times)
    assert gates.dtype == jnp.float32
    assert len(np.unique(gates[:, 0])) == 4
    xs = jnp.ones((4, 3), jnp.bfloat16)
    state, ys = jaxrnn.unroll(cell, params, (xs, times))
    assert state.h.dtype == ys.dtype == jnp.bfloat16


def test_initial_values(key):
    params = phased_lstm(3, 500, period=(2, 50), r_on=0.1).init(key)
    assert 2 <= params.tau.min() < 2.2 < 45 < params.tau.max() <= 50
    assert 0.4 < jnp.mean(params.tau < 10) < 0.6  # log-uniform: 10 is the middle
    assert (0 <= params.s).all() and (params.s <= params.tau).all()
    np.testing.assert_array_equal(params.r_on, jnp.full(500, 0.1))
    assert phased_lstm(3, 2, peepholes=False).init(key).p_f is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leak": -0.1}, "leak=-0.1; expected .*at least 0 and at most 1"),
        ({"r_on": 0}, "r_on=0; expected .*above 0"),
        ({"r_on": 1.5}, "r_on=1.5; expected .*at most 1"),
        ({"period": (0, 5)}, r"period\[0\]=0; expected .*above 0"),
        ({"period": (5, 1)}, r"period\[1\]=1; expected .*at least 5"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^phased_lstm: got {message}"):
        phased_lstm(3, 2, **options)


def test_bad_times(key):
    cell = phased_lstm(3, 2)
    params = cell.init(key)
    with pytest.raises(ValueError, match=r"^phased_lstm: got times t of shape \(4,\); expected"):
        cell.step(params, state_of(key, (4,)), (jnp.ones((4, 3)), jnp.ones(4)))
