"""Networks as ONNX models, made of its own recurrent operators."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax

from jaxrnn._version import __version__
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Params
from jaxrnn.interop.inputs import as_layer, check_dimensions, check_inputs
from jaxrnn.interop.onnx_graph import Graph, Tensor, build_graph
from jaxrnn.layers.layer import Layer

if TYPE_CHECKING:
    import onnx

__all__ = ["export_onnx"]

_BY = "export_onnx"
_INPUTS = ("state", "seq_lengths")
_BEYOND = ("mask", "resets")
_OLDEST_OPSET = 13  # since then Squeeze takes its axes as an input


def _import_onnx():
    try:
        import onnx
    except ImportError as error:
        msg = (
            f"{_BY}: got no package onnx; expected it to be installed; "
            "use pip install 'jaxrnn[onnx]'"
        )
        raise ImportError(msg) from error
    return onnx


def _as_model(graph: Graph, opset: int) -> "onnx.ModelProto":
    onnx = _import_onnx()
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        msg = (
            f"{_BY}: got opset={opset}; expected {_OLDEST_OPSET} to {newest}, the newest that this "
            "onnx knows; install a newer onnx, or ask for an older opset"
        )
        raise ValueError(msg)
    helper = onnx.helper

    def info(tensor: Tensor):
        kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
        return helper.make_tensor_value_info(tensor.name, kind, tensor.shape)

    nodes = [
        helper.make_node(one.operator, one.inputs, one.outputs, f"node_{k}", **one.attributes)
        for k, one in enumerate(graph.nodes)
    ]
    values = [onnx.numpy_helper.from_array(v, name) for name, v in graph.constants.items()]
    inputs, outputs = ([info(one) for one in some] for some in (graph.inputs, graph.outputs))
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(
        helper.make_graph(nodes, "network", inputs, outputs, values),
        opset_imports=opsets,
        # The oldest that has this opset: runtimes refuse what is newer than they are.
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="jaxrnn",
        producer_version=__version__,
    )


def export_onnx(
    network: Cell | Layer,
    params: Params,
    *,
    inputs: Sequence[str] = (),
    dimensions: Sequence[int | str] = ("T", "B"),
    opset: int = 17,
) -> "onnx.ModelProto":
    """Exports a network as an ONNX model, of the operators RNN, LSTM and GRU.

    The model takes ``xs``, ``(T, B, features)``, and what `inputs` names; it returns ``ys``,
    ``(T, B, outputs)``, and the final state. A state is one tensor ``(B, H)`` for each of its
    arrays, named after its place: ``initial_state`` for one GRU, ``initial_state_0_h`` for h of an
    LSTM that is the first layer of a stack, and ``final_state...`` accordingly. Names and shapes
    can be read in ``model.graph.input`` and ``model.graph.output``. The parameters stand in the
    model.

    To write and to run it::

        model = jaxrnn.interop.export_onnx(net, params)
        onnx.save(model, "network.onnx")
        session = onnxruntime.InferenceSession("network.onnx")
        ys, *final_state = session.run(None, {"xs": xs})

    ONNX has operators for `elman` (its two activations by name), `lstm`, `peephole_lstm` and `gru`
    (both resets: ``linear_before_reset`` is 1 for ``reset="after"``). Of layers `layer`, `stack`,
    `bidirectional`, `reverse`, `residual`, `readout` and `dropout` (which drops nothing) go. How a
    cell is unrolled does not matter: all unrolls compute the same.

    Args:
      network: a cell, or layers made of the above.
      params: its parameters, of dtype float16, float32 or float64 (for which onnxruntime lacks an
        LSTM).
      inputs: what the model takes besides `xs`: "state" (if left out, it starts from zeros), and
        "seq_lengths", int32 ``(B,)``, for sequences that are padded at the end. Padding gives
        zeros, whatever stands in it, and the final state is that after the last real step; of
        length 0 it is the initial one.
      dimensions: of time and batch: a name leaves the size open, a number fixes it.
      opset: the version of ONNX's operators, at least 13.

    Returns:
      The model, ``onnx.ModelProto``; ``model.SerializeToString()`` makes bytes of it.

    Raises:
      ImportError: the package onnx is not installed: ``pip install 'jaxrnn[onnx]'``.
      TypeError: ONNX has no operator for a part of the network (`export_stablehlo` exports any), or
        the parameters have another dtype.
      ValueError: parameters of another network, an initial state that is not zero, an unknown
        input, or an opset that is too old or too new.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(3, 5)), jaxrnn.readout(2))
      >>> params = net.init(jax.random.key(0))
      >>> model = export_onnx(net, params, inputs=("seq_lengths",))
      >>> [one.name for one in model.graph.input]
      ['xs', 'seq_lengths']
      >>> [one.name for one in model.graph.output]
      ['ys', 'final_state_0_h', 'final_state_0_c']

    Reference:
      Open Neural Network Exchange, operators LSTM, GRU and RNN,
      https://onnx.ai/onnx/operators.
    """
    network = as_layer(network, by=_BY)
    if not isinstance(inputs, str):
        beyond = [name for name in inputs if name in _BEYOND]
        if beyond:
            msg = (
                f"{_BY}: got inputs {beyond}; expected some of {_INPUTS}, since ONNX's operators "
                "know lengths alone; use jaxrnn.interop.export_stablehlo, which has masks and "
                "resets"
            )
            raise ValueError(msg)
    given = check_inputs(inputs, _INPUTS, by=_BY)
    dimensions = check_dimensions(dimensions, by=_BY)
    if len(dimensions) != 2:
        msg = (
            f"{_BY}: got {len(dimensions)} dimensions, {dimensions}; expected two, of time and "
            'batch, which ONNX\'s operators have; for one sequence pass ("T", 1)'
        )
        raise ValueError(msg)
    if check_size("opset", opset, by=_BY) < _OLDEST_OPSET:
        msg = f"{_BY}: got opset={opset}; expected {_OLDEST_OPSET} or more"
        raise ValueError(msg)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(params)):
        msg = f"{_BY}: got parameters that are shapes; expected arrays; they stand in the model"
        raise TypeError(msg)
    return _as_model(
        build_graph(network, params, given=given, dimensions=dimensions, by=_BY), opset
    )
