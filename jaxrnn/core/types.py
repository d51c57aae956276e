"""Names for the kinds of value that travel through a recurrence, and for the functions on them."""

from typing import Any, Protocol

import chex
import jax

__all__ = [
    "Array",
    "InitFn",
    "InitialStateFn",
    "Input",
    "Key",
    "Output",
    "Params",
    "State",
    "StepFn",
    "UnrollFn",
]

Array = jax.Array
Key = jax.Array
Params = chex.ArrayTree
"""Pytree of arrays."""
State = chex.ArrayTree
"""Pytree of arrays, each ``(*batch, ...)``: what one step hands to the next."""
Input = chex.ArrayTree
"""Pytree of arrays: one step's input, each float leaf ``(*batch, features)``, each integer leaf
(a token) ``(*batch,)``."""
Output = chex.ArrayTree
"""Pytree of arrays, each ``(*batch, ...)``."""


class InitFn(Protocol):
    """Makes parameters from a key; the same key gives the same parameters."""

    def __call__(self, key: Key) -> Params: ...


class InitialStateFn(Protocol):
    """Makes the state before the first input, for sequences batched as `batch_shape`."""

    def __call__(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State: ...


class StepFn(Protocol):
    """Advances the state by one input, in the argument order of `jax.lax.scan`: state first."""

    def __call__(self, params: Params, state: State, x: Input) -> tuple[State, Output]: ...


class UnrollFn(Protocol):
    """Runs a cell over time.

    Every way to run a cell has this signature, so changing how a cell runs is passing another
    function. `xs` has time on axis 0, ``(T, *batch, features)``; `mask` and `resets` are bool,
    ``(T, *batch)``. Returns the state after the last step and the outputs, ``(T, *batch, ...)``.
    """

    def __call__(
        self,
        cell: Any,
        params: Params,
        xs: Input,
        state: State | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
    ) -> tuple[State, Output]: ...
