"""`unroll` with a prefetch, as it runs on CPU where a step reads much, against the plain scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.analysis import accurate
from jaxrnn.unrolls import scan

CELLS = [
    "gru_reset_before",
    "elman",
    "lstm",
    "gru",
    "layer_norm_lstm",
    "sru",
    "mut1",
    "phased_lstm",
]
UNROLL = jaxrnn.unroll.__wrapped__  # without its cache, which would hand one loop out for both
needs_cpu = pytest.mark.skipif("jax.default_backend() != 'cpu'", reason="it is for CPU")


@pytest.fixture(params=[-1, 10**9], ids=["prefetch", "plain"])
def loop(request, monkeypatch):
    """Makes every step one that reads much, or none."""
    monkeypatch.setattr(scan, "_FEW", request.param)
    return request.param


def both(monkeypatch, function):
    """Calls a function with the prefetch and without."""
    results = []
    for few in (-1, 10**9):
        monkeypatch.setattr(scan, "_FEW", few)
        results.append(function())
    return results


def loss(cell, params, xs, state, **flags):
    state, ys = UNROLL(cell, params, xs, state, **flags)
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(leaf**2) for leaf in floats)


MODES = {
    "values": lambda f: f,
    "reverse": jax.grad,
    "forward": lambda f: lambda x: jax.jvp(f, (x,), (jnp.cos(x),)),
    "twice": lambda f: jax.grad(lambda x: jnp.sum(jax.grad(f)(x) ** 2)),
    "mapped": lambda f: lambda x: jax.vmap(jax.grad(f))(jnp.stack([x, 2 * x])),
}


def make(name):
    if name == "gru_reset_before":
        return jaxrnn.gru(3, 5, reset="before")
    return getattr(jaxrnn, name)(3, 5)


@needs_cpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", [CELLS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in CELLS[1:])]
)
def test_is_the_plain_scan(name, mode, monkeypatch, key, x64):
    """By inputs and by parameters, with masks, resets, a state of its own; also one step."""
    cell = make(name)
    params = cell.init(key)
    xs = jax.random.normal(key, (4, 2, 3))
    state = jax.tree.map(lambda leaf: leaf + 1, cell.initial_state(params, (2,)))
    flags = {"mask": jnp.array([[1, 1], [1, 0], [1, 0], [0, 0]], bool), "resets": xs[..., 0] > 1}

    def run():
        def of(xs):
            scaled = jax.tree.map(lambda leaf: leaf * (1 + xs[0, 0, 0]), params)
            return loss(cell, scaled, xs, state, **flags) + loss(cell, scaled, xs[:1], None)

        return jax.jit(MODES[mode](of))(xs)

    prefetched, plain = both(monkeypatch, run)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), prefetched, plain
    )


@needs_cpu
def test_both_loops_are_run(monkeypatch, key):
    """What the other tests compare are two programs."""
    cell, xs = jaxrnn.gru(3, 5), jnp.ones((4, 2, 3))
    programs = both(
        monkeypatch, lambda: str(jax.make_jaxpr(lambda p: UNROLL(cell, p, xs))(cell.init(key)))
    )
    assert ["prefetched_scan" in one for one in programs] == [True, False]


@needs_cpu
def test_what_the_cell_closes_over_may_be_traced(loop):
    """A float gets its derivative; an integer may come from an outer jit."""

    def run(scale, power):
        structure = jaxrnn.Separable(
            lambda params, x: x * params,
            lambda prepared, s, z: (jnp.tanh(s**power + scale * z),) * 2,
        )
        cell = jaxrnn.from_structure(
            lambda key: jnp.ones(3), lambda params, batch=(): jnp.zeros((*batch, 3)), structure
        )
        _, ys = UNROLL(cell, jnp.ones(3), jnp.ones((2, 3)))
        return jnp.sum(ys)

    value, slope = jax.jit(jax.value_and_grad(run))(0.5, 2)
    first = np.tanh(0.5)
    second = np.tanh(first**2 + 0.5)
    np.testing.assert_allclose(value, 3 * (first + second), rtol=1e-6)
    d_first = 1 - first**2
    d_second = (1 - second**2) * (2 * first * d_first + 1)
    np.testing.assert_allclose(slope, 3 * (d_first + d_second), rtol=1e-5)


def test_accurate_derivatives_reach_inside(loop):
    """A saturated unit's slope is sech(x)^2 = 4 exp(-2 x); JAX's own rule is far from it."""
    cell = jaxrnn.elman(1, 1)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    params = params._replace(w_ih=jnp.ones((1, 1)))
    xs = jnp.full((3, 1), 12.0)
    slopes = jax.grad(accurate(lambda xs: jnp.sum(UNROLL(cell, params, xs)[1])))(xs)
    np.testing.assert_allclose(slopes, 4 * np.exp(-24.0), rtol=1e-5)
    raw = jax.grad(lambda xs: jnp.sum(UNROLL(cell, params, xs)[1]))(xs)
    assert not np.allclose(raw, 4 * np.exp(-24.0), rtol=0.5)


@needs_cpu
def test_a_derivative_makes_no_copies(monkeypatch, key):
    """The derivative's program is the plain scan's: as many bytes."""
    cell = jaxrnn.gru(8, 32, reset="before")
    params, xs = cell.init(key), jnp.ones((50, 16, 8))

    def size():
        grad = jax.jit(jax.grad(lambda xs: jnp.sum(UNROLL(cell, params, xs)[1])))
        return grad.lower(xs).compile().memory_analysis().temp_size_in_bytes

    prefetched, plain = both(monkeypatch, size)
    assert prefetched <= 1.01 * plain
