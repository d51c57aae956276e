"""Gradient flow with an answer in closed form, in float64 to rounding and in float32 to a floor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import (
    LINEAR,
    blank,
    block_diagonal,
    close_logs,
    decay,
    jacobians,
    measure,
    orthogonal,
    product,
    rotation,
    whole,
)
from cases import first_of

LONG = 10_000


@pytest.fixture(params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def dtype(request):
    """Runs a test in both precisions; its value is the dtype's name."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def check(w, num_steps, wanted, dtype, floor=None):
    """Compares all log norms, and the scale of the product, with one closed form of the lag."""
    lags = np.arange(1, num_steps + 1)
    measured, total = measure(LINEAR, jnp.asarray(w), blank(num_steps))
    assert measured.log_norms.dtype == total.log_scale.dtype == total.matrix.dtype == dtype
    np.testing.assert_array_equal(measured.lags, lags)
    close_logs(measured.log_norms, wanted(lags), lags, dtype, floor)
    size = np.log(np.linalg.norm(np.asarray(total.matrix, np.float64), 2))
    close_logs(total.log_scale + size, wanted(num_steps), num_steps, dtype, floor)
    assert abs(np.max(np.abs(total.matrix)) - 1) <= np.finfo(dtype).eps
    return measured, total


@pytest.mark.parametrize("gain", [0.5, 1.3])
def test_orthogonal_times_gain(dtype, gain):
    w = gain * orthogonal(4)
    measured, total = check(w, LONG, lambda lag: lag * np.log(gain), dtype)
    rounding = 1e-13 if dtype == "float64" else 3e-7
    assert abs(measured.rate - np.log(gain)) < rounding
    assert measured.stderr < rounding
    values = np.linalg.svd(np.asarray(total.matrix, np.float64), compute_uv=False)
    np.testing.assert_allclose(values / values[0], 1, rtol=1e-10 if dtype == "float64" else 2e-3)


@pytest.mark.parametrize("name", ["spectral", "frobenius"])
def test_the_norms_of_an_orthogonal_flow(dtype, name):
    w = jnp.asarray(1.3 * orthogonal(4))
    lags = np.arange(1, 51)
    found = decay(LINEAR, w, blank(50), norm=name).log_norms
    extra = {"spectral": 0, "frobenius": np.log(2)}[name]  # ||Q||_F = sqrt(4)
    close_logs(found, lags * np.log(1.3) + extra, lags, dtype)


def test_normal_matrix(x64):
    q = orthogonal(5)
    blocks = block_diagonal([[-0.8]], 0.95 * rotation(0.7), [[0.5]], [[0.9]])
    _, total = check(q @ blocks @ q.T, 30, lambda lag: lag * np.log(0.95), "float64")
    values = np.linalg.svd(whole(total), compute_uv=False)
    want = np.array([0.95, 0.95, 0.9, 0.8, 0.5]) ** 30
    np.testing.assert_allclose(values, want, rtol=0, atol=want[0] * 30 * np.finfo("float64").eps)


def test_general_matrix(dtype):
    w = np.random.default_rng(2).normal(size=(5, 5)) / 2
    w = np.asarray(np.asarray(w, dtype), np.float64)
    powers = [np.linalg.matrix_power(w, lag) for lag in range(1, 41)]
    want = np.log([np.linalg.norm(power, 2) for power in powers])
    measured, total = check(w, 40, lambda lag: want[lag - 1], dtype)
    np.testing.assert_allclose(
        whole(total) / np.exp(want[-1]),
        powers[-1] / np.exp(want[-1]),
        atol=200 * np.finfo(dtype).eps,
    )
    found = decay(LINEAR, jnp.asarray(w), blank(40), norm="frobenius").log_norms
    close_logs(found, np.log([np.linalg.norm(power) for power in powers]), np.arange(40), dtype)
    # The last state's norm, not the first one's: W and its transpose differ here.
    assert np.linalg.norm(w @ w.T - w.T @ w) > 0.1
    assert abs(measured.rate - np.log(np.max(np.abs(np.linalg.eigvals(w))))) < 0.05


def test_jordan_block(dtype):
    def largest(lag):
        slope = 0.5 * lag
        return lag * np.log(0.9) + np.log((np.sqrt(slope**2 + 4) + slope) / 2)

    _, total = check(0.9 * np.array([[1, 0.5], [0, 1]]), 30, largest, dtype)
    values = np.linalg.svd(whole(total), compute_uv=False)
    np.testing.assert_allclose(
        values, [0.638681, 0.00281363], rtol=2e-6 if dtype == "float64" else 3e-4
    )
    # Rows are the new state, columns the old: the block lies above the diagonal.
    matrix = whole(total)
    np.testing.assert_allclose(matrix[0, 1] / matrix[0, 0], 0.5 * 30, rtol=1e-5)
    assert matrix[1, 0] == 0


def test_complex_diagonal(x64):
    radii, angles = [0.99, 0.9, 0.7], [0.3, 1.1, 2.9]
    w = block_diagonal(*[r * rotation(angle) for r, angle in zip(radii, angles, strict=True)])
    _, total = check(w, 20, lambda lag: lag * np.log(0.99), "float64")
    values = np.linalg.svd(whole(total), compute_uv=False)
    np.testing.assert_allclose(
        values, np.repeat(radii, 2) ** 20, rtol=100 * np.finfo("float64").eps
    )


def test_delay_line_dies_exactly(x64):
    shift = jnp.asarray(np.eye(6, k=-1))
    measured = decay(LINEAR, shift, blank(9))
    np.testing.assert_array_equal(measured.log_norms, [0] * 5 + [-np.inf] * 4)
    assert measured.rate == -np.inf
    assert np.isnan(measured.stderr)
    alive, dead = (product(LINEAR, shift, blank(9), stop=stop) for stop in (5, 6))
    np.testing.assert_array_equal(alive.matrix, np.eye(6, k=-5))
    assert alive.log_scale == 0
    np.testing.assert_array_equal(dead.matrix, np.zeros((6, 6)))
    assert dead.log_scale == -np.inf
    # The frame counts one column fewer at each lag.
    frobenius = decay(LINEAR, shift, blank(9), norm="frobenius").log_norms
    np.testing.assert_allclose(frobenius[:5], np.log([5, 4, 3, 2, 1]) / 2, atol=1e-6)
    np.testing.assert_array_equal(frobenius[5:], -np.inf)


def test_antisymmetric(x64):
    step, damping, omegas = 0.1, 0.3, [1.5, 0.4]
    skew = block_diagonal(*[[[0, -omega], [omega, 0]] for omega in omegas])
    q = orthogonal(4, seed=3)
    w = np.eye(4) + step * (q @ skew @ q.T - damping * np.eye(4))
    growth = np.log((1 - step * damping) ** 2 + step**2 * np.square(omegas)) / 2
    _, total = check(w, 40, lambda lag: lag * growth[0], "float64")
    values = np.linalg.svd(whole(total), compute_uv=False)
    np.testing.assert_allclose(
        values, np.exp(40 * np.repeat(growth, 2)), rtol=1e3 * np.finfo("float64").eps
    )


def test_rotation_does_not_drift(dtype):
    w = np.asarray(block_diagonal(rotation(0.1), rotation(1.234)), dtype)
    # In float32 the entries' rounding makes this no rotation: wanted is what they say, exactly.
    blocks = np.asarray(w, np.float64)[:2, :2], np.asarray(w, np.float64)[2:, 2:]
    growth = max(np.log(np.linalg.det(block)) / 2 for block in blocks)
    assert abs(growth) < np.finfo(dtype).eps
    check(
        w, LONG, lambda lag: lag * growth, dtype, floor={"float64": 2e-16, "float32": 3e-8}[dtype]
    )
    # A permutation has nothing to round: what drifts here is the scaling alone.
    w = jnp.asarray(np.eye(4)[[1, 2, 3, 0]])
    measured, total = measure(LINEAR, w, blank(LONG))
    np.testing.assert_array_equal(measured.log_norms, np.zeros(LONG))
    assert measured.rate == measured.stderr == total.log_scale == 0


def test_powers_of_two_are_exact(dtype):
    for exponent in (-7, 3, 5, -11, 20):
        w = 2.0**exponent * np.eye(5)[[1, 2, 3, 4, 0]]
        measured, total = measure(LINEAR, jnp.asarray(w), blank(100))
        want = exponent * np.log(2) * np.arange(1, 101)
        np.testing.assert_allclose(measured.log_norms, want, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(total.matrix, np.eye(5)[[(i + 100) % 5 for i in range(5)]])


def tanh_fixed_point(w):
    """The positive solution of h = tanh(w h), by bisection."""
    low, high = 1e-3, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.tanh(w * middle) > middle else (low, middle)
    return low


SCALAR = jaxrnn.elman(1, 1)


def scalar(w):
    return jaxrnn.ElmanParams(jnp.zeros((1, 1)), jnp.full((1, 1), float(w)), jnp.zeros(1))


@pytest.mark.parametrize(
    ("w", "slope"),
    [(0.5, np.log(0.5)), (1.5, -0.9306102042), (2.0, -1.793528506542228), (3.0, -3.4896075022)],
)
def test_scalar_tanh_at_its_fixed_point(dtype, w, slope):
    point = 0.0 if w < 1 else tanh_fixed_point(w)
    assert w * (1 - point**2) == pytest.approx(np.exp(slope), rel=1e-9)
    slope = np.log(w * (1 - point**2))
    measured = decay(SCALAR, scalar(w), blank(200), jnp.full(1, point))
    lags = np.arange(1, 201)
    close_logs(
        measured.log_norms, lags * slope, lags, dtype, {"float64": 1e-13, "float32": 1e-6}[dtype]
    )
    assert abs(measured.rate - slope) < {"float64": 1e-13, "float32": 1e-6}[dtype]


def test_scalar_tanh_at_the_critical_point_decays_as_a_power(x64):
    num_steps = 200_000
    h, log = 0.8, 0.0
    for _ in range(num_steps):
        h = np.tanh(h)
        log += np.log1p(-h * h)
    total = product(SCALAR, scalar(1), blank(num_steps), jnp.full(1, 0.8))
    assert float(total.log_scale) == pytest.approx(log, abs=1e-10)
    assert np.exp(total.log_scale) * num_steps**1.5 == pytest.approx(3.34790, abs=2e-5)
    assert h * np.sqrt(2 * num_steps / 3) == pytest.approx(1, abs=1e-3)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def constant_lstm(b_i, b_f, b_g, b_o, hidden=3):
    """An LSTM without weights: its gates are constants."""
    bias = jnp.repeat(jnp.array([b_i, b_f, b_g, b_o], float), hidden)
    return jaxrnn.LSTMParams(jnp.zeros((1, 4 * hidden)), jnp.zeros((hidden, 4 * hidden)), bias)


LSTM = jaxrnn.lstm(1, 3)


def test_lstm_without_weights(x64):
    params = constant_lstm(0.3, 2.0, 0.5, -0.4)
    c = np.array([-1.0, 0, 1])
    start = jaxrnn.LSTMState(h=jnp.zeros(3), c=jnp.asarray(c))
    f, o = sigmoid(2), sigmoid(-0.4)
    assert np.log(f) == pytest.approx(-0.126928011, abs=1e-9)
    for _ in range(25):
        c = f * c + sigmoid(0.3) * np.tanh(0.5)
    end = np.sqrt(1 + o**2 / np.cosh(c) ** 4)
    measured, total = measure(LSTM, params, blank(25), start)
    values = np.linalg.svd(whole(total), compute_uv=False)
    tolerance = 1e-13
    np.testing.assert_allclose(values[:3], np.sort(f**25 * end)[::-1], rtol=tolerance)
    np.testing.assert_allclose(values[:3], [0.0418812, 0.0418794, 0.0418779], rtol=4e-6)
    np.testing.assert_array_less(values[3:], 1e-15)
    lags = np.arange(1, 26)
    close_logs(measured.log_norms, lags * np.log(f) + np.log(end.max()), lags, "float64")
    assert abs(measured.rate - np.log(f)) < tolerance
    # The order of the state is h, c: nothing depends on the old h.
    np.testing.assert_array_equal(total.matrix[:, :3], 0)
    np.testing.assert_allclose(whole(total)[3:, 3:], f**25 * np.eye(3), rtol=tolerance, atol=0)


def test_constant_error_carousel(x64):
    params = constant_lstm(0.3, 60.0, 0.5, 60.0)
    measured, total = measure(LSTM, params, blank(1000))
    np.testing.assert_array_equal(total.matrix[3:, 3:], np.eye(3))
    assert total.log_scale == 0
    # c_T = T i g is large: nothing comes back through h, and the norm is that of the identity.
    np.testing.assert_array_equal(measured.log_norms, 0)
    assert measured.rate == measured.stderr == 0


@pytest.mark.parametrize("reset", first_of(["after", "before"]))
def test_gru_without_weights(x64, reset):
    bias = jnp.repeat(jnp.array([0.7, 1.2, -0.4]), 3)
    b_hn = jnp.full(3, 0.5) if reset == "after" else None
    params = jaxrnn.GRUParams(jnp.zeros((1, 9)), jnp.zeros((3, 9)), bias, b_hn)
    cell = jaxrnn.gru(1, 3, reset=reset)
    measured, total = measure(cell, params, blank(300))
    np.testing.assert_array_equal(total.matrix, np.eye(3))
    lags = np.arange(1, 301)
    want = lags * np.log(sigmoid(1.2))
    close_logs(total.log_scale, want[-1], 300, "float64")
    close_logs(measured.log_norms, want, lags, "float64")


def test_tanh_network_at_the_origin_and_saturated(dtype):
    cell = jaxrnn.elman(1, 4)
    w = np.random.default_rng(0).normal(size=(4, 4))
    params = jaxrnn.ElmanParams(jnp.full((1, 4), 30.0), jnp.asarray(w), jnp.zeros(4))
    at_origin = jacobians(cell, params, jnp.zeros((3, 1)))
    # h' = tanh(h @ w_hh): rows of the Jacobian are the new state, so it is the transpose.
    np.testing.assert_array_equal(at_origin, np.broadcast_to(jnp.asarray(w).T, (3, 4, 4)))
    # With |x| large everything vanishes, as 4 exp(-2 |a|): exact zeros would be -inf.
    driven = np.array([[1.0], [-1.0]])
    found = np.asarray(jacobians(cell, params, jnp.asarray(driven)), np.float64)
    w = np.asarray(np.asarray(w, dtype), np.float64)
    h = np.tanh(30 * np.ones(4))
    for step, a in enumerate([30 * np.ones(4), -30 + h @ w]):
        slope = 4 * np.exp(-2 * np.abs(a)) / (1 + np.exp(-2 * np.abs(a))) ** 2
        np.testing.assert_allclose(
            found[step], slope[:, None] * w.T, rtol={"float64": 1e-13, "float32": 1e-5}[dtype]
        )


def test_permuting_the_units_changes_nothing(x64):
    order = np.array([2, 0, 3, 1])
    cell = jaxrnn.elman(2, 4)
    rng = np.random.default_rng(1)
    w_ih, w_hh, b, xs, state = (
        rng.normal(size=shape) for shape in [(2, 4), (4, 4), (4,), (30, 2), (4,)]
    )
    one = decay(cell, jaxrnn.ElmanParams(w_ih, w_hh, b), xs, state)
    mixed = jaxrnn.ElmanParams(w_ih[:, order], w_hh[order][:, order], b[order])
    two = decay(cell, mixed, xs, state[order])
    np.testing.assert_allclose(one.log_norms, two.log_norms, rtol=0, atol=1e-11)
    np.testing.assert_allclose(one.rate, two.rate, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_an_orthogonal_change_of_basis_changes_no_norm(x64):
    plain = jaxrnn.elman(2, 3)
    q = jnp.asarray(orthogonal(3, seed=5))

    def step(params, s, x):
        h, y = plain.step(params, s @ q, x)
        return h @ q.T, y

    turned = plain._replace(step=step, structure=None)
    params = plain.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (20, 2))
    results = [measure(cell, params, xs) for cell in (plain, turned)]
    np.testing.assert_allclose(*[one.log_norms for one, _ in results], rtol=0, atol=1e-12)
    values = [np.linalg.svd(whole(total), compute_uv=False) for _, total in results]
    np.testing.assert_allclose(*values, rtol=1e-12, atol=1e-14 * values[0][0])


@pytest.mark.slow
def test_products_compose(x64):
    cell = jaxrnn.elman(2, 6)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (12, 2))
    first, second, both = (
        whole(product(cell, params, xs, start=start, stop=stop))
        for start, stop in [(0, 5), (5, 12), (0, 12)]
    )
    np.testing.assert_allclose(second @ first, both, rtol=1e-10, atol=1e-15)
    assert not np.allclose(first @ second, both, rtol=1e-2)
    steps = np.asarray(jacobians(cell, params, xs))
    np.testing.assert_allclose(both, np.linalg.multi_dot(steps[::-1]), rtol=1e-10, atol=1e-15)
    for at in (0, 12):
        empty = product(cell, params, xs, start=at, stop=at)
        np.testing.assert_array_equal(empty.matrix, np.eye(6))
        assert empty.log_scale == 0
    measured, single = measure(cell, params, xs[:1])
    np.testing.assert_allclose(whole(single), steps[0], rtol=1e-13)
    want = np.log(np.linalg.norm(steps[0], 2))
    np.testing.assert_allclose(measured.log_norms, [want], atol=1e-13)
    assert measured.rate == measured.log_norms[0]
    assert np.isnan(measured.stderr)
