"""Recurrent layers of torch, by their weights, as cells of this library."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.cells import elman, gru, lstm
from jaxrnn.cells.projected_lstm import projected_lstm
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Params
from jaxrnn.interop.foreign import wrong_model
from jaxrnn.interop.weights import import_weights
from jaxrnn.wrappers import stacked

__all__ = ["from_torch"]

_NAME = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(_l\d+)?(_reverse)?")


def _layers_of(weights: Mapping[str, Any]) -> list[str]:
    """Returns what the names of each layer's weights end in, as _l0; of a cell it is nothing."""
    return sorted({_NAME.fullmatch(name)[2] or "" for name in weights}, key=lambda s: (len(s), s))


def _check_names(weights: Mapping[str, Any]) -> None:
    """Raises ValueError unless these are the weights of one torch layer or cell, run forward."""
    odd = [name for name in weights if not _NAME.fullmatch(name)]
    backward = [name for name in weights if name.endswith("_reverse")]
    if backward and not odd:
        number = len(_layers_of(weights))
        if number == 1:
            what = "layer"
            remedy = (
                "read each by itself, as in from_torch({name.removesuffix('_reverse'): weight for "
                "name, weight in module.state_dict().items() if name.endswith('_reverse')})"
            )
        else:
            what = f"module of {number} layers"
            remedy = (
                "make net, a jaxrnn.stack of jaxrnn.bidirectional layers, and call "
                "jaxrnn.interop.import_weights('torch', module.state_dict(), "
                "jax.eval_shape(net.init, jax.random.key(0)))"
            )
        msg = (
            f"from_torch: got the weights of a bidirectional {what}; expected one direction, since "
            f"a cell runs in one; {remedy}"
        )
        raise ValueError(msg)
    if odd or not weights:
        found = ", ".join(odd[:4]) if odd else "none at all"
        prefixed = next((name for name in odd if _NAME.fullmatch(name.rpartition(".")[2])), None)
        remedy = "pass the recurrent layer alone"
        if prefixed is not None:
            remedy += f", as in module.{prefixed.rpartition('.')[0]}"
        msg = (
            f"from_torch: got weights named {found}; expected those of one torch.nn.RNN, LSTM or "
            f"GRU, as weight_ih_l0, or of one of their cells, as weight_ih; {remedy}"
        )
        raise ValueError(msg)


def _make_cell(weights: Mapping[str, Any], layer: str, nonlinearity: str | None) -> Cell:
    """Makes the cell that the shapes of one layer's weights belong to."""
    for name in (f"weight_ih{layer}", f"weight_hh{layer}"):
        if name not in weights:
            msg = (
                f"from_torch: got {', '.join(weights)}, missing {name}; expected the whole state "
                "dict of a recurrent layer; pass module.state_dict()"
            )
            raise ValueError(msg)
    gates_size, inputs = weights[f"weight_ih{layer}"].shape
    outputs = weights[f"weight_hh{layer}"].shape[1]
    if f"weight_hr{layer}" in weights:
        cell = projected_lstm(inputs, gates_size // 4, projection_size=outputs)
    elif gates_size == 4 * outputs:
        cell = lstm(inputs, outputs)
    elif gates_size == 3 * outputs:
        cell = gru(inputs, outputs)
    elif gates_size == outputs:
        return elman(inputs, outputs, activation=nonlinearity or "tanh")
    else:
        msg = (
            f"from_torch: got weight_ih{layer} of {gates_size} rows and weight_hh{layer} of "
            f"{outputs} columns; expected 1, 3 or 4 gates, so as many rows a column, as "
            "torch.nn.RNN, GRU and LSTM have; check that both are of one layer"
        )
        raise ValueError(msg)
    if nonlinearity is not None:
        msg = (
            f"from_torch: got nonlinearity={nonlinearity!r} with the weights of an LSTM or a GRU; "
            "expected it for an RNN alone, since gates have their own; leave it out"
        )
        raise ValueError(msg)
    return cell


def from_torch(
    module_or_state_dict: Any, *, nonlinearity: str | None = None
) -> tuple[Cell, Params]:
    """Reads a recurrent layer of torch, by its weights, as a cell of this library.

    Args:
      module_or_state_dict: a ``torch.nn.RNN``, ``LSTM`` (with ``proj_size`` too), ``GRU``, or
        ``RNNCell``, ``LSTMCell``, ``GRUCell``; or the ``state_dict`` of one, as tensors or as
        arrays, for which torch need not be installed. Of several layers a `stacked` cell is made;
        dropout between them is left out.
      nonlinearity: "tanh" or "relu", for the state dict of an ``RNN``, which does not say; a module
        does. "tanh", torch's default, if not given.

    Returns:
      The cell, one of `elman`, `lstm`, `projected_lstm` and `gru`, or `stacked` of one kind, and
      its parameters, JAX arrays in the layout of this library, by `import_weights`: the two
      biases of torch are added up, and float64 becomes float32 where JAX does not have it enabled.
      Its state is that of the cell, for an LSTM ``LSTMState(h, c)``: torch's order. As with any
      cell of this library ``cell.init(key)`` makes new parameters.

    Raises:
      TypeError: it is something else.
      ValueError: the weights are not those of one layer or cell, or of a bidirectional layer, or
        `nonlinearity` is unknown, contradicts the module, or is given for an LSTM or a GRU.

    Example:
      >>> import numpy as np
      >>> weights = {"weight_ih": np.ones((16, 3)), "weight_hh": np.ones((16, 4)),
      ...            "bias_ih": np.ones(16), "bias_hh": np.ones(16)}
      >>> cell, params = from_torch(weights)
      >>> cell.parts == lstm(3, 4).parts, params.w_ih.shape, float(params.b[0])
      (True, (3, 16), 2.0)
    """
    if isinstance(module_or_state_dict, type) or not (
        isinstance(module_or_state_dict, Mapping) or hasattr(module_or_state_dict, "state_dict")
    ):
        expected = "a recurrent module of torch, or its state_dict"
        raise wrong_model(module_or_state_dict, expected, by="from_torch")
    said = getattr(module_or_state_dict, "nonlinearity", None)
    for name in (said, nonlinearity):
        if name not in (None, "tanh", "relu"):
            msg = f"from_torch: {unknown_name('nonlinearity', name, ('tanh', 'relu'))}"
            raise ValueError(msg)
    if None not in (said, nonlinearity) and said != nonlinearity:
        msg = (
            f"from_torch: got nonlinearity={nonlinearity!r} for a module with {said!r}; expected "
            "the module's; leave it out"
        )
        raise ValueError(msg)
    weights = module_or_state_dict
    if not isinstance(weights, Mapping):
        weights = weights.state_dict()
    _check_names(weights)
    cells = [_make_cell(weights, layer, said or nonlinearity) for layer in _layers_of(weights)]
    cell = cells[0] if len(cells) == 1 else stacked(*cells)
    like = jax.eval_shape(cell.init, jax.random.key(0))
    bias = any(name.startswith("bias") for name in weights)
    try:
        params = import_weights("torch", weights, like, prefix="", bidirectional=False, bias=bias)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        msg = f"from_torch: {str(error).removeprefix('import_weights: ')}"
        raise kind(msg) from error
    return cell, jax.tree.map(jnp.asarray, params)
