"""Bistable recurrent cells, whose units can latch one of two states for ever."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import add_to_first, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Elementwise, Gated
from jaxrnn.core.types import Array

__all__ = [
    "BR_CELL",
    "BR_CELL_ENTRY",
    "NBR_CELL",
    "NBR_CELL_ENTRY",
    "BRCellParams",
    "NBRCellParams",
    "br_cell",
    "br_cell_init",
    "br_cell_initial_state",
    "br_cell_pointwise",
    "br_cell_project",
    "br_cell_step",
    "nbr_cell",
    "nbr_cell_init",
    "nbr_cell_initial_state",
    "nbr_cell_pointwise",
    "nbr_cell_project",
    "nbr_cell_step",
]


class BRCellParams(NamedTuple):
    """Parameters of `br_cell`; blocks side by side in the order a, c, candidate.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_a: ``(H,)``, from a unit to its own feedback.
      w_c: ``(H,)``, from a unit to its own gate.
      b: ``(2 H,)``, of a and c.
    """

    w_ih: Array
    w_a: Array
    w_c: Array
    b: Array


class NBRCellParams(NamedTuple):
    """Parameters of `nbr_cell`; blocks side by side in the order a, c, candidate.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 2 H)``, to a and c: the candidate has no recurrent matrix.
      b: ``(2 H,)``, of a and c.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def _input_weights(key, input_size, hidden_size, input_init, dtype):
    input_init = initializers.glorot_uniform(gates=3) if input_init is None else input_init
    return input_init(key, (input_size, 3 * hidden_size), dtype)


def br_cell_init(key, input_size, hidden_size, *, input_init=None, dtype=None) -> BRCellParams:
    """Makes the parameters of `br_cell`."""
    dtype = initializers.float_dtype(dtype)
    w_ih = _input_weights(key, input_size, hidden_size, input_init, dtype)
    w_a, w_c = jnp.ones((2, hidden_size), dtype)
    return BRCellParams(w_ih, w_a, w_c, jnp.zeros(2 * hidden_size, dtype))


def nbr_cell_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> NBRCellParams:
    """Makes the parameters of `nbr_cell`."""
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh = jax.random.split(key)
    init = initializers.glorot_uniform(gates=2) if init is None else init
    w_ih = _input_weights(k_ih, input_size, hidden_size, input_init, dtype)
    w_hh = init(k_hh, (hidden_size, 2 * hidden_size), dtype)
    return NBRCellParams(w_ih, w_hh, jnp.zeros(2 * hidden_size, dtype))


def br_cell_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_a.shape[0]), params.w_a.dtype)


def nbr_cell_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def _project(params, x, by):
    b = jnp.pad(params.b, (0, params.b.shape[0] // 2))  # the candidate has none
    return input_share(params.w_ih, b, x, by=by)


def br_cell_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return _project(params, x, by="br_cell")


def nbr_cell_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return _project(params, x, by="nbr_cell")


def _bistable(h, a, c, u):
    a, c = 1 + jnp.tanh(a), jax.nn.sigmoid(c)
    h = c * h + (1 - c) * jnp.tanh(u + a * h)
    return h, h


def _br_cell_vectors(params):
    return params.w_a, params.w_c


def br_cell_pointwise(vectors, h, z):
    """Applies feedback and gate to the input's share `z`, ``(*batch, 3 H)``."""
    w_a, w_c = vectors
    a, c, u = jnp.split(z, 3, axis=-1)
    return _bistable(h, a + w_a * h, c + w_c * h, u)


def nbr_cell_pointwise(vectors, h, a):
    """Applies feedback and gate to the pre-activations `a`, ``(*batch, 3 H)``."""
    del vectors
    return _bistable(h, *jnp.split(a, 3, axis=-1))


BR_CELL = Elementwise(br_cell_project, br_cell_pointwise, _br_cell_vectors)
NBR_CELL = Gated(nbr_cell_project, recurrent_matrix, nbr_cell_pointwise, add_to_first)
br_cell_step = BR_CELL.step
nbr_cell_step = NBR_CELL.step


def br_cell(
    input_size: int,
    hidden_size: int,
    *,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the bistable recurrent cell: every unit feeds back on itself alone.

    ::

        a = 1 + tanh(x U_a + w_a * h + b_a)      feedback, in (0, 2)
        c = sigmoid(x U_c + w_c * h + b_c)       gate: the share that is kept
        h' = c * h + (1 - c) * tanh(x U + a * h),  y = h'

    Without input a unit has one stable state while a < 1, and two, of either sign, while a > 1:
    there it remembers for ever. The paper's equations leave the biases out; its code has them.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      An `Elementwise` cell with `BRCellParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = br_cell(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      N. Vecoven, D. Ernst, G. Drion, "A bio-inspired bistable recurrent cell allows for
      long-lasting memory", 2021, section 3 (BRC); initial values from the authors' code.
    """
    make = sized_init(
        br_cell_init, input_size, hidden_size, by="br_cell", dtype=dtype, input_init=input_init
    )
    return from_structure(make, br_cell_initial_state, BR_CELL)


def nbr_cell(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the neuromodulated bistable cell: all units set each other's feedback and gate.

    ::

        a = 1 + tanh(x U_a + h W_a + b_a)      feedback, in (0, 2)
        c = sigmoid(x U_c + h W_c + b_c)       gate: the share that is kept
        h' = c * h + (1 - c) * tanh(x U + a * h),  y = h'

    It is `br_cell` with matrices in place of the vectors w_a and w_c.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, 2 H)``; Glorot uniform per block if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `NBRCellParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = nbr_cell(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      N. Vecoven, D. Ernst, G. Drion, "A bio-inspired bistable recurrent cell allows for
      long-lasting memory", 2021, section 3 (nBRC); initial values from the authors' code.
    """
    make = sized_init(
        nbr_cell_init,
        input_size,
        hidden_size,
        by="nbr_cell",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, nbr_cell_initial_state, NBR_CELL)


_PAPER = "Vecoven et al. 2021, A bio-inspired bistable recurrent cell"
_UPDATE = "h' = c * h + (1 - c) * tanh(x U + a * h)"
_PROVENANCE = "torchrecurrent 0.2.5 {}, values and gradients"
BR_CELL_ENTRY = CellEntry(
    make=br_cell,
    paper=_PAPER,
    structure="Elementwise",
    state="h (H)",
    equations=(
        f"a = 1 + tanh(x U_a + w_a * h + b_a)\nc = sigmoid(x U_c + w_c * h + b_c)\n{_UPDATE}"
    ),
    parameters="3 I H + 4 H",
    defaults="w_ih Glorot uniform per block, w_a = w_c = 1, b = 0",
    provenance=_PROVENANCE.format("BRCell"),
)
NBR_CELL_ENTRY = CellEntry(
    make=nbr_cell,
    paper=f"{_PAPER} (neuromodulated)",
    structure="Gated",
    state="h (H)",
    equations=(f"a = 1 + tanh(x U_a + h W_a + b_a)\nc = sigmoid(x U_c + h W_c + b_c)\n{_UPDATE}"),
    parameters="H (3 I + 2 H + 2)",
    defaults="w_ih and w_hh Glorot uniform per block, b = 0",
    provenance=_PROVENANCE.format("NBRCell"),
)
