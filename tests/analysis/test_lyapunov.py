"""Lyapunov exponents against closed forms, identities, finite differences and mean-field theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import DRIVEN, blank, orthogonal
from analysis.spectra import CASES, SIZE, STEPS, as_input, gaussian, measured, zero_state
from cases import graded
from jaxrnn import analysis
from jaxrnn.analysis.flow import read_flow
from jaxrnn.analysis.lyapunov import mean_error, per_step

lyapunov = analysis.lyapunov_spectrum
SINGLE = pytest.param("float32", marks=pytest.mark.slow)
every_dtype = pytest.mark.parametrize("dtype", ["float64", SINGLE])


@every_dtype
@pytest.mark.parametrize("name", CASES)
def test_closed_forms(dtype, name):
    """A1 to A8: what is exact at any T, and the sum, which is always."""
    found = measured("lyapunov", name, dtype)
    floor = 1e-14 if dtype == "float64" else 3e-7
    matrices = CASES[name].astype(dtype).astype(float)
    signs, dets = np.linalg.slogdet(matrices)
    if np.all(signs):
        mean = np.sum(found.exponents, dtype=float) / SIZE
        assert abs(mean - np.mean(dets) / SIZE) < 30 * floor
        np.testing.assert_allclose(found.history[-1], found.exponents, rtol=1e-6, atol=30 * floor)
    exact = {
        "orthogonal": np.full(SIZE, np.log(0.7)),
        "shift": np.full(SIZE, -np.inf),
        "drift": np.zeros(SIZE),
    }
    if name in exact:
        np.testing.assert_allclose(found.exponents, exact[name], rtol=0, atol=floor)
        assert np.all(found.reliable)
    if name == "two dead":
        np.testing.assert_array_equal(np.isneginf(found.exponents), [False] * 6 + [True] * 2)
    if name == "antisymmetric":
        rates = 0.5 * np.log(0.95**2 + (0.1 * np.array([3, 2, 1, 0.5])) ** 2)
        np.testing.assert_allclose(found.exponents, np.repeat(rates, 2), rtol=0, atol=0.1)
    assert np.all(np.diff(found.exponents[np.isfinite(found.exponents)]) <= 0)


def test_invariances():
    """A16: the spectrum does not ask for the order of the units."""
    found = measured("lyapunov", "gaussian", "float64")
    for name in ("gaussian, permuted", "gaussian, turned"):
        other = measured("lyapunov", name, "float64")
        assert abs(np.sum(other.exponents) - np.sum(found.exponents)) < 1e-12
        assert np.max(np.abs(other.exponents - found.exponents)) < 0.1  # frames differ: O(1 / T)
    assert abs(found.entropy - np.sum(np.maximum(found.exponents, 0))) < 1e-14
    dimension = analysis.kaplan_yorke_dimension(found.exponents)
    assert abs(found.kaplan_yorke_dimension - dimension) < 1e-12


@pytest.mark.slow
def test_scalar_tanh(x64):
    """A9: h' = tanh(w h) settles at h* and contracts by w (1 - h*^2)."""
    cell = jaxrnn.elman(1, 1, dtype=jnp.float64)
    rates = {2.0: -1.793528506542228, 1.5: -0.9306102042, 3.0: -3.4896075022, 0.5: np.log(0.5)}

    @jax.jit
    def one(w):
        params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
        params = params._replace(w_hh=w * jnp.ones((1, 1)))
        start = jnp.full((1,), 0.8)
        return lyapunov(cell, params, jnp.zeros((400, 1)), start, warmup=300).exponents[0]

    found = jax.vmap(one)(jnp.array(list(rates)))
    np.testing.assert_allclose(found, list(rates.values()), rtol=0, atol=2e-10)


def _no_weights(dtype):
    cell = jaxrnn.lstm(2, 3)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, dtype), cell.init(jax.random.key(0)))
    params = params._replace(b=jnp.repeat(jnp.array([0.3, 2, 0.5, -0.4], dtype), 3))
    state = type(cell.initial_state(params))(jnp.zeros(3, dtype), jnp.array([-1, 0, 1], dtype))
    return cell, params, state


@pytest.mark.slow
def test_an_lstm_without_weights(x64):
    """A10: the cell forgets at ln sigmoid(b_f), H times; the rest dies exactly."""
    cell, params, state = _no_weights("float64")
    found = lyapunov(cell, params, jnp.zeros((300, 2), "float64"), state, warmup=100, qr_every=4)
    np.testing.assert_allclose(found.exponents[:3], -0.126928011, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.exponents[3:], -np.inf)
    assert np.all(found.reliable)


@pytest.mark.slow
def test_singular_values_of_an_lstm_without_weights(x64):
    """A10 at T = 25."""
    cell, params, state = _no_weights("float64")
    values = analysis.singular_spectrum(cell, params, jnp.zeros((25, 2), "float64"), state)
    want = [0.0418812, 0.0418794, 0.0418779]
    np.testing.assert_allclose(np.exp(values.log_singular_values[:3]), want, rtol=2e-6)
    np.testing.assert_array_equal(values.log_singular_values[3:], -np.inf)
    assert np.all(values.reliable)


def _perturbed(name):
    cell = jaxrnn.CELLS[name].make(2, 3)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        cell.init(jax.random.key(0)),
    )
    state = jax.tree.map(
        lambda leaf: 0.5 + 0.2 * jax.random.normal(jax.random.key(2), leaf.shape),
        cell.initial_state(params),
    )
    return cell, params, jax.random.normal(jax.random.key(1), (30, 2)), state


def _identities(cell, params, xs, state):
    """A14: the sums of exponents and of log-determinants; A15: <u, J v> and <J^T u, v>.

    The determinants are of `jax.jacfwd` of the plain step.
    """
    flat, unravel = ravel_pytree(state)
    key = jax.random.key(3)
    u, v = jax.random.normal(key, (2, 1, flat.size), flat.dtype)

    def step(flat, x):
        return ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

    _, (matrices, _) = jax.lax.scan(
        lambda s, x: (step(s, x), (jax.jacfwd(step)(s, x), s)), flat, xs
    )
    dets = jnp.linalg.slogdet(matrices)[1]
    flow = read_flow(cell, params, xs, state, None, None, by="here")
    indices = jnp.arange(len(xs))
    pushed, _ = jax.lax.scan(lambda v, i: (flow.push(i, v), None), v, indices)
    pulled, _ = jax.lax.scan(lambda u, i: (flow.pull(i, u), None), u, indices, reverse=True)
    exponents = lyapunov(cell, params, xs, state, qr_every=2).exponents
    sums = jnp.sum(exponents) * len(xs), jnp.sum(dets)
    return sums, (jnp.sum(u * pushed), jnp.sum(pulled * v))


def _close(pair, rounding):
    a, b = np.asarray(pair[0]), np.asarray(pair[1])
    return bool(a == b or abs(a - b) <= rounding * abs(a))


@pytest.mark.parametrize("name", graded(["lstm", "gru", "gru_reset_before"], slow=["lstm"]))
def test_log_determinants_and_adjoints(name, x64):
    sums, products = jax.jit(lambda *args: _identities(_perturbed(name)[0], *args))(
        *_perturbed(name)[1:]
    )
    assert _close(sums, 1e-11), sums
    assert _close(products, 1e-10), products


def _planted(error):
    """An Elman network whose hand-written derivative has one of two published errors."""

    @jax.custom_jvp
    def activate(a):
        return jnp.tanh(a)

    @activate.defjvp
    def _slope(primals, tangents):
        (a,), (d_a,) = primals, tangents
        y = jnp.tanh(a)
        # The error: tanh' taken of the state, which is tanh'd already.
        seen = jnp.tanh(y) if error == "twice" else y
        return y, (1 - seen**2) * d_a

    def step(params, h, x):
        h = activate(x @ params.w_ih + h @ params.w_hh + params.b)
        return h, h

    return jaxrnn.elman(2, 3)._replace(step=step, structure=None)


def test_a_derivative_of_the_state_itself_is_rejected(x64):
    """The log-determinant identity tells, with determinants from `jax.jacfwd` of the true step."""
    rng = np.random.default_rng(0)
    xs, state = rng.normal(size=(30, 2)), rng.normal(size=3) / 2
    params = jaxrnn.ElmanParams(*(rng.normal(size=shape) / 2 for shape in ((2, 3), (3, 3), 3)))

    @jax.jit
    def sums(params, xs, state):
        states = jax.lax.scan(
            lambda s, x: (jnp.tanh(x @ params.w_ih + s @ params.w_hh + params.b), s), state, xs
        )[1]
        plain = jax.vmap(jax.jacfwd(lambda s, x: jaxrnn.elman(2, 3).step(params, s, x)[0]))
        found = [
            jnp.sum(lyapunov(_planted(error), params, xs, state, qr_every=1).exponents) * len(xs)
            for error in ("none", "twice")
        ]
        return *found, jnp.sum(jnp.linalg.slogdet(plain(states, xs))[1])

    none, twice, want = sums(params, xs, state)
    assert _close((none, want), 1e-11)
    assert not _close((twice, want), 0.05)


def test_transposes_in_forward_order_are_rejected():
    """A_T^T ... A_1^T is neither the product nor its adjoint; the determinant cannot tell."""
    steps = gaussian(12, size=3, seed=2)
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 3))
    product = np.linalg.multi_dot(steps[::-1])
    adjoint = np.linalg.multi_dot(np.swapaxes(steps, 1, 2))
    wrong = np.linalg.multi_dot(np.swapaxes(steps, 1, 2)[::-1])
    values = np.sort(np.log(np.linalg.svd(product, compute_uv=False)))[::-1]
    with jax.enable_x64(True):
        params, _ = zero_state(3, float)
        found, turned = (
            jax.tree.map(
                np.asarray,
                analysis.singular_spectrum(
                    DRIVEN, params, as_input(matrices, float), method="dense"
                ),
            )
            for matrices in (steps, np.swapaxes(steps, 1, 2))
        )
    np.testing.assert_allclose(found.log_singular_values, values, rtol=0, atol=1e-9)
    middle = found.left.T @ product @ found.right
    np.testing.assert_allclose(np.diag(middle), np.exp(values), rtol=1e-6)
    assert abs(u @ product @ v - v @ adjoint @ u) < 1e-9 * abs(u @ product @ v)
    assert abs(u @ product @ v - v @ wrong @ u) > 0.1 * abs(u @ product @ v)
    assert abs(np.sum(turned.log_singular_values) - np.sum(values)) < 1e-9
    assert np.max(np.abs(turned.log_singular_values - values)) > 0.1


_GRADIENTS = [
    pytest.param(2, 3, 4, (2,), id="few"),
    pytest.param(3, 1, 0, (), id="all"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("k", "qr_every", "warmup", "batch"), _GRADIENTS)
def test_gradients_equal_finite_differences(k, qr_every, warmup, batch, x64):
    cell = jaxrnn.elman(2, 3, dtype=jnp.float64)
    weights = jnp.arange(1.0, k + 1)

    def value(params, xs):
        found = lyapunov(cell, params, xs, k=k, qr_every=qr_every, warmup=warmup)
        return jnp.sum(found.exponents @ weights)

    both = jax.jit(jax.value_and_grad(value))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), 3)
        params = jax.tree.map(lambda leaf: 1.5 * leaf, cell.init(keys[0]))
        xs = jax.random.normal(keys[1], (14, *batch, 2))
        slope = both(params, xs)[1]
        flat, unravel = ravel_pytree(params)
        direction = unravel(jax.random.normal(keys[2], flat.shape))
        ends = [
            both(jax.tree.map(lambda p, d, h=h: p + h * d, params, direction), xs)[0]
            for h in (1e-5, -1e-5, 2e-5, -2e-5)
        ]
        # Of fourth order: near a small r_ii the third derivative is large.
        want = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-5
        got = sum(jnp.vdot(a, b) for a, b in zip(slope, direction, strict=True))
        assert abs(want) > 1e-2
        np.testing.assert_allclose(got, want, rtol=1e-6)


def _chaos(key, size=20, gain=3.0):
    cell = jaxrnn.elman(1, size)
    params = jax.tree.map(jnp.zeros_like, cell.init(key))
    draw = gain * jax.random.normal(key, (size, size)) / size**0.5
    return cell, params._replace(w_hh=draw), jax.random.normal(key, (size,))


@pytest.mark.slow
def test_a_window_changes_derivatives_only(key, x64):
    """Without it the derivative of a chaotic network grows as exp(l_1 T)."""
    cell, params, state = _chaos(key)

    def run(num_steps, window):
        return jax.jit(
            jax.value_and_grad(
                lambda p: lyapunov(
                    cell, p, blank(num_steps), state, k=1, qr_every=1, window=window
                ).exponents[0]
            )
        )(params)

    runs = {which: run(*which) for which in ((200, None), (50, 5), (200, 5))}
    values = [value for (num_steps, _), (value, _) in runs.items() if num_steps == 200]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    assert values[0] > 0.1
    sizes = {which: float(jnp.linalg.norm(slope.w_hh)) for which, (_, slope) in runs.items()}
    assert sizes[200, None] > 1e3 * sizes[200, 5]
    assert 0.2 < sizes[200, 5] / sizes[50, 5] < 5


@pytest.mark.slow
def test_chunks_and_cholesky(x64):
    draw = gaussian(1203, size=4, seed=12)
    params, state = zero_state(4, "float64")
    args = DRIVEN, params, as_input(draw, "float64"), state
    want = lyapunov(*args, warmup=100, qr_every=1)
    found = lyapunov(*args, warmup=100, num_chunks=7, qr_every=1)
    assert found.history.shape == want.history.shape == (1103, 4)
    np.testing.assert_allclose(found.exponents, want.exponents, rtol=0, atol=1e-6)
    other = lyapunov(*args, warmup=100, qr_every=1, qr="cholesky")
    np.testing.assert_allclose(other.exponents, want.exponents, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_what_a_dtype_cannot_hold_is_not_reliable():
    """16 steps between QR, of matrices that part by 1.8 nats a step: the smallest are noise."""
    want = measured("lyapunov", "gaussian", "float32")
    assert want.qr_every <= 3
    assert np.all(want.reliable)
    found = measured("lyapunov", "gaussian", "float32", qr_every=16)
    wrong = np.abs(found.exponents - want.exponents) > 1e-3
    assert found.reliable[0]
    assert np.any(wrong)
    assert not np.any(wrong & found.reliable)


def test_mean_errors_are_honest():
    """AR(1) noise of known variance of the mean; values noted every few steps."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 300))
    walk = np.zeros_like(noise)
    for t in range(1, len(noise)):
        walk[t] = 0.8 * walk[t - 1] + noise[t]
    with jax.enable_x64(True):
        reported = np.asarray(mean_error(jnp.asarray(walk)))
        assert np.isnan(mean_error(jnp.ones((15, 2)))).all()
        logs = jnp.array([0, 0, 3.0, 0, 4, 5, 0])[:, None]
        ends = jnp.array([0, 0, 1, 0, 1, 1, 1], bool)
        np.testing.assert_allclose(per_step(logs, ends)[:, 0], [1, 1, 1, 2, 2, 5, 0])
        still = per_step(jnp.zeros((7, 1)).at[-1].set(7.0), ends)  # steps without growth are steps
        np.testing.assert_allclose(still[:, 0], [0, 0, 0, 0, 0, 0, 7])
        dead = jnp.concatenate([logs, jnp.full_like(logs, -jnp.inf)], axis=1)
        np.testing.assert_allclose(per_step(dead, ends)[:, 0], [1, 1, 1, 2, 2, 5, 0])
        np.testing.assert_array_equal(per_step(dead, ends)[:, 1], -np.inf)
    spread = np.std(walk.mean(axis=0))
    assert 1 / 1.5 < np.mean(reported) / spread < 1.5
    assert abs(spread - 5 / 4000**0.5) < 0.1 * spread


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "rate", "dimension", "entropy"), [(3.0, 0.310249, 0.28, 0.0237)])
def test_mean_field(gain, rate, dimension, entropy, x64):
    """D1: x' = J tanh x at N = 200, l_1 biased low by some 0.017."""
    size = 200
    draw = gain * np.random.default_rng(1).normal(size=(size, size)) / size**0.5
    cell = jaxrnn.elman(1, size, dtype=jnp.float64)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    params = params._replace(w_hh=jnp.asarray(draw.T))
    state = jax.random.normal(jax.random.key(1), (size,))
    found = lyapunov(cell, params, blank(600), state, k=80, warmup=150, qr_every=4)
    assert -0.03 < found.exponents[0] - rate < 0.01
    assert abs(found.kaplan_yorke_dimension / size - dimension) < 0.02
    assert abs(found.entropy / size - entropy) < 0.003
    assert np.all(found.reliable)


@pytest.mark.slow
@pytest.mark.parametrize("dense", ["gaussian", "orthogonal"])
def test_mean_exponent_of_random_networks(dense, x64):
    """B6: the mean exponents of Gaussian and orthogonal matrices differ by half a nat."""
    size = 100
    rng = np.random.default_rng(0)
    draw = rng.normal(size=(size, size)) / size**0.5
    w = 3 * (draw if dense == "gaussian" else orthogonal(size, 2))
    cell = jaxrnn.elman(1, size, dtype=jnp.float64)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    params = params._replace(w_hh=jnp.asarray(w.T))
    found = lyapunov(
        cell,
        params,
        blank(200),
        jax.random.normal(jax.random.key(1), (size,)),
        warmup=100,
        qr_every=2,
    )
    want = -2.272805 if dense == "gaussian" else -1.772805
    # One Gaussian draw at N = 100 differs from N = infinity by up to 0.08, by its determinant.
    assert abs(np.mean(found.exponents) - want) < (0.15 if dense == "gaussian" else 0.06)


def test_history_is_a_running_mean():
    found = measured("lyapunov", "gaussian", "float64")
    assert found.history.shape == (STEPS, SIZE)
    np.testing.assert_allclose(found.history[-1], found.exponents, rtol=0, atol=1e-13)
    assert np.all(np.isfinite(found.stderr))
    assert np.all(found.stderr > 0)
