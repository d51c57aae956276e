"""Structures: witnesses of how a cell's step factorises.

Every witness offers the same three phases, and
``step(params, s, x) == recur(prepare(params), s, project(params, x))``:

* ``prepare(params)`` runs once per unroll and holds what depends on parameters alone;
* ``project(params, x)`` runs for all time steps at once and holds the input's share;
* ``recur(prepared, state, z)`` is the only sequential part.

`over` lets the same witness read its parameters out of a larger tree, and `hoisted` lets it read
what `prepare` made, so that a transformation can call `prepare` outside its own loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn.core.types import Array, Input, Output, Params, State, StepFn

__all__ = [
    "Elementwise",
    "Gated",
    "General",
    "Hoisted",
    "Linear",
    "Separable",
    "Structure",
    "dense_apply",
    "dense_combine",
    "diagonal_apply",
    "diagonal_combine",
]


class Hoisted(NamedTuple):
    """Parameters beside what `prepare` made of them.

    Attributes:
      params: the cell's parameters.
      prepared: ``prepare(params)``.
    """

    params: Params
    prepared: Any


def _step(self, params, state, x):
    return self.recur(self.prepare(params), state, self.project(params, x))


def _identity(params):
    return params


def _nothing(params):
    del params
    return ()


def _params_of(hoisted):
    return hoisted.params


class General(NamedTuple):
    """Knows nothing about the step.

    Attributes:
      step: the step itself, ``(params, state, x) -> (state, y)``.
    """

    step: StepFn

    def prepare(self, params: Params) -> Params:
        """Returns the parameters: nothing is known to depend on them alone."""
        return params

    def project(self, params: Params, x: Input) -> Input:
        """Returns the input: its share is not known."""
        del params
        return x

    def recur(self, prepared: Params, state: State, z: Input) -> tuple[State, Output]:
        """Takes the whole step."""
        return self.step(prepared, state, z)

    def over(self, get: Callable[[Params], Params]) -> "General":
        """Returns this witness reading its parameters through `get`."""
        return General(lambda params, state, x: self.step(get(params), state, x))

    def hoisted(self) -> "General":
        """Returns this witness over `Hoisted` parameters."""
        return self.over(_params_of)


class Separable(NamedTuple):
    """Computes the input's share without the state; the recurrence is free.

    Attributes:
      project: ``(params, x) -> z``.
      recur: ``(prepared, state, z) -> (state, y)``.
      prepare: ``(params) -> prepared``; the parameters themselves if not given.
    """

    project: Callable[[Params, Input], Any]
    recur: Callable[[Any, State, Any], tuple[State, Output]]
    prepare: Callable[[Params], Any] = _identity
    step = _step

    def over(self, get: Callable[[Params], Params]) -> "Separable":
        """Returns this witness reading its parameters through `get`."""
        return self._replace(
            project=lambda params, x: self.project(get(params), x),
            prepare=lambda params: self.prepare(get(params)),
        )

    def hoisted(self) -> "Separable":
        """Returns this witness over `Hoisted` parameters."""
        return self.over(_params_of)._replace(prepare=lambda params: params.prepared)


class Gated(NamedTuple):
    """Multiplies the state by one matrix; the rest is elementwise along the hidden axis.

    ``a = mix(z, hidden(state) @ weights)``, ``(state, y) = pointwise(vectors, state, a)``.

    Attributes:
      project: ``(params, x) -> z``, the input's share, ``(*batch, G)``; of each row of the batch by
        itself, since an unroll may hand it the rows of many steps as one batch.
      weights: ``(params) -> (H, R)``, the recurrent matrix.
      pointwise: ``(vectors, state, a) -> (state, y)``, elementwise along the hidden axis.
      mix: ``(z, r) -> a``, linear in the two shares together (no product of them);
        `jax.numpy.add` if not given.
      vectors: ``(params) -> tree`` of per-unit parameters and per-unroll constants.
      hidden: ``(state) -> (*batch, H)``, the part of the state that is multiplied.
    """

    project: Callable[[Params, Input], Array]
    weights: Callable[[Params], Array]
    pointwise: Callable[[Any, State, Array], tuple[State, Output]]
    mix: Callable[[Array, Array], Array] = jnp.add
    vectors: Callable[[Params], Any] = _nothing
    hidden: Callable[[State], Array] = _identity
    step = _step

    def prepare(self, params: Params) -> tuple[Array, Any]:
        """Returns the recurrent matrix and the vectors."""
        return self.weights(params), self.vectors(params)

    def recur(self, prepared: tuple[Array, Any], state: State, z: Array) -> tuple[State, Output]:
        """Takes one product and the pointwise part."""
        weights, vectors = prepared
        return self.pointwise(vectors, state, self.mix(z, self.hidden(state) @ weights))

    def over(self, get: Callable[[Params], Params]) -> "Gated":
        """Returns this witness reading its parameters through `get`."""
        return self._replace(
            project=lambda params, x: self.project(get(params), x),
            weights=lambda params: self.weights(get(params)),
            vectors=lambda params: self.vectors(get(params)),
        )

    def hoisted(self) -> "Gated":
        """Returns this witness over `Hoisted` parameters."""
        return self.over(_params_of)._replace(
            weights=lambda params: params.prepared[0], vectors=lambda params: params.prepared[1]
        )


class Elementwise(NamedTuple):
    """Does not mix units: the state's Jacobian is diagonal.

    Attributes:
      project: ``(params, x) -> z``.
      pointwise: ``(vectors, state, z) -> (state, y)``, elementwise along the hidden axis.
      vectors: ``(params) -> tree`` of per-unit parameters and per-unroll constants.
    """

    project: Callable[[Params, Input], Any]
    pointwise: Callable[[Any, State, Any], tuple[State, Output]]
    vectors: Callable[[Params], Any] = _nothing
    step = _step

    def prepare(self, params: Params) -> Any:
        """Returns the vectors."""
        return self.vectors(params)

    def recur(self, prepared: Any, state: State, z: Any) -> tuple[State, Output]:
        """Takes the pointwise part, all there is."""
        return self.pointwise(prepared, state, z)

    def over(self, get: Callable[[Params], Params]) -> "Elementwise":
        """Returns this witness reading its parameters through `get`."""
        return self._replace(
            project=lambda params, x: self.project(get(params), x),
            vectors=lambda params: self.vectors(get(params)),
        )

    def hoisted(self) -> "Elementwise":
        """Returns this witness over `Hoisted` parameters."""
        return self.over(_params_of)._replace(vectors=lambda params: params.prepared)


def diagonal_combine(first, then):
    """Composes two diagonal affine maps ``h -> a * h + b``, `first` before `then`.

    Args:
      first: pair ``(a, b)`` of arrays of one shape.
      then: pair ``(a, b)`` of arrays of the same shape.

    Returns:
      The pair of the composed map, ``(a2 * a1, a2 * b1 + b2)``.
    """
    (a1, b1), (a2, b2) = first, then
    return a2 * a1, a2 * b1 + b2


def diagonal_apply(element, h):
    """Applies the diagonal affine map ``element = (a, b)`` to `h`: ``a * h + b``."""
    a, b = element
    return a * h + b


def dense_combine(first, then):
    """Composes two dense affine maps ``h -> a h + b``, `first` before `then`.

    Args:
      first: pair of a matrix ``(..., H, H)`` and a vector ``(..., H)``.
      then: such a pair.

    Returns:
      The pair of the composed map, ``(a2 a1, a2 b1 + b2)``.
    """
    (a1, b1), (a2, b2) = first, then
    return a2 @ a1, jnp.einsum("...ij,...j->...i", a2, b1) + b2


def dense_apply(element, h):
    """Applies the dense affine map ``element = (a, b)`` to `h`: ``a h + b``."""
    a, b = element
    return jnp.einsum("...ij,...j->...i", a, h) + b


class Linear(NamedTuple):
    """Is affine in the state, so that steps compose associatively.

    Attributes:
      coefficients: ``(params, x) -> element``, the affine map of one step.
      readout: ``(params, h, x) -> y``.
      combine: ``(first, then) -> element``, associative; diagonal if not given.
      apply: ``(element, h) -> h``; diagonal if not given.
    """

    coefficients: Callable[[Params, Input], Any]
    readout: Callable[[Params, Array, Input], Output]
    combine: Callable[[Any, Any], Any] = diagonal_combine
    apply: Callable[[Any, Array], Array] = diagonal_apply
    step = _step

    def prepare(self, params: Params) -> Params:
        """Returns the parameters, which the readout needs."""
        return params

    def project(self, params: Params, x: Input) -> tuple[Any, Input]:
        """Returns the step's affine map, and the input for the readout."""
        return self.coefficients(params, x), x

    def recur(self, prepared: Params, state: Array, z: Any) -> tuple[Array, Output]:
        """Applies the affine map and reads out."""
        element, x = z
        h = self.apply(element, state)
        return h, self.readout(prepared, h, x)

    def over(self, get: Callable[[Params], Params]) -> "Linear":
        """Returns this witness reading its parameters through `get`."""
        return self._replace(
            coefficients=lambda params, x: self.coefficients(get(params), x),
            readout=lambda params, h, x: self.readout(get(params), h, x),
        )

    def hoisted(self) -> "Linear":
        """Returns this witness over `Hoisted` parameters."""
        return self.over(_params_of)


Structure = General | Separable | Gated | Elementwise | Linear
