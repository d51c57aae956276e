"""What the exporters have in common: reading the network and what its program shall take."""

from collections.abc import Iterable
from typing import Any

from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.layers.layer import Layer, layer

__all__ = ["as_layer", "check_dimensions", "check_inputs"]


def as_layer(network: Cell | Layer, *, by: str) -> Layer:
    """Returns the network as a layer.

    Raises:
      TypeError: it is neither a `Cell` nor a `Layer`.
    """
    if isinstance(network, Cell):
        return layer(network)
    if isinstance(network, Layer):
        return network
    name = getattr(network, "__name__", "lstm")
    msg = (
        f"{by}: got {type(network).__name__} {network!r:.80}; expected a jaxrnn.Cell or a "
        f"jaxrnn.Layer; call the factory first, as in {name}(input_size, hidden_size)"
    )
    raise TypeError(msg)


def check_inputs(inputs: Iterable[str], known: Iterable[str], *, by: str) -> frozenset[str]:
    """Returns the names of a program's inputs as a set.

    Raises:
      TypeError: `inputs` is a string.
      ValueError: a name is unknown.
    """
    if isinstance(inputs, str):
        msg = f"{by}: got inputs={inputs!r}; expected a tuple of names, as in ({inputs!r},)"
        raise TypeError(msg)
    inputs = tuple(inputs)
    for name in inputs:
        if name not in known:
            raise unknown_name("input", name, known)
    return frozenset(inputs)


def check_dimensions(dimensions: Any, *, by: str) -> tuple[int | str, ...]:
    """Returns the names or sizes of the leading axes, checked.

    Raises:
      TypeError: `dimensions` is no tuple of names and integers.
      ValueError: it is empty, a size is less than 1, or a name is no identifier.
    """
    remedy = 'a name leaves the size open, as in ("T", "B"), a number fixes it, as in ("T", 1)'
    if not isinstance(dimensions, tuple | list):
        msg = f"{by}: got dimensions={dimensions!r}; expected a tuple; {remedy}"
        raise TypeError(msg)
    checked = []
    for one in dimensions:
        if isinstance(one, str) and not one.isidentifier():
            msg = f"{by}: got the dimension {one!r}; expected a plain name or a number; {remedy}"
            raise ValueError(msg)
        checked.append(one if isinstance(one, str) else check_size("dimensions", one, by=by))
    if not checked:
        msg = f"{by}: got dimensions=(); expected one of time at least; {remedy}"
        raise ValueError(msg)
    return tuple(checked)
