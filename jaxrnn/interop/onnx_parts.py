"""Which parts of a network ONNX has operators for."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells.elman import ELMAN, ELMAN_RELU
from jaxrnn.cells.gru import GRU, GRU_RESET_BEFORE
from jaxrnn.cells.lstm import LSTM
from jaxrnn.cells.peephole_lstm import PEEPHOLE_LSTM
from jaxrnn.core.cell import Cell
from jaxrnn.core.structure import Structure
from jaxrnn.core.types import Params
from jaxrnn.interop.blocks import kind_of
from jaxrnn.layers.layer import Layer
from jaxrnn.layers.parts import (
    Bidirectional,
    Readout,
    Recurrent,
    Residual,
    Reverse,
    Stack,
    layer_parts,
)
from jaxrnn.layers.readout import ReadoutParams

__all__ = ["Operator", "check_network", "operator_of"]

_REMEDY = "use jaxrnn.interop.export_stablehlo, which exports any network"


class Operator(NamedTuple):
    """An operator of ONNX, and the cell that it computes.

    Attributes:
      name: in ONNX.
      kind: the cell's name in CELLS.
      activation: the one of each direction, or "" for the operator's own.
      attributes: pairs of name and value.
    """

    name: str
    kind: str
    activation: str = ""
    attributes: tuple[tuple[str, int], ...] = ()


# By the witness: it holds the equations, whatever else a factory was given.
_OPERATORS: dict[Structure, Operator] = {
    ELMAN: Operator("RNN", "elman", "Tanh"),
    ELMAN_RELU: Operator("RNN", "elman", "Relu"),
    LSTM: Operator("LSTM", "lstm"),
    PEEPHOLE_LSTM: Operator("LSTM", "peephole_lstm"),
    GRU: Operator("GRU", "gru", attributes=(("linear_before_reset", 1),)),
    GRU_RESET_BEFORE: Operator("GRU", "gru_reset_before", attributes=(("linear_before_reset", 0),)),
}
_KNOWN = "elman ('tanh' or 'relu', by name), lstm, peephole_lstm or gru"
_DTYPES = ("float16", "float32", "float64")


def operator_of(cell: Cell) -> Operator | None:
    """Returns the operator that computes a cell, or None."""
    try:
        return _OPERATORS.get(cell.parts)
    except TypeError:  # a witness that cannot be hashed is none of these
        return None


def _name_of(cell: Cell) -> str:
    """Returns what a cell's functions are called, without underscores and what they do."""
    parts = cell.parts
    for role in ("pointwise", "recur", "combine", "step"):
        function = getattr(parts, role, None)
        if function is not None and getattr(function, "__name__", "<")[0] != "<":
            return f"{type(parts).__name__}, {function.__name__}"
    return type(parts).__name__


def _check_cell(cell: Cell, params: Params, where: str, state_given: bool, by: str) -> int:
    operator = operator_of(cell)
    if operator is None:
        msg = (
            f"{by}: got at {where} a cell that ONNX has no operator for ({_name_of(cell)}); "
            f"expected {_KNOWN}; {_REMEDY}"
        )
        raise TypeError(msg)
    if kind_of(params) != operator.kind:
        msg = (
            f"{by}: got at {where} parameters that are {type(params).__name__}; expected those of "
            f"{operator.kind}; pass what init of this network made"
        )
        raise ValueError(msg)
    if not state_given and any(
        np.any(leaf) for leaf in jax.tree.leaves(cell.initial_state(params))
    ):
        msg = (
            f"{by}: got at {where} a cell whose initial state is not zero; expected zeros, which "
            'ONNX starts from; make the state an input, inputs=("state",)'
        )
        raise ValueError(msg)
    return params.w_ih.shape[0]


def _check_number(params: Any, number: int, where: str, by: str) -> None:
    if not isinstance(params, tuple | list) or len(params) != number:
        size = f" of {len(params)}" if isinstance(params, tuple | list) else ""
        msg = (
            f"{by}: got at {where} parameters that are {type(params).__name__}{size}; expected "
            f"{number} entries, one a layer; pass what init of this network made"
        )
        raise ValueError(msg)


def _check(network: Layer, params: Params, where: str, **options) -> int | None:
    """Checks a part and those in it; returns the number of its input features, if it has a say."""
    parts = layer_parts(network)
    by = options["by"]
    match parts:
        case Recurrent():
            return _check_cell(parts.cell, params, where, **options)
        case Stack() | Bidirectional():
            inner = parts.layers if isinstance(parts, Stack) else (parts.forward, parts.backward)
            _check_number(params, len(inner), where, by)
            sizes = [
                _check(one, p, f"{where}[{k}]", **options)
                for k, (one, p) in enumerate(zip(inner, params, strict=True))
            ]
            return next((size for size in sizes if size is not None), None)
        case Reverse() | Residual():
            return _check(parts.inner, params, where, **options)
        case Readout():
            if not isinstance(params, ReadoutParams):
                msg = (
                    f"{by}: got at {where} parameters that are {type(params).__name__}; expected "
                    "ReadoutParams; pass what init of this network made"
                )
                raise ValueError(msg)
            return params.w.shape[0]
        case None:
            msg = (
                f"{by}: got at {where} a layer of your own; expected layers made by layer, stack, "
                f"bidirectional, reverse, residual, readout and dropout; {_REMEDY}"
            )
            raise TypeError(msg)
    return None  # dropout takes any size


def check_network(network: Layer, params: Params, *, state_given: bool, by: str) -> int:
    """Checks that ONNX has operators for all parts of a network.

    Args:
      network: the network.
      params: its parameters.
      state_given: whether the state to start from is an input; if not, it has to be zeros.
      by: the function the user called, for messages.

    Returns:
      The number of input features.

    Raises:
      TypeError: a part has no operator, or the parameters are of other dtypes than ONNX's.
      ValueError: the parameters are not those of the network, or the initial state is not zero.
    """
    features = _check(network, params, "network", state_given=state_given, by=by)
    if features is None:
        msg = f"{by}: got a network without parameters; expected a recurrent layer or a readout"
        raise ValueError(msg)
    dtypes = sorted({jnp.dtype(leaf.dtype).name for leaf in jax.tree.leaves(params)})
    if len(dtypes) > 1 or dtypes[0] not in _DTYPES:
        msg = (
            f"{by}: got parameters of dtype {' and '.join(dtypes)}; expected one of "
            f"{', '.join(_DTYPES)} for all; cast them, as in jax.tree.map(lambda leaf: "
            "leaf.astype(jax.numpy.float32), params)"
        )
        raise TypeError(msg)
    return features
