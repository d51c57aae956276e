"""Kernels, and the choice of an unroll."""

from jaxrnn.kernels.select import select_unroll as select_unroll

__all__ = ["select_unroll"]
