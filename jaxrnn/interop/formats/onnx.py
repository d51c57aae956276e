"""ONNX: the tensors W, R, B and P of the operators RNN, LSTM and GRU."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import Blocks, apart, beside, one_bias, two_biases
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, always

__all__ = ["ONNX", "ONNX_GATES", "pack_onnx"]

ONNX_GATES = {"elman": "n", "lstm": "iofg", "peephole_lstm": "iofg"} | dict.fromkeys(
    ("gru", "gru_reset_before"), "zrn"
)
"""The operators' order of gates, by our letters."""


def pack_onnx(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns one direction of the operator's tensors: W, R, B and, with peepholes, P."""
    order = ONNX_GATES[kind]
    first, second = two_biases(blocks)
    biases = {f"W{gate}": b for gate, b in first.items()}
    biases |= {f"R{gate}": b for gate, b in second.items()}
    found = {
        "W": beside(blocks.w, order).T,
        "R": beside(blocks.u, order).T,
        "B": beside(biases, [side + gate for side in "WR" for gate in order]),
    }
    return found if blocks.p is None else found | {"P": beside(blocks.p, "iof")}


def _unpack_one(kind: str, weights: dict[str, Array]) -> Blocks:
    order = ONNX_GATES[kind]
    w, u = (apart(weights[name].T, order) for name in "WR")
    first, second = (apart(half, order) for half in apart(weights["B"], "WR").values())
    b, b_hn = one_bias(kind, first, second)
    p = apart(weights["P"], "iof") if "P" in weights else None
    return Blocks(w, u, b, b_hn, p=p)


def _name(tensor: str, part) -> str:
    return tensor if part.layers == 1 else f"{part.layer}/{tensor}"


def _pack(parts: Parts) -> dict[str, Array]:
    """One operator a layer, with the directions on the first axis of each tensor."""
    found: dict[str, list[Array]] = {}
    for part in parts:
        for tensor, value in pack_onnx(part.kind, part.blocks).items():
            found.setdefault(_name(tensor, part), []).append(value)
    traced = any(isinstance(value, jax.Array) for values in found.values() for value in values)
    return {name: (jnp if traced else np).stack(values) for name, values in found.items()}


def _unpack(weights: Mapping[str, Array], parts: Parts) -> list[Blocks]:
    return [
        _unpack_one(
            part.kind,
            {
                tensor: weights[_name(tensor, part)][part.direction]
                for tensor in pack_onnx(part.kind, part.blocks)
            },
        )
        for part in parts
    ]


_BIASES = "exact: b is the sum of the halves of B, written back with the second = 0"
_NONE = "ONNX has no operator for it"
ONNX = Format(
    "ONNX",
    {
        "elman": Held("RNN", f"{_BIASES}; activations= as activation="),
        "lstm": Held("LSTM", _BIASES),
        "peephole_lstm": Held("LSTM with P", _BIASES),
        "gru": Held(
            "GRU, linear_before_reset=1", f"{_BIASES}, but for its last third, b_hn; say reset="
        ),
        "gru_reset_before": Held("GRU, linear_before_reset=0", f"{_BIASES}; say reset="),
    },
    always(Layout(_pack, _unpack)),
    refusals=dict.fromkeys(("mgu", "mgu_reset_after", "projected_lstm"), _NONE),
    tells_reset="never",
    given="W, R and B of the operator as NumPy arrays by these names",
)
