"""The cells under test: the library's, its wrappers, and cells such as users write."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

import jaxrnn

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 6, (2,)


BASIC = ("elman", "irnn", "lstm", "gru", "gru_reset_before")  # of CELLS: what most tests run on


needs_two = pytest.mark.skipif("len(jax.devices()) < 2", reason="needs two devices")
needs_eight = pytest.mark.skipif("len(jax.devices()) < 8", reason="needs eight devices")
needs_schur = pytest.mark.skipif(
    "jax.default_backend() != 'cpu'", reason="JAX has a Schur form on CPU: half the digits without"
)


def first_of(names):
    """Rows of a test: the first name by default, the others, which repeat it, in the slow run."""
    first, *others = names
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


def graded(names, *, default=(), slow=()):
    """Rows of a test: some by default, one of a kind in the slow run; the rest repeats: exhaustive.

    A slow row has something of its own (a structure, a kind of state, an option). What only takes
    another cell or dtype through the same code is exhaustive.
    """
    assert {*default, *slow} <= {*names}
    marks = {name: [pytest.mark.exhaustive] for name in names}
    marks |= {name: [pytest.mark.slow] for name in slow} | {name: [] for name in default}
    return [pytest.param(name, marks=marks[name]) for name in names]


class Case(NamedTuple):
    """A cell and inputs for it.

    `every_flag`: try every unroll on it with every kind of flags. `zoo`: a cell of CELLS that is
    not basic; what holds for its structure has been tried on others.
    """

    cell: jaxrnn.Cell
    xs: object
    every_flag: bool = False
    zoo: bool = False


def zeros(size):
    """Makes an initial state of zeros in JAX's default floating dtype."""

    def initial_state(params, batch_shape=()):
        return jnp.zeros((*batch_shape, size))

    return initial_state


def matrices(**shapes):
    """Makes an init of normal matrices scaled by their fan in."""

    def init(key):
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(k, shape) / shape[0] ** 0.5
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    return init


def leaky(input_size, hidden_size, leak=0.2):
    """A user's first cell, General."""

    def step(params, h, x):
        h = (1 - leak) * h + leak * jnp.tanh(x @ params["w"] + h @ params["u"])
        return h, h

    init = matrices(w=(input_size, hidden_size), u=(hidden_size, hidden_size))
    return jaxrnn.Cell(init, zeros(hidden_size), step)


def antisymmetric(input_size, hidden_size):
    """A user's Gated cell: its recurrent matrix is made of its parameters."""

    def pointwise(vectors, h, a):
        h = vectors["gain"] * jnp.tanh(a)
        return h, h

    structure = jaxrnn.Gated(
        project=lambda p, x: x @ p["w"],
        weights=lambda p: jnp.sin(p["u"] - p["u"].T),
        pointwise=pointwise,
        vectors=lambda p: {"gain": jnp.exp(p["log_gain"][0])},
    )
    init = matrices(
        w=(input_size, hidden_size), u=(hidden_size, hidden_size), log_gain=(1, hidden_size)
    )
    return jaxrnn.from_structure(init, zeros(hidden_size), structure)


def independent(input_size, hidden_size):
    """A user's Elementwise cell, like IndRNN."""

    def pointwise(vectors, h, z):
        h = jnp.tanh(z + vectors * h)
        return h, 2 * h

    structure = jaxrnn.Elementwise(
        project=lambda p, x: x @ p["w"], pointwise=pointwise, vectors=lambda p: p["u"][0]
    )
    init = matrices(w=(input_size, hidden_size), u=(1, hidden_size))
    return jaxrnn.from_structure(init, zeros(hidden_size), structure)


def minimal(input_size, hidden_size):
    """A user's Linear cell with diagonal maps, like minGRU."""

    def coefficients(params, x):
        z = jax.nn.sigmoid(x @ params["z"])
        return 1 - z, z * (x @ params["w"])

    structure = jaxrnn.Linear(
        coefficients=coefficients, readout=lambda p, h, x: jnp.concatenate([h, x], -1)
    )
    init = matrices(z=(input_size, hidden_size), w=(input_size, hidden_size))
    return jaxrnn.from_structure(init, zeros(hidden_size), structure)


def rotating(input_size, hidden_size):
    """A user's Linear cell with dense maps."""

    def coefficients(params, x):
        a = jnp.tanh(jnp.einsum("...i,ijk->...jk", x, params["a"]))
        return a, x @ params["w"]

    structure = jaxrnn.Linear(
        coefficients=coefficients,
        readout=lambda p, h, x: jnp.sin(h),
        combine=jaxrnn.core.structure.dense_combine,
        apply=jaxrnn.core.structure.dense_apply,
    )
    init = matrices(a=(input_size, hidden_size, hidden_size), w=(input_size, hidden_size))
    return jaxrnn.from_structure(init, zeros(hidden_size), structure)


def separable(input_size, hidden_size):
    """A user's Separable cell: two dependent products."""

    def recur(prepared, h, z):
        inside = jnp.tanh(z + h @ prepared["u"])
        h = jnp.tanh(inside @ prepared["v"])
        return h, inside

    structure = jaxrnn.Separable(
        project=lambda p, x: x @ p["w"],
        recur=recur,
        prepare=lambda p: {"u": jnp.tanh(p["u"]), "v": p["v"]},
    )
    square = (hidden_size, hidden_size)
    init = matrices(w=(input_size, hidden_size), u=square, v=square)
    return jaxrnn.from_structure(init, zeros(hidden_size), structure)


class Pair(NamedTuple):
    """A state of a tree, a counter of steps among it."""

    fast: dict
    slow: tuple


def nested(input_size, hidden_size):
    """A user's cell whose state, input and output are trees, and whose state counts steps."""

    def initial_state(params, batch_shape=()):
        h = jnp.zeros((*batch_shape, hidden_size), params["u"].dtype)
        count = jnp.zeros(batch_shape, jnp.int32)
        return Pair({"h": h, "square": jnp.zeros((*batch_shape, 2, 2), h.dtype)}, (h + 0.5, count))

    def step(params, state, x):
        share = x["left"] @ params["w"] + x["right"] @ params["v"]
        slow, count = state.slow
        h = jnp.tanh(share + state.fast["h"] @ params["u"] + slow / (1 + count[..., None]))
        outer = h[..., :2, None] * h[..., None, :2]
        square = 0.5 * state.fast["square"] + outer
        slow = 0.9 * slow + 0.1 * h
        return Pair({"h": h, "square": square}, (slow, count + 1)), (square, {"h": h})

    init = matrices(w=(input_size, hidden_size), v=(1, hidden_size), u=(hidden_size, hidden_size))
    return jaxrnn.Cell(init, initial_state, step)


def counted(inner):
    """A cell that also reads tokens: the pair of a float input and an integer one."""

    def step(params, h, x):
        tokens, floats = x
        h = jnp.tanh(params["embed"][tokens] + floats @ params["w"] + h @ params["u"])
        return h, h

    init = matrices(embed=(5, inner), w=(INPUT, inner), u=(inner, inner))
    return jaxrnn.Cell(init, zeros(inner), step)


def floats(*features):
    """Random inputs of these feature sizes."""
    keys = jax.random.split(jax.random.key(7), len(features))
    return [jax.random.normal(k, (STEPS, *BATCH, n)) for k, n in zip(keys, features, strict=True)]


def tokens(count):
    """Random tokens."""
    return jax.random.randint(jax.random.key(8), (STEPS, *BATCH), 0, count)


def shifted(cell):
    """The cell with `learned_state`, the state away from zero so that a reset to zeros is seen."""
    learned = jaxrnn.learned_state(cell)

    def init(key):
        params = learned.init(key)
        return params._replace(state=jax.tree.map(lambda leaf: leaf + 0.5, params.state))

    return learned._replace(init=init)


def space_of(cell):
    """The grid on which a convolutional cell lives; no axes for the others."""
    state = jax.eval_shape(lambda: cell.initial_state(cell.init(jax.random.key(0))))
    return jax.tree.leaves(state)[0].shape[: cell.input_ndim - 1]


def of_table(name):
    """The case of a row of CELLS, in its own small sizes."""
    entry = jaxrnn.CELLS[name]
    cell = entry.make(*entry.sizes)
    shape = (STEPS, *BATCH, *space_of(cell), entry.sizes[0])
    xs = jax.random.normal(jax.random.key(7), shape)
    return Case(cell, xs, zoo=name not in BASIC)


def make_cases():
    """Returns the table, by name; called where a test needs it, so that importing is light."""
    xs = floats(INPUT)[0]
    cases = {name: of_table(name) for name in jaxrnn.CELLS}
    cases["lstm"] = cases["lstm"]._replace(every_flag=True)
    left, right = floats(INPUT, 1)
    return cases | {
        "learned_state_lstm": Case(shifted(jaxrnn.lstm(INPUT, HIDDEN)), xs),
        "learned_state_leaky": Case(shifted(leaky(INPUT, HIDDEN)), xs, every_flag=True),
        "elman_tokens": Case(jaxrnn.elman(4, HIDDEN), tokens(4)),
        "leaky": Case(leaky(INPUT, HIDDEN), xs),
        "skew": Case(antisymmetric(INPUT, HIDDEN), xs),
        "independent": Case(independent(INPUT, HIDDEN), xs),
        "minimal": Case(minimal(INPUT, HIDDEN), xs),
        "rotating": Case(rotating(INPUT, HIDDEN), xs),
        "separable": Case(separable(INPUT, HIDDEN), xs),
        "nested": Case(nested(INPUT, HIDDEN), {"left": left, "right": right}),
        "mixed_tokens": Case(counted(HIDDEN), (tokens(5), xs)),
    }


CASES = make_cases()
