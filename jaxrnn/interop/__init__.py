"""Weights, cells and programs of other libraries, both ways; none of them is loaded with this."""

from jaxrnn.interop.foreign_equinox import from_equinox as from_equinox
from jaxrnn.interop.foreign_flax import from_flax as from_flax
from jaxrnn.interop.foreign_flax import from_nnx as from_nnx
from jaxrnn.interop.foreign_haiku import from_haiku as from_haiku
from jaxrnn.interop.foreign_torch import from_torch as from_torch
from jaxrnn.interop.onnx import export_onnx as export_onnx
from jaxrnn.interop.stablehlo import export_stablehlo as export_stablehlo
from jaxrnn.interop.stablehlo import plain as plain
from jaxrnn.interop.weights import export_weights as export_weights
from jaxrnn.interop.weights import import_weights as import_weights

__all__ = [
    "export_onnx",
    "export_stablehlo",
    "export_weights",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_nnx",
    "from_torch",
    "import_weights",
    "plain",
]
