"""Which unroll the library would choose."""

import jax

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated, Linear, diagonal_combine
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.associative import associative_unroll, chunked_unroll
from jaxrnn.unrolls.fused import fused_unroll
from jaxrnn.unrolls.scan import unroll

__all__ = ["select_unroll"]

_PLATFORMS = ("cpu", "cuda", "gpu", "rocm", "tpu")
# The fastest unroll of a `Linear` cell by platform, of those measured by benchmarks/parallel.py;
# `unroll` where nothing was: on GPUs cells with diagonal maps alone were measured.
_LINEAR = {"cpu": chunked_unroll}
_DIAGONAL = {**_LINEAR, "gpu": associative_unroll, "cuda": associative_unroll}


def select_unroll(cell: Cell, *, platform: str | None = None) -> UnrollFn:
    """Returns the fastest unroll for reverse-mode training that the library has for this cell.

    That is `fused_unroll` for a `Gated` cell; for a `Linear` cell `chunked_unroll` on CPU, and on
    GPUs `associative_unroll` if its maps are diagonal; and `unroll` for every other. Measured on
    CPUs, and on a GPU (``benchmarks/results``).

    Of Gated cells `fused_unroll` is the fastest at most shapes; `unroll` and a textbook scan win at
    some, by up to two fifths for a small Elman network on one sequence. On CPU `chunked_unroll`
    makes one chunk of all steps, since associative scans were slower at every shape, and reads the
    outputs outside the loop: a small LRU trains several times faster than by `unroll`, a minGRU,
    which has nothing to read, as fast. On an H200 (one sequence of 10,000 steps, 128 units)
    `associative_unroll` trains an LRU 270 and a minGRU 330 times faster than `unroll`; mLSTM, whose
    maps hold matrices, was not measured on GPUs, and nothing on TPUs.

    The choice is public so that it can be looked at, and changed by passing another function:
    `unroll` where forward mode (`jax.jvp`) of a Gated cell is wanted, or the cell closes over what
    is differentiated.

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
    if isinstance(cell.parts, Gated):
        return fused_unroll
    if isinstance(cell.parts, Linear):
        measured = _DIAGONAL if cell.parts.combine is diagonal_combine else _LINEAR
        return measured.get(jax.default_backend() if platform is None else platform, unroll)
    return unroll
