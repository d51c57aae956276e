"""Which unroll the library would choose."""

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.fused import fused_unroll
from jaxrnn.unrolls.scan import unroll

__all__ = ["select_unroll"]

_PLATFORMS = ("cpu", "cuda", "gpu", "rocm", "tpu")


def select_unroll(cell: Cell, *, platform: str | None = None) -> UnrollFn:
    """Returns the fastest unroll for reverse-mode training that the library has for this cell.

    That is `fused_unroll` for a `Gated` cell, and `unroll` for every other. Measured on CPUs, and
    on a GPU with LSTMs (``benchmarks/results``): `fused_unroll` is the fastest of the two at most
    shapes; `unroll` and a textbook scan win at some, by up to two fifths for a small Elman network
    on one sequence. On a TPU nothing was measured. The choice is public so that it can be looked
    at, and changed by passing another function: `unroll` where forward mode (`jax.jvp`) is wanted,
    or the cell closes over what is differentiated.

    Args:
      cell: any cell.
      platform: "cpu", "gpu" (or "cuda", "rocm"), "tpu"; that of JAX's default backend if not given.

    Returns:
      An `UnrollFn`.

    Raises:
      TypeError: `cell` is no `Cell`.
      ValueError: unknown platform.

    Example:
      >>> from jaxrnn.cells import lstm
      >>> select_unroll(lstm(3, 5), platform="cpu").__name__
      'fused_unroll'
    """
    check_cell_type(cell, by="select_unroll")
    if platform is not None and platform not in _PLATFORMS:
        raise unknown_name("platform", platform, _PLATFORMS)
    return fused_unroll if isinstance(cell.parts, Gated) else unroll
