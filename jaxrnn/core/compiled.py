"""Functions of a cell that compile once, also where the caller has no `jax.jit` around them."""

import functools
import inspect
from collections.abc import Callable

import jax

from jaxrnn.core.cell import Cell

__all__ = ["compiled_per_cell"]


def _hashable(value) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def compiled_per_cell(*static: str) -> Callable[[Callable], Callable]:
    """Decorates a function of a cell so that calls outside `jax.jit` are compiled and cached.

    Without it every such call would compile its loop again (half a second for a small LSTM), since
    the loop's body is a new function each time. Inside a trace the function is inlined, as if it
    were not decorated. What cannot be hashed is run without the cache.

    Args:
      *static: names of the arguments, besides ``cell``, that are no arrays.

    Returns:
      The decorator.
    """
    names = ("cell", *static)

    def decorate(function):
        signature = inspect.signature(function)
        jitted = jax.jit(function, static_argnames=names, inline=True)

        @functools.wraps(function)
        def call(*args, **kwargs):
            given = signature.bind(*args, **kwargs).arguments
            cached = isinstance(given["cell"], Cell) and all(
                _hashable(given[name]) for name in names if name in given
            )
            return (jitted if cached else function)(*args, **kwargs)

        return call

    return decorate
