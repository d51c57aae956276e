"""The core: cells, structures, initializers and tree helpers. Imports nothing else of jaxrnn."""

from jaxrnn.core import initializers as initializers
from jaxrnn.core.cell import Cell as Cell
from jaxrnn.core.cell import from_structure as from_structure
from jaxrnn.core.cell import hoist as hoist
from jaxrnn.core.cell import require as require
from jaxrnn.core.structure import Elementwise as Elementwise
from jaxrnn.core.structure import Gated as Gated
from jaxrnn.core.structure import General as General
from jaxrnn.core.structure import Linear as Linear
from jaxrnn.core.structure import Separable as Separable
from jaxrnn.core.structure import Structure as Structure
from jaxrnn.core.types import UnrollFn as UnrollFn

__all__ = [
    "Cell",
    "Elementwise",
    "Gated",
    "General",
    "Linear",
    "Separable",
    "Structure",
    "UnrollFn",
    "from_structure",
    "hoist",
    "initializers",
    "require",
]
