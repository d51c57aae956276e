"""One family of libraries a file: how each names and arranges the weights of our cells."""

from jaxrnn.interop.formats.base import Format as Format
from jaxrnn.interop.formats.base import Held as Held
from jaxrnn.interop.formats.base import Parts as Parts
from jaxrnn.interop.formats.base import flatten as flatten
from jaxrnn.interop.formats.cudnn import CUDNN
from jaxrnn.interop.formats.equinox import EQUINOX
from jaxrnn.interop.formats.flax import LINEN, NNX
from jaxrnn.interop.formats.haiku import HAIKU
from jaxrnn.interop.formats.keras import KERAS
from jaxrnn.interop.formats.onnx import ONNX
from jaxrnn.interop.formats.torch import TORCH

__all__ = ["FORMATS", "Format", "Held", "Parts", "flatten"]

FORMATS: dict[str, Format] = {
    "torch": TORCH,
    "keras": KERAS,
    "linen": LINEN,
    "nnx": NNX,
    "haiku": HAIKU,
    "equinox": EQUINOX,
    "cudnn": CUDNN,
    "onnx": ONNX,
}
"""Every format of weights, by the name that `import_weights` and `export_weights` take."""
