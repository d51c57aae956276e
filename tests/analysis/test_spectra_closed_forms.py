"""Both spectra against closed forms: linear, critical, gated and rate networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank, block_diagonal, orthogonal
from jaxrnn import analysis

singular, lyapunov = analysis.singular_spectrum, analysis.lyapunov_spectrum
# Errors per step, in nats, as in `analysis.flows`.
FLOOR = {"float64": 1e-14, "float32": 3e-7}


@pytest.fixture(params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def dtype(request):
    """Runs a test in both precisions; its value is the dtype's name."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def right(found, want, floor):
    """Asserts log singular values, that their bounds hold, and that they are called reliable."""
    got, bound = np.asarray(found.log_singular_values, np.float64), np.asarray(found.error_bound)
    np.testing.assert_allclose(got, want, rtol=0, atol=floor)
    alive = np.isfinite(want)
    assert np.all(np.abs(got[alive] - want[alive]) <= bound[alive])
    assert np.all(found.reliable)


# A7: I + e (S - g I), with e g = 0.4 and e omega = 1.6, 0.8, 0.4 and 0: growing, still, shrinking.
TURNS, KEPT, STEPS, WARMUP = np.array([1.6, 0.8, 0.4, 0]), 0.6, 100, 220
GROWTH = np.log(np.repeat(np.hypot(KEPT, TURNS), 2)[:7])
BASIS = orthogonal(7, seed=3)


def antisymmetric():
    """The matrix of A7; its planes are neighbouring columns of `BASIS`."""
    planes = [np.array([[KEPT, -turn], [turn, KEPT]]) for turn in TURNS[:3]]
    return jnp.asarray(BASIS @ block_diagonal(*planes, [[KEPT]]) @ BASIS.T)


@pytest.mark.slow
def test_singular_values_of_an_antisymmetric_flow(x64):
    """A7: |.|^2 = (1 - e g)^2 + (e omega)^2 to the power T, in planes the flow leaves alone."""
    found = singular(LINEAR, antisymmetric(), blank(STEPS))
    right(found, STEPS * GROWTH, FLOOR["float64"] * STEPS)
    left, before = np.asarray(found.left), np.asarray(found.right)
    for at in (0, 2, 4, 6):
        plane = slice(at, at + 2)
        want = BASIS[:, plane] @ BASIS[:, plane].T
        for side in (left, before):
            np.testing.assert_allclose(
                side[:, plane] @ side[:, plane].T, want, rtol=0, atol=10 * FLOOR["float64"]
            )
    # Within its plane the flow turns by T angles, and the odd direction stays where it is.
    for at, turn in zip((0, 2, 4), TURNS, strict=False):
        inside = BASIS[:, at : at + 2].T
        image = (inside @ left[:, at : at + 2]) @ (inside @ before[:, at : at + 2]).T
        angle = STEPS * np.arctan2(turn, KEPT)
        want = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        np.testing.assert_allclose(image, want, rtol=0, atol=STEPS * FLOOR["float64"])
    assert left[:, 6] @ before[:, 6] > 0


def test_exponents_of_an_antisymmetric_flow(x64):
    """A7: the exponents in pairs, one of them 0, once the directions have found their planes."""
    found = lyapunov(LINEAR, antisymmetric(), blank(WARMUP + STEPS), warmup=WARMUP, qr_every=5)
    np.testing.assert_allclose(found.exponents, GROWTH, rtol=0, atol=FLOOR["float64"])
    assert np.max(np.abs(found.history - GROWTH)) < 10 * FLOOR["float64"]
    assert np.max(found.stderr) < 10 * FLOOR["float64"]
    assert np.all(found.reliable)
    assert abs(found.entropy - 2 * GROWTH[0]) < 10 * FLOOR["float64"]
    dimension = 6 - np.sum(GROWTH[:6]) / GROWTH[6]
    assert abs(found.kaplan_yorke_dimension - dimension) < 100 * FLOOR["float64"]


def critical(num_steps):
    """An Elman unit h' = tanh(h) from 0.8, and log J after each step by hand."""
    h, logs = 0.8, np.empty(num_steps)
    for step in range(num_steps):
        h = np.tanh(h)
        logs[step] = np.log1p(-h * h)
    params = jaxrnn.ElmanParams(jnp.zeros((1, 1)), jnp.ones((1, 1)), jnp.zeros(1))
    return (jaxrnn.elman(1, 1), params, blank(num_steps), jnp.full(1, 0.8)), np.cumsum(logs)


def test_exponent_at_the_critical_point(x64):
    """A9': the exponent tends to 0 as -(3/2) ln T / T, J_T T^(3/2) to a constant."""
    num_steps = 200_000
    args, logs = critical(num_steps)
    found = lyapunov(*args, qr_every=32)
    steps = np.arange(1, num_steps + 1)
    total = steps * np.asarray(found.history[:, 0])
    ends = slice(31, None, 32)
    np.testing.assert_allclose(total[ends], logs[ends], rtol=0, atol=1e-9)
    assert -1e-4 < found.exponents[0] < 0
    assert np.exp(num_steps * found.exponents[0]) * num_steps**1.5 == pytest.approx(
        3.34790, abs=2e-5
    )
    slope = (total[-1] - total[num_steps // 10 - 1]) / np.log(10)
    assert slope == pytest.approx(-1.5, abs=1e-3)
    assert found.reliable[0]


@pytest.mark.slow
def test_singular_value_at_the_critical_point(x64):
    """A9': log J_T itself, a power and no exponential."""
    args, logs = critical(20_000)
    right(singular(*args), logs[-1:], 1e-10)
    assert np.exp(logs[-1]) * 20_000**1.5 == pytest.approx(3.3479, abs=2e-3)


LSTM = jaxrnn.lstm(1, 3)


def carousel(b_g):
    """Parameters and state of an LSTM without weights whose forget gate is 1 to rounding."""
    bias = jnp.repeat(jnp.array([0.3, 60.0, b_g, -0.4]), 3)
    params = jaxrnn.LSTMParams(jnp.zeros((1, 12)), jnp.zeros((3, 12)), bias)
    return params, jaxrnn.LSTMState(jnp.zeros(3), jnp.array([-1.0, 0, 0.5]))


@pytest.mark.slow
def test_singular_values_of_the_carousel(x64):
    """A11: the cell's Jacobian is the identity, and h adds what the last step reads of it."""
    params, state = carousel(0.0)
    found = singular(LSTM, params, blank(500), state)
    reads = sigmoid(-0.4) / np.cosh([0, 0.5, -1.0]) ** 2
    want = np.concatenate([np.log1p(reads**2) / 2, np.full(3, -np.inf)])
    right(found, want, 500 * FLOOR["float64"])
    np.testing.assert_array_equal(found.error_bound[3:], 0)
    # Gradients reach the old c alone, its entries one by one: order of the state h, then c.
    lasting = np.abs(np.asarray(found.right)[:, :3])
    np.testing.assert_allclose(
        lasting, np.eye(6)[:, [4, 5, 3]], rtol=0, atol=100 * FLOOR["float64"]
    )
    ends = np.abs(np.asarray(found.left)[:3, :3]).T
    want = np.eye(3)[[1, 2, 0]] * (reads / np.hypot(1, reads))[:, None]
    np.testing.assert_allclose(ends, want, rtol=0, atol=100 * FLOOR["float64"])


@pytest.mark.parametrize("b_g", [0.0, 0.5])
def test_exponents_of_the_carousel(dtype, b_g):
    """A11: 0 as often as there are cells, while c stands still or grows; the rest dies exactly."""
    params, state = carousel(b_g)
    found = lyapunov(LSTM, params, blank(600), state, warmup=100, qr_every=3)
    np.testing.assert_allclose(found.exponents[:3], 0, rtol=0, atol=FLOOR[dtype])
    np.testing.assert_array_equal(found.exponents[3:], -np.inf)
    assert np.max(np.abs(found.history[:, :3])) < 10 * FLOOR[dtype]
    assert np.all(found.reliable)


def gated(reset):
    """A GRU without weights, h' = z h + (1 - z) n: cell and parameters."""
    bias = jnp.repeat(jnp.array([0.7, 1.2, -0.4]), 3)
    b_hn = jnp.full(3, 0.5) if reset == "after" else None
    cell = jaxrnn.gru(1, 3, reset=reset)
    return cell, jaxrnn.GRUParams(jnp.zeros((1, 9)), jnp.zeros((3, 9)), bias, b_hn)


every_reset = pytest.mark.parametrize(
    "reset", ["after", pytest.param("before", marks=pytest.mark.slow)]
)


@pytest.mark.slow
def test_singular_values_of_a_gru_without_weights():
    """A12: J = z^T I for h' = z h + (1 - z) n, with z^T below the range of a float."""
    want = 3000 * np.log(sigmoid(1.2))
    assert want < -750
    found = singular(*gated("after"), blank(3000))
    right(found, np.full(3, want), 3000 * FLOOR["float32"])
    turn = np.asarray(found.left) @ np.asarray(found.right).T
    np.testing.assert_allclose(turn, np.eye(3), rtol=0, atol=100 * FLOOR["float32"])


@every_reset
def test_exponents_of_a_gru_without_weights(x64, reset):
    """A12: all exponents are ln z, from the first step on."""
    rate = np.log(sigmoid(1.2))
    found = lyapunov(*gated(reset), blank(3000), qr_every=7)
    np.testing.assert_allclose(found.exponents, rate, rtol=0, atol=FLOOR["float64"])
    assert found.history.shape == (3000, 3)
    assert np.max(np.abs(found.history - rate)) < 10 * FLOOR["float64"]
    assert np.all(found.reliable)


def _rate_step(params, h, x):
    del x
    w, delta = params
    h = (1 - delta) * h + delta * jnp.tanh(h) @ w.T
    return h, h


# Euler's method for dh/dt = -h + W tanh(h); the parameters are W and the step.
RATE = jaxrnn.Cell(
    lambda key: (jnp.eye(2), jnp.ones(())),
    lambda params, batch_shape=(): jnp.zeros((*batch_shape, len(params[0])), params[0].dtype),
    _rate_step,
)
UNITS, DELTAS = 6, np.array([0.3, 1e-2, 1e-3])


def rate_networks():
    """Three networks from one draw: without self-coupling, triangular, with self-coupling."""
    draw = 3 * np.random.default_rng(4).normal(size=(UNITS, UNITS)) / UNITS**0.5
    hollow = draw - np.diag(np.diag(draw))
    return np.stack([hollow, np.tril(hollow), hollow + 0.5 * np.eye(UNITS)])


def divergences(w, delta, start, num_steps):
    """Per step log |det ((1 - d) I + d W D)| / (N d), and the first order of it, tr / N."""
    h, exact, first = start, [], []
    for _ in range(num_steps):
        reads = w * (1 - np.tanh(h) ** 2)
        step = (1 - delta) * np.eye(UNITS) + delta * reads
        exact.append(np.linalg.slogdet(step)[1] / (UNITS * delta))
        first.append(np.trace(reads) / UNITS - 1)
        h = (1 - delta) * h + delta * w @ np.tanh(h)
    return np.array(exact), np.array(first)


@pytest.mark.slow
def test_divergence_of_rate_networks(x64):
    """A17: the mean exponent of Euler's map, and -1 per unit of time as its step shrinks."""
    num_steps, start = 60, np.random.default_rng(5).normal(size=UNITS)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def measure(w, delta):
        args = RATE, (w, delta), blank(num_steps), jnp.asarray(start)
        return lyapunov(*args, qr_every=1).history

    networks = rate_networks()
    history = measure(networks, DELTAS)
    assert np.ptp(history[0, 0, -1]) > 0.1
    times = np.arange(1, num_steps + 1)
    running = np.mean(history, axis=-1) / DELTAS[:, None]
    for i, w in enumerate(networks):
        for j, delta in enumerate(DELTAS):
            exact, first = divergences(w, delta, start, num_steps)
            np.testing.assert_allclose(running[i, j], np.cumsum(exact) / times, rtol=0, atol=1e-12)
            if delta < 0.1:
                assert abs(running[i, j, -1] - np.mean(first)) < 5 * delta
    alone = np.broadcast_to((np.log1p(-DELTAS) / DELTAS)[:, None], running[1].shape)
    np.testing.assert_allclose(running[1], alone, rtol=0, atol=1e-11)
    # What is left of -1 is of first order in the step; a self-coupling is of order 0.
    ends = running[:, 1:, -1]
    assert 5 < abs((ends[0, 0] + 1) / (ends[0, 1] + 1)) < 20
    assert np.all(ends[2] > -0.95)


@pytest.mark.slow
def test_singular_values_of_a_rate_network(x64):
    """A17: the sum of the log singular values is the same divergence, over time d T."""
    num_steps, start = 400, np.random.default_rng(5).normal(size=UNITS)
    w, delta = rate_networks()[0], 1e-2
    found = singular(RATE, (jnp.asarray(w), jnp.array(delta)), blank(num_steps), jnp.asarray(start))
    logs = np.asarray(found.log_singular_values)
    exact, _ = divergences(w, delta, start, num_steps)
    assert np.ptp(logs) > 2
    assert np.mean(logs) == pytest.approx(delta * np.sum(exact), abs=1e-12)
    assert abs(np.mean(logs) / (delta * num_steps) + 1) < 5 * delta
    assert np.all(found.reliable)
