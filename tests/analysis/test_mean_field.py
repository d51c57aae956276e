"""Mean-field theory: tabulated values, independent NumPy sums, and random networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import graded
from jaxrnn.analysis import mean_field

# Random tanh networks without input: g, q, largest and mean exponent (grid of 1e-3, |z| <= 12).
CHAOS = np.array(
    [
        (1.1, 0.1127498859, 0.005068901344, -0.5118640622),
        (1.2, 0.2495130402, 0.016476259567, -0.5430999252),
        (1.25, 0.3264640765, 0.023534650132, -0.5644891253),
        (1.5, 0.7933540426, 0.065217211913, -0.7143456650),
        (2, 2.1214735682, 0.154724229831, -1.1490225445),
        (3, 6.3053914788, 0.310249315145, -2.2728050150),
        (4, 12.5006010101, 0.432877855758, -3.5510181922),
        (5, 20.6993668442, 0.532427941632, -4.9067713650),
        (8, 57.3018645890, 0.750328244292, -9.2001777439),
        (10, 91.7051311953, 0.856435189197, -12.1609655522),
        (20, 383.7248324867, 1.192412639120, -27.4108033706),
    ]
)
# Critical line: q, sigma_w, sigma_b, isometry.
LINE = np.array(
    [
        (0.01, 1.00980729, 0.00112160, 0.00072732),
        (0.1, 1.08515856, 0.02884927, 0.03970912),
        (0.25, 1.18066152, 0.09013964, 0.13697673),
        (0.5, 1.29922097, 0.19504154, 0.29924413),
        (1, 1.46741359, 0.38854167, 0.58347994),
        (2, 1.69149709, 0.71572687, 1.04052309),
    ]
)
# minimalRNN: mean bias, sigma_v, R, critical sigma_w.
MINIMAL = np.array(
    [
        (0, 1.39, 0.46, 6.891300),
        (0, 0.025, 0.46, 6.764580),
        (0, 0, 1, 4.587932),
        (1, 0, 1, 4.01736),
        (2, 0, 1, 3.61878),
        (4, 0, 1, 5.50222),
        (6, 0, 1, 14.1814),
    ]
)


@jax.jit
@jax.vmap
def plain(sigma_w, sigma_b, input_variance):
    field = mean_field.elman(sigma_w, sigma_b, input_variance=input_variance)
    return field, mean_field.lyapunov_exponents(sigma_w, sigma_b, input_variance=input_variance)


@jax.jit
@jax.vmap
def minimal_critical(mu_b, sigma_v, power):
    def theory(sigma_w):
        return mean_field.minimal_rnn(sigma_w, sigma_v, mu_b=mu_b, input_variance=power)

    return mean_field.critical_gain(theory, 2.0)


def gaussian(step=1e-3, limit=12.0):
    """Nodes and weights of a grid of another kind than the library's: with a node at 0."""
    z = np.arange(-round(limit / step), round(limit / step) + 1) * step
    weights = np.exp(-(z**2) / 2)
    return z, weights / weights.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_plain_network(x64):
    gains, q, largest, average = CHAOS.T
    # White input: g, variance, largest exponent (six digits).
    driven = np.array(
        [
            (1.5, 0.1, 0.026200),
            (1.5, 0.5, -0.069042),
            (2, 0.1, 0.140083),
            (2, 0.5, 0.091985),
            (2, 1, 0.045975),
            (3, 1, 0.268516),
            # where chaos ends
            (1.2, 0.0110775, 0),
            (1.5, 0.1861437, 0),
            (2, 1.6359572, 0),
            (3, 15.0806586, 0),
        ]
    )
    ordered = np.array([0.3, 0.9])
    zeros = np.zeros(len(gains) + 2)
    field, exponents = plain(
        jnp.concatenate([gains, ordered, driven[:, 0], LINE[:, 1]]),
        jnp.concatenate([zeros, np.zeros(len(driven)), LINE[:, 2]]),
        jnp.concatenate([zeros, driven[:, 1], np.zeros(len(LINE))]),
    )
    parts = np.cumsum([len(gains), 2, len(driven)])
    chaos, quiet, noisy, line = (
        slice(*ends) for ends in zip([0, *parts], [*parts, None], strict=True)
    )
    np.testing.assert_allclose(field.q[chaos], q, atol=1e-9)
    np.testing.assert_allclose(exponents.largest[chaos], largest, atol=1e-9)
    np.testing.assert_allclose(exponents.mean[chaos], average, atol=1e-9)
    np.testing.assert_allclose(np.log(field.chi) / 2, exponents.largest, rtol=1e-12, atol=1e-14)
    # Two networks that differ in sign alone never meet.
    np.testing.assert_allclose(field.c[chaos], 0, atol=1e-12)
    # Below g = 1 there is nothing but the state 0.
    np.testing.assert_array_equal(field.q[quiet], 0)
    np.testing.assert_array_equal(field.c[quiet], 1)
    np.testing.assert_allclose(field.chi[quiet], ordered**2, rtol=1e-14)
    np.testing.assert_allclose(field.xi[quiet], -1 / np.log(ordered**2), rtol=1e-12)
    np.testing.assert_allclose(exponents.mean[quiet], np.log(ordered) - 0.5, rtol=1e-12)
    np.testing.assert_allclose(exponents.largest[noisy], driven[:, 2], atol=6e-7)
    # One input, two states: they meet where there is no chaos.
    assert np.array_equal(field.c[noisy][:6] == 1, driven[:6, 2] < 0)
    np.testing.assert_allclose(field.q[line], LINE[:, 0], rtol=1e-6)
    np.testing.assert_allclose(field.chi[line], 1, atol=1e-7)
    np.testing.assert_allclose(field.isometry[line], LINE[:, 3], atol=1e-7)


def test_critical_line(x64):
    point = jax.vmap(mean_field.critical_line)(LINE[:, 0])
    np.testing.assert_allclose(point.sigma_w, LINE[:, 1], atol=1e-8)
    np.testing.assert_allclose(point.sigma_b, LINE[:, 2], atol=1e-8)


@pytest.mark.slow
def test_critical_gain_and_its_slope(x64):
    """The slope by implicit functions is that of the line itself."""

    @jax.jit
    @jax.vmap
    def solve(sigma_b, low):
        def gain(sigma_b):
            return mean_field.critical_gain(lambda g: mean_field.elman(g, sigma_b), low, 5.0)

        return jax.value_and_grad(gain)(sigma_b)

    width = 1e-5
    places = np.sqrt([0.05, 0.0025])
    sigma_b = jnp.concatenate([places, places + width, places - width, places[:1]])
    gains, slopes = solve(sigma_b, jnp.array([0.5] * 6 + [2.0]))
    assert np.isnan(gains[6])  # 2 to 5 does not enclose it
    np.testing.assert_allclose(gains[:2], [1.327009661, 1.122539005], atol=1e-9)
    np.testing.assert_allclose(slopes[:2], (gains[2:4] - gains[4:6]) / (2 * width), rtol=1e-6)


@pytest.mark.slow
def test_correlation_of_the_plain_network(x64):
    """c* solves its equation on another grid, is below 1 in chaos, and has the right slope."""
    sigma_b = 0.3

    @jax.jit
    def at(sigma_w):
        def c(sigma_w):
            field = mean_field.elman(sigma_w, sigma_b)
            return field.c, field.q

        return jax.value_and_grad(c, has_aux=True)(sigma_w)

    (c, q), slope = at(2.0)
    z, weights = gaussian(0.05, 9)
    other = c * z[:, None] + np.sqrt(1 - c**2) * z
    shared = weights @ (np.tanh(np.sqrt(q) * z)[:, None] * np.tanh(np.sqrt(q) * other)) @ weights
    assert 0 < c < 0.95
    np.testing.assert_allclose((4 * shared + sigma_b**2) / q, c, rtol=1e-10)
    width = 1e-5
    (above, _), _ = at(2 + width)
    (below, _), _ = at(2 - width)
    np.testing.assert_allclose(slope, (above - below) / (2 * width), rtol=1e-6)
    (same, _), slope = at(0.8)
    assert (same, slope) == (1, 0)


@pytest.mark.slow
def test_other_activations(x64):
    relu = jax.jit(lambda w, b: mean_field.elman(w, b, activation=jax.nn.relu))
    field = relu(1.2, 0.3)
    np.testing.assert_allclose(field.q, 0.09 / (1 - 0.72), rtol=1e-12)
    np.testing.assert_allclose([field.chi, field.isometry], [0.72, 1], rtol=1e-12)
    assert relu(1.5, 0.3).q == np.inf
    assert mean_field.lyapunov_exponents(1.2, 0.3, activation=jax.nn.relu).mean == -np.inf


@pytest.mark.slow
def test_orthogonal_matrices_lose_half_a_nat_less(x64):
    average = mean_field.lyapunov_exponents(3.0, orthogonal=True).mean
    np.testing.assert_allclose(average, -2.2728050150 + 0.5, atol=1e-9)


@pytest.mark.slow
def test_float32_agrees():
    field, exponents = plain(*(jnp.float32(v) for v in ([1.5, 3], [0.0, 0.2], [0.0, 0.0])))
    assert {leaf.dtype for leaf in jax.tree.leaves((field, exponents))} == {np.dtype("float32")}
    np.testing.assert_allclose(field.q[0], 0.7933540426, rtol=1e-5)
    np.testing.assert_allclose(exponents.mean[0], -0.7143456650, rtol=1e-5)
    assert 0 < field.c[1] < 1


def minimal_in_numpy(sigma_w, sigma_v, mu_b, power):
    z, weights = gaussian(0.01)
    second_moment = 0.0
    for _ in range(600):
        q = sigma_w**2 * second_moment + sigma_v**2 * power
        u = sigmoid(mu_b + np.sqrt(q) * z)
        second_moment = power * (weights @ (1 - u) ** 2) / (1 - weights @ u**2)
    kept, slope = weights @ u**2, weights @ (u * (1 - u)) ** 2
    return q, kept, sigma_w**2 * (second_moment + power) * slope


def test_minimal_rnn(x64):
    """Also at (4, 5.4), where larger Q are stable too: the state grows from 0 to the smallest."""
    run = jax.jit(
        lambda *args: mean_field.minimal_rnn(*args[:2], mu_b=args[2], input_variance=args[3])
    )
    for args in [(6.88, 1.39, 0.0, 0.46), (2.0, 0.5, 1.0, 1.0), (5.4, 0.0, 4.0, 1.0)]:
        field = run(*args)
        q, kept, rest = minimal_in_numpy(*args)
        np.testing.assert_allclose([field.q, field.chi], [q, kept + rest], rtol=1e-9)
        # Without what the gate lets pass it would be another number.
        assert kept > 0.3
    field = run(6.88, 1.39, 0.0, 0.46)
    np.testing.assert_allclose([field.q, field.chi], [15.936, 0.99878], rtol=5e-5)


@pytest.mark.slow
def test_minimal_rnn_is_critical_where_the_paper_says(x64):
    mu_b, sigma_v, power, want = MINIMAL.T
    np.testing.assert_allclose(minimal_critical(mu_b, sigma_v, power), want, rtol=1e-5)


gru = jax.jit(mean_field.gru, static_argnames="reset")


def gru_in_numpy(reset, gains, rest, mu_r, mu_z):
    """Sums over three Gaussian variables: the gate r, the recurrent share and the input share."""
    z, weights = gaussian(0.1, 8)
    fine, fine_weights = gaussian(0.01)
    second_moment = 0.5
    for _ in range(150):
        q_r, q_z, q_v = gains * second_moment + rest * np.array([1, 1, 0])
        update = sigmoid(mu_z + np.sqrt(q_z) * fine)
        r = sigmoid(mu_r + np.sqrt(q_r) * z)
        if reset == "before":
            variance = q_v * (weights @ r**2) + rest[2]
            n_2 = fine_weights @ np.tanh(np.sqrt(variance) * fine) ** 2
        else:
            s = np.sqrt(rest[2] + r[:, None] ** 2 * q_v) * z
            n_2 = weights @ np.tanh(s) ** 2 @ weights
        second_moment = (fine_weights @ (1 - update) ** 2) * n_2 / (1 - fine_weights @ update**2)
    steep = fine_weights @ (update * (1 - update)) ** 2
    slope = r * (1 - r)
    if reset == "before":
        path = fine_weights @ np.cosh(np.sqrt(variance) * fine) ** -4.0 * gains[2]
        path *= weights @ r**2 + gains[0] * second_moment * (weights @ slope**2)
    else:
        v, y = np.sqrt(q_v) * z, np.sqrt(rest[2]) * z
        s = y[:, None, None] + r[:, None] * v
        reach = gains[2] * r[:, None] ** 2 + gains[0] * slope[:, None] ** 2 * v**2
        path = np.einsum("i,j,k,ijk->", weights, weights, weights, np.cosh(s) ** -4.0 * reach)
    chi = fine_weights @ update**2 + gains[1] * (second_moment + n_2) * steep
    return second_moment, chi + fine_weights @ (1 - update) ** 2 * path


@pytest.mark.slow
@pytest.mark.parametrize("reset", ["after", "before"])
def test_gru(reset, x64):
    run = functools.partial(gru, mu_r=0.3, reset=reset)
    sigma_w, power = np.array([1.5, 2, 2.5]), np.array([0.5, 0.4, 0.3])
    field = run(sigma_w, 0.3, mu_z=1.0, input_variance=power)
    want = gru_in_numpy(reset, sigma_w**2, power + 0.09, 0.3, 1.0)
    np.testing.assert_allclose([field.second_moment, field.chi], want, rtol=1e-8)
    # Zero weights: the Jacobian is z times the identity.
    still = run(np.zeros(3), 0.0, mu_z=1.0, input_variance=np.zeros(3))
    np.testing.assert_allclose(still.chi, sigmoid(1) ** 2, rtol=1e-12)
    np.testing.assert_allclose([still.isometry, still.second_moment], 0, atol=1e-12)
    # As z goes to 1 it is the identity.
    np.testing.assert_allclose(run(sigma_w, 0.3, mu_z=40.0, input_variance=power).chi, 1)


@pytest.mark.parametrize("reset", graded(["after", "before"], slow=["after"]))
def test_update_gate_always_open_is_a_plain_network(reset, x64):
    """With z = 0 and r = 1 the GRU is a plain tanh network, in every quantity."""
    args = {"mu_r": 40.0, "mu_z": -40.0, "input_variance": 0.1 * np.ones(3), "reset": reset}
    field = gru(np.array([0, 0, 2.0]), 0.3, **args)
    # The same shape as above, so that nothing is compiled again.
    want = plain(*(jnp.full(29, value) for value in (2.0, 0.3, 0.1)))[0]
    for name in ("chi", "isometry", "second_moment"):
        np.testing.assert_allclose(getattr(field, name), getattr(want, name)[0], rtol=1e-8)
    np.testing.assert_allclose(field.q[2], want.q[0], rtol=1e-8)
    # There c is that of pre-activations, here that of states.
    c = (want.c * want.q - 0.3**2 - 0.1) / (4 * want.second_moment)
    np.testing.assert_allclose(field.c, c[0], rtol=1e-5)


def of_gru(gain, bias, mu_r, mu_z, power, reset="after"):
    """The theory for one network, by the program that is compiled for three."""
    with jax.enable_x64(True):
        gains, powers = gain * np.ones(3), power * np.ones(3)
        return gru(gains, bias, mu_r=mu_r, mu_z=mu_z, input_variance=powers, reset=reset)


@functools.partial(jax.jit, static_argnames=("cell", "size", "num_steps", "fresh"))
def simulate(cell, key, gain, bias, power, centre, size, num_steps, fresh):
    """Mean squares of the states and growth of a tangent, step by step, of one random cell."""
    template = cell.init(key)
    gates = template.b.shape[0] // size

    def draw(key):
        k1, k2, k3 = jax.random.split(key, 3)
        w_ih = jax.random.normal(k3, template.w_ih.shape) * (power / template.w_ih.shape[0]) ** 0.5
        b = jnp.repeat(centre, size) + bias * jax.random.normal(k2, (gates * size,))
        w_hh = gain / size**0.5 * jax.random.normal(k1, (size, gates * size))
        return template._replace(w_hh=w_hh, w_ih=w_ih, b=b)

    def step(carry, index):
        state, tangent = carry
        params = draw(jax.random.fold_in(key, index if fresh else 0))
        x = jax.random.normal(jax.random.fold_in(key, 10**6 + index), template.w_ih.shape[:1])
        state, tangent = jax.jvp(lambda s: cell.step(params, s, x)[0], (state,), (tangent,))
        growth = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tangent))
        tangent = jax.tree.map(lambda leaf: leaf / jnp.sqrt(growth), tangent)
        squares = jnp.stack([jnp.mean(leaf**2) for leaf in jax.tree.leaves(state)])
        return (state, tangent), (squares, jnp.log(growth))

    state = cell.initial_state(template)
    tangent = jax.tree.map(jnp.ones_like, state)
    (state, _), (squares, logs) = jax.lax.scan(step, (state, tangent), jnp.arange(num_steps))
    params = draw(jax.random.fold_in(key, num_steps - 1 if fresh else 0))
    begin = num_steps // 3
    return squares[begin:].mean(0), jnp.exp(logs[begin:].mean()), params, state


@pytest.mark.parametrize("reset", graded(["after", "before"], slow=["before"]))
def test_gru_against_random_cells(reset):
    """Weights drawn anew at every step, as the theory has it: it is then exact."""
    size = 240
    cell = jaxrnn.gru(size, size, reset=reset)
    centre = jnp.array([0.3, 1.0, 0.0])
    args = cell, jax.random.key(1), 2.0, 0.3, 0.5, centre, size, 24, True
    squares, growth, params, state = simulate(*args)
    field = of_gru(2.0, 0.3, 0.3, 1.0, 0.5, reset)
    np.testing.assert_allclose(squares[0], field.second_moment, rtol=0.06)
    np.testing.assert_allclose(growth, field.chi, rtol=0.03)
    # One step with orthogonal matrices, of all its singular values.
    params = params._replace(w_hh=2.0 * jaxrnn.initializers.orthogonal()(args[1], (size, 3 * size)))
    x = jax.random.normal(jax.random.key(3), (size,))
    jacobian = jax.jit(jax.jacfwd(lambda h: cell.step(params, h, x)[0]))(state)
    squared = np.linalg.svd(jacobian, compute_uv=False) ** 2
    np.testing.assert_allclose(squared.mean(), field.mean_square, rtol=0.06)
    np.testing.assert_allclose(squared.var() / squared.mean() ** 2, field.isometry, rtol=0.12)


lstm = jax.jit(mean_field.lstm)


def of_lstm(gains, bias, mu_f, power, mu_i=0.0):
    """The theory for one network; one program for all."""
    with jax.enable_x64(True):
        gains, power = gains * np.ones(4), power * np.ones(4)
        return lstm(gains, bias, mu_f=mu_f, mu_i=mu_i, input_variance=power)


@pytest.mark.slow
def test_lstm_limits(x64):
    still = of_lstm(0.0, 0.0, 2.0, 0.0)
    np.testing.assert_allclose(still.chi, sigmoid(2) ** 2, rtol=1e-9)
    np.testing.assert_allclose(still.second_moment, 0, atol=1e-14)
    # c' = i g alone: with the forget gate shut, one step's law, summed in NumPy.
    shut = of_lstm(0.0, 0.0, -40.0, np.array([1, 0, 2, 0]), mu_i=0.5)
    z, weights = gaussian(0.05, 9)
    c = sigmoid(0.5 + z)[:, None] * np.tanh(2**0.5 * z)
    want = 0.25 * weights @ np.tanh(c) ** 2 @ weights, weights @ c**2 @ weights
    np.testing.assert_allclose(shut.second_moment, want, rtol=1e-9)
    # A steady forget gate: E c^2 is a geometric series.
    slow = of_lstm(0.0, 0.0, 3.0, np.array([0, 0, 2, 0]))
    n_2 = weights @ np.tanh(2**0.5 * z) ** 2
    np.testing.assert_allclose(slow.second_moment[1], n_2 / 4 / (1 - sigmoid(3) ** 2), rtol=1e-9)


@pytest.mark.slow
def test_lstm_against_its_units(x64):
    """A hundred thousand units with Gaussian gates, and a disturbance of each."""
    gain, bias, power, mu_f, units = 4.0, 0.2, 0.3, 2.0, 100_000
    field = of_lstm(gain, bias, mu_f, power)
    rng = np.random.default_rng(0)
    square, c, dc, logs, squares = 0.1, np.zeros(units), np.zeros(units), [], []
    for _ in range(60):
        a = np.sqrt(gain**2 * square + bias**2 + power) * rng.normal(size=(4, units))
        di, df, dg, do = gain * rng.normal(size=(4, units))
        i, f, g, o = sigmoid(a[0]), sigmoid(mu_f + a[1]), np.tanh(a[2]), sigmoid(a[3])
        dc = f * dc + c * f * (1 - f) * df + g * i * (1 - i) * di + i * (1 - g**2) * dg
        c = f * c + i * g
        dh = o / np.cosh(c) ** 2 * dc + np.tanh(c) * o * (1 - o) * do
        square, size = np.mean((o * np.tanh(c)) ** 2), np.mean(dh**2)
        dc = dc / np.sqrt(size)
        logs.append(np.log(size))
        squares.append((square, np.mean(c**2)))
    np.testing.assert_allclose(field.second_moment, np.mean(squares[30:], axis=0), rtol=3e-3)
    np.testing.assert_allclose(field.chi, np.exp(np.mean(logs[30:])), rtol=3e-3)
    assert field.chi < field.mean_square  # which is another thing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_one_random_cell_driven_by_its_input(name):
    """One matrix for all steps: the theory holds where the input is strong."""
    size = 600
    cell = getattr(jaxrnn, name)(300, size)
    gates = {"gru": 3, "lstm": 4}[name]
    args = cell, jax.random.key(1), 1.0, 0.0, 4.0, jnp.zeros(gates), size, 60, False
    squares, growth, _, _ = simulate(*args)
    field = of_lstm(1.0, 0.0, 0.0, 4.0) if name == "lstm" else of_gru(1.0, 0.0, 0.0, 0.0, 4.0)
    np.testing.assert_allclose(squares, np.atleast_1d(field.second_moment), rtol=0.05)
    np.testing.assert_allclose(growth, field.chi, rtol=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [jnp.tanh, jnp.arctan])
def test_isometry_is_that_of_an_orthogonal_step(activation):
    """The squared singular values of one step's Jacobian, with an orthogonal matrix."""
    rng = np.random.default_rng(0)
    field = mean_field.elman(1.4, 0.4, activation=activation)
    h = np.sqrt(field.q) * rng.normal(size=200_000)
    slopes = jax.vmap(jax.grad(activation))(jnp.asarray(h, jnp.float32)) ** 2
    np.testing.assert_allclose(slopes.var() / slopes.mean() ** 2, field.isometry, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "minimal_rnn"])
def test_derivatives_and_vmap_of_gated_cells(name, x64):
    """Gradients through the fixed points are difference quotients."""
    width = 1e-4
    theory = getattr(mean_field, name)
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda gain: theory(gain, 0.3).chi)))
    values, slopes = run(jnp.array([2 - width, 2, 2 + width]))
    np.testing.assert_allclose(slopes[1], (values[2] - values[0]) / (2 * width), rtol=1e-6)


def test_messages():
    with pytest.raises(ValueError, match=r"got unknown reset 'befor'; expected .* 'before'\?"):
        mean_field.gru(1.0, reset="befor")
