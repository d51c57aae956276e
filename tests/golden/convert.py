"""Turns torch's weights (by `import_weights`), states and gradients into jaxrnn's fields.

torch stores rows of gates, (G*H, I), and two biases; jaxrnn stores columns, (I, G*H), and one bias,
except for the candidate of the GRU, whose recurrent bias b_hn stands inside the reset gate's
product. Gate orders are the same. Everything returned is nested as ((forward, backward), ...), one
pair a layer; `kind` is "rnn", "lstm" or "gru".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxrnn
from jaxrnn.interop import import_weights

Arrays = Mapping[str, np.ndarray]
CELLS = {"rnn": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru}
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def load(kind: str, case: str) -> dict[str, np.ndarray]:
    """Returns the arrays of one case of a golden file by torch's names."""
    with np.load(Path(__file__).parent / f"torch_{kind}.npz", allow_pickle=False) as file:
        names = {name: name.partition(".") for name in file.files}
        return {rest: file[name] for name, (first, _, rest) in names.items() if first == case}


def _layers(arrays: Arrays, layers: int, prefix: str = "") -> list[list[list[np.ndarray]]]:
    return [
        [[arrays[f"{prefix}{name}_l{k}{way}"] for name in NAMES] for way in ("", "_reverse")]
        for k in range(layers)
    ]


def weights(kind: str, arrays: Arrays, layers: int = 2) -> tuple[Any, ...]:
    """Converts the weights to dicts of `w_ih`, `w_hh`, `b` and, for the GRU, `b_hn`."""

    stored = {
        name: value for name, value in arrays.items() if name.startswith(("weight_", "bias_"))
    }
    hidden = stored["weight_hh_l0"].shape[1]
    layers_of_two = []
    for k in range(layers):
        cell = CELLS[kind](stored[f"weight_ih_l{k}"].shape[1], hidden)
        layers_of_two.append((jax.eval_shape(cell.init, jax.random.key(0)),) * 2)
    params = import_weights("torch", stored, tuple(layers_of_two), bidirectional=True)
    return jax.tree.map(
        lambda cell: {name: np.asarray(value) for name, value in cell._asdict().items()},
        params,
        is_leaf=lambda node: hasattr(node, "_asdict"),
    )


def gradients(kind: str, arrays: Arrays, layers: int = 2) -> tuple[Any, ...]:
    """Converts the gradients, named "grad.weight_ih_l0" and so on, to the same dicts.

    The gradient in b_ih + b_hh is the gradient in either.
    """

    def convert(d_w_ih, d_w_hh, d_b_ih, d_b_hh):
        fields = {"w_ih": d_w_ih.T, "w_hh": d_w_hh.T, "b": d_b_ih}
        return fields | ({"b_hn": d_b_hh[2 * d_w_hh.shape[1] :]} if kind == "gru" else {})

    return tuple(tuple(convert(*way) for way in pair) for pair in _layers(arrays, layers, "grad."))


def states(kind: str, arrays: Arrays, name: str) -> tuple[Any, ...]:
    """Converts torch's (2 * layers, B, H) to h, or (h, c) for the LSTM; `name` is as "{}_0"."""
    h = arrays[name.format("h")]
    each = list(zip(h, arrays[name.format("c")], strict=True)) if kind == "lstm" else list(h)
    return tuple(zip(each[::2], each[1::2], strict=True))
