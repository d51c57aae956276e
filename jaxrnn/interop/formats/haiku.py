"""haiku: `LSTM`, `GRU` and `VanillaRNN`, by the names of their modules."""

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside, two_biases
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name

__all__ = ["HAIKU", "pack_haiku"]

_MODULES = {"elman": "vanilla_rnn", "lstm": "lstm", "gru_reset_before": "gru"}


def _shift_forget(blocks: Blocks, by: int) -> Blocks:
    """The core adds 1 to the forget gate when it runs, so 1 is missing from the weights."""
    return blocks._replace(b=blocks.b | {"f": blocks.b["f"] + by})


def _negate_update(blocks: Blocks) -> Blocks:
    """The core's z replaces the state where ours keeps it, and 1 - sigmoid(a) = sigmoid(-a)."""
    w, u, b = (part | {"z": -part["z"]} for part in blocks[:3])
    return Blocks(w, u, b)


def pack_haiku(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the weights of one cell by the names within its module."""
    if kind == "lstm":
        blocks, order = _shift_forget(blocks, -1), "igfo"
        rows = [beside(part, order).T for part in (blocks.w, blocks.u)]
        w = beside(dict(zip("xh", rows, strict=True)), "xh").T
        return {"linear/w": w, "linear/b": beside(blocks.b, order)}
    if kind == "gru_reset_before":
        w, u, b = (beside(part, "zrn") for part in _negate_update(blocks)[:3])
        return {"w_i": w, "w_h": u, "b": b}
    first, second = two_biases(blocks)
    return {
        "linear/w": blocks.w["n"],
        "linear/b": first["n"],
        "linear_1/w": blocks.u["n"],
        "linear_1/b": second["n"],
    }


def _unpack(kind: str, weights: dict[str, Array]) -> Blocks:
    if kind == "lstm":
        both, b = weights["linear/w"], apart(weights["linear/b"], "igfo")
        hidden = both.shape[-1] // 4
        w, u = (apart(part, "igfo") for part in (both[:-hidden], both[-hidden:]))
        return _in_order(_shift_forget(Blocks(w, u, b), 1), kind)
    if kind == "gru_reset_before":
        found = (apart(weights[name], "zrn") for name in ("w_i", "w_h", "b"))
        return _in_order(_negate_update(Blocks(*found)), kind)
    b = weights["linear/b"]
    if "linear_1/b" in weights:
        b = b + weights["linear_1/b"]
    return Blocks({"n": weights["linear/w"]}, {"n": weights["linear_1/w"]}, {"n": b})


def _pack_single_bias(kind: str, blocks: Blocks) -> dict[str, Array]:
    """As `pack_haiku`, for a `VanillaRNN` with ``double_bias=False``."""
    found = pack_haiku(kind, blocks)
    return {name: value for name, value in found.items() if name != "linear_1/b"}


def _in_order(blocks: Blocks, kind: str) -> Blocks:
    return Blocks(*({gate: part[gate] for gate in GATES[kind]} for part in blocks[:3]))


def _layouts(parts: Parts, variant: str | None) -> list[Layout]:
    """The modules as haiku numbers them, cell after cell, forward before backward."""
    del variant
    names = {}
    for part in parts:
        module = _MODULES[part.kind]
        number = sum(name.startswith(module) for name in names.values())
        names[part.layer, part.direction] = f"{module}_{number}" if number else module

    def numbered(part):
        return f"{names[part.layer, part.direction]}/"

    packs = [pack_haiku]
    if any(part.kind == "elman" for part in parts):
        packs.append(_pack_single_bias)
    paths = [numbered, None] if len(parts) == 1 else [numbered]
    return [by_name(pack, _unpack, path) for path in paths for pack in packs]


def _nest(weights):
    found = {}
    for path, value in weights.items():
        module, _, name = path.rpartition("/")
        found.setdefault(module, {})[name] = value
    return found


_NONE = "haiku has no such core"
HAIKU = Format(
    "haiku",
    {
        "elman": Held(
            "VanillaRNN",
            "exact: b is the sum of the two biases, written back with the second = 0; it has "
            "activation='relu'",
        ),
        "lstm": Held("LSTM", "exact to rounding: it adds 1 to b_f when it runs, so 1 is taken off"),
        "gru_reset_before": Held(
            "GRU", "exact: its z replaces where ours keeps, so the sign of z's weights turns"
        ),
    },
    _layouts,
    refusals={
        "gru": (
            "haiku's GRU resets before the product, which is another function; make the cell with "
            "jaxrnn.gru(I, H, reset='before')"
        ),
    }
    | dict.fromkeys(("mgu", "mgu_reset_after", "projected_lstm"), _NONE),
    nest=_nest,
    given="the parameters that hk.transform(f).init returns",
)
