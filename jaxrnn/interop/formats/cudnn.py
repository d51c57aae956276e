"""`jax.experimental.rnn`: the layers of an LSTM in one vector, as cuDNN wants them."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.blocks import Blocks
from jaxrnn.interop.formats.base import Format, Held, Layout, Parts, always, within
from jaxrnn.interop.formats.torch import check_one_module, pack_torch, unpack_torch

__all__ = ["CUDNN", "pack_cudnn"]

_NAME = "weights"


def _pieces(parts: Parts) -> list[tuple[int, str, Array]]:
    """The arrays in the order of the vector: matrices of all cells, then their biases."""
    cells = [pack_torch(part.kind, part.blocks) for part in parts]
    return [
        (index, name, cell[name])
        for names in (("weight_ih", "weight_hh"), ("bias_ih", "bias_hh"))
        for index, cell in enumerate(cells)
        for name in names
    ]


def pack_cudnn(parts: Parts) -> dict[str, Array]:
    """Returns the one vector of a network, under the name "weights"."""
    flat = [piece.ravel() for _, _, piece in _pieces(parts)]
    numpy = all(isinstance(piece, np.ndarray) for piece in flat)
    return {_NAME: (np if numpy else jnp).concatenate(flat)}


def _unpack(weights: Mapping[str, Array], parts: Parts) -> list[Blocks]:
    cells = [{} for _ in parts]
    start = 0
    for index, name, piece in _pieces(parts):
        stop = start + math.prod(piece.shape)
        cells[index][name] = weights[_NAME][start:stop].reshape(piece.shape)
        start = stop
    return [unpack_torch(part.kind, cell) for part, cell in zip(parts, cells, strict=True)]


def _read(weights: Any, parts: Parts, bias: bool, prefix: str | None) -> dict[str, Any]:
    del parts, bias
    return within(weights, prefix) if isinstance(weights, Mapping) else {_NAME: weights}


_NONE = "jax.experimental.rnn has an LSTM only, without a projection"
CUDNN = Format(
    "jax.experimental.rnn",
    {
        "lstm": Held(
            "lstm", "exact: b is the sum of the two biases, written back with the second = 0"
        )
    },
    always(Layout(pack_cudnn, _unpack)),
    refusals=dict.fromkeys(
        ("elman", "gru", "gru_reset_before", "mgu", "mgu_reset_after", "projected_lstm"), _NONE
    ),
    read=_read,
    given="the vector that init_lstm_weight makes",
    check=lambda parts, by: check_one_module(parts, "jax.experimental.rnn", by),
)
