"""Weights, cells and programs of other libraries, both ways; none of them is loaded with this."""

__all__ = []
