"""Networks with other libraries' weights equal theirs, values and gradients, run side by side."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interop import frameworks
from interop.frameworks import CASES, LENGTHS, STEPS
from jaxrnn.interop import import_weights
from jaxrnn.interop.weights import pack_weights
from reference import error

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

SOME = [index for index, length in enumerate(LENGTHS) if length]
MASK = np.arange(STEPS)[:, None] < np.array(LENGTHS)
WITHOUT_GRADIENTS = {"torch", "onnx"}  # tests/cells/test_torch.py has torch's


@functools.cache
def theirs(form, kind):
    os.environ.setdefault("KERAS_BACKEND", "jax")  # keras reads it when it is imported
    pytest.importorskip(frameworks.PACKAGES[form])
    with jax.enable_x64(True):
        return frameworks.theirs(form, kind, seed=3)


def imported(form, kind, weights):
    source, reset = frameworks.source_of(form), frameworks.RESETS.get(kind)
    return import_weights(source, weights, frameworks.blanks(kind), reset=reset)


def without_b_hn(params):
    zeros = np.zeros(frameworks.HIDDEN)
    return tuple(tuple(cell._replace(b_hn=zeros) for cell in pair) for pair in params)


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_two_bidirectional_layers(form, kind):
    """Lengths 0, 1 and T, from an initial state that is not zero.

    What the others put into padding is not looked at, nor is what flax returns as the state after
    no step at all.
    """
    weights, run = theirs(form, kind)
    xs, start = frameworks.given(kind, seed=1)
    d_final, d_ys = (
        frameworks.given(kind, seed=2)[1],
        np.random.default_rng(5).normal(size=(STEPS, len(LENGTHS), 2 * frameworks.outputs(kind))),
    )
    d_ys = d_ys * MASK[..., None]

    def loss(weights, xs, start, run):
        final, ys = run(weights, xs, start, LENGTHS)
        ys = jnp.where(MASK[..., None], ys, 0)
        final = jax.tree.map(lambda leaf: leaf[np.array(SOME)], final)
        picked = jax.tree.map(lambda leaf: leaf[np.array(SOME)], d_final)
        terms = [jnp.sum(ys * d_ys)]
        pairs = zip(jax.tree.leaves(final), jax.tree.leaves(picked), strict=True)
        terms += [jnp.sum(got * weight) for got, weight in pairs]
        return sum(terms), (tuple(jax.tree.leaves(final)), ys)

    def our_run(params, xs, start, lengths):
        return frameworks.ours(params, kind, xs, start, lengths, relu=form == "haiku")

    limit = 1e-6 if form in frameworks.SINGLE else 1e-12
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        params = imported(form, kind, weights)
        grad = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True), static_argnums=3)
        ours, got = grad(params, xs, start, our_run)
        if form in WITHOUT_GRADIENTS:
            final, ys = run(weights, xs, start, LENGTHS)
            ys = np.where(MASK[..., None], ys, 0)
            final = tuple(np.asarray(leaf)[SOME] for leaf in jax.tree.leaves(final))
            assert error(got, (final, ys)) < limit
            return
        (d_weights, d_xs, d_start), expected = grad(weights, xs, start, run)
        # Theirs are affine in ours, and the chain rule maps gradients back.
        same = jax.tree.structure(weights)
        target, variant = frameworks.source_of(form), None
        if form == "nnx_optimized":
            variant = "OptimizedLSTMCell"

        def pack(params):
            if (form, kind) == ("nnx", "gru"):  # it has no b_hn
                params = without_b_hn(params)
            nested = form in ("linen", "nnx", "nnx_optimized", "haiku", "equinox")
            found = pack_weights(target, params, variant=variant, nested=nested)
            if form == "linen":
                found = {"params": found}
            return same.unflatten(jax.tree.leaves(found))

        d_params = jax.vjp(pack, params)[1](d_weights)[0]
    if (form, kind) == ("nnx", "gru"):
        ours = (without_b_hn(ours[0]), *ours[1:])
    assert error(got, expected) < limit
    theirs_ = tuple(jax.tree.leaves((d_params, d_xs, d_start)))
    assert error(tuple(jax.tree.leaves(ours)), theirs_) < limit
