"""Derivatives through unrolls: forward mode, second order, vmap, padding, truncation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import first_of, leaky, shifted
from jaxrnn.unrolls import checkpointed, truncated, unroll

STEPS, INPUT, HIDDEN = 6, 2, 3
CELL = jaxrnn.gru(INPUT, HIDDEN)
UNROLLS = {
    "unroll": unroll,
    "checkpointed": checkpointed(unroll, 4),
    "truncated": truncated(unroll, STEPS),
}
each_unroll = pytest.mark.parametrize(
    "run",
    # The others are made of it.
    [pytest.param(UNROLLS[k], id=k, marks=[pytest.mark.slow] * (k != "unroll")) for k in UNROLLS],
)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@each_unroll
def test_modes_and_orders(run, key, x64):
    params, xs = CELL.init(key), normal(0, STEPS, INPUT)

    def energy(xs):
        return jnp.sum(jnp.sin(run(CELL, params, xs)[1]))

    forward, backward = jax.jit(jax.jacfwd(energy))(xs), jax.jit(jax.grad(energy))(xs)
    np.testing.assert_allclose(forward, backward, rtol=1e-10)
    v = normal(1, STEPS, INPUT)
    second = jax.jit(jax.grad(lambda xs: jnp.sum(jax.grad(energy)(xs) * v)))(xs)
    slope = jax.jit(jax.grad(energy))
    size = 1e-6
    central = (slope(xs + size * v) - slope(xs - size * v)) / (2 * size)
    np.testing.assert_allclose(second, central, atol=1e-8)
    assert np.abs(second).max() > 1e-3
    _, pushed = jax.jvp(jax.jit(energy), (xs,), (v,))
    np.testing.assert_allclose(pushed, jnp.sum(backward * v), rtol=1e-10)


@each_unroll
def test_vmap_over_parameters(run, x64):
    keys = jax.random.split(jax.random.key(1), 3)
    params, xs = jax.vmap(CELL.init)(keys), normal(0, STEPS, INPUT)

    @jax.jit
    def slope(params):
        return jax.grad(lambda p: jnp.sum(run(CELL, p, xs)[1] ** 2))(params)

    together = jax.vmap(slope)(params)
    for k in range(3):
        alone = slope(jax.tree.map(lambda leaf, k=k: leaf[k], params))
        mine = jax.tree.map(lambda leaf, k=k: leaf[k], together)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), mine, alone)


@each_unroll
@pytest.mark.parametrize("name", ["gru", "leaky"])
def test_nan_in_the_padding_meets_no_gradient(run, name, key):
    cell = CELL if name == "gru" else leaky(INPUT, HIDDEN)
    mask = jaxrnn.length_mask(jnp.array([STEPS, 2, 0]), STEPS)
    xs = normal(0, STEPS, 3, INPUT)
    xs = jnp.where(mask[..., None], xs, jnp.nan)

    @jax.jit
    def both(params, xs):
        def of(params, xs):
            state, ys = run(cell, params, xs, mask=mask)
            return jnp.sum(state**2) + jnp.sum(ys**2), (state, ys)

        return jax.value_and_grad(of, argnums=(0, 1), has_aux=True)(params, xs)

    (value, (state, ys)), (slopes, slope) = both(cell.init(key), xs)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(slopes)[:1])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    assert not slope[~mask].any() and slope[mask].all()
    assert not ys[~mask].any() and ys[mask].any()
    assert not state[2].any()


@each_unroll
def test_the_learned_initial_state_gets_its_gradient(run, key, x64):
    cell = shifted(jaxrnn.lstm(INPUT, HIDDEN))
    params, xs = cell.init(key), normal(0, STEPS, 2, INPUT)
    resets = jnp.zeros((STEPS, 2), bool).at[3, 0].set(True)

    @jax.jit
    def slope(params):
        return jax.grad(lambda p: jnp.sum(jnp.sin(run(cell, p, xs, resets=resets)[1])))(params)

    @jax.jit
    def by_hand(params):  # a Python loop
        def of(params):
            state, total = cell.initial_state(params, (2,)), 0.0
            for t in range(STEPS):
                first = cell.initial_state(params, (2,))
                state = jax.tree.map(
                    lambda a, b, t=t: jnp.where(resets[t][:, None], a, b), first, state
                )
                state, y = cell.step(params, state, xs[t])
                total += jnp.sum(jnp.sin(y))
            return total

        return jax.grad(of)(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        slope(params), by_hand(params),
    )  # fmt: skip
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(slope(params).state))


def test_a_reset_cuts_the_jacobian(key):
    params, xs = CELL.init(key), normal(0, STEPS, INPUT)
    resets = jnp.arange(STEPS) == 3
    jacobian = jax.jacrev(lambda xs: unroll(CELL, params, xs, resets=resets)[1])(xs)
    reach = np.abs(jacobian).max(axis=(1, 3)) > 0  # (t, s)
    t, s = np.indices((STEPS, STEPS))
    np.testing.assert_array_equal(reach, (s <= t) & ((t < 3) == (s < 3)))


@pytest.mark.parametrize(
    ("steps", "window", "every"),
    [
        (7, 4, 2),
        *(
            pytest.param(*sizes, marks=pytest.mark.slow)
            for sizes in ((7, 3, None), (5, 6, 3), (6, 3, None), (7, 1, None), (8, 4, 2), (7, 4, 1))
        ),
    ],
)
def test_truncated_reaches_back_to_the_windows_start(steps, window, every, key):
    params, xs = CELL.init(key), normal(0, steps, INPUT)
    run = truncated(unroll, window, every)

    def outputs(xs, state):
        return run(CELL, params, xs, state)[1]

    slopes = jax.jit(jax.jacrev(outputs, argnums=(0, 1)))(xs, CELL.initial_state(params))
    reach = np.abs(slopes[0]).max(axis=(1, 3)) > 0
    k1 = every or window
    t, s = np.indices((steps, steps))
    start = (t // k1 + 1) * k1 - window  # of the window whose last k1 steps hold t
    np.testing.assert_array_equal(reach, (s <= t) & (s >= start))
    np.testing.assert_array_equal(np.abs(slopes[1]).max(axis=(1, 2)) > 0, start[:, 0] <= 0)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "every"), [(3, None), (4, 2)])
def test_truncated_is_backpropagation_by_hand(window, every, key, x64):
    steps, k1 = 7, every or window
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    params, xs = cell.init(key), normal(0, steps, INPUT)

    @jax.jit
    def slope(params):
        def of(params):
            state, ys = truncated(unroll, window, every)(cell, params, xs)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(state.c)

        return jax.grad(of)(params)

    states = jaxrnn.trajectory(cell, params, xs)
    total = jax.tree.map(jnp.zeros_like, params)
    for block in range(0, steps, k1):
        end = min(block + k1, steps)
        start = max(block + k1 - window, 0)

        def of(params, block=block, start=start, end=end):
            state = jax.tree.map(lambda leaf: leaf[start], states)  # a value: no gradient
            total = 0.0
            for t in range(start, end):
                state, y = cell.step(params, state, xs[t])
                total += jnp.sum(jnp.sin(y)) if t >= block else 0.0
            return total + (jnp.sum(state.c) if end == steps else 0.0)

        total = jax.tree.map(jnp.add, total, jax.jit(jax.grad(of))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), slope(params), total)
    whole = jax.grad(lambda p: jnp.sum(jnp.sin(unroll(cell, p, xs)[1])))(params)
    assert not np.allclose(whole.w_hh, total.w_hh, rtol=1e-3)


@pytest.mark.parametrize("steps", first_of([7, 1, 2]))
def test_the_last_block_is_shorter(steps, key):
    params, xs = CELL.init(key), normal(0, steps, 2, INPUT)
    runs = (unroll, checkpointed(unroll, 3), checkpointed(unroll), checkpointed(unroll, 100),
            truncated(unroll, 3), truncated(unroll, 4, 2), truncated(unroll, 12))  # fmt: skip
    expected, *others = jax.jit(lambda p, xs: [run(CELL, p, xs) for run in runs])(params, xs)
    for got in others:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected
        )
