"""Keras: `SimpleRNN`, `LSTM`, `GRU` and `Bidirectional`, by paths, names or `get_weights()`."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside, one_bias, two_biases
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name, within

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

    def full(part):
        return paths[part.layer, part.direction]

    def within_layer(part):
        return full(part).partition("/")[2]

    found = [full] if parts[0].layers > 1 else [full, within_layer]
    found = [*found, None] if len(parts) == 1 else found
    return [by_name(pack_keras, _unpack, path) for path in found]


def _from_list(weights: Any, parts: Parts, bias: bool) -> dict[str, Any]:
    names = [name for name in _layouts(parts, None)[0].pack(parts) if bias or "bias" not in name]
    if len(weights) != len(names):
        msg = (
            f"import_weights: got a list of {len(weights)} arrays; expected {len(names)}, "
            f"as get_weights() returns them: {', '.join(names)}; pass the weights of the "
            "recurrent layers alone"
            + (", or bias=False for layers with use_bias=False" if bias else "")
        )
        raise ValueError(msg)
    return dict(zip(names, weights, strict=True))


_OWN = re.compile(r"(bidirectional|simple_rnn|lstm|gru|rnn)(?:_(\d+))?")


def _by_number(owners: list[str]) -> list[str]:
    """Orders layers of one class by Keras' counter where it named them; others as they come."""
    classes: dict[str, list[tuple[int, str]]] = {}
    for owner in owners:
        match = _OWN.fullmatch(owner.rpartition("/")[2])
        if match:
            classes.setdefault(match[1], []).append((int(match[2] or 0), owner))
    turn = {}
    for named in classes.values():
        came = [owner for _, owner in named]
        turn |= dict(zip(came, (owner for _, owner in sorted(named)), strict=True))
    return [turn.get(owner, owner) for owner in owners]


def _place(cell: str) -> tuple[str, bool]:
    """Returns the path of the layer that a cell is in, and whether it runs backwards."""
    steps = cell.split("/")
    for depth, step in enumerate(steps):
        if step.startswith(("forward_", "backward_")):
            return "/".join(steps[:depth]), step.startswith("backward_")
    return "/".join(steps[:-1] if steps[-1].endswith("_cell") else steps), False


def _ordered(flat: Mapping[str, Any], cells: list[str], parts: Parts, start: str) -> list[str]:
    """Puts cells in the network's order: the mapping's, which is the model's own.

    A mapping may have been sorted on its way, so Keras' numbers must not say something else.
    """
    places = {cell: _place(cell) for cell in cells}
    came = list(dict.fromkeys(owner for owner, _ in places.values()))
    shapes = [
        {name: value.shape for name, value in pack_keras(part.kind, part.blocks).items()}
        for part in parts
    ]

    def sort(owners):
        return sorted(cells, key=lambda cell: (owners.index(places[cell][0]), places[cell][1]))

    def fits(ordered):
        return all(
            getattr(flat[f"{cell}/{name}"], "shape", None) == shape[name]
            for cell, shape in zip(ordered, shapes, strict=True)
            for name in shape
            if f"{cell}/{name}" in flat
        )

    first, second = sort(came), sort(_by_number(came))
    if first == second or not fits(second):
        return first
    if fits(first):
        each = [f"{start}{owner}/" for owner in came]
        msg = (
            f"import_weights: got layers in the order {came}, which Keras numbered in another; "
            "expected one order, because their shapes fit in both; pass one prefix a layer, the "
            f"lowest first, as in prefix={each}"
        )
        raise ValueError(msg)
    return second


def _read(weights: Any, parts: Parts, bias: bool, prefix: str | None) -> dict[str, Any]:
    """Reads a list, or a mapping whose layers Keras may have numbered from anywhere.

    A prefix is often a model's, so that layers without a recurrent kernel are left out.
    """
    if isinstance(weights, list | tuple):
        return _from_list(weights, parts, bias)
    start = prefix or ""
    flat = {name.removeprefix(start): value for name, value in within(weights, start).items()}
    cells = list(dict.fromkeys(name.rpartition("/")[0] for name in flat))
    if prefix is not None:
        recurrent = [cell for cell in cells if f"{cell}/recurrent_kernel".lstrip("/") in flat]
        cells = recurrent or cells
        flat = {name: value for name, value in flat.items() if name.rpartition("/")[0] in cells}
    places = [_place(cell) for cell in cells]
    owners = list(dict.fromkeys(owner for owner, _ in places))
    found = sorted((owners.index(owner), int(backward)) for owner, backward in places)
    if "" in cells or found != [(part.layer, part.direction) for part in parts]:
        return {start + name: value for name, value in flat.items()}
    paths = list(_paths(parts).values())
    if owners == [""]:  # the prefix ends with the layer
        paths = [path.partition("/")[2] for path in paths]
    renamed = dict(zip(_ordered(flat, cells, parts, start), paths, strict=True))
    return {
        start + renamed[cell] + inner: flat[name]
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
    given="{w.path: w for w in model.weights} or layer.get_weights()",
)
