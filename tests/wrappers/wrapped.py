"""What the tests of wrappers share: cells in NumPy, seeded cells, what a derivative stores."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from cases import independent, leaky, minimal, separable
from jaxrnn.wrappers.randomness import seed

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 6, 4
CELLS = {
    "elman": jaxrnn.elman(INPUT, HIDDEN),
    "lstm": jaxrnn.lstm(INPUT, HIDDEN),
    "gru": jaxrnn.gru(INPUT, HIDDEN),
    "minimal": minimal(INPUT, HIDDEN),
    "independent": independent(INPUT, HIDDEN),
    "separable": separable(INPUT, HIDDEN),
    "leaky": leaky(INPUT, HIDDEN),
}
GATED = ("elman", "lstm", "gru")
# Laws that take a sequence out of the batch without its key, for parameters seeded for a batch.
OF_ONE_SEQUENCE = (
    "step_keeps_the_state",
    "pointwise_keeps_units_apart",
    "batch_is_vmap",
    "jacobians_concatenate",
    "log_determinants_add_up",
)


def inputs(*lead, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((*lead, INPUT)))


def random_params(cell, key):
    """Parameters with no zero among them, so that every one of them matters."""
    params = cell.init(key)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    pairs = zip(keys, leaves, strict=True)
    return treedef.unflatten([0.5 * jax.random.normal(k, a.shape, a.dtype) for k, a in pairs])


def seeded(cell, batch_shape=()):
    """The cell with parameters that have keys from the first."""
    return cell._replace(
        init=lambda key: seed(cell.init(key), jax.random.fold_in(key, 9), batch_shape)
    )


def assert_close(got, expected, rtol=1e-10, atol=1e-12):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), got, expected)


def one_step(cell, params):
    """State and output after a step from a state that is not the initial one."""
    state = cell.initial_state(params, (BATCH,))
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.arange(leaf.shape[-1], dtype=leaf.dtype), state
    )
    return cell.step(params, state, inputs(BATCH).astype(jax.tree.leaves(params)[0].dtype))


# Steps in NumPy: (params, state, u, x) -> state; u is what is multiplied by the recurrent matrix.


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def elman_step(p, h, u, x):
    return np.tanh(x @ p.w_ih + u @ p.w_hh + p.b)


def lstm_step(p, state, u, x):
    i, f, g, o = np.split(x @ p.w_ih + u @ p.w_hh + p.b, 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(p, h, u, x):
    (r, z, n), (r_h, z_h, n_h) = (np.split(a, 3, axis=-1) for a in (x @ p.w_ih + p.b, u @ p.w_hh))
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    return (1 - z) * np.tanh(n + r * (n_h + p.b_hn)) + z * h


def minimal_step(p, h, u, x):
    z = sigmoid(x @ p["z"])
    return (1 - z) * u + z * (x @ p["w"])


NUMPY = {"elman": elman_step, "lstm": lstm_step, "gru": gru_step, "minimal": minimal_step}


def first(state):
    """h of a state."""
    return state[0] if isinstance(state, tuple) else state


def numpy_run(name, params, xs, change=None, mask=None):
    """Outputs h, ``(T, B, H)``; `change(t, old, new)` makes the new state, `mask(h)` what is u."""
    p = jax.tree.map(np.asarray, params)
    h = np.zeros((xs.shape[1], HIDDEN))
    state, hs = (h, h) if name == "lstm" else h, []
    for t, x in enumerate(np.asarray(xs)):
        h = first(state)
        new = NUMPY[name](p, state, h if mask is None else mask(h), x)
        state = new if change is None else change(t, state, new)
        hs.append(first(state))
    return np.stack(hs)


# What a program holds.


def equations(jaxpr, loops=0):
    """Yields every equation with the number of loops around it."""
    for eqn in jaxpr.eqns:
        yield eqn, loops
        inside = loops + (eqn.primitive.name in ("scan", "while"))
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(sub):
                yield from equations(getattr(sub, "jaxpr", sub), inside)


def is_jaxpr(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def loss(run, cell, params, xs, **flags):
    state, ys = run(cell, params, xs, **flags)
    leaves = jax.tree.leaves((state, ys))
    return sum(jnp.sum(jnp.sin(a)) for a in leaves if jnp.issubdtype(a.dtype, jnp.inexact))


def slopes(run, cell, params, xs, key, **flags):
    """Value and gradients of a loss, seeded inside, as one trains."""

    def of(params, xs):
        keyed = seed(params, key, xs.shape[1:-1])
        return loss(run, cell, keyed, xs, **flags)

    return jax.jit(jax.value_and_grad(of, (0, 1)))(params, xs)


def stored(run, cell, params, xs):
    """Types and shapes of what a derivative keeps that is no float."""

    def of(params, xs):  # of the inputs, too: they may come from a layer below
        return loss(run, cell, seed(params, KEY, xs.shape[1:-1]), xs)

    _, back = jax.vjp(of, params, xs)
    leaves = jax.tree.leaves(back)
    return {(str(a.dtype), a.shape) for a in leaves if not jnp.issubdtype(a.dtype, jnp.inexact)}


def loops_of_draws(run, cell, params, xs):
    """In how many loops each drawing of random bits stands, in a gradient."""

    def of(params):
        return loss(run, cell, seed(params, KEY, xs.shape[1:-1]), xs)

    jaxpr = jax.make_jaxpr(jax.grad(of))(params).jaxpr
    return [loops for eqn, loops in equations(jaxpr) if eqn.primitive.name == "random_bits"]


def carried(run, cell, params, xs):
    """Types of what the loops of a forward pass carry."""
    keyed = seed(params, KEY, xs.shape[1:-1])
    jaxpr = jax.make_jaxpr(lambda xs: run(cell, keyed, xs))(xs).jaxpr
    loops = [eqn for eqn, _ in equations(jaxpr) if eqn.primitive.name == "scan"]
    assert loops
    return {
        str(outer.aval.dtype)
        for eqn in loops
        for outer, inner in zip(eqn.outvars, eqn.params["jaxpr"].jaxpr.outvars, strict=True)
        if outer.aval.shape == inner.aval.shape  # what is stacked has an axis more
    }


KEY = jax.random.key(3)
