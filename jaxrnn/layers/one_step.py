"""The stepper: a tuple of pure functions that run a network one step at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, hoist, over_hoisted
from jaxrnn.core.structure import Hoisted
from jaxrnn.core.trees import batch_shape_of, mask_zero
from jaxrnn.core.types import Array, InitialStateFn, Input, Output, Params, State
from jaxrnn.layers.layer import Layer
from jaxrnn.layers.parts import Dropout, Readout, Recurrent, Residual, Stack, layer_parts
from jaxrnn.unrolls.scan import read_recurrence

__all__ = ["OneStepFn", "Stepper", "cell_stepper", "layer_stepper"]


class OneStepFn(Protocol):
    """Takes one step of a network."""

    def __call__(
        self,
        prepared: Any,
        state: State,
        x: Input,
        reset: Array | None = None,
        *,
        mask: Array | None = None,
    ) -> tuple[State, Output]: ...


class Stepper(NamedTuple):
    """How a network runs one step at a time.

    Attributes:
      prepare: ``(params) -> prepared``: the parameters, with what depends on them alone computed.
      initial_state: ``(prepared, batch_shape=()) -> state``.
      step: ``(prepared, state, x, reset=None, *, mask=None) -> (state, y)``: `x` is the input of
        one step, ``(*batch, features)``, and `reset` and `mask` are bool, ``(*batch)``, with the
        meaning that they have in a sequence.
    """

    prepare: Callable[[Params], Any]
    initial_state: InitialStateFn
    step: OneStepFn


def _as_sequence(tree):
    """Returns a sequence of one step."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def _check_step(cell: Cell, x: Input, flags: dict[str, Any]) -> None:
    """Checks one step's input and flags, whose errors would else speak of sequences."""
    for leaf in jax.tree.leaves(x):
        tokens = jnp.issubdtype(leaf.dtype, jnp.integer)
        if not tokens and leaf.ndim < cell.input_ndim:
            axes = ", features" if cell.input_ndim == 1 else ", *space, channels"
            msg = (
                f"stepper: got x of shape {leaf.shape}; expected one step's input, (*batch{axes}), "
                "or integer tokens (*batch); add the feature axis, as in x[..., None]"
            )
            raise ValueError(msg)
    if not jax.tree.leaves(x):
        return
    batch_shape = batch_shape_of(x, cell.input_ndim)
    for name, flag in flags.items():
        if flag is None:
            continue
        flag = jnp.asarray(flag)
        if flag.dtype != jnp.bool_:
            msg = f"stepper: got {name} of dtype {flag.dtype}; expected bool; use dtype=bool"
            raise TypeError(msg)
        if flag.shape != batch_shape:
            msg = (
                f"stepper: got {name} of shape {flag.shape} with x of batch shape {batch_shape}; "
                f"expected one flag a stream, {batch_shape}"
            )
            raise ValueError(msg)


def _check_prepared(prepared: Any) -> None:
    """Raises TypeError for what no `prepare` of a cell's stepper returned."""
    if not isinstance(prepared, Hoisted):
        msg = (
            f"stepper: got parameters that were not prepared, {type(prepared).__name__}; expected "
            "what prepare returns; call prepared = stream.prepare(params) once, and pass prepared "
            "to initial_state and to step"
        )
        raise TypeError(msg)


def _check_layers_of(params: Any, number: int) -> None:
    """Raises ValueError unless `params` is a tuple with one entry a layer of a stack."""
    if not isinstance(params, tuple | list) or len(params) != number:
        size = f" of {len(params)}" if isinstance(params, tuple | list) else ""
        msg = (
            f"stepper: got parameters that are a {type(params).__name__}{size}; expected a tuple "
            f"of {number}, one entry a layer; pass what the network's init returns to prepare, and "
            "what prepare returns to initial_state and to step"
        )
        raise ValueError(msg)


def cell_stepper(cell: Cell) -> Stepper:
    """Returns the stepper of a cell.

    Args:
      cell: any cell.
    """
    hoisted_cell = over_hoisted(cell)

    def prepare(params):
        return hoist(cell, params)[1]

    def initial_state(prepared, batch_shape=()):
        _check_prepared(prepared)
        return hoisted_cell.initial_state(prepared, batch_shape)

    def step(prepared, state, x, reset=None, *, mask=None):
        _check_prepared(prepared)
        x = jax.tree.map(jnp.asarray, x)
        _check_step(cell, x, {"reset": reset, "mask": mask})
        run = read_recurrence(
            hoisted_cell,
            prepared,
            _as_sequence(x),
            state,
            mask=_as_sequence(mask),
            resets=_as_sequence(reset),
            by="stepper",
        )
        return run.advance(run.state, jax.tree.map(lambda leaf: leaf[0], run.inputs))

    return Stepper(prepare, initial_state, step)


def _sequence_stepper(layer: Layer) -> Stepper:
    """Returns the stepper of a layer that takes a step as a sequence of one."""

    def step(params, state, x, reset=None, *, mask=None):
        flags = {"mask": _as_sequence(mask), "resets": _as_sequence(reset)}
        state, ys = layer.apply(params, _as_sequence(x), state, **flags)
        return state, jax.tree.map(lambda leaf: leaf[0], ys)

    return Stepper(lambda params: params, layer.initial_state, step)


def _stack_stepper(layers: tuple[Layer, ...]) -> Stepper:
    """Returns the stepper of a stack."""
    steppers = [layer_stepper(one) for one in layers]

    def prepare(params):
        _check_layers_of(params, len(steppers))
        return tuple(one.prepare(p) for one, p in zip(steppers, params, strict=True))

    def initial_state(prepared, batch_shape=()):
        _check_layers_of(prepared, len(steppers))
        return tuple(
            one.initial_state(p, batch_shape) for one, p in zip(steppers, prepared, strict=True)
        )

    def step(prepared, state, x, reset=None, *, mask=None):
        _check_layers_of(prepared, len(steppers))
        if not isinstance(state, tuple) or len(state) != len(steppers):
            msg = (
                f"stepper: got a state that is a {type(state).__name__}; expected a tuple of "
                f"{len(steppers)} states, one a layer; make one with stepper(network)."
                "initial_state(prepared, batch_shape)"
            )
            raise ValueError(msg)
        after = []
        for one, p, s in zip(steppers, prepared, state, strict=True):
            s, x = one.step(p, s, x, reset, mask=mask)
            after.append(s)
        return tuple(after), x

    return Stepper(prepare, initial_state, step)


def _residual_stepper(inner: Layer) -> Stepper:
    """Returns the stepper of a residual layer."""
    stepper = layer_stepper(inner)

    def step(prepared, state, x, reset=None, *, mask=None):
        state, y = stepper.step(prepared, state, x, reset, mask=mask)
        shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (x, y)]
        if shapes[0] != shapes[1]:
            msg = (
                f"residual: got inputs {shapes[0]} and outputs {shapes[1]}; expected equal shapes; "
                "give the layer as many outputs as inputs"
            )
            raise ValueError(msg)
        x = x if mask is None else mask_zero(jnp.asarray(mask), x)
        return state, jax.tree.map(jnp.add, x, y)

    return stepper._replace(step=step)


def layer_stepper(layer: Layer) -> Stepper:
    """Returns the stepper of a layer.

    Args:
      layer: any layer.

    Raises:
      TypeError: it reads the sequence from its end, or nothing is known of what it is made of.
    """
    parts = layer_parts(layer)
    match parts:
        case Recurrent():
            return cell_stepper(parts.cell)
        case Stack():
            return _stack_stepper(parts.layers)
        case Residual():
            return _residual_stepper(parts.inner)
        case Readout() | Dropout():
            return _sequence_stepper(layer)
        case None:
            msg = (
                "stepper: got a layer of your own, of which it is not known how it takes one step; "
                "expected a cell, or layers made by layer, stack, residual, readout and dropout; "
                "pass your cell, or run the layer on whole sequences with its apply"
            )
            raise TypeError(msg)
        case _:
            msg = (
                f"stepper: got a network with a {type(parts).__name__.lower()} layer, which begins "
                "at the end of the sequence; expected layers whose outputs depend on no later "
                "input; run this one on whole sequences with its apply"
            )
            raise TypeError(msg)
