"""flax: the cells of `flax.linen` and `flax.nnx`, by the paths of their variables."""

from typing import Any

import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name
from jaxrnn.interop.network import Part

__all__ = ["LINEN", "NNX", "nest", "pack_linen", "pack_nnx"]


def pack_linen(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the variables of a cell of `flax.linen`."""
    found = {}
    for gate in GATES[kind]:
        end = "" if kind == "elman" else gate
        found[f"i{end}/kernel"] = blocks.w[gate]
        if kind != "lstm":
            found[f"i{end}/bias"] = blocks.b[gate]
        found[f"h{end}/kernel"] = blocks.u[gate]
        if kind == "lstm":
            found[f"h{end}/bias"] = blocks.b[gate]
    return found if blocks.b_hn is None else found | {"hn/bias": blocks.b_hn}


def _unpack_linen(kind: str, weights: dict[str, Array]) -> Blocks:
    w, u, b = {}, {}, {}
    for gate in GATES[kind]:
        end = "" if kind == "elman" else gate
        w[gate], u[gate] = weights[f"i{end}/kernel"], weights[f"h{end}/kernel"]
        b[gate] = weights[f"{'h' if kind == 'lstm' else 'i'}{end}/bias"]
    return Blocks(w, u, b, weights.get("hn/bias"))


def _without_b_hn(blocks: Blocks) -> None:
    if np.any(np.asarray(blocks.b_hn)):
        largest = np.max(np.abs(np.asarray(blocks.b_hn, np.float64)))
        msg = (
            f"export_weights: got b_hn with entries up to {largest:.3g}; expected zeros, because "
            "nnx.GRUCell has no bias inside the product with the reset gate; export to 'linen', "
            "or train with b_hn held at 0"
        )
        raise ValueError(msg)


def pack_nnx(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the parameters of a cell of `flax.nnx` with joined gates: all but its LSTMCell.

    Raises:
      ValueError: a GRU with ``b_hn`` other than zero.
    """
    order = GATES[kind]
    if kind == "gru":
        _without_b_hn(blocks)
    found = {"dense_i/kernel": beside(blocks.w, order), "dense_h/kernel": beside(blocks.u, order)}
    return found | {f"dense_{'h' if kind == 'lstm' else 'i'}/bias": beside(blocks.b, order)}


def _unpack_nnx(kind: str, weights: dict[str, Array]) -> Blocks:
    order = GATES[kind]
    bias = weights[f"dense_{'h' if kind == 'lstm' else 'i'}/bias"]
    w, u, b = (
        apart(leaf, order) for leaf in (weights["dense_i/kernel"], weights["dense_h/kernel"], bias)
    )
    return Blocks(w, u, b, np.zeros_like(b["n"]) if kind == "gru" else None)


def _pack_nnx_lstm(kind: str, blocks: Blocks) -> dict[str, Array]:
    """nnx.LSTMCell is linen's but for one name, `if`, which is a word of Python."""
    found = pack_linen(kind, blocks)
    return {path.replace("if/", "if_/"): value for path, value in found.items()}


def _unpack_nnx_lstm(kind: str, weights: dict[str, Array]) -> Blocks:
    found = {path.replace("if_/", "if/"): value for path, value in weights.items()}
    return _unpack_linen(kind, found)


def _directions(part: Part) -> str:
    """The path within one `RNN` or `Bidirectional`."""
    if part.directions == 1:
        return "cell/"
    return ("forward_rnn/cell/", "backward_rnn/cell/")[part.direction]


def _linen_layouts(parts: Parts, variant: str | None) -> list[Layout]:
    """A cell; RNNs in a `Sequential`; cells made in a compact module, which flax numbers there."""
    del variant

    def sequential(part):
        return (f"layers_{part.layer}/" if part.layers > 1 else "") + _directions(part)

    def numbered(lstm):
        def path(part):
            alike = [other for other in parts if other.kind == part.kind]
            places = [(other.layer, other.direction) for other in alike]
            name = lstm if part.kind == "lstm" else LINEN.cells[part.kind].name
            return f"{name}_{places.index((part.layer, part.direction))}/"

        return path

    paths = [sequential, numbered("OptimizedLSTMCell"), numbered("LSTMCell")]
    paths = [None, *paths] if len(parts) == 1 else paths
    return [by_name(pack_linen, _unpack_linen, path) for path in paths]


def _nnx_layouts(parts: Parts, variant: str | None) -> list[Layout]:
    """A cell, or RNNs in a `Sequential`; an LSTM as either of its two classes."""

    def sequential(part):
        return (f"layers/{part.layer}/" if part.layers > 1 else "") + _directions(part)

    def separate(pack_lstm, pack):
        return lambda kind, given: (pack_lstm if kind == "lstm" else pack)(kind, given)

    pairs = [
        (separate(_pack_nnx_lstm, pack_nnx), separate(_unpack_nnx_lstm, _unpack_nnx)),
        (pack_nnx, _unpack_nnx),
    ]
    if variant == "OptimizedLSTMCell":
        pairs.reverse()
    paths = [None, sequential] if len(parts) == 1 else [sequential]
    return [by_name(*pair, path) for path in paths for pair in pairs]


def nest(weights: dict[str, Any]) -> dict[str, Any]:
    """Makes nested mappings of names with slashes; a number becomes an integer key."""
    found: dict[Any, Any] = {}
    for path, value in weights.items():
        *outer, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return found


_RESET = "which is another function; make the cell with jaxrnn."
_GRU = f"flax' GRUCell resets after the product, {_RESET}gru(I, H, reset='after')"
LINEN = Format(
    "flax.linen",
    {
        "elman": Held(
            "SimpleCell", "exact, with residual=False there and activation_fn= as activation="
        ),
        "lstm": Held("LSTMCell, OptimizedLSTMCell", "exact; its state is (c, h)"),
        "gru": Held("GRUCell", "exact; b_hn is hn/bias"),
        "mgu_reset_after": Held("MGUCell", "exact, with reset_gate=True there"),
    },
    _linen_layouts,
    refusals={
        "gru_reset_before": _GRU,
        "mgu": f"linen's MGUCell is the other unit, {_RESET}mgu(I, H, reset='after')",
        "projected_lstm": "flax has no LSTM with a projection",
    },
    nest=nest,
    given="the variables that module.init returns",
)
NNX = Format(
    "flax.nnx",
    {
        "elman": Held(
            "SimpleCell", "exact, with residual=False there and activation_fn= as activation="
        ),
        "lstm": Held("LSTMCell, OptimizedLSTMCell", "exact; its state is (c, h)"),
        "gru": Held("GRUCell", "exact; it cannot hold b_hn, which must be 0 to be written"),
    },
    _nnx_layouts,
    refusals={
        "gru_reset_before": _GRU,
        "mgu": "nnx has no MGUCell",
        "mgu_reset_after": "nnx has no MGUCell; export to 'linen'",
        "projected_lstm": "flax has no LSTM with a projection",
    },
    variants=("LSTMCell", "OptimizedLSTMCell"),
    nest=nest,
    given="nnx.to_pure_dict(nnx.state(module, nnx.Param))",
)
