"""Layers of other libraries, on the weights of the library's own cells."""

__all__ = []
