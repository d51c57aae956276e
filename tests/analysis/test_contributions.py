"""The gradient of the parameters by lag, against steps whose parameters are truly apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from analysis.flows import blank, close_logs
from cases import first_of, nested, separable
from jaxrnn.analysis.contributions import ParameterGradientByLag, parameter_gradient_by_lag
from jaxrnn.core.trees import select

_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
STEPS = 4


def by_lag(loss, cell, params, xs, state=None, *, max_lag=None, **flags):
    """The decomposition, compiled."""

    def run(params, xs, state, flags):
        return parameter_gradient_by_lag(loss, cell, params, xs, state, max_lag=max_lag, **flags)

    return _jit(run)(params, xs, state, flags)


def untied(loss, cell, params, xs, mask, resets):
    """The parts (T, num_parameters), from a loop of steps of which each has parameters of its own.

    Row t of the Jacobian below is what the loss at output t does to the parameters of every step.
    """
    flat, unravel = ravel_pytree(params)
    batch = mask.shape[1:]
    xs = jax.tree.map(lambda leaf: jnp.where(mask[(..., *[None] * (leaf.ndim - 2))], leaf, 0), xs)

    def outputs(every):
        state = cell.initial_state(unravel(every[0]), batch)
        ys = []
        for t in range(STEPS):
            own = unravel(every[t])
            state = select(resets[t], cell.initial_state(own, batch), state)
            new, y = cell.step(own, state, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
            state = select(mask[t], new, state)
            ys.append(select(mask[t], y, jax.tree.map(jnp.zeros_like, y)))
        return ys

    def stack(ys):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)

    @_jit
    def run(every):
        weights = jax.grad(loss)(stack(outputs(every)))

        def sources(every):
            ys = stack(outputs(every))
            parts = jax.tree.map(lambda w, y: jnp.sum((w * y).reshape(STEPS, -1), 1), weights, ys)
            return sum(jax.tree.leaves(parts))

        # (source t, step, num_parameters), and the gradient where all steps share theirs.
        total = jax.grad(lambda flat: loss(stack(outputs(jnp.tile(flat, (STEPS, 1))))))
        return jax.jacrev(sources)(every), total(every[0])

    jacobian, total = run(jnp.tile(flat, (STEPS, 1)))
    parts = np.array([np.trace(jacobian, offset=-lag) for lag in range(STEPS)])
    np.testing.assert_allclose(parts.sum(0), total, rtol=1e-9, atol=1e-12)
    return parts


def flagged(xs):
    mask, resets = np.ones((STEPS, 2), bool), np.zeros((STEPS, 2), bool)
    mask[1, 1], resets[2, 0] = False, True
    return xs, {"mask": mask, "resets": resets}


def make(name):
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2, 2))
    if name == "nested":
        return nested(2, 3), {"left": xs, "right": xs[..., :1]}
    makes = {
        "elman": lambda: jaxrnn.learned_state(jaxrnn.elman(2, 2)),
        "separable": lambda: separable(2, 3),
        "lru": lambda: jaxrnn.lru(2, 3),  # its state is complex
    }
    return makes[name](), xs


def squares(ys):
    return sum(jnp.sum(jnp.sin(2 * leaf + 1)) for leaf in jax.tree.leaves(ys)) ** 2


def check(found, parts):
    """Compares every field with explicit parts (num_lags, num_parameters)."""
    whole = parts.sum(0)
    size = np.linalg.norm(whole)
    np.testing.assert_allclose(found.log_norm, np.log(size), atol=1e-12)
    norms = np.linalg.norm(parts, axis=1)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.log_norms, np.log(norms), rtol=0, atol=1e-11)
    share = parts @ whole / size**2
    np.testing.assert_allclose(found.share, share, atol=1e-13)
    np.testing.assert_allclose(found.cumulative_share, np.cumsum(share), atol=1e-13)
    alive = norms > 0
    np.testing.assert_allclose(
        found.cosine[alive], share[alive] * size / norms[alive], rtol=1e-9, atol=1e-12
    )
    assert np.all(np.isnan(found.cosine[~alive]))


@pytest.mark.parametrize("name", first_of(["elman", "lru", "nested", "separable"]))
def test_every_part_is_that_of_untied_steps(x64, name):
    cell, xs = make(name)
    params = cell.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    xs, flags = flagged(xs)
    found = by_lag(squares, cell, params, xs, **flags)
    np.testing.assert_array_equal(found.lags, np.arange(STEPS))
    check(found, untied(squares, cell, params, xs, **flags))
    assert found.cumulative_share[-1] == pytest.approx(1, abs=1e-13)


def _scalar_step(w, h, x):
    h = w * h + x
    return h, h


SCALAR = jaxrnn.Cell(
    lambda key: jnp.float32(0.9),
    lambda w, batch_shape=(): jnp.zeros((*batch_shape, 1), w.dtype),
    _scalar_step,
)


def scalar_parts(w, xs, d_ys):
    """g_lag = sum_t dL/dy_t w^lag h_{t-lag-1} for h' = w h + x, in NumPy."""
    states = [0.0]
    for x in xs:
        states.append(w * states[-1] + x)
    return np.array([
        sum(d_ys[t] * w**lag * states[t - lag] for t in range(lag, len(xs)))
        for lag in range(len(xs))
    ])  # fmt: skip


@_jit
def scalar(w, xs, weights):
    """The decomposition of a weighted sum of the outputs of `SCALAR`."""
    return parameter_gradient_by_lag(lambda ys: ys[:, 0] @ weights, SCALAR, w, xs[:, None])


@pytest.mark.slow
def test_a_scalar_in_closed_form(x64):
    rng = np.random.default_rng(0)
    xs, weights, w = rng.normal(size=20), rng.normal(size=20), 0.9
    found = scalar(w, xs, weights)
    parts = scalar_parts(w, xs, weights)
    check(found, parts[:, None])
    # The last lag's part is exactly zero: the initial state is.
    assert found.log_norms[-1] == -np.inf


def test_a_loss_that_does_not_depend_on_the_parameters(x64):
    found = scalar(0.9, np.ones(20), np.zeros(20))
    np.testing.assert_array_equal(found.log_norms, -np.inf)
    assert np.all(np.isnan(found.share))
    assert found.horizon() == 21


@pytest.mark.parametrize("gain", [3.0, pytest.param(0.25, marks=pytest.mark.slow)])
def test_range_is_unlimited_in_single_precision(gain):
    """h' = w h + (1 - w) stays at 1; the loss reads the end; the part of a lag is w^lag."""
    steps = 500
    xs = jnp.full((steps, 1), 1 - gain)
    found = by_lag(lambda ys: ys[-1, 0], SCALAR, jnp.float32(gain), xs, jnp.ones(1))
    want = np.arange(steps) * np.log(gain)
    close_logs(found.log_norms, want, np.arange(steps), "float32")
    np.testing.assert_allclose(found.cosine, 1, rtol=1e-6)
    whole = want.max() - np.log(1 - (1 / gain if gain > 1 else gain))
    assert found.log_norm == pytest.approx(whole, rel=1e-6)
    np.testing.assert_allclose(found.share, np.exp(want - whole), rtol=2e-3, atol=1e-37)
    assert found.horizon(0.99) == (steps if gain > 1 else 4)


@pytest.mark.slow
def test_a_window_of_lags_is_truncated_backpropagation(x64):
    """BPTT whose loss at each step reaches back k steps is the sum over the lags below k."""
    cell = jaxrnn.elman(2, 3)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (8, 2, 2))
    found = by_lag(squares, cell, params, xs)

    def gradient(run):
        slopes = _jit(jax.grad(lambda p: squares(run(cell, p, xs)[1])))(params)
        return np.asarray(ravel_pytree(slopes)[0])

    whole = gradient(jaxrnn.unroll)
    assert found.log_norm == pytest.approx(np.log(np.linalg.norm(whole)), abs=1e-12)
    part = gradient(jaxrnn.truncated(jaxrnn.unroll, window=3, every=1))
    share = part @ whole / (whole @ whole)
    assert found.cumulative_share[2] == pytest.approx(share, abs=1e-13)
    assert abs(share - 1) > 0.01
    near = by_lag(squares, cell, params, xs, max_lag=2)
    np.testing.assert_array_equal(near.lags, np.arange(3))
    for one, two in zip(near[:-1], found[:-1], strict=True):
        np.testing.assert_allclose(one, two[:3], rtol=1e-12)
    np.testing.assert_allclose(near.log_norm, found.log_norm, rtol=1e-13)


def test_the_horizon():
    rows = {
        (0.5, 0.85, 0.95, 1.0): 3,
        (0.95, 1.0, 1.0, 1.0): 1,
        (0.95, 0.8, 1.2, 1.0): 3,  # a share was negative
        (0.5, 0.6, 0.7, 0.8): 5,  # not within the lags measured
        (0.5, 0.6, 0.95, 0.8): 5,
        (np.nan, np.nan, np.nan, np.nan): 5,
        (0.1, 0.2, 0.3, 0.95): 4,
    }
    found = ParameterGradientByLag(*[None] * 4, jnp.array(list(rows)), jnp.zeros(7))
    np.testing.assert_array_equal(found.horizon(0.9), list(rows.values()))
    np.testing.assert_array_equal(found.horizon(), found.horizon(0.9))
    broken = found._replace(log_norm=jnp.full(7, jnp.nan))
    np.testing.assert_array_equal(broken.horizon(), 0)
    for fraction in (0, 1, 1.5):
        with pytest.raises(ValueError, match="^horizon: got fraction=.*between 0 and 1"):
            found.horizon(fraction)


@pytest.mark.slow
def test_memory_holds_a_few_copies_of_the_parameters():
    """Neither steps nor lags bring more: a copy takes 1 MB, one for each would take 134 MB."""
    cell = jaxrnn.elman(1, 512)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    copy = 4 * sum(leaf.size for leaf in jax.tree.leaves(params))
    xs = jax.ShapeDtypeStruct((128, 1), jnp.float32)

    def run(params, xs):
        return parameter_gradient_by_lag(lambda ys: jnp.sum(ys**2), cell, params, xs)

    used = _jit(run).lower(params, xs).compile().memory_analysis().temp_size_in_bytes
    assert used < 8 * copy


def test_messages():
    def run(*args, **kwargs):
        return parameter_gradient_by_lag(jnp.sum, SCALAR, *args, **kwargs)

    by = "^parameter_gradient_by_lag: got "
    for max_lag in (-1, 4):
        with pytest.raises(ValueError, match=f"{by}max_lag={max_lag}; expected 0 to 3"):
            run(jnp.float32(1), blank(4), max_lag=max_lag)
    with pytest.raises(ValueError, match=f"{by}parameters without floats"):
        run((), blank(4))
    with pytest.raises(ValueError, match=f"{by}a loss_fn that .*expected a scalar"):
        parameter_gradient_by_lag(lambda ys: ys, SCALAR, jnp.float32(1), blank(4))
    with pytest.raises(TypeError, match=f"{by}function"):
        parameter_gradient_by_lag(jnp.sum, jaxrnn.gru, jnp.float32(1), blank(4))
