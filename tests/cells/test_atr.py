"""What follows from the twin gates of `jaxrnn.cells.atr`."""

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.atr import ATRParams, atr
from jaxrnn.testing import check_cell
from laws import FLOW_LAWS

INPUT, HIDDEN, STEPS = 3, 4, 6


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def drawn(seed=0):
    """Parameters with biases, inputs and a state in NumPy."""
    rng = np.random.default_rng(seed)
    shapes = ((INPUT, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,))
    params, xs, h = (
        [rng.normal(size=shape).astype(np.float32) for shape in group]
        for group in (shapes, [(STEPS, 2, INPUT)], [(2, HIDDEN)])
    )
    return ATRParams(*params), xs[0], h[0]


def test_the_state_is_a_weighted_sum_of_the_inputs_shares():
    """h_T is the sum over t of i_t f_(t+1) ... f_T times p_t, and the gates see no more."""
    params, xs, _ = drawn()
    params = params._replace(b_p=None, b_q=None)
    h, ys = jaxrnn.unroll(atr(INPUT, HIDDEN), params, xs)
    p, q = xs @ params.w_ih, np.concatenate([0 * ys[:1], ys[:-1]]) @ params.w_hh
    i, f = sigmoid(p + q), sigmoid(p - q)
    expected = sum(i[t] * p[t] * np.prod(f[t + 1 :], axis=0) for t in range(STEPS))
    np.testing.assert_allclose(h, expected, rtol=0, atol=1e-5)


def test_the_recurrent_share_opens_one_gate_and_closes_the_other():
    """A large q takes p in and forgets h; a small one keeps h: p - q, not q - p."""
    params, xs, h = drawn()
    step = jax.jit(atr(INPUT, HIDDEN, bias=True).step)
    taken, _ = step(params._replace(b_q=np.full(HIDDEN, 60.0, np.float32)), h, xs[0])
    np.testing.assert_allclose(taken, xs[0] @ params.w_ih + params.b_p, rtol=0, atol=1e-6)
    kept, _ = step(params._replace(b_q=np.full(HIDDEN, -60.0, np.float32)), h, xs[0])
    np.testing.assert_allclose(kept, h, rtol=0, atol=1e-6)


def test_biases_are_zero_at_first_and_optional():
    ones = jaxrnn.initializers.constant(1.0)
    plain, biased = (
        atr(INPUT, HIDDEN, bias=flag, init=ones, input_init=ones).init(jax.random.key(0))
        for flag in (False, True)
    )
    assert plain.b_p is None and plain.b_q is None
    np.testing.assert_array_equal(np.stack([biased.b_p, biased.b_q]), np.zeros((2, HIDDEN)))


@pytest.mark.slow
def test_the_laws_hold_with_biases():
    check_cell(atr(INPUT, HIDDEN, bias=True), drawn()[1], skip=FLOW_LAWS)


def test_training_takes_the_fast_path():
    assert jaxrnn.select_unroll(atr(INPUT, HIDDEN)) is jaxrnn.fused_unroll


def test_errors():
    with pytest.raises(ValueError, match="atr: got hidden_size=0; expected"):
        atr(3, 0)
    cell = atr(INPUT, HIDDEN)
    params, xs, h = drawn()
    with pytest.raises(ValueError, match="atr: got an input of shape"):
        jax.eval_shape(cell.step, params, h, xs[0, :, 1:])
