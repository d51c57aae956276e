"""Keras: `SimpleRNN`, `LSTM`, `GRU` and `Bidirectional`, by paths, names or `get_weights()`."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside, one_bias, two_biases
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name, flatten

__all__ = ["KERAS", "pack_keras"]

_LAYERS = {"elman": "simple_rnn", "lstm": "lstm", "gru": "gru", "gru_reset_before": "gru"}


def _order(kind: str) -> str:
    return "zrn" if kind.startswith("gru") else GATES[kind]


def pack_keras(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the weights of one cell in the order of `get_weights()`."""
    order = _order(kind)
    bias = beside(blocks.b, order)
    if kind == "gru":
        both = [beside(part, order) for part in two_biases(blocks)]
        bias = (jnp if any(isinstance(part, jax.Array) for part in both) else np).stack(both)
    return {
        "kernel": beside(blocks.w, order),
        "recurrent_kernel": beside(blocks.u, order),
        "bias": bias,
    }


def _unpack(kind: str, weights: dict[str, Array]) -> Blocks:
    order = _order(kind)
    w, u = (apart(weights[name], order) for name in ("kernel", "recurrent_kernel"))
    if kind == "gru":
        return Blocks(w, u, *one_bias(kind, *(apart(row, order) for row in weights["bias"])))
    return Blocks(w, u, apart(weights["bias"], order))


def _paths(parts: Parts) -> dict[tuple[int, int], str]:
    """The path of each cell, with the layers numbered as Keras numbers those of a new session."""
    found, numbers = {}, {}

    def numbered(name):
        return f"{name}_{numbers[name]}" if numbers[name] else name

    for part in parts:
        kind, both = _LAYERS[part.kind], part.directions == 2
        if part.direction == 0:
            for name in [kind, *(["bidirectional"] if both else [])]:
                numbers[name] = numbers.get(name, -1) + 1
        path = numbered(kind)
        if both:
            path = f"{numbered('bidirectional')}/{('forward', 'backward')[part.direction]}_{path}"
        found[part.layer, part.direction] = f"{path}/{kind}_cell/"
    return found


def _layouts(parts: Parts, variant: str | None) -> list[Layout]:
    del variant
    paths = _paths(parts)
    full = by_name(pack_keras, _unpack, lambda part: paths[part.layer, part.direction])
    return [full, by_name(pack_keras, _unpack)] if len(parts) == 1 else [full]


def _from_list(weights: Any, parts: Parts, bias: bool) -> dict[str, Any]:
    names = [name for name in _layouts(parts, None)[0].pack(parts) if bias or "bias" not in name]
    if len(weights) != len(names):
        msg = (
            f"got a list of {len(weights)} arrays; expected {len(names)}, as get_weights() returns "
            f"them: {', '.join(names)}; pass the weights of the recurrent layers alone"
            + (", or bias=False for layers with use_bias=False" if bias else "")
        )
        raise ValueError(msg)
    return dict(zip(names, weights, strict=True))


def _layer_order(owners: list[str]) -> list[str]:
    """Orders layers by Keras' counter, if that is all their names differ in; else as they come."""
    matches = [re.fullmatch(r"(.*?)(?:_(\d+))?", owner) for owner in owners]
    if len({match[1] for match in matches}) > 1:
        return owners
    return sorted(owners, key=lambda owner: int(matches[owners.index(owner)][2] or 0))


def _place(cell: str) -> tuple[str, bool]:
    """Returns the path of the layer that a cell is in, and whether it runs backwards."""
    steps = cell.split("/")
    for depth, step in enumerate(steps):
        if step.startswith(("forward_", "backward_")):
            return "/".join(steps[:depth]), step.startswith("backward_")
    return cell.removesuffix(f"/{steps[-1]}") if steps[-1].endswith("_cell") else cell, False


def _read(weights: Any, parts: Parts, bias: bool) -> dict[str, Any]:
    """Reads a list, or a mapping whose layers Keras may have numbered from anywhere."""
    if isinstance(weights, list | tuple):
        return _from_list(weights, parts, bias)
    flat = flatten(weights)
    cells: dict[str, None] = dict.fromkeys(name.rpartition("/")[0] for name in flat)
    if len(cells) != len(parts) or len(parts) == 1:
        return flat
    places = {cell: _place(cell) for cell in cells}
    owners = _layer_order(list(dict.fromkeys(owner for owner, _ in places.values())))
    ordered = sorted(cells, key=lambda cell: (owners.index(places[cell][0]), places[cell][1]))
    renamed = dict(zip(ordered, _paths(parts).values(), strict=True))
    return {
        renamed[cell] + inner: flat[name]
        for name in flat
        for cell, _, inner in [name.rpartition("/")]
    }


def _hint(weights: Mapping[str, Array], parts: Parts) -> str:
    ranks = {value.ndim for name, value in weights.items() if name.endswith("bias")}
    kinds = {part.kind for part in parts}
    if "gru" in kinds and ranks == {1}:
        where, reset = "False resets before the product, which is", "before"
    elif "gru_reset_before" in kinds and 2 in ranks:
        where, reset = "True resets after the product, which is", "after"
    else:
        return ""
    return (
        f"a Keras GRU with reset_after={where} another function; make the cell with "
        f"jaxrnn.gru(I, H, reset='{reset}')"
    )


_MGU = "Keras has no minimal gated unit"
KERAS = Format(
    "Keras",
    {
        "elman": Held("SimpleRNN", "exact; activation= as activation="),
        "lstm": Held("LSTM", "exact"),
        "gru": Held(
            "GRU(reset_after=True)",
            "exact: b is the sum of the rows of bias but for its last third, b_hn",
        ),
        "gru_reset_before": Held("GRU(reset_after=False)", "exact"),
    },
    _layouts,
    refusals={
        "mgu": _MGU,
        "mgu_reset_after": _MGU,
        "projected_lstm": "Keras has no LSTM with a projection",
    },
    tells_reset="with bias",
    read=_read,
    hint=_hint,
)
