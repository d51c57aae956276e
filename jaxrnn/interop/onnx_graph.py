"""A network as a graph of ONNX's operators, before anything of it is an ONNX object."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.core.types import Params
from jaxrnn.interop.blocks import split_params
from jaxrnn.interop.formats.onnx import pack_onnx
from jaxrnn.interop.onnx_parts import Operator, check_network, operator_of
from jaxrnn.layers.layer import Layer
from jaxrnn.layers.parts import (
    Bidirectional,
    Dropout,
    Readout,
    Recurrent,
    Residual,
    Reverse,
    Stack,
    layer_parts,
)

__all__ = ["Graph", "Node", "Tensor", "build_graph"]


class Node(NamedTuple):
    """One application of an operator.

    Attributes:
      operator: its name in ONNX.
      inputs: names of values; "" for one that is left out.
      outputs: names of values.
      attributes: of the operator.
    """

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Tensor(NamedTuple):
    """An input or an output of the graph.

    Attributes:
      name: its name.
      dtype: of its entries.
      shape: sizes, or names of those that are open.
    """

    name: str
    dtype: Any
    shape: tuple[int | str, ...]


class Graph(NamedTuple):
    """A graph of operators.

    Attributes:
      nodes: in the order in which they can run.
      constants: from names to values.
      inputs: what the graph takes.
      outputs: what it returns.
    """

    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def constant(self, name: str, value: Any) -> str:
        """Adds a constant and returns its name."""
        name = f"{name}_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def add_all(self, operator: str, *inputs: str, count: int, **attributes) -> list[str]:
        """Adds a node with `count` outputs and returns their names."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{k}" for k in range(count)]
        self.nodes.append(Node(operator, list(inputs), names, attributes))
        return names

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        """Adds a node with one output and returns its name."""
        return self.add_all(operator, *inputs, count=1, **attributes)[0]

    def on_axes(self, operator: str, value: str, *axes: int) -> str:
        """Adds Squeeze or Unsqueeze."""
        return self.add(operator, value, self.constant("axes", np.array(axes, np.int64)))


class _Value(NamedTuple):
    """A sequence in the graph, ``(T, B, size)``."""

    name: str
    size: int


class _Run(NamedTuple):
    """One cell in one direction; `state` is the tree of its initial state's names."""

    operator: Operator
    params: Params
    state: Any


class _Given(NamedTuple):
    """What the graph takes besides the inputs.

    Attributes:
      state: whether it takes the initial state.
      seq_lengths: the name of the lengths, or "".
      begun: the name of which sequences have a step, bool ``(B, 1)``, or "".
    """

    state: bool
    seq_lengths: str
    begun: str


def _run_cells(
    graph: Graph, given: _Given, runs: list[_Run], x: _Value, direction: str
) -> tuple[list[Any], _Value]:
    """Adds one recurrent operator, of one or two directions, and puts its outputs side by side."""
    operator = runs[0].operator
    packed = [
        pack_onnx(run.operator.kind, split_params(run.operator.kind, run.params)) for run in runs
    ]
    names = {
        tensor: graph.constant(tensor, np.stack([np.asarray(one[tensor]) for one in packed]))
        for tensor in packed[0]
    }
    states = [jax.tree.leaves(run.state) for run in runs]
    initial = [""] * len(states[0])
    if given.state:
        for k, leaves in enumerate(zip(*states, strict=True)):
            apart = [graph.on_axes("Unsqueeze", leaf, 0) for leaf in leaves]
            initial[k] = apart[0] if len(apart) == 1 else graph.add("Concat", *apart, axis=0)
    inputs = [x.name, names["W"], names["R"], names["B"], given.seq_lengths, *initial]
    inputs += [names["P"]] if "P" in names else []
    while not inputs[-1]:
        inputs.pop()
    attributes = dict(operator.attributes)
    if operator.activation:
        attributes["activations"] = [run.operator.activation for run in runs]
    hidden = runs[0].params.w_hh.shape[0]
    ys, *last = graph.add_all(
        operator.name,
        *inputs,
        count=1 + len(initial),
        direction=direction,
        hidden_size=hidden,
        **attributes,
    )
    if len(runs) == 1:  # ys is (T, directions, B, H)
        ys = graph.on_axes("Squeeze", ys, 1)
    else:
        side_by_side = graph.constant("shape", np.array([0, 0, len(runs) * hidden], np.int64))
        ys = graph.add("Reshape", graph.add("Transpose", ys, perm=[0, 2, 1, 3]), side_by_side)
    finals = []
    for k, run in enumerate(runs):
        index = graph.constant("direction", np.int64(k))
        leaves = [graph.add("Gather", one, index, axis=0) for one in last]
        if given.state and given.begun:
            # Of a sequence without steps onnxruntime returns zeros.
            before = jax.tree.leaves(run.state)
            leaves = [
                graph.add("Where", given.begun, *pair) for pair in zip(leaves, before, strict=True)
            ]
        finals.append(jax.tree.unflatten(jax.tree.structure(run.state), leaves))
    return finals, _Value(ys, len(runs) * hidden)


def _both(graph, given, parts, params, state, x, backward) -> tuple[Any, _Value]:
    """Adds the layers of a bidirectional one: as one operator where they are alike."""
    pair = [layer_parts(one) for one in (parts.forward, parts.backward)]
    if all(isinstance(one, Recurrent) for one in pair) and not backward:
        runs = [
            _Run(operator_of(one.cell), p, s) for one, p, s in zip(pair, params, state, strict=True)
        ]
        first, second = (
            (run.operator._replace(activation=""), run.params.w_hh.shape) for run in runs
        )
        if first == second:
            finals, y = _run_cells(graph, given, runs, x, "bidirectional")
            return tuple(finals), y
    ways = zip(
        (parts.forward, parts.backward), params, state, (backward, not backward), strict=True
    )
    (one, y), (two, z) = (_emit(graph, given, inner, p, s, x, way) for inner, p, s, way in ways)
    return (one, two), _Value(graph.add("Concat", y.name, z.name, axis=2), y.size + z.size)


def _emit(graph, given, network, params, state, x, backward) -> tuple[Any, _Value]:
    """Adds a checked network; returns the names of its final state and its outputs."""
    parts = layer_parts(network)
    match parts:
        case Recurrent():
            run = _Run(operator_of(parts.cell), params, state)
            way = "reverse" if backward else "forward"
            (final,), y = _run_cells(graph, given, [run], x, way)
            return final, y
        case Stack():
            after = []
            for one, p, s in zip(parts.layers, params, state, strict=True):
                s, x = _emit(graph, given, one, p, s, x, backward)
                after.append(s)
            return tuple(after), x
        case Reverse():
            return _emit(graph, given, parts.inner, params, state, x, not backward)
        case Bidirectional():
            return _both(graph, given, parts, params, state, x, backward)
        case Residual():
            final, y = _emit(graph, given, parts.inner, params, state, x, backward)
            return final, _Value(graph.add("Add", x.name, y.name), y.size)
        case Readout():
            product = graph.add("MatMul", x.name, graph.constant("w", params.w))
            y = graph.add("Add", product, graph.constant("b", params.b))
            return state, _Value(y, params.w.shape[1])
        case Dropout():
            return state, x  # evaluation
    msg = f"no operator for {parts}; check_network should have said so"
    raise AssertionError(msg)


def _make_mask(graph: Graph, xs: str) -> str:
    """Adds the mask of the lengths, bool ``(T, B, 1)``."""
    zero, one = graph.constant("zero", np.int64(0)), graph.constant("one", np.int64(1))
    steps = graph.add("Gather", graph.add("Shape", xs), zero, axis=0)
    steps = graph.on_axes("Unsqueeze", graph.add("Range", zero, steps, one), 1)
    lengths = graph.add("Cast", "seq_lengths", to=7)  # 7 is TensorProto.INT64
    mask = graph.add("Less", steps, graph.on_axes("Unsqueeze", lengths, 0))
    return graph.on_axes("Unsqueeze", mask, 2)


def _names(tree: Any, prefix: str) -> Any:
    """Returns a name for each leaf of a state: the prefix and the path."""

    def name(path, leaf):
        del leaf
        return "_".join([prefix, *jax.tree_util.keystr(path, simple=True, separator=" ").split()])

    return jax.tree_util.tree_map_with_path(name, tree)


def build_graph(
    network: Layer,
    params: Params,
    *,
    given: frozenset[str],
    dimensions: tuple[int | str, int | str],
    by: str,
) -> Graph:
    """Makes the graph of a network.

    Args:
      network: the network.
      params: its parameters, arrays.
      given: which of "state" and "seq_lengths" the graph takes.
      dimensions: names or sizes of the axes of time and batch.
      by: the function the user called, for messages.

    Returns:
      The graph. It takes ``xs``, ``seq_lengths`` and the leaves of the state, ``initial_state...``,
      and returns ``ys`` and the leaves of the final state, ``final_state...``.

    Raises:
      TypeError: a part has no operator, or the parameters are of other dtypes than ONNX's.
      ValueError: the parameters are not those of the network, or it starts from a state that is
        not zero and not an input.
    """
    features = check_network(network, params, state_given="state" in given, by=by)
    dtype = np.dtype(jax.tree.leaves(params)[0].dtype)
    example = jax.ShapeDtypeStruct((1, 1, features), dtype)
    jax.eval_shape(network.apply, params, example)  # says which sizes do not fit
    state = jax.eval_shape(lambda p: network.initial_state(p, (1,)), params)
    sizes = [leaf.shape[1:] for leaf in jax.tree.leaves(state)]
    batch = dimensions[1]

    graph = Graph([], {}, [Tensor("xs", dtype, (*dimensions, features))], [])
    lengths = "seq_lengths" if "seq_lengths" in given else ""
    x, zero, mask, begun = "xs", "", "", ""
    if lengths:
        graph.inputs.append(Tensor(lengths, np.dtype(np.int32), (batch,)))
        mask, zero = _make_mask(graph, "xs"), graph.constant("padding", np.zeros((), dtype))
        x = graph.add("Where", mask, x, zero)  # whatever stands in the padding, NaN included
        nothing = graph.constant("nothing", np.int32(0))
        begun = graph.on_axes("Unsqueeze", graph.add("Greater", lengths, nothing), 1)
    names = _names(state, "initial_state")
    if "state" in given:
        pairs = zip(jax.tree.leaves(names), sizes, strict=True)
        graph.inputs.extend(Tensor(name, dtype, (batch, *size)) for name, size in pairs)

    takes = _Given("state" in given, lengths, begun)
    final, y = _emit(graph, takes, network, params, names, _Value(x, features), False)
    ys = graph.add("Where", mask, y.name, zero) if lengths else y.name
    outputs = {"ys": (ys, (*dimensions, y.size))}
    final_names = jax.tree.leaves(_names(state, "final_state"))
    for name, value, size in zip(final_names, jax.tree.leaves(final), sizes, strict=True):
        outputs[name] = (value, (batch, *size))
    for name, (value, shape) in outputs.items():
        graph.nodes.append(Node("Identity", [value], [name], {}))
        graph.outputs.append(Tensor(name, dtype, shape))
    return graph
