# ruff: noqa: E501  (tables of messages read best one a line)
"""Layers against the same runs written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import nested
from jaxrnn import bidirectional, dropout, layer, readout, residual, reverse, seed_dropout, stack

STEPS, BATCH, INPUT, HIDDEN = 7, 3, 2, 4
NUMBERS = np.random.default_rng(0)
XS = jnp.asarray(NUMBERS.standard_normal((STEPS, BATCH, INPUT)), jnp.float32)
MASK = jaxrnn.length_mask(jnp.array([STEPS, 4, 0]), STEPS)
RESETS = jnp.asarray(NUMBERS.random((STEPS, BATCH)) < 0.3).at[3, 0].set(True)
FLAGS = {"plain": {}, "mask": {"mask": MASK}, "both": {"mask": MASK, "resets": RESETS}}
each_flags = pytest.mark.parametrize(  # "both" passes through what "mask" does
    "flags",
    [pytest.param(FLAGS[k], id=k, marks=[pytest.mark.slow] * (k == "mask")) for k in FLAGS],
)


def close(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


@each_flags
def test_layer_is_the_unroll(flags, key):
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    params = cell.init(key)
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.initial_state(params, (BATCH,)))
    net = layer(cell, jaxrnn.checkpointed(jaxrnn.unroll, 3))
    expected = jaxrnn.unroll(cell, params, XS, state, **flags)
    close(net.apply(params, XS, state, **flags), expected)
    close(layer(cell).apply(params, XS, state, **flags), expected)
    close(net.init(key), params)


@each_flags
def test_stack(flags, key):
    one, two = jaxrnn.lstm(INPUT, HIDDEN), jaxrnn.gru(HIDDEN, 3)
    net = stack(layer(one), layer(two), readout(2))
    params = net.init(key)
    assert params[2].w.shape == (3, 2)  # read off the layer before
    state, ys = net.apply(params, XS, **flags)
    s1, hs = jaxrnn.unroll(one, params[0], XS, **flags)
    s2, hs = jaxrnn.unroll(two, params[1], hs, **flags)
    expected = hs @ params[2].w + params[2].b
    if "mask" in flags:
        expected = expected * flags["mask"][..., None]
    close((state, ys), ((s1, s2, ()), expected))
    again = net.apply(params, XS, state, **flags)
    _, hs = jaxrnn.unroll(one, params[0], XS, s1, **flags)
    close(again[0][1], jaxrnn.unroll(two, params[1], hs, s2, **flags)[0])


def by_hand_backwards(cell, params, mask, resets):
    """Runs each sequence of each segment reversed, by itself, one step at a time."""
    ys = np.zeros((STEPS, BATCH, HIDDEN), np.float32)
    last = []
    for b in range(BATCH):
        state = cell.initial_state(params)
        for t in reversed(range(STEPS)):
            if t + 1 < STEPS and resets[t + 1, b]:
                state = cell.initial_state(params)  # a segment begins at t + 1, another ends at t
            if mask[t, b]:
                state, y = cell.step(params, state, XS[t, b])
                ys[t, b] = y
        last.append(state)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *last), ys


@each_flags
def test_reverse(flags, key):
    cell = jaxrnn.gru(INPUT, HIDDEN)
    params = cell.init(key)
    ones, zeros = np.ones((STEPS, BATCH), bool), np.zeros((STEPS, BATCH), bool)
    expected = by_hand_backwards(cell, params, flags.get("mask", ones), flags.get("resets", zeros))
    for run in (None, jaxrnn.checkpointed(jaxrnn.unroll, 3)):
        close(reverse(layer(cell, run)).apply(params, XS, **flags), expected)


def test_reverse_starts_from_the_state_and_twice_is_nothing(key):
    cell = jaxrnn.gru(INPUT, HIDDEN)
    params, state = cell.init(key), jnp.full((BATCH, HIDDEN), 0.5)
    _, ys = reverse(layer(cell)).apply(params, XS, state)
    close(ys[-1], cell.step(params, state, XS[-1])[1])
    twice = reverse(reverse(layer(cell))).apply(params, XS, state, mask=MASK)
    close(twice, jaxrnn.unroll(cell, params, XS, state, mask=MASK))


@each_flags
def test_bidirectional_is_two_runs(flags, key):
    forward, backward = jaxrnn.gru(INPUT, HIDDEN), jaxrnn.lstm(INPUT, 3)
    net = bidirectional(layer(forward), layer(backward))
    params = net.init(key)
    state, ys = net.apply(params, XS, **flags)
    first = jaxrnn.unroll(forward, params[0], XS, **flags)
    second = reverse(layer(backward)).apply(params[1], XS, **flags)
    close((state, ys), ((first[0], second[0]), jnp.concatenate([first[1], second[1]], axis=-1)))
    assert ys.shape == (STEPS, BATCH, HIDDEN + 3)
    deep = stack(net, layer(jaxrnn.gru(HIDDEN + 3, 2)), readout(5))
    assert deep.apply(deep.init(key), XS, **flags)[1].shape == (STEPS, BATCH, 5)


@each_flags
def test_residual(flags, key):
    cell = jaxrnn.gru(INPUT, INPUT)
    params = cell.init(key)
    state, ys = residual(layer(cell)).apply(params, XS, **flags)
    expected = jaxrnn.unroll(cell, params, XS, **flags)
    mask = flags.get("mask", jnp.ones((STEPS, BATCH), bool))
    close((state, ys), (expected[0], (XS + expected[1]) * mask[..., None]))


def test_nan_in_the_padding_reaches_no_output_and_no_gradient(key):
    xs = jnp.where(MASK[..., None], XS, jnp.nan)
    cell = layer(jaxrnn.gru(INPUT, INPUT))
    net = stack(residual(cell), dropout(0.5),
                bidirectional(cell, cell), readout(2))  # fmt: skip
    params = net.init(key)
    state = seed_dropout(net.initial_state(params, (BATCH,)), key)

    @jax.jit
    def slopes(params, xs):
        def total(params, xs):
            ys = net.apply(params, xs, state, mask=MASK)[1]
            return jnp.sum(ys**2), ys

        return jax.grad(total, argnums=(0, 1), has_aux=True)(params, xs)

    (of_params, of_xs), ys = slopes(params, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((of_params, of_xs, ys)))
    assert not of_xs[~MASK].any() and not ys[~MASK].any() and ys[MASK].any()


def test_sizes_of_the_readout(key):
    assert readout(2, input_size=3).init(key).w.shape == (3, 2)
    assert stack(residual(layer(jaxrnn.gru(5, 5))), readout(2)).init(key)[1].w.shape == (5, 2)
    assert stack(reverse(layer(jaxrnn.gru(3, 5))), dropout(0.1), readout(2)).init(key)[2].w.shape == (
        5, 2,
    )  # fmt: skip
    inner = stack(layer(jaxrnn.gru(3, 6)), stack(layer(jaxrnn.lstm(6, 4)), readout(3)), readout(1))
    params = inner.init(key)
    assert params[1][1].w.shape == (4, 3) and params[2].w.shape == (3, 1)
    with pytest.raises(ValueError, match="readout: got no input size.*; expected .*; pass"):
        readout(2).init(key)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: stack(), ValueError, "stack: got no layer; expected"),
        (lambda: stack(jaxrnn.gru(2, 2)), TypeError, "stack: got Cell; expected a jaxrnn.Layer; wrap"),
        (lambda: reverse(jaxrnn.gru(2, 2)), TypeError, "reverse: got Cell; expected"),
        (lambda: residual(None), TypeError, "residual: got NoneType; expected"),
        (lambda: bidirectional(layer(jaxrnn.gru(2, 2)), 1), TypeError, "bidirectional: got int; expected"),
        (lambda: dropout(1.0), ValueError, "dropout: got rate=1.0; expected"),
        (lambda: dropout(-0.1), ValueError, "dropout: got rate=-0.1; expected"),
        (lambda: readout(0), ValueError, "readout: got size=0; expected"),
    ],
)  # fmt: skip
def test_a_wrong_setting(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_a_wrong_state_or_shape(key):
    net = stack(layer(jaxrnn.gru(INPUT, 3)), readout(2))
    params = net.init(key)
    state, _ = net.apply(params, XS)
    with pytest.raises(ValueError, match="stack: got a state that is a tuple of 1; expected .* 2"):
        net.apply(params, XS, state[:1])
    with pytest.raises(ValueError, match="stack: got a state that is a ArrayImpl; expected"):
        net.apply(params, XS, state[0])
    cell = layer(jaxrnn.gru(INPUT, 3))
    with pytest.raises(ValueError, match="residual: got inputs .*; expected equal shapes"):
        residual(cell).apply(cell.init(key), XS)
    with pytest.raises(ValueError, match=r"readout: got xs of shape .*; expected 4 features"):
        readout(2, input_size=4).apply(readout(2, input_size=4).init(key), XS)


def ones(features=200):
    return jnp.ones((STEPS, BATCH, features))


def dropped(net, xs, key, **flags):
    return net.apply((), xs, seed_dropout(net.initial_state((), (BATCH,)), key), **flags)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout(variational, key):
    net = dropout(0.25, variational=variational)
    np.testing.assert_array_equal(net.apply((), XS)[1], XS)  # evaluation
    state, ys = dropped(net, ones(), key)
    assert set(np.unique(ys)) == {0.0, np.float32(1 / 0.75)}
    size = BATCH * 200 * (1 if variational else STEPS)
    assert abs(ys.mean() - 1) < 5 * (0.25 / 0.75 / size) ** 0.5
    same_over_time = bool(jnp.all(ys == ys[:1]))
    assert same_over_time == variational
    assert not jnp.all(ys[:, 0] == ys[:, 1])
    np.testing.assert_array_equal(dropped(net, ones(), key)[1], ys)
    assert jnp.any(dropped(net, ones(), jax.random.key(9))[1] != ys)
    following = net.apply((), ones(), state)[1]  # a stream goes on
    assert bool(jnp.all(following == ys)) == variational
    _, masked = dropped(net, ones(), key, mask=MASK)
    np.testing.assert_array_equal(masked, jnp.where(MASK[..., None], ys, 0))
    np.testing.assert_array_equal(net.apply((), ones(), mask=MASK)[1], ones() * MASK[..., None])
    np.testing.assert_array_equal(dropped(dropout(0.0), XS, key)[1], XS)


def test_seed_dropout_reaches_every_layer(key):
    inner = bidirectional(stack(dropout(0.5), layer(jaxrnn.gru(INPUT, 3))), layer(jaxrnn.gru(2, 3)))
    net = stack(dropout(0.5), residual(dropout(0.5)), inner, readout(2))
    params = net.init(key, INPUT)
    state = net.initial_state(params, (BATCH,))
    seeded = seed_dropout(state, key)
    is_dropout = lambda node: isinstance(node, jaxrnn.layers.DropoutState)  # noqa: E731
    found = [n for n in jax.tree.leaves(seeded, is_leaf=is_dropout) if is_dropout(n)]
    keys = {tuple(np.asarray(jax.random.key_data(node.key))) for node in found}
    assert len(found) == 3 and len(keys) == 3
    close(seeded[2][0][1], state[2][0][1])
    assert jnp.any(net.apply(params, XS, seeded)[1] != net.apply(params, XS, state)[1])
    after, _ = jax.jit(net.apply)(params, XS, seeded)
    assert jax.tree.structure(after) == jax.tree.structure(seeded)


def test_layers_take_trees(key):
    cell = nested(2, 3)
    params = cell.init(key)
    xs = {"left": XS, "right": XS[..., :1]}
    expected = jaxrnn.unroll(cell, params, xs, mask=MASK, resets=RESETS)
    net = reverse(reverse(layer(cell)))
    # Twice reversed, the resets are moved by one step and back; the first is lost, and is no reset.
    moved = RESETS.at[0].set(False)
    close(net.apply(params, xs, mask=MASK, resets=moved),
          jaxrnn.unroll(cell, params, xs, mask=MASK, resets=moved))  # fmt: skip
    assert jax.tree.structure(expected[1]) == jax.tree.structure(net.apply(params, xs)[1])
