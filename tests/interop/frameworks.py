"""Two bidirectional layers of other libraries' own cells, as functions of their own weights.

A `Theirs` holds the weights as a user of the library has them, and
``run(weights, xs, start, lengths) -> (final, ys)``: time-major, states nested as ours are, those of
an LSTM as (h, c). Where a library has no layer in two directions, its cells run in ours.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.cells import GRUParams, LSTMParams
from jaxrnn.cells.elman import ElmanParams
from jaxrnn.cells.mgu import MGUParams
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams

INPUT, HIDDEN, PROJECTION, STEPS = 2, 4, 3, 5
LENGTHS = (STEPS, 0, 1)
CASES = [  # (format, kind)
    ("torch", "projected_lstm"),
    ("keras", "elman"),
    ("keras", "lstm"),
    ("keras", "gru"),
    ("keras", "gru_reset_before"),
    ("linen", "elman"),
    ("linen", "lstm"),
    ("linen", "gru"),
    ("linen", "mgu_reset_after"),
    ("nnx", "elman"),
    ("nnx", "lstm"),
    ("nnx_optimized", "lstm"),
    ("nnx", "gru"),
    ("haiku", "elman"),
    ("haiku", "lstm"),
    ("haiku", "gru_reset_before"),
    ("equinox", "lstm"),
    ("equinox", "gru"),
    ("cudnn", "lstm"),
    ("onnx", "elman"),
    ("onnx", "lstm"),
    ("onnx", "peephole_lstm"),
    ("onnx", "gru"),
    ("onnx", "gru_reset_before"),
]
SINGLE = {"keras", "onnx"}  # what computes in float32 alone
RESETS = {"gru": "after", "gru_reset_before": "before"}
PACKAGES = {"linen": "flax", "nnx": "flax", "nnx_optimized": "flax", "cudnn": "jax"} | {
    name: name for name in ("torch", "keras", "haiku", "equinox")
}
PACKAGES["onnx"] = "onnxruntime"


class Theirs(NamedTuple):
    """A network of another library."""

    weights: Any
    run: Callable[..., tuple[Any, Any]]


# Ours


def cell(kind, inputs, relu=False):
    """The cell of that name with the sizes of the tests."""
    if kind == "elman" and relu:
        return jaxrnn.elman(inputs, HIDDEN, activation="relu")
    if kind == "projected_lstm":
        return jaxrnn.projected_lstm(inputs, HIDDEN, projection_size=PROJECTION)
    return jaxrnn.CELLS[kind].make(inputs, HIDDEN)


def outputs(kind):
    return PROJECTION if kind == "projected_lstm" else HIDDEN


def network(kind, relu=False, cells=None):
    """Two bidirectional layers of ours, or of the given cells."""
    if cells is None:
        cells = [[cell(kind, size, relu)] * 2 for size in (INPUT, 2 * outputs(kind))]
    layers = [[jaxrnn.layer(one, jaxrnn.unroll) for one in pair] for pair in cells]
    return jaxrnn.stack(*[jaxrnn.bidirectional(*pair) for pair in layers])


def blank(kind, inputs, hidden=HIDDEN, projection=PROJECTION, dtype=np.float32):
    """The shapes of one cell's parameters, without tracing an init."""

    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, dtype)

    gates = {"elman": 1, "mgu": 2, "mgu_reset_after": 2, "gru": 3, "gru_reset_before": 3}.get(
        kind, 4
    )
    out = projection if kind == "projected_lstm" else hidden
    three = shape(inputs, gates * hidden), shape(out, gates * hidden), shape(gates * hidden)
    if kind.startswith(("gru", "mgu")):
        make = GRUParams if kind.startswith("gru") else MGUParams
        after = kind in ("gru", "mgu_reset_after")
        return make(*three, shape(hidden) if after else None)
    if kind == "peephole_lstm":
        return PeepholeLSTMParams(*three, *[shape(hidden)] * 3)
    if kind == "projected_lstm":
        return ProjectedLSTMParams(*three, shape(hidden, projection))
    return {"elman": ElmanParams, "lstm": LSTMParams}[kind](*three)


def blanks(kind, layers=2):
    """The shapes of the parameters of two bidirectional layers."""
    sizes = [INPUT] + [2 * outputs(kind)] * (layers - 1)
    return tuple((blank(kind, size), blank(kind, size)) for size in sizes)


def drawn(tree, seed=0):
    """A tree of random float64 NumPy arrays with the shapes of another."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) / 2, tree)


def coarse(tree, seed):
    """As `drawn`, in steps of 1/64, so that a file of them is small."""
    return jax.tree.map(lambda leaf: np.round(64 * leaf) / 64, drawn(tree, seed))


def given(kind, seed=0):
    """Inputs and an initial state."""
    lengths = len(LENGTHS)
    h, c = (lengths, outputs(kind)), (lengths, HIDDEN)
    one = (np.zeros(h), np.zeros(c)) if kind.endswith("lstm") else np.zeros(h)
    start = ((one, one), (one, one))
    return drawn((np.zeros((STEPS, lengths, INPUT)), start), seed)


def wide(pair):
    """A layer's two states, h and c apart: [(h, h)] or [(h, h), (c, c)]."""
    return list(zip(*pair, strict=True)) if isinstance(pair[0], tuple) else [pair]


def narrow(parts):
    """Back from `wide`."""
    return tuple(zip(*parts, strict=True)) if len(parts) > 1 else tuple(parts[0])


def ours(params, kind, xs, start, lengths, relu=False):
    """Our network on their arguments."""
    net = network(kind, relu)
    blank_state = jax.eval_shape(lambda p: net.initial_state(p, xs.shape[1:-1]), params)
    state = jax.tree.structure(blank_state).unflatten(jax.tree.leaves(start))
    mask = jaxrnn.length_mask(jnp.asarray(lengths), len(xs))
    return net.apply(params, xs, state, mask=mask)


# Theirs


def swapped(state):
    """(h, c) to (c, h) and back, as flax has it."""
    return state[::-1] if isinstance(state, tuple) else state


def linen(kind, seed):
    from flax import linen as nn

    name = {
        "elman": "SimpleCell",
        "lstm": "LSTMCell",
        "gru": "GRUCell",
        "mgu_reset_after": "MGUCell",
    }
    make = getattr(nn, name[kind])

    class Net(nn.Module):
        layers: tuple

        def __call__(self, xs, start, lengths):
            finals = []
            for layer, state in zip(self.layers, start, strict=True):
                carry, xs = layer(xs, initial_carry=state, seq_lengths=lengths)
                finals.append(carry)
            return tuple(finals), xs

    def layer():
        rnns = [nn.RNN(make(HIDDEN)) for _ in range(2)]
        return nn.Bidirectional(*rnns, time_major=True, return_carry=True)

    net = Net([layer(), layer()])

    def run(weights, xs, start, lengths):
        start = tuple(tuple(map(swapped, pair)) for pair in start)
        final, ys = net.apply(weights, xs, start, jnp.asarray(lengths))
        return tuple(tuple(map(swapped, pair)) for pair in final), ys

    xs, start = given(kind)
    start = tuple(tuple(map(swapped, pair)) for pair in start)
    return Theirs(coarse(net.init(jax.random.key(0), xs, start, np.array(LENGTHS)), seed), run)


def nnx(kind, seed, optimized=False):
    from flax import nnx

    name = {"elman": "SimpleCell", "lstm": "LSTMCell", "gru": "GRUCell"}[kind]
    make = getattr(nnx, "Optimized" + name if optimized else name)
    wide = {"dtype": np.float64} if kind == "elman" else {}  # its default is float32

    def layer(inputs):
        cells = [make(inputs, HIDDEN, rngs=nnx.Rngs(0), **wide) for _ in range(2)]
        rnns = [nnx.RNN(cell, rngs=nnx.Rngs(0)) for cell in cells]
        return nnx.Bidirectional(*rnns, time_major=True, return_carry=True, rngs=nnx.Rngs(0))

    model = nnx.Sequential(layer(INPUT), layer(2 * HIDDEN))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def run(weights, xs, start, lengths):
        state = jax.tree.structure(params).unflatten(
            jax.tree.leaves(weights)  # the same keys in the same order
        )
        finals = []
        for one, pair in zip(nnx.merge(graph, state, rest).layers, start, strict=True):
            carry = tuple(map(swapped, pair))
            carry, xs = one(xs, initial_carry=carry, seq_lengths=jnp.asarray(lengths))
            finals.append(tuple(map(swapped, carry)))
        return tuple(finals), xs

    return Theirs(coarse(nnx.to_pure_dict(params), seed), run)


def in_ours(step, kind, pick):
    """A network of theirs that runs in our layers; `pick` takes one cell's weights out of all."""

    def one(layer, direction):
        return jaxrnn.Cell(
            lambda key: None,
            lambda params, batch_shape=(): None,
            lambda params, state, x: step(pick(params, layer, direction), state, x),
        )

    net = network(kind, cells=[[one(layer, way) for way in range(2)] for layer in range(2)])

    def run(weights, xs, start, lengths):
        mask = jaxrnn.length_mask(jnp.asarray(lengths), len(xs))
        return net.apply(((weights,) * 2,) * 2, xs, start, mask=mask)

    return run


def haiku(kind, seed):
    import haiku as hk

    make = {"elman": hk.VanillaRNN, "lstm": hk.LSTM, "gru_reset_before": hk.GRU}[kind]

    def four(xs):
        for size in (INPUT, INPUT, 2 * HIDDEN, 2 * HIDDEN):
            core = make(HIDDEN)
            core(xs[..., :1] * jnp.ones(size), core.initial_state(len(xs)))

    weights = hk.transform(four).init(jax.random.key(0), jnp.ones((2, 1)))

    def advance(x, state):
        core = make(HIDDEN)
        if kind == "lstm":
            y, state = core(x, hk.LSTMState(*state))
            return tuple(state), y
        return core(x, state)[::-1]

    one = hk.without_apply_rng(hk.transform(advance))
    base = {"elman": "vanilla_rnn", "lstm": "lstm", "gru_reset_before": "gru"}[kind]

    def pick(weights, layer, direction):
        number = 2 * layer + direction
        name = f"{base}_{number}" if number else base
        return {
            base + module.removeprefix(name): inner
            for module, inner in weights.items()
            if module.split("/")[0] == name
        }

    run = in_ours(lambda weights, state, x: one.apply(weights, x, state), kind, pick)
    return Theirs(coarse(weights, seed), run)


def equinox(kind, seed):
    import equinox as eqx

    make = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[kind]
    names = ("weight_ih", "weight_hh", "bias", *(["bias_n"] if kind == "gru" else []))

    def new(size):
        return make(size, HIDDEN, key=jax.random.key(0))

    def attributes(size):
        return {name: getattr(new(size), name) for name in names}

    weights = {
        "layers": [
            {way: attributes(size) for way in ("forward", "backward")}
            for size in (INPUT, 2 * HIDDEN)
        ]
    }

    def step(weights, state, x):
        def where(one):
            return tuple(getattr(one, name) for name in names)

        one = eqx.tree_at(where, new(x.shape[-1]), tuple(weights[name] for name in names))
        state = jax.vmap(one)(x, state)
        return state, state[0] if kind == "lstm" else state

    def pick(weights, layer, direction):
        return weights["layers"][layer][("forward", "backward")[direction]]

    return Theirs(coarse(weights, seed), in_ours(step, kind, pick))


def keras(kind, seed):
    import keras

    layers = {"elman": "SimpleRNN", "lstm": "LSTM"}
    make = getattr(keras.layers, layers.get(kind, "GRU"))
    options = {"return_sequences": True, "return_state": True}
    if kind.startswith("gru"):
        options["reset_after"] = kind == "gru"
    made = [keras.layers.Bidirectional(make(HIDDEN, **options)) for _ in range(2)]
    for layer, size in zip(made, (INPUT, 2 * HIDDEN), strict=True):
        layer.build((None, STEPS, size))
    weights = {v.path: np.asarray(v) for layer in made for v in layer.trainable_variables}

    def run(weights, xs, start, lengths):
        weights, xs, start = jax.tree.map(jnp.float32, (weights, xs, start))
        xs, finals = jnp.swapaxes(xs, 0, 1), []
        mask = jnp.arange(STEPS) < jnp.asarray(lengths)[:, None]
        for layer, pair in zip(made, start, strict=True):
            mine = [weights[v.path] for v in layer.trainable_variables]
            rest = [v.value for v in layer.non_trainable_variables]
            (xs, *final), _ = layer.stateless_call(
                mine, rest, xs, mask=mask, initial_state=jax.tree.leaves(pair)
            )
            both = final[: len(final) // 2], final[len(final) // 2 :]
            finals.append(tuple(tuple(one) if kind == "lstm" else one[0] for one in both))
        return tuple(finals), jnp.swapaxes(xs, 0, 1)

    return Theirs(coarse(weights, seed), run)


def cudnn(kind, seed):
    from jax.experimental import rnn

    sizes = (INPUT, HIDDEN, 2)
    number = rnn.get_num_params_in_lstm(*sizes, True)

    def run(weights, xs, start, lengths):
        parts = rnn.unpack_lstm_weights(weights, *sizes, True)
        h, c = (jnp.stack(part) for part in zip(*[s for pair in start for s in pair], strict=True))
        ys, h, c = rnn.lstm_ref(
            jnp.swapaxes(xs, 0, 1), h, c, *parts, jnp.asarray(lengths, jnp.int32), *sizes, 0.0, True
        )
        states = list(zip(h, c, strict=True))
        return (tuple(states[:2]), tuple(states[2:])), jnp.swapaxes(ys, 0, 1)

    return Theirs(coarse(np.zeros(number), seed), run)


def torch(kind, seed):
    import torch

    assert kind == "projected_lstm"
    module = torch.nn.LSTM(
        INPUT, HIDDEN, 2, proj_size=PROJECTION, bidirectional=True, dtype=torch.float64
    )
    weights = coarse({name: value.numpy() for name, value in module.state_dict().items()}, seed)

    def run(weights, xs, start, lengths):
        """Length 0, which torch refuses, is left out: its outputs stay zero, its state too."""
        some = [index for index, length in enumerate(lengths) if length]
        module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
        h, c = (np.stack(part) for part in zip(*[s for pair in start for s in pair], strict=True))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.tensor(xs[:, some]), torch.tensor(np.array(lengths)[some]), enforce_sorted=False
        )
        with torch.no_grad():
            packed, after = module(packed, (torch.tensor(h[:, some]), torch.tensor(c[:, some])))
        ys = np.zeros((*xs.shape[:2], 2 * PROJECTION))
        ys[:, some] = torch.nn.utils.rnn.pad_packed_sequence(packed)[0].numpy()
        h[:, some], c[:, some] = (part.numpy() for part in after)
        states = list(zip(h, c, strict=True))
        return (tuple(states[:2]), tuple(states[2:])), ys

    return Theirs(weights, run)


def onnx(kind, seed):
    import onnxruntime
    from onnx import TensorProto, helper

    operator = {"elman": "RNN", "gru": "GRU", "gru_reset_before": "GRU"}.get(kind, "LSTM")
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    attributes = {"linear_before_reset": int(kind == "gru")} if operator == "GRU" else {}
    names = {"X": "X", "W": "W", "R": "R", "B": "B", "L": "L", "H": "H"}
    if operator == "LSTM":
        names |= {"C": "C"} | ({"P": "P"} if kind.startswith("peephole") else {})
    ends = ["Y", "Yh"] + (["Yc"] if operator == "LSTM" else [])
    node = helper.make_node(
        operator, list(names), ends, hidden_size=HIDDEN, direction="bidirectional", **attributes
    )

    def info(name):
        kind_of = TensorProto.INT32 if name == "L" else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind_of, None)

    graph = helper.make_graph([node], "layer", list(map(info, names)), list(map(info, ends)))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    weights = {}
    for layer, size in enumerate((INPUT, 2 * HIDDEN)):
        weights[f"{layer}/W"] = np.zeros((2, gates * HIDDEN, size))
        weights[f"{layer}/R"] = np.zeros((2, gates * HIDDEN, HIDDEN))
        weights[f"{layer}/B"] = np.zeros((2, 2 * gates * HIDDEN))
        if "P" in names:
            weights[f"{layer}/P"] = np.zeros((2, 3 * HIDDEN))

    def run(weights, xs, start, lengths):
        """Length 0 is left out, as in torch."""
        some = [index for index, length in enumerate(lengths) if length]
        finals, ys = [], xs
        for layer, pair in enumerate(start):
            states = [np.stack(part) for part in wide(pair)]
            feeds = dict(zip("HC", states, strict=False)) | {"X": ys}
            feeds = {name: value[:, some] for name, value in feeds.items()}
            feeds |= {name: weights[f"{layer}/{name}"] for name in "WRBP" if name in names}
            feeds = {name: value.astype(np.float32) for name, value in feeds.items()}
            feeds["L"] = np.array(lengths, np.int32)[some]
            found, *after = session.run(ends, feeds)
            ys = np.zeros((len(xs), len(lengths), 2 * HIDDEN))
            ys[:, some] = np.concatenate([found[:, 0], found[:, 1]], axis=-1)
            for state, new in zip(states, after, strict=True):
                state[:, some] = new
            finals.append(narrow([tuple(state) for state in states]))
        return tuple(finals), ys

    return Theirs(coarse(weights, seed), run)


MAKERS = {
    "torch": torch,
    "keras": keras,
    "linen": linen,
    "nnx": nnx,
    "nnx_optimized": lambda kind, seed: nnx(kind, seed, optimized=True),
    "haiku": haiku,
    "equinox": equinox,
    "cudnn": cudnn,
    "onnx": onnx,
}


def theirs(form, kind, seed=0):
    """The network of a library."""
    return MAKERS[form](kind, seed)


def source_of(form):
    """The name that `import_weights` takes."""
    return form.removesuffix("_optimized")
