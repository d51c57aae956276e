"""Every basic cell equals the NumPy reference, whose own gradients equal finite differences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
import reference
from cases import first_of

STEPS, INPUT, HIDDEN = 6, 3, 4
VALUE, GRADIENT = 1e-12, 1e-10  # relative to the largest entry of each array
DIFFERENCE = 1e-9  # finite differences of fourth order
SEEDS = range(3)


class Case(NamedTuple):
    make: Callable[..., Any]  # (input_size, hidden_size) -> the library's cell
    cell: reference.Cell


CASES = {
    "elman_tanh": Case(jaxrnn.elman, reference.elman()),
    "elman_relu": Case(
        lambda i, h: jaxrnn.elman(i, h, activation="relu"), reference.elman(reference.relu)
    ),
    "elman_sin": Case(lambda i, h: jaxrnn.elman(i, h, activation=jnp.sin), reference.elman(np.sin)),
    "lstm": Case(jaxrnn.lstm, reference.lstm()),
    "gru_after": Case(lambda i, h: jaxrnn.gru(i, h, reset="after"), reference.gru("after")),
    "gru_before": Case(lambda i, h: jaxrnn.gru(i, h, reset="before"), reference.gru("before")),
}
FLAGS = {"plain": (), "mask": ("mask",), "resets": ("resets",), "both": ("mask", "resets")}
every_case = pytest.mark.parametrize("name", CASES)


def randomized(tree, rng, scale=1.0):
    """The same tree with every leaf drawn anew, in NumPy float64: no leaf is zero."""
    return jax.tree.map(lambda leaf: scale * rng.normal(size=leaf.shape), tree)


def arguments(thing, batch, rng):
    """Random params and initial state of a cell or a layer, with the reference's xs."""
    params = randomized(jax.eval_shape(thing.init, jax.random.key(0)), rng, 0.7)
    state = randomized(jax.eval_shape(lambda p: thing.initial_state(p, batch), params), rng)
    return params, state, rng.normal(size=(STEPS, *batch, INPUT))


def flags(names, batch, rng):
    """A mask and resets with every combination of the two somewhere, and both at a first step."""
    shape = (STEPS, *batch)
    drawn = {"mask": rng.random(shape) < 0.6, "resets": rng.random(shape) < 0.4}
    return {name: drawn[name] for name in names}


def hide(xs, mask=None, **_):
    """The inputs with NaN wherever the mask is False."""
    return xs if mask is None else np.where(mask[..., None], xs, np.nan)


def cotangents(result, state, rng):
    """Random weights of the loss, for the final state (of the structure of `state`) and for ys."""
    d_final, d_ys = randomized(result, rng)
    return jax.tree.structure(state).unflatten(jax.tree.leaves(d_final)), d_ys


def gradients(run):
    """Gradients in (params, xs, state) of <d_state, state> + <d_ys, ys>, and the two values."""

    def loss(params, xs, state, weights, flags):
        result = run(params, xs, state, **flags)
        products = jax.tree.map(lambda w, r: jnp.sum(w * r), weights, result)
        return sum(jax.tree.leaves(products)), result

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


# ------------------------------------------------------------------ the reference by itself
def differences(function, tree, step=1e-3):
    """d function / d leaf for every entry of every leaf of nested tuples, by differences."""
    leaves, treedef = jax.tree.flatten(tree)

    def along(number, index):
        def at(offset):
            moved = [leaf.copy() for leaf in leaves]
            moved[number][index] += offset * step
            return function(jax.tree.unflatten(treedef, moved))

        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)

    found = [
        np.array([along(n, i) for i in np.ndindex(leaf.shape)]).reshape(leaf.shape)
        for n, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(treedef, found)


def reference_params(cell, rng, inputs):
    gates = {"elman": 1, "lstm": 4, "gru": 3}[cell]
    draw = lambda *shape: 0.7 * rng.normal(size=shape)  # noqa: E731
    return reference.Params(draw(inputs, gates * 3), draw(3, gates * 3), draw(gates * 3))


@pytest.mark.parametrize(
    "chosen",
    ["both", *(pytest.param(one, marks=pytest.mark.slow) for one in FLAGS if one != "both")],
)
@every_case
def test_reference_gradients_equal_finite_differences(name, chosen):
    rng, batch, cell = np.random.default_rng(7), (2,), CASES[name].cell
    params = reference_params(name.split("_")[0], rng, 2)
    if name == "gru_after":
        params = params._replace(b_hn=rng.normal(size=3))
    xs, given = rng.normal(size=(5, *batch, 2)), {}
    for flag in FLAGS[chosen]:
        given[flag] = rng.random((5, *batch)) < 0.5
    state = randomized(reference.initial_state(cell, params, batch), rng)
    final, ys = reference.unroll(cell, params, xs, state, **given)
    d_final, d_ys = cotangents((final, ys), state, rng)

    def loss(arguments):
        final, ys = reference.unroll(cell, *arguments, **given)
        products = jax.tree.map(lambda w, r: np.sum(w * r), (d_final, d_ys), (final, ys))
        return sum(jax.tree.leaves(products))

    found = reference.backprop(cell, params, xs, state, d_final, d_ys, **given)
    step = 1e-5 if name == "elman_relu" else 1e-3  # not across the kink
    assert reference.error(found, differences(loss, (params, xs, state), step)) < DIFFERENCE


def test_reference_layers_have_the_gradients_of_finite_differences():
    rng = np.random.default_rng(8)
    one = reference.layer(reference.lstm())
    net = reference.stack(
        reference.bidirectional(one, one), reference.layer(reference.gru("before"))
    )
    params = (
        (reference_params("lstm", rng, 2), reference_params("lstm", rng, 2)),
        reference_params("gru", rng, 6),
    )
    xs, given = rng.normal(size=(4, 2)), {"mask": np.array([True, False, True, True])}
    given["resets"] = np.array([True, False, False, True])
    state = randomized(net.initial_state(params), rng)
    d_final, d_ys = cotangents(net.apply(params, xs, state), state, rng)

    def loss(arguments):
        products = jax.tree.map(
            lambda w, r: np.sum(w * r), (d_final, d_ys), net.apply(*arguments, **given)
        )
        return sum(jax.tree.leaves(products))

    found = net.backprop(params, xs, state, d_final, d_ys, **given)
    assert reference.error(found, differences(loss, (params, xs, state))) < DIFFERENCE


@every_case
def test_reference_lengths_and_resets_are_separate_sequences(name):
    rng, cell = np.random.default_rng(9), CASES[name].cell
    params = reference_params(name.split("_")[0], rng, 2)._replace(b_hn=rng.normal(size=3))
    lengths, xs = (0, 1, 3, 5), rng.normal(size=(5, 4, 2))
    state = randomized(reference.initial_state(cell, params, (4,)), rng)
    mask = reference.length_mask(lengths, 5)
    final, ys = reference.unroll(cell, params, hide(xs, mask), state, mask=mask)
    for k, length in enumerate(lengths):
        picked = jax.tree.map(lambda leaf, k=k: leaf[k], (state, final))
        end, alone = reference.unroll(cell, params, xs[:length, k], picked[0])
        assert reference.error((end, alone), (picked[1], ys[:length, k])) == 0.0
        assert not ys[length:, k].any()
    starts = np.array([False, False, True, False, False])
    _, whole = reference.unroll(cell, params, xs[:, 0], resets=starts)
    parts = [reference.unroll(cell, params, part)[1] for part in (xs[:2, 0], xs[2:, 0])]
    assert reference.error(whole, np.concatenate(parts)) == 0.0


# ------------------------------------------------------------------ the library
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)], ids=str)
@every_case
def test_step(name, batch):
    case = CASES[name]
    with jax.enable_x64(True):
        cell = case.make(INPUT, HIDDEN)
        step = jax.jit(cell.step)
        for seed in SEEDS:
            params, state, xs = arguments(cell, batch, np.random.default_rng(seed))
            expected = case.cell.step(reference.as_params(params), reference.as_state(state), xs[0])
            found = step(params, state, xs[0])
            assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}
            assert reference.error(found, expected) < VALUE


@pytest.mark.parametrize(
    ("batch", "chosen"),
    [
        ((), "both"),
        ((2, 2), "both"),
        *(pytest.param((3,), one, marks=pytest.mark.slow) for one in ("plain", "mask", "resets")),
    ],
    ids=str,
)
@every_case
def test_unroll_and_its_gradients(name, batch, chosen):
    case = CASES[name]
    with jax.enable_x64(True):
        cell = case.make(INPUT, HIDDEN)
        run = gradients(lambda *given, **named: jaxrnn.unroll(cell, *given, **named))
        for seed in SEEDS:
            rng = np.random.default_rng(100 + seed)
            params, state, xs = arguments(cell, batch, rng)
            given = flags(FLAGS[chosen], batch, rng)
            xs = hide(xs, **given)
            expected = reference.unroll(case.cell, params, xs, state, **given)
            weights = cotangents(expected, state, rng)
            found, result = run(params, xs, state, weights, given)
            assert reference.error(result, expected) < VALUE
            slopes = reference.backprop(case.cell, params, xs, state, *weights, **given)
            assert reference.error(found, slopes) < GRADIENT


@every_case
def test_the_initial_state_is_zero(name):
    case = CASES[name]
    with jax.enable_x64(True):
        cell = case.make(INPUT, HIDDEN)
        params, _, xs = arguments(cell, (3,), np.random.default_rng(5))
        found = jax.jit(lambda params, xs: jaxrnn.unroll(cell, params, xs))(params, xs)
        assert reference.error(found, reference.unroll(case.cell, params, xs)) < VALUE


@pytest.mark.parametrize("name", first_of(["lstm", "elman_tanh", "gru_after", "gru_before"]))
def test_layers_and_their_gradients(name):
    """Two layers, bidirectional, padding and resets, by the unroll that the library selects."""
    case, width = CASES[name], 2 * HIDDEN
    one = reference.layer(case.cell)
    expected_net = reference.stack(*[reference.bidirectional(one, one)] * 2)
    with jax.enable_x64(True):
        first, second = (jaxrnn.layer(case.make(size, HIDDEN)) for size in (INPUT, width))
        net = jaxrnn.stack(jaxrnn.bidirectional(first, first), jaxrnn.bidirectional(second, second))
        run = gradients(net.apply)
        for seed in SEEDS:
            rng = np.random.default_rng(200 + seed)
            params, state, xs = arguments(net, (3,), rng)
            given = {
                "mask": reference.length_mask((0, 4, STEPS), STEPS),
                "resets": flags(("resets",), (3,), rng)["resets"],
            }
            xs = hide(xs, **given)
            expected = expected_net.apply(params, xs, state, **given)
            weights = cotangents(expected, state, rng)
            found, result = run(params, xs, state, weights, given)
            assert reference.error(result, expected) < VALUE
            slopes = expected_net.backprop(params, xs, state, *weights, **given)
            assert reference.error(found, slopes) < GRADIENT


def test_length_mask():
    lengths = np.array([[0, 1], [STEPS, 3]])
    found = jaxrnn.length_mask(jnp.asarray(lengths), STEPS)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, reference.length_mask(lengths, STEPS))
