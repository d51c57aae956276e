"""torch: `nn.RNN`, `nn.LSTM` (with `proj_size`) and `nn.GRU`, by the names of a `state_dict`."""

from collections.abc import Mapping

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import GATES, Blocks, apart, beside, one_bias, two_biases
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, by_name
from jaxrnn.interop.network import describe, sizes

__all__ = ["TORCH", "check_one_module", "pack_torch", "unpack_torch"]

_BIASES = "exact: b is the sum of the two biases, written back with bias_hh = 0"


def pack_torch(kind: str, blocks: Blocks) -> dict[str, Array]:
    """Returns the weights of one cell in the order of a torch layer's parameters."""
    order = GATES[kind]
    first, second = two_biases(blocks)
    found = {
        "weight_ih": beside(blocks.w, order).T,
        "weight_hh": beside(blocks.u, order).T,
        "bias_ih": beside(first, order),
        "bias_hh": beside(second, order),
    }
    return found if blocks.w_hr is None else found | {"weight_hr": blocks.w_hr.T}


def unpack_torch(kind: str, weights: dict[str, Array]) -> Blocks:
    """Returns the blocks of one cell."""
    order = GATES[kind]
    w, u = (apart(weights[name].T, order) for name in ("weight_ih", "weight_hh"))
    b, b_hn = one_bias(kind, *(apart(weights[name], order) for name in ("bias_ih", "bias_hh")))
    w_hr = weights["weight_hr"].T if "weight_hr" in weights else None
    return Blocks(w, u, b, b_hn, w_hr)


def check_one_module(parts: Parts, library: str, by: str) -> None:
    """Raises ValueError where the layers do not fit into one module of a library.

    Such a module has one kind of cell, one hidden size, as many directions in every layer, and
    each layer reads what the one below puts out.
    """
    first = parts[0]
    _, hidden, outputs = sizes(first)
    for part in parts:
        inputs = sizes(first)[0] if part.layer == 0 else first.directions * outputs
        alike = (part.kind, part.directions, *sizes(part))
        if alike != (first.kind, first.directions, inputs, hidden, outputs):
            msg = (
                f"{by}: got {describe(parts)}; expected what one module of {library} can hold: "
                "layers of one kind and size, each of which reads the one below; convert the "
                "layers one by one, as in params[0]"
            )
            raise ValueError(msg)


def _in_layer(name, part):
    return f"{name}_l{part.layer}{'_reverse' if part.direction else ''}"


def _layouts(parts: Parts, variant: str | None) -> list[Layout]:
    del variant
    layer = by_name(pack_torch, unpack_torch, name=_in_layer)
    one_step = by_name(pack_torch, unpack_torch)
    return [layer, one_step] if len(parts) == 1 else [layer]


def _hint(weights: Mapping[str, Array], parts: Parts) -> str:
    if parts[0].kind == "lstm" and any("weight_hr" in name for name in weights):
        return "weights with weight_hr are those of nn.LSTM(proj_size=P), jaxrnn.projected_lstm"
    return ""


_MGU = "torch has no minimal gated unit"
TORCH = Format(
    "torch",
    {
        "elman": Held("nn.RNN", f"{_BIASES}; nonlinearity= as activation="),
        "lstm": Held("nn.LSTM", _BIASES),
        "projected_lstm": Held("nn.LSTM(proj_size=P)", _BIASES),
        "gru": Held("nn.GRU", f"{_BIASES}, but for its last third, b_hn"),
    },
    _layouts,
    refusals={
        "gru_reset_before": (
            "torch's GRU resets after the product, which is another function; make the cell with "
            "jaxrnn.gru(I, H, reset='after')"
        ),
        "mgu": _MGU,
        "mgu_reset_after": _MGU,
    },
    check=lambda parts, by: check_one_module(parts, "torch", by),
    hint=_hint,
    given="module.state_dict()",
)
