"""`newton_unroll` is `unroll`, in value and derivative: every cell, method, flag and order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import CASES, first_of, graded, leaky
from jaxrnn.unrolls import newton
from jaxrnn.unrolls.newton_flow import read_problem

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 8, (2,)
GRU, ELMAN = jaxrnn.gru(INPUT, HIDDEN), jaxrnn.elman(INPUT, HIDDEN)
CELLS = {
    "gru": GRU,
    "lstm": jaxrnn.lstm(INPUT, HIDDEN),
    "elman": ELMAN,
    "ind_rnn": jaxrnn.ind_rnn(INPUT, HIDDEN),
    "lem": jaxrnn.lem(INPUT, HIDDEN),
    "cornn": jaxrnn.cornn(INPUT, HIDDEN),
    "leaky": leaky(INPUT, HIDDEN),
    "lru": jaxrnn.lru(INPUT, HIDDEN),
}
METHODS = {
    "damped_diagonal": newton.damped(newton.diagonal, 0.1),
    "diagonal": newton.diagonal,
    "block_diagonal": newton.block_diagonal,
    "damped_dense": newton.damped(newton.dense),
}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def inexact(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def away(state):
    """A state that is not the initial one."""
    return jax.tree.map(
        lambda leaf: leaf + 0.3 if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf + 2, state
    )


def make(cell, steps=STEPS, batch=BATCH):
    """Parameters, inputs, a state, a mask and resets."""
    params = cell.init(jax.random.key(0))
    random = np.random.default_rng(1)
    mask = jnp.asarray(random.random((steps, *batch)) < 0.8)
    resets = jnp.asarray(random.random((steps, *batch)) < 0.1)
    state = away(cell.initial_state(params, batch))
    return (params, normal(2, steps, *batch, INPUT), state), {"mask": mask, "resets": resets}


def with_slopes(run):
    """``(cell, arguments, flags) -> (result, gradients in all arguments)`` of a sum of sines."""

    def both(arguments, flags, cell):
        def of(*arguments):
            out = run(cell, *arguments, **flags)
            leaves = inexact(out[:2])
            return sum(jnp.sum(jnp.sin(3 * jnp.abs(leaf) + 0.1)) for leaf in leaves), out

        slope = jax.grad(of, argnums=(0, 1, 2), has_aux=True, allow_int=True)
        slopes, out = slope(*arguments)
        return out, [leaf for leaf in jax.tree.leaves(slopes) if leaf.dtype != jax.dtypes.float0]

    return jax.jit(both, static_argnames="cell")


def agree(got, expected, size=1e-9):
    (out, slopes), (whole, others) = got, expected
    assert jax.tree.structure(out[:2]) == jax.tree.structure(whole)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=size, atol=size), out[:2], whole
    )
    largest = max(np.abs(leaf).max() for leaf in others)
    assert largest > 1e-3
    for a, b in zip(slopes, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=size, atol=size * largest)


# Blocks of three steps: two whole ones, and two steps left over.
newton_run = functools.partial(jaxrnn.newton_unroll_with_info, block_size=3)


@pytest.mark.parametrize(
    "name", graded(CELLS, default=["gru"], slow=["lstm", "ind_rnn", "leaky", "lru"])
)
def test_it_is_unroll(name, x64):
    cell = CELLS[name]
    arguments, flags = make(cell)
    got = with_slopes(newton_run)(arguments, flags, cell)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, cell))
    info = got[0][2]
    assert info.converged.all() and info.num_blocks == 3
    assert 1 <= info.iterations.min() and info.iterations.max() <= 3


@pytest.mark.parametrize("method", first_of(list(METHODS)))
def test_every_method_finds_the_same(method, x64):
    arguments, flags = make(GRU)
    run = functools.partial(newton_run, method=METHODS[method], block_size=4, max_iters=60)
    got = with_slopes(run)(arguments, flags, GRU)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, GRU))
    assert got[0][2].converged.all()


def test_the_blocks_of_an_elementwise_cell_are_its_jacobian(x64):
    cell = jaxrnn.unicornn(INPUT, HIDDEN)  # two numbers a unit
    arguments, _ = make(cell, steps=3)
    run = read_problem(cell, *arguments, None, None, units=True, by="test")
    after, units = (functools.partial(f, run.operands) for f in (run.after, run.units_after))
    before = normal(4, 3, *BATCH, 2 * HIDDEN)
    steps = newton.Steps(after, units, run.separable, before, run.state.components)
    made = newton.block_diagonal(steps)
    assert made.exact and made.jacobians.shape == (3, *BATCH, HIDDEN, 2, 2)
    whole = newton.dense(steps).jacobians[..., 0, :, :]
    rebuilt = np.zeros(whole.shape)
    for i in range(HIDDEN):  # unit i holds entries i and HIDDEN + i
        for k, row in enumerate((i, HIDDEN + i)):
            for m, column in enumerate((i, HIDDEN + i)):
                rebuilt[..., row, column] = made.jacobians[..., i, k, m]
    np.testing.assert_allclose(whole, rebuilt, atol=1e-12)


@pytest.mark.slow
def test_the_diagonal_of_a_gated_cell_is_that_of_its_jacobian(x64):
    """The cheap way by the structure, and the way of any cell, a unit at a time."""
    arguments, flags = make(CELLS["lstm"], steps=3)
    run = read_problem(CELLS["lstm"], *arguments, *flags.values(), units=True, by="test")
    after, units = (functools.partial(f, run.operands) for f in (run.after, run.units_after))
    before = normal(3, 3, *BATCH, 2 * HIDDEN)
    np.testing.assert_allclose(units(before), after(before), rtol=1e-12)
    steps = newton.Steps(after, units, False, before, run.state.components)
    whole = newton.dense(steps).jacobians[..., 0, :, :]
    for some in (steps, steps._replace(units_after=None)):
        diagonal = newton.diagonal(some)
        assert not diagonal.exact
        np.testing.assert_allclose(
            diagonal.jacobians[..., 0, 0], np.diagonal(whole, axis1=-2, axis2=-1), atol=1e-12
        )
        blocks = newton.block_diagonal(some).jacobians
        i, j = np.arange(HIDDEN), np.arange(HIDDEN) + HIDDEN
        np.testing.assert_allclose(blocks[..., 0, 1], whole[..., i, j], atol=1e-12)
        np.testing.assert_allclose(blocks[..., 1, 0], whole[..., j, i], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dense", "diagonal"])
def test_forward_mode_and_second_order(method, x64):
    """Jacobians exact: in parallel; not exact: step by step."""
    params, xs = ELMAN.init(jax.random.key(0)), normal(0, 4, INPUT)
    v = normal(1, 4, INPUT)
    run = functools.partial(newton_run, method=getattr(newton, method))

    def orders(run):
        def energy(xs):
            return jnp.sum(jnp.sin(run(ELMAN, params, xs)[1]))

        def curvature(xs):
            return jnp.sum(jax.grad(energy)(xs) * v)

        return jax.jit(lambda xs: (jax.jvp(energy, (xs,), (v,)), jax.grad(curvature)(xs)))(xs)

    got, expected = orders(run), orders(jaxrnn.unroll)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, expected
    )
    assert np.abs(expected[1]).max() > 1e-3


@pytest.mark.slow
def test_two_batch_axes(x64):
    batch = (2, 3)
    arguments, flags = make(GRU, batch=batch)
    got = with_slopes(newton_run)(arguments, flags, GRU)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, GRU))
    assert got[0][2].iterations.shape == batch


@pytest.mark.slow
def test_vmap_over_parameters_and_sequences(x64):
    params = jax.vmap(GRU.init)(jax.random.split(jax.random.key(1), 3))
    xs = normal(0, 3, 5, INPUT)

    def slope(run):
        def one(params, xs):
            return jax.value_and_grad(lambda p: jnp.sum(run(GRU, p, xs)[1] ** 2))(params)

        return jax.jit(jax.vmap(one))(params, xs)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9),
        slope(newton_run), slope(jaxrnn.unroll),
    )  # fmt: skip


def test_padding_may_hold_nan(key):
    mask = jaxrnn.length_mask(jnp.array([STEPS, 2, 0]), STEPS)
    xs = jnp.where(mask[..., None], normal(0, STEPS, 3, INPUT).astype(jnp.float32), jnp.nan)
    params = ELMAN.init(key)
    arguments = params, xs, ELMAN.initial_state(params, (3,))
    (state, ys, info), slopes = with_slopes(newton_run)(arguments, {"mask": mask}, ELMAN)
    assert all(np.isfinite(leaf).all() for leaf in slopes)
    assert info.converged.all() and not ys[~mask].any() and ys[mask].any() and not state[2].any()
    assert not slopes[-2][~mask].any() and slopes[-2][mask].any()  # the inputs' gradient


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nested", "mixed_tokens", "learned_state_lstm"])
def test_states_and_inputs_of_any_structure(name, x64):
    cell, xs = CASES[name].cell, CASES[name].xs
    params = cell.init(jax.random.key(0))
    double = lambda t: jax.tree.map(  # noqa: E731
        lambda a: a.astype(float) if jnp.issubdtype(a.dtype, jnp.floating) else a, t
    )
    arguments = params, double(xs), away(cell.initial_state(params, BATCH))
    flags = {"resets": jnp.zeros((6, *BATCH), bool).at[3, 0].set(True)}
    got = with_slopes(newton_run)(arguments, flags, cell)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, cell))
    trajectory = jaxrnn.trajectory(cell, *arguments, **flags)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), got[0][2].states, trajectory
    )


def test_a_warm_start_needs_fewer_iterations(x64):
    cell = jaxrnn.elman(INPUT, 8)
    params = cell.init(jax.random.key(0))
    xs = normal(0, 60, 2, INPUT)
    run = jax.jit(lambda p, guess: jaxrnn.newton_unroll_with_info(cell, p, xs, guess=guess))
    _, ys, cold = run(params, jaxrnn.trajectory(cell, params, jnp.zeros_like(xs)))
    moved = jax.tree.map(lambda leaf: leaf * (1 + 1e-6), params)
    _, ys, warm = run(moved, cold.states)
    assert (warm.iterations < cold.iterations).all() and warm.converged.all()
    assert (warm.iterations >= 1).all()
    np.testing.assert_allclose(ys, jaxrnn.unroll(cell, moved, xs)[1], atol=1e-9)


@pytest.mark.parametrize("name", graded(CELLS, slow=["gru", "leaky", "lru"]))
def test_ten_thousand_steps(name, x64):
    cell = CELLS[name]
    arguments, flags = make(cell, steps=10_000, batch=())
    got = with_slopes(jaxrnn.newton_unroll_with_info)(arguments, flags, cell)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, cell))
    assert got[0][2].converged.all() and got[0][2].iterations.max() < 12


@pytest.mark.slow
def test_single_precision():
    arguments, flags = make(GRU, steps=300)
    arguments = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), arguments)
    got = with_slopes(jaxrnn.newton_unroll_with_info)(arguments, flags, GRU)
    agree(got, with_slopes(jaxrnn.unroll)(arguments, flags, GRU), 2e-4)
    assert got[0][2].residual.max() < 1e-5
