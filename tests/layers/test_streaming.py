"""Steps one at a time against whole sequences, and what a stepper promises beside the values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import BATCH, CASES, STEPS, first_of, graded

NUMBERS = np.random.default_rng(0)
RESETS = np.zeros((STEPS, *BATCH), bool)
RESETS[0, 0] = RESETS[3, 1] = RESETS[4] = True
MASK = np.ones((STEPS, *BATCH), bool)
MASK[1, 0] = MASK[2] = MASK[4, 1] = False


def close(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, expected)


def stream_through(stream, params, xs, *, resets=None, mask=None, batch=BATCH):
    """The final state and the outputs of all steps, side by side."""
    prepared = stream.prepare(params)
    state, ys = stream.initial_state(prepared, batch), []
    for t in range(STEPS):
        x = jax.tree.map(lambda leaf, t=t: leaf[t], xs)
        reset = None if resets is None else resets[t]
        real = None if mask is None else mask[t]
        state, y = stream.step(prepared, state, x, reset, mask=real)
        ys.append(y)
    return state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)


def deep(cell=None):
    """A stack with one layer of every kind that goes step by step."""
    cell = jaxrnn.lstm(2, 4) if cell is None else cell
    return jaxrnn.stack(
        jaxrnn.layer(cell),
        jaxrnn.residual(jaxrnn.layer(jaxrnn.learned_state(jaxrnn.gru(4, 4)))),
        jaxrnn.dropout(0.5),
        jaxrnn.readout(3),
    )


# Of the zoo a few: a matrix to prepare, complex numbers, matrices in the state, a grid.
FEW = ("exp_rnn", "lru", "mlstm", "conv_gru")
CELLS = [name for name, case in CASES.items() if name in FEW or not case.zoo]


@pytest.mark.parametrize(
    "name",
    graded(
        CELLS,
        default=["nested"],
        slow=["lstm", "lru", "mlstm", "exp_rnn", "conv_gru", "learned_state_lstm", "mixed_tokens"],
    ),
)
def test_a_cell_step_by_step_is_its_unroll(name, key):
    """Streams begin anew and pause, each by itself."""
    cell, xs, *_ = CASES[name]
    params = cell.init(key)
    got = stream_through(jaxrnn.stepper(cell), params, xs, resets=RESETS, mask=MASK)
    close(got, jaxrnn.unroll(cell, params, xs, resets=RESETS, mask=MASK))


@pytest.mark.parametrize(
    "flags", first_of([{"resets": RESETS}, {"mask": MASK}, {}, {"resets": RESETS, "mask": MASK}])
)
def test_a_stack_step_by_step_is_its_apply(flags, key):
    net = deep()
    params = net.init(key)
    first = jax.tree.map(lambda leaf: leaf + 0.5, params[1].state)  # a reset to zeros is seen
    params = (params[0], params[1]._replace(state=first), *params[2:])
    xs = jnp.asarray(NUMBERS.normal(size=(STEPS, *BATCH, 2)), jnp.float32)
    if "mask" in flags:
        xs = jnp.where(MASK[..., None], xs, jnp.nan)
    got = stream_through(jaxrnn.stepper(net), params, xs, **flags)
    close(got, net.apply(params, xs, net.initial_state(params, BATCH), **flags))


@pytest.mark.slow
def test_a_state_from_a_sequence_goes_on_as_a_stream(key):
    cell = jaxrnn.gru(2, 4)
    params, xs = cell.init(key), jnp.asarray(NUMBERS.normal(size=(STEPS, 2)), jnp.float32)
    state, _ = jaxrnn.unroll(cell, params, xs[:-1])
    stream = jaxrnn.stepper(jaxrnn.layer(cell))
    close(
        stream.step(stream.prepare(params), state, xs[-1])[1],
        jaxrnn.unroll(cell, params, xs)[1][-1],
    )


def counting(cell, counts):
    """The cell; how often each phase is traced is counted."""

    def counted(name, function):
        def call(*args):
            counts[name] = counts.get(name, 0) + 1
            return function(*args)

        return call

    parts = cell.parts
    structure = jaxrnn.Separable(
        counted("project", parts.project),
        counted("recur", parts.recur),
        counted("prepare", parts.prepare),
    )
    return jaxrnn.from_structure(cell.init, cell.initial_state, structure)


def test_prepares_once_and_traces_once_and_donates_the_state_alone(key):
    counts = {}
    stream = jaxrnn.stepper(deep(counting(jaxrnn.lstm(2, 4), counts)))
    params = deep().init(key)
    prepared = stream.prepare(params)
    first = stream.initial_state(prepared, (2,))
    leaves = jax.tree.leaves(first)
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves) == 3
    state, y = stream.step(prepared, first, jnp.ones((2, 2)))
    assert all(leaf.is_deleted() for leaf in leaves)
    seen = dict(counts)
    assert seen["prepare"] == 1
    for _ in range(3):
        state, again = stream.step(prepared, state, np.ones((2, 2), np.float32))
    assert counts == seen
    assert not any(
        leaf.is_deleted() for leaf in jax.tree.leaves((params, prepared, state, y, again))
    )


def test_a_learned_state_is_not_given_away(key):
    """Without batch axes it is the parameter itself, whose memory must not be donated."""
    cell = jaxrnn.learned_state(jaxrnn.gru(2, 4))
    stream = jaxrnn.stepper(cell)
    params = cell.init(key)
    prepared = stream.prepare(params)
    stream.step(prepared, stream.initial_state(prepared), jnp.ones(2))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((params, prepared)))


def test_gradients_flow_through_steps_outside_jit(key):
    """The state that a step read is needed on the way back, so it is not donated."""
    cell, xs = jaxrnn.elman(2, 3), jnp.asarray(NUMBERS.normal(size=(2, 2)), jnp.float32)
    stream, params = jaxrnn.stepper(cell), cell.init(key)

    def streamed(params):
        prepared = stream.prepare(params)
        state = stream.initial_state(prepared)
        for x in xs:
            state, y = stream.step(prepared, state, x)
        return jnp.sum(y**2)

    def unrolled(params):
        return jnp.sum(jaxrnn.unroll(cell, params, xs)[1][-1] ** 2)

    close(jax.grad(streamed)(params), jax.grad(unrolled)(params))


@pytest.mark.slow
def test_new_parameters_after_prepare(key):
    cell = CASES["skew"].cell  # its matrix is made of its parameters
    stream = jaxrnn.stepper(cell)
    one, two = cell.init(key), cell.init(jax.random.key(1))
    x = jnp.ones(2)
    ys = [
        stream.step(prepared, stream.initial_state(prepared), x)[1]
        for prepared in (stream.prepare(one), stream.prepare(two))
    ]
    close(ys[1], cell.step(two, cell.initial_state(two), x)[1])
    assert not np.allclose(*ys, rtol=1e-3)


REFUSED = {
    "bidirectional": ("a bidirectional layer", lambda one: jaxrnn.bidirectional(one, one)),
    "in a stack": ("a reverse layer", lambda one: jaxrnn.stack(one, jaxrnn.reverse(one))),
    "residual": ("a reverse layer", lambda one: jaxrnn.residual(jaxrnn.reverse(one))),
    "own": (
        "a layer of your own",
        lambda one: jaxrnn.Layer(one.init, one.initial_state, one.apply),
    ),
    "changed": ("a layer of your own", lambda one: one._replace(apply=lambda *_, **__: None)),
}


@pytest.mark.parametrize("words, make", REFUSED.values(), ids=REFUSED)
def test_what_has_no_single_step_is_refused(words, make):
    net = make(jaxrnn.layer(jaxrnn.gru(2, 2)))
    with pytest.raises(TypeError, match=rf"stepper: got .*{words}.*; expected .*; .* its apply"):
        jaxrnn.stepper(net)


@pytest.mark.parametrize(
    "x, flags, error, words",
    [
        ((3, 2), {"reset": np.zeros(2, bool)}, ValueError, r"got reset of shape \(2,\).*\(3,\)"),
        ((3, 2), {"mask": np.zeros((1, 3), bool)}, ValueError, r"got mask of shape \(1, 3\)"),
        ((3, 2), {"reset": np.zeros(3, int)}, TypeError, "got reset of dtype int.*expected bool"),
        ((), {}, ValueError, r"got x of shape \(\); expected one step's input.*features"),
        ((7, 3, 2), {}, ValueError, r"got a state float32\[3, 4\].*expected float32\[7, 3, 4\]"),
    ],
)
def test_what_does_not_fit(x, flags, error, words, key):
    cell = jaxrnn.gru(2, 4)
    stream = jaxrnn.stepper(cell)
    prepared = stream.prepare(cell.init(key))
    with pytest.raises(error, match=f"stepper: .*{words}"):
        stream.step(prepared, jnp.zeros((3, 4)), jnp.ones(x), **flags)


def test_no_network():
    with pytest.raises(TypeError, match=r"stepper: got function.*; expected .*; call .*lstm\("):
        jaxrnn.stepper(jaxrnn.lstm)


def test_parameters_are_no_network():
    with pytest.raises(TypeError, match="got GRUParams .*; pass the network alone") as caught:
        jaxrnn.stepper(jaxrnn.GRUParams(*4 * [np.ones((9, 9))]))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("stacked", [False, True])
def test_parameters_that_were_not_prepared(stacked, key):
    cell = jaxrnn.gru(2, 4)
    net = jaxrnn.stack(jaxrnn.layer(cell)) if stacked else cell
    stream, params = jaxrnn.stepper(net), net.init(key)
    state = (jnp.zeros(4),) if stacked else jnp.zeros(4)
    message = r"stepper: got .*not prepared, GRUParams; .*stream\.prepare\(params\)"
    with pytest.raises(TypeError, match=message):
        stream.initial_state(params)
    with pytest.raises(TypeError, match=message):
        stream.step(params, state, jnp.ones(2))


def test_parameters_of_another_number_of_layers(key):
    net = deep()
    stream, params = jaxrnn.stepper(net), net.init(key)
    for call in (stream.prepare, stream.initial_state, lambda p: stream.step(p, (), jnp.ones(2))):
        with pytest.raises(ValueError, match="got parameters .* tuple of 3; expected a tuple of 4"):
            call(params[:-1])


def test_batch_axes_that_are_no_tuple():
    with pytest.raises(TypeError, match=r"stepper: got batch_shape=4 \(int\); expected a tuple"):
        jaxrnn.stepper(jaxrnn.gru(2, 4)).initial_state(None, 4)
