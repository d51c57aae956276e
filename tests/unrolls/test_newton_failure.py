# ruff: noqa: E501  (tables of messages read best one a line)
"""What `newton_unroll` does where it cannot converge, what it refuses, and how much it holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of
from jaxrnn.unrolls import newton

CELL = jaxrnn.elman(2, 16)


@pytest.fixture(autouse=True)
def _in_full_precision():
    """Chaos makes of the tensor cores' rounding other runs, on the GPUs that have them."""
    with jax.default_matmul_precision("highest"):
        yield


def chaotic(gain=3.0, steps=80, batch=(), size=16):
    """A random network of this gain, and weak inputs."""
    cell = CELL if size == 16 else jaxrnn.elman(2, size)
    params = cell.init(jax.random.key(0))
    w_hh = gain * jax.random.normal(jax.random.key(1), (size, size)) / size**0.5
    xs = 0.3 * jax.random.normal(jax.random.key(2), (steps, *batch, 2))
    return cell, params._replace(w_hh=w_hh), xs


def loss(run, cell, params, xs):
    state, ys = run(cell, params, xs)[:2]
    return jnp.sum(ys[:20] ** 2) + jnp.sum(state**2), ys


@pytest.mark.parametrize("steps", first_of([80, 10_000]))
def test_a_chaotic_network_is_run_step_by_step(steps):
    cell, params, xs = chaotic(steps=steps)
    run = functools.partial(jaxrnn.newton_unroll_with_info, max_iters=10)
    state, ys, info = run(cell, params, xs)
    assert not info.converged and not info.residual < 1e-3 and info.iterations == 10
    expected = jaxrnn.unroll(cell, params, xs)
    if steps == 80:
        np.testing.assert_allclose(ys[:30], expected[1][:30], atol=1e-4)
        np.testing.assert_allclose(info.states[1:31], ys[:30], atol=1e-6)
    else:
        certificate = jaxrnn.analysis.newton_certificate(cell, params, xs)
        assert not certificate.converges and certificate.exponent > 0.1
        assert "chaotic" in str(certificate) and "jaxrnn.unroll" in certificate.advice
    assert np.isfinite(ys).all() and np.isfinite(state).all()
    # The states are a run: each follows from the one before it.
    again = jax.vmap(lambda h, x: cell.step(params, h, x)[0])(info.states[:-1], xs)
    np.testing.assert_allclose(again, info.states[1:], atol=1e-5)


@pytest.mark.slow
def test_one_sequence_may_fail_and_the_others_not(x64):
    cell, params, xs = chaotic(batch=(2,), steps=50)
    xs = xs.at[:, 0].multiply(100.0)  # driven so hard that the network forgets

    @jax.jit
    def both(params, xs):
        def of(run, params):
            return jax.value_and_grad(lambda p: loss(run, cell, p, xs), has_aux=True)(params)

        run = functools.partial(jaxrnn.newton_unroll_with_info, max_iters=8)
        return of(run, params), of(jaxrnn.unroll, params), run(cell, params, xs)[2]

    (((value, ys), slope), ((expected, _), slopes), info) = both(params, xs)
    np.testing.assert_array_equal(info.converged, [True, False])
    assert info.iterations[0] < 8 and info.iterations[1] == 8
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max()),
        slope, slopes,
    )  # fmt: skip
    _, ys, _ = jaxrnn.newton_unroll_with_info(cell, params, xs, max_iters=8, on_failure="nan")
    assert np.isfinite(ys[:, 0]).all() and np.isnan(ys[:, 1]).all()


def test_an_error_names_what_failed():
    cell, params, xs = chaotic(steps=40)
    run = functools.partial(jaxrnn.newton_unroll, on_failure="error", max_iters=3)
    text = "newton_unroll: got no convergence of 1 of 1 sequences after 3 iterations .*; expected .*newton_certificate"
    with pytest.raises(RuntimeError, match=text):
        run(cell, params, xs)
    with pytest.raises(Exception, match=text):
        jax.block_until_ready(jax.jit(functools.partial(run, cell))(params, xs))
    calm = params._replace(w_hh=params.w_hh / 10)
    _, ys = jax.jit(functools.partial(run, cell))(calm, xs)
    np.testing.assert_allclose(ys, jaxrnn.unroll(cell, calm, xs)[1], atol=1e-5)


def test_an_overflow_is_no_convergence():
    """Guessed states at which every step expands: the first products overflow."""
    cell, params, xs = chaotic(gain=40.0, steps=300)
    state, ys, info = jaxrnn.newton_unroll_with_info(cell, params, xs, max_iters=5)
    assert not info.converged
    np.testing.assert_allclose(ys[:4], jaxrnn.unroll(cell, params, xs)[1][:4], atol=1e-3)
    assert np.isfinite(ys).all()
    bad = params._replace(b=params.b.at[0].set(jnp.nan))
    _, ys, info = jaxrnn.newton_unroll_with_info(cell, bad, xs, max_iters=5)
    assert not info.converged and info.iterations == 0 and np.isnan(ys).any()


def test_small_blocks_solve_what_a_whole_sequence_does_not(x64):
    cell, params, xs = chaotic(steps=60)
    run = functools.partial(jaxrnn.newton_unroll_with_info, on_failure="nan", block_size=5)
    _, ys, info = run(cell, params, xs)
    assert info.converged and info.num_blocks == 12 and info.iterations <= 5
    np.testing.assert_allclose(ys[:30], jaxrnn.unroll(cell, params, xs)[1][:30], atol=1e-8)


def memory(method, *, steps, size, cell=jaxrnn.gru, grad=False):
    cell = cell(2, size)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, 2), jnp.float32)

    def run(params, xs):
        return jnp.sum(jaxrnn.newton_unroll(cell, params, xs, method=method)[1])

    lowered = jax.jit(jax.grad(run) if grad else run).lower(params, xs)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_the_diagonal_takes_memory_for_states_not_for_jacobians():
    steps, size = 2_000, 64
    assert memory(newton.diagonal, steps=steps, size=size) < 40 * steps * size * 4
    cell, params, xs = chaotic(steps=200)
    certificate = jaxrnn.analysis.newton_certificate(cell, params, xs, method=newton.diagonal)
    assert not certificate.exact and certificate.memory < 40 * 200 * 16 * 4


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "grad"), [(jaxrnn.elman, False), (jaxrnn.lstm, True)])
def test_blocks_bound_the_memory_of_whole_jacobians(cell, grad):
    """Without them those of the LSTM alone would take 655 MB, and several times that at once."""
    assert memory(newton.dense, steps=10_000, size=64, cell=cell, grad=grad) < 400e6


TWO = jaxrnn.lstm(2, 3)
PARAMS = TWO.init(jax.random.key(0))
XS = jnp.ones((5, 2, 2))
STATES = jaxrnn.trajectory(TWO, PARAMS, XS)
CALLS = {
    "tolerance": (ValueError, {"tolerance": 1e-8}, r"got tolerance=1e-08; expected at least 4.77e-07, .*; leave it out for"),
    "tolerance_nan": (ValueError, {"tolerance": float("nan")}, "got tolerance=nan; expected at least"),
    "tolerance_kind": (ValueError, {"tolerance": "small"}, "got tolerance=small; expected at least"),
    "guess_structure": (ValueError, {"guess": STATES.h}, r"got a guess of shapes \(6, 2, 3\); expected LSTMState.*; expected|got a guess"),
    "guess_shape": (ValueError, {"guess": jax.tree.map(lambda leaf: leaf[1:], STATES)}, r"got a guess of shapes .*\(5, 2, 3\).*; expected .*\(6, 2, 3\).*jaxrnn.trajectory"),
    "max_iters": (ValueError, {"max_iters": 0}, "got max_iters=0; expected a positive"),
    "max_iters_kind": (TypeError, {"max_iters": 2.0}, "got max_iters=2.0 .*; expected"),
    "block_size": (ValueError, {"block_size": 0}, "got block_size=0; expected a positive"),
    "method_name": (TypeError, {"method": "dense"}, "got method='dense'; expected a function such as"),
    "method_result": (TypeError, {"method": lambda steps: steps.before}, "got a method that returns .*; expected a function from Steps"),
    "mask": (TypeError, {"mask": jnp.ones((5, 2))}, "got mask of dtype float32; expected bool"),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument(call):
    kind, options, text = CALLS[call]
    for run in (jaxrnn.newton_unroll, jaxrnn.newton_unroll_with_info):
        with pytest.raises(kind, match=f"^newton_unroll: {text}"):
            run(TWO, PARAMS, XS, **options)


def test_other_wrong_arguments():
    with pytest.raises(
        ValueError, match="got unknown on_failure 'seqential'; .* did you mean 'seq"
    ):
        jaxrnn.newton_unroll(TWO, PARAMS, XS, on_failure="seqential")
    with pytest.raises(TypeError, match=r"newton_unroll: got function .*; call .*lstm\("):
        jaxrnn.newton_unroll(jaxrnn.lstm, PARAMS, XS)
    with pytest.raises(ValueError, match="damped: got damping=0; expected a number above 0"):
        newton.damped(newton.dense, 0)
    with pytest.raises(
        ValueError, match="block_diagonal: got a state of arrays .*; expected equal"
    ):
        cell = jaxrnn.projected_lstm(2, 4)
        jaxrnn.newton_unroll(cell, cell.init(jax.random.key(0)), XS, method=newton.block_diagonal)


def test_a_state_that_newton_cannot_solve_for():
    def counting(rule):
        def initial_state(params, batch_shape=()):
            return jnp.zeros((*batch_shape, 2)), jnp.zeros(batch_shape, jnp.int32)

        def step(params, state, x):
            h, count = state
            h = jnp.tanh(h + x)
            return (h, rule(h, count)), h

        return jaxrnn.Cell(lambda key: (), initial_state, step)

    spikes = counting(lambda h, count: count + (h[..., 0] > 0))
    with pytest.raises(
        TypeError, match=r"got a state whose \[1\] \(no floats\) follow from its floats"
    ):
        jaxrnn.newton_unroll(spikes, (), XS)
    steps = counting(lambda h, count: count + 1)
    (h, count), _ = jaxrnn.newton_unroll(steps, (), XS)
    np.testing.assert_array_equal(count, [5, 5])
    whole = jaxrnn.Cell(
        lambda key: (),
        lambda params, batch_shape=(): jnp.zeros(batch_shape, jnp.int32),
        lambda params, n, x: (n + 1, x),
    )
    with pytest.raises(TypeError, match=r"got a state of \['int32'\]; expected floating arrays"):
        jaxrnn.newton_unroll(whole, (), XS)
