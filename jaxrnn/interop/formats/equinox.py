"""equinox: `nn.LSTMCell` and `nn.GRUCell`, by the names of their attributes."""

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name
from jaxrnn.interop.formats.flax import nest

__all__ = ["EQUINOX", "pack_equinox"]


def pack_equinox(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the weights of one cell in the order of its attributes."""
    order = GATES[kind]
    found = {
        "weight_ih": beside(blocks.w, order).T,
        "weight_hh": beside(blocks.u, order).T,
        "bias": beside(blocks.b, order),
    }
    return found if blocks.b_hn is None else found | {"bias_n": blocks.b_hn}


def _unpack(kind: str, weights: dict[str, Array]) -> Blocks:
    order = GATES[kind]
    w, u = (apart(weights[name].T, order) for name in ("weight_ih", "weight_hh"))
    return Blocks(w, u, apart(weights["bias"], order), weights.get("bias_n"))


def _path(part):
    layer = f"layers/{part.layer}/" if part.layers > 1 else ""
    way = ("forward/", "backward/")[part.direction] if part.directions > 1 else ""
    return layer + way


def _layouts(parts: Parts, variant: str | None) -> list[Layout]:
    del parts, variant
    return [by_name(pack_equinox, _unpack, _path)]


_NONE = "equinox has an LSTMCell and a GRUCell only"
EQUINOX = Format(
    "equinox",
    {"lstm": Held("nn.LSTMCell", "exact"), "gru": Held("nn.GRUCell", "exact; b_hn is bias_n")},
    _layouts,
    refusals={
        "gru_reset_before": (
            "equinox' GRUCell resets after the product, which is another function; make the cell "
            "with jaxrnn.gru(I, H, reset='after')"
        ),
    }
    | dict.fromkeys(("elman", "mgu", "mgu_reset_after", "projected_lstm"), _NONE),
    nest=nest,
    given="{k: v for k, v in vars(cell).items() if eqx.is_array(v)}",
)
