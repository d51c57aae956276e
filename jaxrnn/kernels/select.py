"""Which unroll the library would choose."""

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.scan import unroll

__all__ = ["select_unroll"]

_PLATFORMS = ("cpu", "cuda", "gpu", "rocm", "tpu")


def select_unroll(cell: Cell, *, platform: str | None = None) -> UnrollFn:
    """Returns the fastest unroll for reverse-mode training that the library has for this cell.

    At present that is `unroll` for every cell on every platform; the choice is public so that it
    can be looked at, and changed by passing another function.

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
      'unroll'
    """
    check_cell_type(cell, by="select_unroll")
    if platform is not None and platform not in _PLATFORMS:
        raise unknown_name("platform", platform, _PLATFORMS)
    return unroll
