"""A cell with a skip connection around it."""

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.structure import Elementwise, Gated, General, Linear, Separable, Structure

__all__ = ["residual"]


def _check(given, out) -> None:
    """Raises ValueError unless an input and an output are of the same shapes."""
    if given != out:
        msg = (
            f"residual: got an input of shape {given} and an output of shape {out}; expected the "
            "same; make the cell with an input size equal to its output size"
        )
        raise ValueError(msg)


def _add(y, x):
    """Returns ``y + x``, leaf by leaf."""
    _check(*(jax.tree.map(jnp.shape, tree) for tree in (x, y)))
    return jax.tree.map(jnp.add, y, x)


def _separable(parts: Structure) -> Separable:
    def project(params, x):
        return parts.project(params, x), x

    def recur(prepared, state, z):
        z, x = z
        state, y = parts.recur(prepared, state, z)
        return state, _add(y, x)

    return Separable(project, recur, parts.prepare)


def _gated(parts: Gated, size: int) -> Gated:
    """Carries the input, `size` features, behind the pre-activations."""

    def project(params, x):
        z = parts.project(params, x)
        _check(x.shape, (*z.shape[:-1], size))
        return jnp.concatenate([z, x], axis=-1)

    def mix(z, r):
        z, x = jnp.split(z, [z.shape[-1] - size], axis=-1)
        return jnp.concatenate([parts.mix(z, r), x], axis=-1)

    def pointwise(vectors, state, a):
        a, x = jnp.split(a, [a.shape[-1] - size], axis=-1)
        state, y = parts.pointwise(vectors, state, a)
        return state, _add(y, x)

    return parts._replace(project=project, mix=mix, pointwise=pointwise)


def _elementwise(parts: Elementwise) -> Elementwise:
    separable = _separable(parts)
    return parts._replace(project=separable.project, pointwise=separable.recur)


def _linear(parts: Linear) -> Linear:
    def readout(params, h, x):
        return _add(parts.readout(params, h, x), x)

    return parts._replace(readout=readout)


def _general(parts: General) -> General:
    def step(params, state, x):
        state, y = parts.step(params, state, x)
        return state, _add(y, x)

    return General(step)


def _units(cell: Cell) -> int | None:
    """Returns H of a Gated cell that reads H features and puts H out, else None."""
    params = jax.eval_shape(cell.init, jax.random.key(0))
    size, _ = jax.eval_shape(cell.parts.weights, params).shape
    x = jax.ShapeDtypeStruct((size,), jnp.result_type(float))
    try:
        _, y = jax.eval_shape(lambda p, x: cell.step(p, cell.initial_state(p), x), params, x)
    except (AttributeError, TypeError, ValueError):
        return None
    return size if jnp.shape(y) == x.shape else None


def residual(cell: Cell) -> Cell:
    """Adds the input of each step to the cell's output: ``y = y_cell + x``.

    The state stays the cell's own: what is added reaches the next layer and not the next step. The
    structure is kept, and with it every fast path; a `Gated` cell keeps it if its input, its output
    and the vector that its matrix multiplies are of one size.

    Args:
      cell: a cell whose outputs have the shape of its inputs.

    Returns:
      The cell, with the same parameters and the same state.

    Raises:
      TypeError: `cell` is no `Cell`.
      ValueError: where the cell runs, the shapes of input and output differ.

    Example:
      >>> from jaxrnn.cells import gru
      >>> cell = residual(gru(3, 3))
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> jnp.allclose(y, h + 1).item()
      True

    Reference:
      K. He et al., "Deep residual learning for image recognition", 2016, equation 1.
    """
    check_cell_type(cell, by="residual")
    parts = cell.parts
    if isinstance(parts, Gated) and (size := _units(cell)) is not None:
        structure = _gated(parts, size)
    else:
        kinds = {Elementwise: _elementwise, Linear: _linear, General: _general}
        structure = kinds.get(type(parts), _separable)(parts)
    return from_structure(cell.init, cell.initial_state, structure, input_ndim=cell.input_ndim)
