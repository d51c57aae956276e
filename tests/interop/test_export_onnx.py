# ruff: noqa: E501  (tables of messages read best one a line)
"""Exported ONNX models, run by onnxruntime, against the networks that they were made of."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import (
    bidirectional,
    dropout,
    elman,
    gru,
    interop,
    layer,
    lstm,
    readout,
    residual,
    reverse,
    stack,
)

INPUT, HIDDEN = 3, 5


def shifted(params, key):
    """Parameters of which none is zero, as after training."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noise = [
        0.3 * jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)
    ]
    return tree.unflatten([a + n for a, n in zip(leaves, noise, strict=True)])


def own(params, xs, state=None, *, mask=None, resets=None):
    del params, mask, resets
    return state, xs


CELL = lstm(INPUT, HIDDEN)
NET = layer(CELL)
PARAMS = CELL.init(jax.random.key(1))


@pytest.mark.parametrize(
    ("network", "options", "kind", "text"),
    [
        (jaxrnn.janet(INPUT, HIDDEN), {}, TypeError, r"got at network a cell .*Gated, janet_pointwise\); expected elman.*; use jaxrnn.interop.export_stablehlo"),
        (stack(NET, layer(jaxrnn.layer_norm_lstm(HIDDEN, 2))), {"params": (PARAMS, PARAMS)}, TypeError, r"got at network\[1\] a cell .*layer_norm"),
        (elman(INPUT, 2, activation=jnp.sin), {}, TypeError, "elman_pointwise.*; expected elman .'tanh' or 'relu', by name"),
        (stack(NET, reverse(NET._replace(apply=own))), {"params": (PARAMS, PARAMS)}, TypeError, r"got at network\[1\] a layer of your own; expected .*; use jaxrnn.interop.export_stablehlo"),
        (jaxrnn.learned_state(CELL), {}, TypeError, "ONNX has no operator for"),
        (CELL._replace(initial_state=lambda p, b=(): jaxrnn.LSTMState(jnp.ones((*b, 5)), jnp.ones((*b, 5)))), {}, ValueError, "initial state is not zero; expected zeros.*; make the state an input"),
        (NET, {"inputs": ("mask",)}, ValueError, r"got inputs \['mask'\]; expected .* lengths alone; use jaxrnn.interop.export_stablehlo"),
        (NET, {"inputs": ("stat",)}, ValueError, "unknown input 'stat'; .* did you mean 'state'"),
        (NET, {"params": jaxrnn.GRUParams(*PARAMS, None)}, ValueError, "got at network parameters that are GRUParams; expected those of lstm; pass"),
        (stack(NET, readout(2)), {"params": (PARAMS,)}, ValueError, "parameters that are tuple of 1; expected 2 entries"),
        (stack(NET, readout(2)), {"params": (PARAMS, PARAMS)}, ValueError, r"at network\[1\] parameters that are LSTMParams; expected ReadoutParams"),
        (stack(NET, NET), {"params": (PARAMS, PARAMS)}, ValueError, "lstm: got an input of shape .* expected 3"),
        (NET, {"params": jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS)}, TypeError, "dtype bfloat16; expected one of float16, .*; cast them"),
        (NET, {"params": jax.eval_shape(lambda: PARAMS)}, TypeError, "got parameters that are shapes; expected arrays"),
        (NET, {"dimensions": ("T",)}, ValueError, "got 1 dimensions, .*; expected two"),
        (NET, {"opset": 9}, ValueError, "got opset=9; expected 13 or more"),
        (lstm, {}, TypeError, r"export_onnx: got function .*; call the factory first, as in lstm\("),
        (dropout(0.5), {"params": ()}, ValueError, "got a network without parameters; expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported(network, options, kind, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # none of this needs it
    options = {"params": PARAMS} | options
    with pytest.raises(kind, match=text):
        interop.export_onnx(network, **options)


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        ImportError, match=r"got no package onnx; .*; use pip install 'jaxrnn\[onnx\]'"
    ):
        interop.export_onnx(NET, PARAMS)


RNN, RELU = elman(INPUT, HIDDEN), elman(INPUT, HIDDEN, activation="relu")
GRU, BEFORE = gru(INPUT, HIDDEN), gru(INPUT, HIDDEN, reset="before")
WIDE = 2 * HIDDEN
NETWORKS = {
    "tanh": RNN,
    "relu": RELU,
    "lstm": CELL,
    "peephole": jaxrnn.peephole_lstm(INPUT, HIDDEN),
    "gru": GRU,
    "gru reset before": BEFORE,
    "unrolled otherwise": layer(CELL, jaxrnn.checkpointed(jaxrnn.unroll, 2)),
    "two layers": stack(NET, layer(gru(HIDDEN, 4)), readout(2)),
    "bidirectional lstm": bidirectional(NET, NET),
    "bidirectional gru": bidirectional(layer(GRU), layer(GRU)),
    "bidirectional reset before": bidirectional(layer(BEFORE), layer(BEFORE)),
    "bidirectional tanh, relu": bidirectional(layer(RNN), layer(RELU)),
    "bidirectional unlike": bidirectional(layer(GRU), layer(lstm(INPUT, 2))),
    "bidirectional, two layers": stack(
        bidirectional(NET, NET),
        bidirectional(layer(gru(WIDE, 4)), layer(gru(WIDE, 4))),
        dropout(0.5),
        readout(2),
    ),
    "reverse": stack(reverse(layer(GRU)), reverse(reverse(layer(elman(HIDDEN, 4))))),
    "bidirectional in reverse": reverse(bidirectional(NET, stack(layer(GRU), readout(2)))),
    "residual": stack(readout(4, input_size=INPUT), residual(layer(gru(4, 4)))),
}  # fmt: skip


def session_of(model):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString())


def run(session, **inputs):
    values = session.run(None, {name: np.asarray(value) for name, value in inputs.items()})
    return dict(zip([one.name for one in session.get_outputs()], values, strict=True))


def named(state, prefix):
    """A state as the model's inputs or outputs, named by hand."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    path = lambda keys: "".join(f"_{str(k).strip('.[]')}" for k in keys)  # noqa: E731
    return {prefix + path(keys): leaf for keys, leaf in leaves}


def compare(found, expected):
    state, ys = expected
    expected = {"ys": ys} | named(state, "final_state")
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.peer
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_onnxruntime_computes_the_same(network, key):
    pytest.importorskip("onnx")
    net = layer(network) if isinstance(network, jaxrnn.Cell) else network
    params = shifted(net.init(key), key)
    session = session_of(interop.export_onnx(network, params))
    for steps, batch in ((6, 2), (9, 1)):
        xs = jax.random.normal(key, (steps, batch, INPUT))
        compare(run(session, xs=xs), net.apply(params, xs))

    session = session_of(interop.export_onnx(network, params, inputs=("state", "seq_lengths")))
    steps = 6
    for lengths in ([1, 2, 3, 4, 5, 6, 0], [6, 1], [3]):
        xs = jax.random.normal(key, (steps, len(lengths), INPUT))
        mask = jaxrnn.length_mask(jnp.array(lengths), steps)
        xs = jnp.where(mask[..., None], xs, jnp.nan)
        zeros = net.initial_state(params, (len(lengths),))
        state = jax.tree.map(lambda a: 0.5 * jax.random.normal(key, a.shape), zeros)
        found = run(session, xs=xs, seq_lengths=np.int32(lengths), **named(state, "initial_state"))
        compare(found, net.apply(params, xs, state, mask=mask))


@pytest.mark.peer
def test_one_operator_for_two_directions_that_are_alike(key):
    pytest.importorskip("onnx")
    for network, operators in (
        (NETWORKS["bidirectional tanh, relu"], {"RNN": 1}),
        (NETWORKS["bidirectional lstm"], {"LSTM": 1}),
        (NETWORKS["bidirectional unlike"], {"GRU": 1, "LSTM": 1}),
    ):
        model = interop.export_onnx(network, network.init(key))
        nodes = [node.op_type for node in model.graph.node]
        found = {name: nodes.count(name) for name in ("RNN", "LSTM", "GRU") if name in nodes}
        assert found == operators


@pytest.mark.peer
@pytest.mark.parametrize("opset", [13, 14, 17, 20])
def test_opsets_and_fixed_sizes(opset, key):
    onnx = pytest.importorskip("onnx")
    net = stack(NET, readout(2))
    params = net.init(key)
    model = interop.export_onnx(
        net, params, dimensions=(4, "batch"), opset=opset, inputs=("seq_lengths",)
    )
    assert [one.version for one in model.opset_import] == [opset]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_value, shape[1].dim_param, shape[2].dim_value) == (4, "batch", INPUT)
    xs = jax.random.normal(key, (4, 3, INPUT))
    found = run(session_of(model), xs=xs, seq_lengths=np.int32([4, 2, 1]))
    compare(found, net.apply(params, xs, mask=jaxrnn.length_mask(jnp.array([4, 2, 1]), 4)))
    with pytest.raises(ValueError, match="got opset=999; expected 13 to .*; install a newer onnx"):
        interop.export_onnx(net, params, opset=999)
    assert onnx.load_model_from_string(model.SerializeToString()).producer_name == "jaxrnn"
