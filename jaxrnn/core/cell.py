"""The cell: a tuple of pure functions, with a witness of how its step factorises."""

from typing import NamedTuple

from jaxrnn.core.structure import General, Hoisted, Structure
from jaxrnn.core.types import InitFn, InitialStateFn, Params, StepFn

__all__ = ["Cell", "check_cell_type", "from_structure", "hoist", "over_hoisted", "require"]


class Cell(NamedTuple):
    """A recurrent cell.

    Attributes:
      init: ``(key) -> params``.
      initial_state: ``(params, batch_shape=()) -> state``.
      step: ``(params, state, x) -> (state, y)``.
      structure: witness of how `step` factorises, or None; make such a cell with `from_structure`.
      input_ndim: number of feature axes of a float input: 1 for ``(*batch, features)``, more for
        images and other grids, ``(*batch, *space, channels)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def init(key):
      ...     return jax.random.normal(key, (4, 4)) / 2
      >>> def initial_state(params, batch_shape=()):
      ...     return jnp.zeros((*batch_shape, 4))
      >>> def step(params, h, x):
      ...     h = jnp.tanh(h @ params + x)
      ...     return h, h
      >>> cell = Cell(init, initial_state, step)
      >>> h, y = cell.step(init(jax.random.key(0)), jnp.zeros(4), jnp.ones(4))
      >>> y.shape
      (4,)
    """

    init: InitFn
    initial_state: InitialStateFn
    step: StepFn
    structure: Structure | None = None
    input_ndim: int = 1

    @property
    def parts(self) -> Structure:
        """The witness; ``General(step)`` where there is none."""
        return General(self.step) if self.structure is None else self.structure


def from_structure(
    init: InitFn, initial_state: InitialStateFn, structure: Structure, *, input_ndim: int = 1
) -> Cell:
    """Makes a cell whose step is derived from its witness, so that the two cannot disagree.

    Args:
      init: ``(key) -> params``.
      initial_state: ``(params, batch_shape=()) -> state``.
      structure: one of `Gated`, `Separable`, `Elementwise`, `Linear`, `General`.
      input_ndim: number of feature axes of a float input.

    Returns:
      The cell.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.core.structure import Gated
      >>> def pointwise(vectors, h, a):
      ...     h = jnp.tanh(a)
      ...     return h, h
      >>> cell = from_structure(
      ...     lambda key: {"u": jax.random.normal(key, (4, 4)) / 2},
      ...     lambda params, batch_shape=(): jnp.zeros((*batch_shape, 4)),
      ...     Gated(project=lambda p, x: x, weights=lambda p: p["u"], pointwise=pointwise))
      >>> cell.step(cell.init(jax.random.key(0)), jnp.zeros(4), jnp.ones(4))[1].shape
      (4,)
    """
    return Cell(init, initial_state, structure.step, structure, input_ndim)


def check_cell_type(cell: Cell, *, by: str) -> None:
    """Raises TypeError if `cell` is not a `Cell`; `by` names the function the user called."""
    if not isinstance(cell, Cell):
        name = getattr(cell, "__name__", "lstm")
        remedy = f"call the factory first, as in {name}(input_size, hidden_size)"
        msg = f"{by}: got {type(cell).__name__} {cell!r}; expected a jaxrnn.Cell; {remedy}"
        raise TypeError(msg)


def require(cell: Cell, kind: type, by: str) -> Structure:
    """Returns the cell's witness if it is of the `kind` that the caller needs.

    Args:
      cell: any cell.
      kind: `Gated`, `Separable`, `Elementwise`, `Linear` or `General`.
      by: the name of the caller, for the message.

    Returns:
      ``cell.parts``.

    Raises:
      TypeError: the witness is of another kind.

    Example:
      >>> from jaxrnn.core.structure import Gated
      >>> cell = Cell(lambda key: (), lambda params, batch_shape=(): 0.0, lambda p, s, x: (s, x))
      >>> require(cell, Gated, by="fused_unroll")
      Traceback (most recent call last):
      TypeError: fused_unroll: got a cell with General structure; expected Gated; ...
    """
    check_cell_type(cell, by=by)
    parts = cell.parts
    if not isinstance(parts, kind):
        msg = (
            f"{by}: got a cell with {type(parts).__name__} structure; expected {kind.__name__}; "
            "use jaxrnn.unroll, which runs any cell, or give the cell that structure with "
            "jaxrnn.from_structure"
        )
        raise TypeError(msg)
    return parts


def over_hoisted(cell: Cell) -> Cell:
    """Returns the cell on `Hoisted` parameters, whose `prepare` costs nothing.

    Args:
      cell: any cell.

    Returns:
      A cell of the same structure; on ``hoist(cell, params)[1]`` it gives what `cell` gives on
      `params`.
    """

    def initial_state(hoisted, batch_shape=()):
        return cell.initial_state(hoisted.params, batch_shape)

    return from_structure(
        cell.init, initial_state, cell.parts.hoisted(), input_ndim=cell.input_ndim
    )


def hoist(cell: Cell, params: Params) -> tuple[Cell, Hoisted]:
    """Runs `prepare` now, for a transformation that unrolls the cell inside a loop of its own.

    Args:
      cell: any cell.
      params: its parameters.

    Returns:
      A cell of the same structure and its parameters; running the one on the other gives what
      `cell` gives on `params`, and its `prepare` costs nothing.
    """
    return over_hoisted(cell), Hoisted(params, cell.parts.prepare(params))
