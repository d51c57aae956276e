"""The clockwork RNN: when its modules move, what they see, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.clockwork import clockwork, clockwork_weights
from jaxrnn.cells.elman import ElmanParams
from jaxrnn.core.trees import num_parameters


def test_modules_move_at_multiples_of_their_period(key):
    cell = clockwork(3, 8)
    xs = jax.random.normal(key, (17, 3))
    states = jaxrnn.trajectory(cell, cell.init(key), xs)
    moved = np.diff(states.h, axis=0) != 0
    steps = np.arange(17)[:, None]
    np.testing.assert_array_equal(moved, steps % np.repeat([1, 2, 4, 8], 2) == 0)
    np.testing.assert_array_equal(states.step, np.arange(18))


def test_no_module_sees_a_faster_one(key):
    cell = clockwork(3, 6, periods=(1, 3, 9))
    params = cell.init(key)
    state, x = cell.initial_state(params), jnp.ones(3)
    h = jax.random.normal(key, (6,))

    def after(h, step):
        return cell.step(params, state._replace(h=h, step=jnp.asarray(step)), x)[1]

    slope = jax.jacobian(after)
    faster = np.kron(np.tri(3, k=-1), np.ones((2, 2))) > 0  # rows slower than their columns
    np.testing.assert_array_equal(slope(h, 0) != 0, ~faster)
    at_one = slope(h, 1)  # the slow modules hold: the gradient passes as it is
    np.testing.assert_array_equal(at_one[2:], np.eye(6)[2:])
    np.testing.assert_array_equal(at_one[:2] != 0, True)
    np.testing.assert_array_equal(clockwork_weights(params).T[faster], 0)


def test_the_gradient_reaches_back_through_the_slow_modules(key):
    cell = clockwork(3, 4, periods=(1, 16))
    params = cell.init(key)
    xs = jax.random.normal(key, (16, 3))
    slope = jax.grad(lambda xs: jnp.sum(jaxrnn.unroll(cell, params, xs)[1][-1, 2:]))(xs)
    assert (slope[0] != 0).all() and not slope[1:].any()


def test_one_module_is_elman(key):
    cell, elman = clockwork(3, 4, periods=(1,)), jaxrnn.elman(3, 4)
    params = cell.init(key)
    xs = jax.random.normal(key, (5, 2, 3))
    inner = ElmanParams(params.w_ih, params.w_hh[0], params.b)
    np.testing.assert_allclose(
        jaxrnn.unroll(cell, params, xs)[1], jaxrnn.unroll(elman, inner, xs)[1], rtol=1e-5
    )


def test_parameters_are_those_of_the_paper(key):
    params = clockwork(3, 8).init(key)
    assert [one.shape for one in params.w_hh] == [(8, 2), (6, 2), (4, 2), (2, 2)]
    assert num_parameters(params) == 8 * (3 + 1) + 5 * 8**2 // 8
    big = clockwork(100, 100).init(key)
    assert np.std(big.w_ih) == pytest.approx(0.1, rel=0.05)
    assert np.std(big.w_hh[0]) == pytest.approx(0.1, rel=0.05)
    cells = [clockwork(3, 4, periods=periods) for periods in ((1, 2), [1, 2])]
    assert cells[0] == cells[1]


@pytest.mark.parametrize(
    ("periods", "error", "message"),
    [
        ((0, 1), ValueError, "periods=0; expected a positive integer"),
        ((1, 2.5), TypeError, "periods=2.5 "),
        ((2, 1), ValueError, r"periods=\(2, 1\); expected increasing periods"),
        ((1, 1), ValueError, r"periods=\(1, 1\); expected increasing periods"),
        ((), ValueError, r"periods=\(\); expected increasing periods"),
        ((1, 2, 4), ValueError, "hidden_size=4 with 3 periods; expected a multiple"),
    ],
)
def test_bad_input(periods, error, message):
    with pytest.raises(error, match=f"^clockwork: got {message}"):
        clockwork(3, 4, periods=periods)
