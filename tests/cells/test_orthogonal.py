"""Orthogonal and unitary networks: they stay so, and their matrix is made outside the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from cases import first_of

STEPS, BATCH, INPUT, HIDDEN = 10, 4, 2, 16
FACTORIES = {
    "exp_rnn": jaxrnn.exp_rnn,
    "cayley_rnn": jaxrnn.cayley_rnn,
    "unitary": jaxrnn.unitary,
}
every_factory = pytest.mark.parametrize("make", first_of(FACTORIES.values()))


def matrix_of(cell, params):
    """The recurrent matrix, in real numbers."""
    return np.asarray(cell.parts.prepare(params)[0], np.float64)


@pytest.mark.slow
@every_factory
def test_a_hundred_updates_leave_it_orthogonal(make, key):
    cell, optimiser = make(INPUT, HIDDEN), optax.adam(1e-2)
    params = cell.init(key)
    before, state = matrix_of(cell, params), optimiser.init(params)
    xs = jax.random.normal(key, (STEPS, BATCH, INPUT))

    def loss(params):
        ys = jaxrnn.unroll(cell, params, xs)[1]
        return jnp.mean((ys[-1] - 1) ** 2)

    def update(carry, _):
        params, state = carry
        value, slopes = jax.value_and_grad(loss)(params)
        changes, state = optimiser.update(slopes, state)
        return (optax.apply_updates(params, changes), state), value

    (params, _), losses = jax.jit(lambda c: jax.lax.scan(update, c, length=100))((params, state))
    after = matrix_of(cell, params)
    assert losses[-1] < 0.9 * losses[0]
    assert np.max(np.abs(after - before)) > 0.1
    np.testing.assert_allclose(np.linalg.svd(after, compute_uv=False), 1, atol=1e-6)


def primitives(jaxpr, inside=False):
    """Yields the name of every primitive, and whether it stands in the loop over time."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name, inside
        time = eqn.primitive.name == "scan" and eqn.params["length"] == STEPS
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(sub):
                yield from primitives(getattr(sub, "jaxpr", sub), inside or time)


def is_jaxpr(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


@pytest.mark.parametrize(
    ("make", "costly", "run"),
    [
        (jaxrnn.exp_rnn, "lu", jaxrnn.unroll),
        (jaxrnn.exp_rnn, "lu", jaxrnn.fused_unroll),
        (jaxrnn.cayley_rnn, "lu", jaxrnn.unroll),
        (jaxrnn.cayley_rnn, "lu", jaxrnn.fused_unroll),
        (jaxrnn.unitary, "fft", jaxrnn.unroll),
    ],
)
def test_the_matrix_is_made_outside_the_loop(make, costly, run):
    cell = make(INPUT, HIDDEN)

    def loss(params, xs):
        return jnp.sum(run(cell, params, xs)[1])

    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jnp.ones((STEPS, BATCH, INPUT))
    for function in (loss, jax.grad(loss)):
        found = list(primitives(jax.make_jaxpr(function)(params, xs).jaxpr))
        assert (costly, False) in found
        in_loop = {name for name, inside in found if inside}
        assert "dot_general" in in_loop
        assert not in_loop & {"lu", "triangular_solve", "fft", "while", "cond", "scan"}


@every_factory
def test_the_norm_is_kept_where_nothing_comes_in(make, key):
    """With b = 0 the nonlinearity is the identity."""
    cell = make(INPUT, HIDDEN)
    params = cell.init(key)
    params = params._replace(b=jnp.zeros_like(params.b))
    width = cell.initial_state(params).shape[-1]
    h, _ = jaxrnn.unroll(cell, params, jnp.zeros((STEPS, INPUT)), jnp.linspace(-1, 1, width))
    norm = np.linalg.norm(np.linspace(-1, 1, width))
    np.testing.assert_allclose(np.linalg.norm(np.asarray(h)), norm, rtol=1e-5)


@pytest.mark.parametrize("negative", [0, 1, 5])
def test_the_signs_of_the_cayley_transform(negative, key, x64):
    """D gives the determinant its sign; without it the map can be undone."""
    cell = jaxrnn.cayley_rnn(INPUT, 5, negative=negative)
    params = cell.init(key)._replace(w_hh=jax.random.normal(key, (5, 5)))
    w, eye = matrix_of(cell, params), np.eye(5)
    assert np.linalg.det(w) == pytest.approx((-1) ** negative)
    signs = np.where(np.arange(5) < 5 - negative, 1, -1)
    z = signs[:, None] * w
    a = np.linalg.solve((eye + z).T, (eye - z).T).T
    np.testing.assert_allclose(a, params.w_hh - params.w_hh.T, atol=1e-12)


def test_initial_rotations(key):
    """Both turn planes of two units: by any angle, and by a quarter turn at most."""
    for cell, top in ((jaxrnn.exp_rnn(1, 40), np.pi), (jaxrnn.cayley_rnn(1, 40), np.pi / 2)):
        negative = np.where(np.arange(40) < 20, 1, -1) if top < 3 else np.ones(40)
        turned = negative[:, None] * matrix_of(cell, cell.init(key))
        angles = np.abs(np.angle(np.linalg.eigvals(turned)))
        assert np.all(np.abs(turned[0, 2:]) < 1e-6)
        assert top * 0.8 < angles.max() <= top + 1e-6


@every_factory
def test_one_unit_and_half_precision(make, key):
    cell = make(INPUT, 1, dtype=jnp.bfloat16)
    ys = jaxrnn.unroll(cell, cell.init(key), jnp.ones((3, INPUT), jnp.bfloat16))[1]
    assert ys.dtype == jnp.bfloat16
    assert bool(jnp.all(jnp.isfinite(ys)))


# ------------------------------------------------------------------------- unitary alone
def test_the_initial_state_is_learnt(key):
    cell = jaxrnn.unitary(INPUT, 2000)
    params = cell.init(key)
    assert cell.initial_state(params, (3,)).shape == (3, 4000)
    assert np.sum(np.square(params.h_0)) == pytest.approx(1, rel=0.1)
    small = jaxrnn.unitary(INPUT, 3)

    def loss(params):
        return jnp.sum(jaxrnn.unroll(small, params, jnp.ones((3, INPUT)))[1])

    assert np.all(jax.jit(jax.grad(loss))(small.init(key)).h_0 != 0)


@pytest.mark.parametrize("b", [-0.1, 0.0, 0.1])
def test_a_slope_where_there_is_nothing(b, key):
    """|z| has no slope at 0, where padding and a fresh state stand."""
    cell = jaxrnn.unitary(INPUT, 3)
    params = cell.init(key)
    params = params._replace(b=params.b + b, h_0=0 * params.h_0)
    slopes = jax.jit(jax.grad(lambda p, x: jnp.sum(cell.step(p, p.h_0, x)[1]), argnums=(0, 1)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes(params, np.zeros(2))))


def test_the_permutation_is_fixed_by_its_seed(key):
    one, same, other = (jaxrnn.unitary(INPUT, 8, seed=seed) for seed in (1, 1, 2))
    params = one.init(key)
    assert one == same
    np.testing.assert_array_equal(matrix_of(one, params), matrix_of(same, params))
    assert not np.allclose(matrix_of(one, params), matrix_of(other, params))


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (jaxrnn.cayley_rnn, {"negative": 4}, ValueError, "negative=4 for hidden_size=3; .* 0 to 3"),
        (jaxrnn.cayley_rnn, {"negative": -1}, ValueError, "cayley_rnn: got negative=-1"),
        (jaxrnn.cayley_rnn, {"negative": 1.5}, TypeError, "got negative=1.5 .float."),
        (jaxrnn.cayley_rnn, {"init": 3}, TypeError, "cayley_rnn: got init=3"),
        (jaxrnn.unitary, {"seed": -1}, ValueError, "unitary: got seed=-1"),
        (jaxrnn.unitary, {"seed": 2**32}, ValueError, "got seed=4294967296; expected 0 to"),
        (jaxrnn.unitary, {"seed": 0.5}, TypeError, "got seed=0.5"),
    ],
)
def test_options_that_they_cannot_have(make, options, error, message):
    with pytest.raises(error, match=message):
        make(INPUT, 3, **options)
