"""The layer: a sequence-level tuple of pure functions, and the layer made of one cell."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.types import Array, InitialStateFn, Input, Key, Output, Params, State, UnrollFn
from jaxrnn.kernels.select import select_unroll
from jaxrnn.layers.parts import Parts, Recurrent
from jaxrnn.unrolls.batch_groups import in_groups

__all__ = ["ApplyFn", "Layer", "SizedInit", "check_layers", "init_layer", "layer", "output_size"]


class ApplyFn(Protocol):
    """Runs a layer over a sequence: an `UnrollFn` without the cell."""

    def __call__(
        self,
        params: Params,
        xs: Input,
        state: State | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
    ) -> tuple[State, Output]: ...


class Layer(NamedTuple):
    """A function from sequences to sequences with parameters and a state.

    Attributes:
      init: ``(key) -> params``.
      initial_state: ``(params, batch_shape=()) -> state``.
      apply: ``(params, xs, state=None, *, mask=None, resets=None) -> (state, ys)``, time-major.
      parts: what the layer is made of, for those who read a network and do not run it, such as
        exporters; None for a layer that only its `apply` describes.
    """

    init: Callable[[Key], Params]
    initial_state: InitialStateFn
    apply: ApplyFn
    parts: Parts | None = None


@dataclasses.dataclass(frozen=True)
class SizedInit:
    """An `init` that can be told the number of its input's features: ``init(key, input_size)``.

    A layer such as `readout`, whose input size is that of the layer before it, has such an init,
    and so has every layer made of layers; `stack` works the sizes out. It is no tuple because
    `jax.jit` keys its caches on weak references, which a tuple has not.

    Attributes:
      make: ``(key, input_size or None) -> params``.
    """

    make: Callable[[Key, int | None], Params]

    def __call__(self, key: Key, input_size: int | None = None) -> Params:
        """Makes the parameters."""
        return self.make(key, input_size)


def init_layer(inner: Layer, key: Key, input_size: int | None) -> Params:
    """Makes a layer's parameters, telling it its input size if it wants to know."""
    return inner.init(key, input_size) if isinstance(inner.init, SizedInit) else inner.init(key)


def output_size(inner: Layer, params: Params, input_size: int | None) -> int | None:
    """Works out how many features a layer's output has, by tracing it.

    Args:
      inner: any layer.
      params: its parameters.
      input_size: the features of its input, or None if not known: then the sizes that occur in the
        parameters are tried, since one of them is the input's.

    Returns:
      The size of the last axis of the outputs, or None if no trace succeeds or traces disagree.
    """
    if input_size is None:
        shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
        tries = sorted({size for shape in shapes for size in shape})
    else:
        tries = [input_size]
    floats = [
        leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    dtype = floats[0] if floats else jnp.result_type(float)
    found = set()
    for size in tries:
        xs = jax.ShapeDtypeStruct((1, 1, size), dtype)
        try:
            ys = jax.eval_shape(lambda p, xs: inner.apply(p, xs)[1], params, xs)
        except (TypeError, ValueError):
            continue  # not the input's size
        found.add(ys.shape[-1] if hasattr(ys, "shape") else None)
    return found.pop() if len(found) == 1 else None


def check_layers(layers: tuple[Any, ...], *, by: str) -> None:
    """Raises TypeError if one of `layers` is not a `Layer`; `by` names the function called."""
    for inner in layers:
        if not isinstance(inner, Layer):
            cell = isinstance(inner, Cell)
            remedy = "wrap the cell, as in jaxrnn.layer(cell)" if cell else "see jaxrnn.layer"
            msg = f"{by}: got {type(inner).__name__}; expected a jaxrnn.Layer; {remedy}"
            raise TypeError(msg)


def layer(cell: Cell, unroll_fn: UnrollFn | None = None) -> Layer:
    """Makes the layer that runs one cell over the sequence.

    Args:
      cell: any cell.
      unroll_fn: how it is run, such as ``truncated(unroll, 20)``; ``select_unroll(cell)`` if not
        given, which for a `Gated` cell has reverse mode only; pass `unroll` for `jax.jvp`.

    Returns:
      The layer; its parameters and state are the cell's.

    Raises:
      TypeError: `cell` is no `Cell`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> net = layer(gru(3, 5))
      >>> state, ys = net.apply(net.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 5)
    """
    check_cell_type(cell, by="layer")

    def apply(params, xs, state=None, *, mask=None, resets=None):
        # Chosen at the call, so that making a layer starts no backend.
        run = select_unroll(cell) if unroll_fn is None else unroll_fn
        return in_groups(run, cell, params, xs, state, mask=mask, resets=resets)

    return Layer(cell.init, cell.initial_state, apply, Recurrent(apply, cell, unroll_fn))
