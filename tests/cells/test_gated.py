"""What the papers of the small gated cells say of them, and how they differ from each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.cfn import cfn
from jaxrnn.cells.janet import janet
from jaxrnn.cells.li_gru import li_gru
from jaxrnn.cells.lstm import LSTMParams, LSTMState, lstm
from jaxrnn.cells.mgu import mgu
from jaxrnn.cells.minimal_rnn import minimal_rnn
from jaxrnn.cells.peephole_lstm import coupled_lstm, peephole_lstm
from jaxrnn.cells.ran import ran
from jaxrnn.cells.star import star
from jaxrnn.cells.ugrnn import UGRNNParams, ugrnn
from jaxrnn.cells.weights import init_blocks

INPUT, HIDDEN, STEPS = 3, 4, 6
LSTMS = (peephole_lstm, coupled_lstm)
FACTORIES = (*LSTMS, janet, ugrnn, mgu, minimal_rnn, ran, cfn, star, li_gru)
every_factory = pytest.mark.parametrize("factory", FACTORIES, ids=lambda f: f.__name__)


def drawn(cell, seed=0, batch=(2,)):
    """Parameters, inputs and a state in NumPy, no number of which is zero."""
    rng = np.random.default_rng(seed)

    def normal(leaf):
        return np.asarray(rng.normal(size=leaf.shape), np.float32)

    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    state = jax.eval_shape(lambda params: cell.initial_state(params, batch), shapes)
    xs = np.asarray(rng.normal(size=(STEPS, *batch, INPUT)), np.float32)
    return jax.tree.map(normal, shapes), xs, jax.tree.map(normal, state)


def agree(one, other, tolerance=2e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


# ------------------------------------------------------------------------- LSTM and kin
def test_peepholes_of_zero_leave_the_lstm():
    params, xs, state = drawn(peephole_lstm(INPUT, HIDDEN))
    params = params._replace(p_i=0 * params.p_i, p_f=0 * params.p_f, p_o=0 * params.p_o)
    plain = LSTMParams(params.w_ih, params.w_hh, params.b)
    agree(
        jaxrnn.unroll(peephole_lstm(INPUT, HIDDEN), params, xs, state),
        jaxrnn.unroll(lstm(INPUT, HIDDEN), plain, xs, state),
    )


def test_the_output_gate_sees_the_new_memory():
    cell = peephole_lstm(1, 1)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    params = params._replace(p_o=np.ones(1), b=np.array([0.0, 0.0, 1.0, 0.0]))
    state = LSTMState(h=np.zeros(1), c=np.array([2.0]))
    (_, c), h = jax.jit(cell.step)(params, state, np.zeros(1))
    np.testing.assert_allclose(c, 0.5 * 2 + 0.5 * np.tanh(1), rtol=1e-6)
    np.testing.assert_allclose(h, sigmoid(np.float64(c)) * np.tanh(c), rtol=1e-6)


def test_coupling_is_an_lstm_with_f_one_minus_i():
    coupled = coupled_lstm(INPUT, HIDDEN)
    params, xs, state = drawn(coupled)

    def four(array):
        i, g, o = np.split(array, 3, axis=-1)
        return np.concatenate([i, -i, g, o], axis=-1)

    cell = peephole_lstm(INPUT, HIDDEN)
    peepholes = {"p_i": params.p_i, "p_f": -params.p_i, "p_o": params.p_o}
    both = jax.eval_shape(cell.init, jax.random.key(0))._replace(
        w_ih=four(params.w_ih), w_hh=four(params.w_hh), b=four(params.b), **peepholes
    )
    expected = jaxrnn.unroll(cell, both, xs, state)
    agree(jaxrnn.unroll(coupled, params, xs, state), expected)


def test_coupling_without_peepholes():
    plain, cell = (coupled_lstm(INPUT, HIDDEN, peepholes=flag) for flag in (False, True))
    params, xs, state = drawn(plain)
    assert params.p_i is None
    zeros = np.zeros(HIDDEN, np.float32)
    both = params._replace(p_i=zeros, p_o=zeros)
    expected = jaxrnn.unroll(cell, both, xs, state)
    agree(jaxrnn.unroll(plain, params, xs, state), expected)


# ------------------------------------------------------------------------- one gate
def test_janet_without_beta_is_the_ugrnn():
    params, xs, state = drawn(ugrnn(INPUT, HIDDEN))
    one = jaxrnn.unroll(janet(INPUT, HIDDEN, beta=0), params, xs, state)
    agree(one, jaxrnn.unroll(ugrnn(INPUT, HIDDEN), params, xs, state))


def test_janet_takes_in_more_than_it_forgets():
    cell = janet(1, 1)
    params = UGRNNParams(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([0.7, 50.0]))
    h, _ = cell.step(params, jnp.ones(1), jnp.zeros(1))
    np.testing.assert_allclose(h, sigmoid(0.7) + 1 - sigmoid(0.7 - 1), rtol=1e-6)


def test_one_beta_gives_one_witness():
    assert janet(2, 3, beta=1).structure is janet(5, 6).structure
    assert janet(2, 3, beta=0.5).structure is not janet(2, 3).structure


def test_chrono_biases():
    ones = jaxrnn.initializers.constant(1.0)
    options = {"init": ones, "input_init": ones}
    b = {f: f(INPUT, 200, **options).init(jax.random.key(0)).b for f in (janet, star)}
    forget, content = np.split(b[janet], 2)
    assert 0 <= forget.min() < 4 and 6 < forget.max() <= np.log(783) and not content.any()
    gate, content = np.split(b[star], 2)
    assert -np.log(783) <= gate.min() < -6 and -4 < gate.max() <= 0 and not content.any()


def test_the_two_minimal_gated_units_differ():
    """Where f is 1/2 the updates agree and the candidates do; elsewhere neither does."""
    before, after = (mgu(INPUT, HIDDEN, reset=reset) for reset in ("before", "after"))
    params, xs, state = drawn(before)
    both = params._replace(b_hn=np.zeros(HIDDEN, np.float32))

    def halved(params):
        def cut(array):
            return np.concatenate([0 * array[..., :HIDDEN], array[..., HIDDEN:]], axis=-1)

        return params._replace(w_ih=cut(params.w_ih), w_hh=cut(params.w_hh), b=cut(params.b))

    agree(
        jaxrnn.unroll(before, halved(params), xs, state),
        jaxrnn.unroll(after, halved(both), xs, state),
    )
    one, other = jaxrnn.unroll(before, params, xs, state), jaxrnn.unroll(after, both, xs, state)
    assert np.max(np.abs(one[1] - other[1])) > 0.1


@pytest.mark.parametrize(("reset", "keeps"), [("before", -50.0), ("after", 50.0)])
def test_what_the_gate_of_the_minimal_gated_unit_does(reset, keeps):
    cell = mgu(INPUT, HIDDEN, reset=reset, forget_bias=keeps)
    params, (_, xs, state) = cell.init(jax.random.key(0)), drawn(cell)
    agree(jaxrnn.unroll(cell, params, xs, state)[0], state)


def test_a_trained_normalisation_folds_into_the_light_gru():
    cell = li_gru(INPUT, HIDDEN)
    params, xs, state = drawn(cell)
    rng = np.random.default_rng(1)
    mean, scale, shift = rng.normal(size=(3, 2 * HIDDEN)).astype(np.float32)
    variance = rng.uniform(0.5, 2, 2 * HIDDEN).astype(np.float32)

    h, expected = state, []
    for x in xs:
        normal = (x @ params.w_ih - mean) / np.sqrt(variance + 1e-5) * scale + shift
        z, n = np.split(normal + h @ params.w_hh, 2, axis=-1)
        z = sigmoid(z)
        h = z * h + (1 - z) * np.maximum(n, 0)
        expected.append(h)

    s = scale / np.sqrt(variance + 1e-5)
    folded = params._replace(w_ih=params.w_ih * s, b=shift - mean * s)
    agree(jaxrnn.unroll(cell, folded, xs, state)[1], np.stack(expected), 1e-4)


def test_a_minimal_rnn_stays_among_its_embeddings():
    cell = minimal_rnn(INPUT, HIDDEN)
    params, xs, _ = drawn(cell)
    z = np.tanh(xs @ params.w_ih + params.b_z)
    _, ys = jaxrnn.unroll(cell, params, xs)
    assert np.all(ys <= np.maximum(z.max(axis=0), 0)) and np.all(ys >= np.minimum(z.min(axis=0), 0))


def test_star_stays_bounded_and_starts_orthogonal():
    cell = star(INPUT, HIDDEN)
    params, xs, state = drawn(cell)
    assert np.max(np.abs(jaxrnn.unroll(cell, params, 9 * xs, 9 * state)[1])) < 1
    w_ih = cell.init(jax.random.key(0)).w_ih
    for block in jnp.split(w_ih, 2, axis=-1):
        np.testing.assert_allclose(block @ block.T, np.eye(INPUT), atol=1e-5)
    assert star(INPUT, HIDDEN, dtype=jnp.bfloat16).init(jax.random.key(0)).w_ih.dtype == "bfloat16"


# ------------------------------------------------------------------------- RAN and CFN
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_a_ran_is_a_weighted_sum_of_its_contents(activation):
    """c_T is the sum over t of i_t f_(t+1) ... f_T times the content of x_t."""
    cell = ran(INPUT, HIDDEN, activation=activation)
    params, xs, _ = drawn(cell)
    c, ys = jaxrnn.unroll(cell, params, xs)
    before = np.concatenate([np.zeros_like(ys[:1]), ys[:-1]])
    gates, content = np.split(xs @ params.w_ih, [2 * HIDDEN], axis=-1)
    i, f = np.split(sigmoid(gates + before @ params.w_hh + params.b), 2, axis=-1)
    expected = sum(i[t] * content[t] * np.prod(f[t + 1 :], axis=0) for t in range(STEPS))
    agree(c, expected, 1e-5)
    agree(ys[-1], np.tanh(expected) if activation == "tanh" else expected, 1e-5)


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_a_cfn_forgets_without_input_whatever_its_weights(gain):
    cell = cfn(INPUT, HIDDEN)
    params, _, state = drawn(cell)
    params = jax.tree.map(lambda leaf: gain * leaf, params)
    _, ys = jaxrnn.unroll(cell, params, np.zeros((300, 2, INPUT), np.float32), state)
    size = np.abs(np.concatenate([state[None], ys]))
    assert np.all(np.diff(size, axis=0) <= 0)
    bound = np.sqrt(1.5 / np.arange(1, 301))  # what tanh alone does to any number
    assert np.all(size[1:] <= 1.01 * bound[:, None, None])


# ------------------------------------------------------------------------- first values, errors
def test_biases_are_numbers_or_initializers():
    key = jax.random.key(0)
    chrono = jaxrnn.initializers.chrono(50)
    number = {f: f(INPUT, HIDDEN, forget_bias=2.0).init(key).b for f in (janet, ran, cfn, star)}
    np.testing.assert_array_equal(number[janet], [2] * HIDDEN + [0] * HIDDEN)
    np.testing.assert_array_equal(number[ran], [0] * HIDDEN + [2] * HIDDEN)
    np.testing.assert_array_equal(number[cfn], [2] * HIDDEN + [-1] * HIDDEN)
    np.testing.assert_array_equal(number[star], [-2] * HIDDEN + [0] * HIDDEN)
    np.testing.assert_array_equal(
        coupled_lstm(INPUT, HIDDEN).init(key).b, [-1] * HIDDEN + [0] * 2 * HIDDEN
    )
    for factory in (peephole_lstm, ran):
        b_i, b_f = (
            factory(INPUT, HIDDEN, forget_bias=chrono).init(key).b[: 2 * HIDDEN].reshape(2, -1)
        )
        np.testing.assert_array_equal(b_i, -b_f)
        assert np.all(b_f > 0)
    assert not peephole_lstm(INPUT, HIDDEN, peephole_init=0.0).init(key).p_o.any()


def test_blocks_see_what_they_should():
    def shaped(key, shape, dtype):
        return jnp.full(shape, shape[1], dtype)

    options = {"init": shaped, "input_init": shaped, "dtype": jnp.bfloat16}
    w_ih, w_hh = init_blocks(jax.random.key(0), 3, 4, inputs=3, recurrent=2, **options)
    assert w_ih.shape == (3, 12) and w_hh.shape == (4, 8) and w_hh[0, 0] == 8
    assert w_ih.dtype == w_hh.dtype == jnp.bfloat16


@every_factory
def test_sizes(factory):
    with pytest.raises(ValueError, match=f"{factory.__name__}: got hidden_size=0; expected"):
        factory(3, 0)
    with pytest.raises(TypeError, match=f"{factory.__name__}: got input_size=2.5"):
        factory(2.5, 3)


@every_factory
def test_features(factory):
    cell = factory(INPUT, HIDDEN)
    params, xs, state = drawn(cell)
    with pytest.raises(ValueError, match=f"{factory.__name__}: got an input of shape"):
        jax.eval_shape(cell.step, params, state, xs[0, :, 1:])


@pytest.mark.parametrize("factory", [minimal_rnn, ran])
def test_tokens_are_rows(factory):
    cell = factory(INPUT, HIDDEN)
    params, _, state = drawn(cell)
    params, tokens = jax.tree.map(jnp.asarray, params), jnp.array([2, 0])
    one = cell.step(params, state, jax.nn.one_hot(tokens, INPUT))
    agree(cell.step(params, state, tokens), one)


def test_names():
    with pytest.raises(ValueError, match="got unknown reset 'befor'.*did you mean 'before'"):
        mgu(3, 4, reset="befor")
    with pytest.raises(ValueError, match="got unknown activation 'relu'; expected one of identity"):
        ran(3, 4, activation="relu")
