"""A training step: plain optax, clipping, non-finite steps, carried state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import train

CELL = jaxrnn.elman(2, 3)


def loss_fn(params, xs):
    _, ys = jaxrnn.unroll(CELL, params, xs)
    return jnp.mean((ys - 1) ** 2)


@pytest.fixture
def params(key):
    return CELL.init(key)


@pytest.fixture
def xs():
    return jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 2)), jnp.float32)


def raw(leaf):
    """The bytes of an array, a random key's included."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert [raw(leaf) for leaf in jax.tree.leaves(a)] == [raw(leaf) for leaf in jax.tree.leaves(b)]


def numpy_norm(tree):
    squares = [np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(tree)]
    return np.sqrt(np.sum(squares))


def test_init_starts_at_step_zero(params):
    state = train.init(params, optax.adam(1e-3), carried=(1, 2))
    assert_same_bits(state.params, params)
    assert [leaf.item() for leaf in state.carried] == [1, 2]
    assert (state.step.dtype, state.step.item(), state.skipped.item()) == (jnp.int32, 0, 0)
    assert train.init(params, optax.sgd(0.1)).carried is None
    assert_same_bits(state.opt_state, optax.adam(1e-3).init(params))


def test_a_step_is_the_step_that_optax_makes(params, xs):
    optimizer = optax.adamw(0.05)
    step = jax.jit(train.make_step(loss_fn, optimizer))

    @jax.jit
    def by_hand(params, opt_state):
        loss, grads = jax.value_and_grad(loss_fn)(params, xs)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss, grads

    state, other, opt_state = train.init(params, optimizer), params, optimizer.init(params)
    for count in range(3):
        state, metrics = step(state, xs)
        other, opt_state, loss, grads = by_hand(other, opt_state)
        np.testing.assert_allclose(metrics.loss, loss, rtol=1e-6)
        np.testing.assert_allclose(metrics.grad_norm, numpy_norm(grads), rtol=1e-5)
        assert (state.step, state.skipped) == (count + 1, 0)
        assert not metrics.clipped
        assert not metrics.skipped
    for got, expected, start in zip(state.params, other, params, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert not np.allclose(got, start, atol=1e-2)


def test_clipping_is_that_of_optax(params, xs):
    norm = numpy_norm(jax.jit(jax.grad(loss_fn))(params, xs))
    limit = norm / 3
    chained = optax.chain(optax.clip_by_global_norm(limit), optax.sgd(1.0, momentum=0.9))
    plain = optax.sgd(1.0, momentum=0.9)
    a, b = train.init(params, plain), train.init(params, chained)
    a, metrics = jax.jit(train.make_step(loss_fn, plain, clip_norm=limit))(a, xs)
    b, unclipped = jax.jit(train.make_step(loss_fn, chained))(b, xs)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a.params, b.params)
    moved = jax.tree.map(jnp.subtract, a.params, params)
    np.testing.assert_allclose(numpy_norm(moved), limit, rtol=1e-5)
    np.testing.assert_allclose(metrics.grad_norm, norm, rtol=1e-5)  # before clipping
    assert metrics.clipped
    assert not unclipped.clipped


def test_a_gradient_at_the_limit_or_below_is_left_alone():
    optimizer = optax.sgd(1.0)
    for clip_norm, clipped in [(4.9, True), (5.0, False), (5.1, False), (jnp.inf, False)]:
        step = jax.jit(train.make_step(lambda w, x: w @ x, optimizer, clip_norm=clip_norm))
        state, metrics = step(train.init(jnp.zeros(2), optimizer), jnp.array([3.0, 4.0]))
        assert metrics.grad_norm == 5
        assert bool(metrics.clipped) is clipped
        factor = clip_norm / 5 if clipped else 1
        np.testing.assert_allclose(state.params, -factor * np.array([3.0, 4.0]), rtol=1e-6)


def test_clip_fraction_is_the_share_of_clipped_steps():
    four = jnp.zeros(4)
    metrics = train.Metrics(four, four, jnp.array([True, False, False, True]), four)
    assert metrics.clip_fraction == 0.5


def bad_batches():
    """Batches (x, y) on which `spoilt_loss` is not finite: in its value, in its gradient alone."""
    return {
        "nan": (jnp.nan, 0.0),
        "inf": (jnp.inf, 0.0),
        "gradient": (0.0, 1.0),
    }


def spoilt_loss(params, batch, carried):
    x, y = batch
    # at y = 1 the root is finite, 0, and its slope infinite
    root = jnp.sum(jnp.sqrt(y * params["zero"] + 1 - y))
    loss = jnp.sum(params["w"] ** 2) + jnp.sum(params["w"]) * x + root
    return loss, {"h": carried["h"] + 1, "key": jax.random.split(carried["key"])[0]}


@pytest.fixture
def spoilt():
    params = {"w": jnp.array([1.0, 2.0]), "zero": jnp.zeros(2)}
    carried = {"h": jnp.zeros(2), "key": jax.random.key(3)}
    return params, carried


@pytest.mark.parametrize("name", bad_batches())
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(name, clip_norm, spoilt):
    params, carried = spoilt
    optimizer = optax.adam(0.1)
    step = jax.jit(train.make_step(spoilt_loss, optimizer, clip_norm=clip_norm))
    state, metrics = step(train.init(params, optimizer, carried), (0.0, 0.0))
    assert not metrics.skipped
    assert not np.array_equal(state.params["w"], params["w"])

    after, metrics = step(state, bad_batches()[name])
    if name == "gradient":
        assert np.isfinite(metrics.loss)
    else:
        assert not np.isfinite(metrics.loss)
    assert not np.isfinite(metrics.grad_norm)
    assert metrics.skipped
    assert not metrics.clipped
    assert_same_bits(after[:3], state[:3])
    assert (after.step, after.skipped) == (2, 1)

    # and training goes on as if the bad batch had not come
    on, metrics = step(after, (0.0, 0.0))
    expected, _ = step(state, (0.0, 0.0))
    assert not metrics.skipped
    assert_same_bits(on[:3], expected[:3])
    assert (on.step, on.skipped) == (3, 1)


def test_a_nan_loss_with_a_finite_gradient_is_skipped_too():
    optimizer = optax.sgd(0.1)
    step = train.make_step(lambda w, x: jnp.sum(w) + jax.lax.stop_gradient(x), optimizer)
    state, metrics = step(train.init(jnp.ones(2), optimizer), jnp.nan)
    assert np.isfinite(metrics.grad_norm)
    assert metrics.skipped
    np.testing.assert_array_equal(state.params, 1)


def stateful_loss(params, xs, state):
    state, ys = jaxrnn.unroll(CELL, params, xs, state)
    return jnp.mean((ys - 1) ** 2), state


def test_the_carried_state_flows_as_a_value(params, xs):
    optimizer = optax.set_to_zero()  # parameters stay: two windows are one sequence
    step = jax.jit(train.make_step(stateful_loss, optimizer))
    carried = CELL.initial_state(params, (4,))
    state = train.init(params, optimizer, carried)
    state, first = step(state, xs[:3])
    state, second = step(state, xs[3:])
    end, ys = jaxrnn.unroll(CELL, params, xs)
    np.testing.assert_allclose(state.carried, end, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(first.loss, jnp.mean((ys[:3] - 1) ** 2), rtol=1e-6)
    np.testing.assert_allclose(second.loss, jnp.mean((ys[3:] - 1) ** 2), rtol=1e-6)


def test_no_gradient_reaches_the_batch_before(params, xs):
    optimizer = optax.sgd(1.0)
    carried, _ = jaxrnn.unroll(CELL, params, xs[:3])
    state = train.init(params, optimizer, carried)
    state, _ = jax.jit(train.make_step(stateful_loss, optimizer))(state, xs[3:])
    got = jax.tree.map(jnp.subtract, params, state.params)

    def late_loss(params, cut):
        state, _ = jaxrnn.unroll(CELL, params, xs[:3])
        state = jax.lax.stop_gradient(state) if cut else state
        return stateful_loss(params, xs[3:], state)[0]

    close = {"rtol": 1e-4, "atol": 1e-6}
    late_gradient = jax.jit(jax.grad(late_loss), static_argnums=1)
    expected = late_gradient(params, True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), got, expected)
    full = late_gradient(params, False)
    assert not np.allclose(got.w_hh, full.w_hh, **close)


def test_a_network_with_dropout_carries_its_random_key(key, xs):
    net = jaxrnn.stack(jaxrnn.layer(CELL), jaxrnn.dropout(0.5), jaxrnn.readout(1))
    params = net.init(key)
    carried = jaxrnn.seed_dropout(net.initial_state(params, (4,)), jax.random.key(1))

    def loss(params, xs, state):
        state, ys = net.apply(params, xs, state)
        return jnp.mean(ys**2), state

    optimizer = optax.set_to_zero()
    step = jax.jit(train.make_step(loss, optimizer))
    one, first = step(train.init(params, optimizer, carried), xs)
    rewound = one._replace(carried=(carried[0], *one.carried[1:]))  # the key alone has moved on
    two, second = step(rewound, xs)
    keys = [jax.random.key_data(s.carried[1].key).tolist() for s in (one, two)]
    assert keys[0] != keys[1]
    assert first.loss != second.loss  # fresh masks
    again, same = step(train.init(params, optimizer, carried), xs)
    assert same.loss == first.loss
    assert_same_bits(again, one)
    skipped, _ = step(one, xs * jnp.nan)
    assert_same_bits(skipped.carried, one.carried)


@pytest.mark.parametrize("clip_norm", [0, -1.0, float("nan")])
def test_a_clipping_norm_is_positive(clip_norm):
    with pytest.raises(ValueError, match="got clip_norm=.*; expected a positive norm, or None"):
        train.make_step(loss_fn, optax.sgd(0.1), clip_norm=clip_norm)


def test_a_loss_is_a_scalar():
    optimizer = optax.sgd(0.1)
    step = train.make_step(lambda w, x: w * x, optimizer)
    with pytest.raises(ValueError, match=r"of shape \(2,\); expected a scalar"):
        step(train.init(jnp.zeros(2), optimizer), jnp.ones(2))


def test_a_huge_gradient_is_clipped_not_skipped():
    optimizer = optax.sgd(1.0)
    step = train.make_step(lambda w, x: jnp.sum(w * x), optimizer, clip_norm=1.0)
    state, metrics = step(train.init(jnp.zeros(4), optimizer), jnp.full(4, 1e30))
    np.testing.assert_allclose(metrics.grad_norm, 2e30, rtol=1e-6)
    assert metrics.clipped and not metrics.skipped
    np.testing.assert_allclose(state.params, -0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "carried"),
    [
        (lambda w, x: (jnp.sum(w), x), None),  # something beside the loss, but nothing is carried
        (lambda w, x, s: jnp.sum(w), jnp.zeros(3)),  # the state is not handed on
        (lambda w, x, s: (jnp.sum(w), jnp.zeros((2, 3))), jnp.zeros(3)),  # of another shape
        (lambda w, x, s: (jnp.sum(w), (s, s)), jnp.zeros(3)),  # of another structure
    ],
)
def test_what_a_loss_returns_is_checked(loss, carried):
    optimizer = optax.sgd(0.1)
    with pytest.raises(ValueError, match="make_step: got .* expected"):
        train.make_step(loss, optimizer)(train.init(jnp.zeros(2), optimizer, carried), jnp.ones(2))


def test_weak_types_do_not_compile_again():
    traces = []

    def loss(w, x):
        traces.append(1)
        return (w - x) ** 2

    optimizer = optax.sgd(0.1)
    step = jax.jit(train.make_step(loss, optimizer))
    state = train.init(1.0, optimizer)
    for _ in range(3):
        state, _ = step(state, jnp.float32(0))
    assert len(traces) == 1


def test_numbers_that_an_optimiser_starts_from_become_arrays():
    start = {"n": 0, "rate": 0.5, "m": np.zeros(2, np.float32), "key": jax.random.key(0)}
    optimizer = optax.GradientTransformation(lambda params: start, lambda g, s, p=None: (g, s))
    state = train.init(jnp.zeros(2), optimizer).opt_state
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert state["rate"] == 0.5
    assert state["rate"].weak_type
