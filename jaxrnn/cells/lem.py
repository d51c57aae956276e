"""Long expressive memory: two states, each with a time step that the input and the state choose."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "LEM",
    "LEM_ENTRY",
    "LEMParams",
    "LEMState",
    "lem",
    "lem_init",
    "lem_initial_state",
    "lem_project",
    "lem_recur",
    "lem_step",
]


class LEMParams(NamedTuple):
    """Parameters of `lem`; side by side in the order step of z, step of y, z, y.

    Attributes:
      w_ih: ``(I, 4 H)``.
      w_hh: ``(H, 3 H)``, which meet y: step of z, step of y, z.
      w_zy: ``(H, H)``, through which the new z reaches y.
      b: ``(4 H,)``.
    """

    w_ih: Array
    w_hh: Array
    w_zy: Array
    b: Array


class LEMState(NamedTuple):
    """State of `lem`.

    Attributes:
      y: ``(*batch, H)``, the output of the last step.
      z: ``(*batch, H)``.
    """

    y: Array
    z: Array


def lem_init(key, input_size, hidden_size, *, init=None, input_init=None, dtype=None) -> LEMParams:
    """Makes the parameters of `lem`."""
    uniform = initializers.uniform_by_hidden(hidden_size)
    init = uniform if init is None else init
    input_init = uniform if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_zy, k_b = jax.random.split(key, 4)
    return LEMParams(
        w_ih=input_init(k_ih, (input_size, 4 * hidden_size), dtype),
        w_hh=init(k_hh, (hidden_size, 3 * hidden_size), dtype),
        w_zy=init(k_zy, (hidden_size, hidden_size), dtype),
        b=uniform(k_b, (4 * hidden_size,), dtype),
    )


def lem_initial_state(params, batch_shape=()) -> LEMState:
    """Returns zeros, y and z ``(*batch, H)`` each."""
    zeros = jnp.zeros((*batch_shape, params.w_zy.shape[0]), params.w_zy.dtype)
    return LEMState(y=zeros, z=zeros)


def lem_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 4 H)``."""
    return input_share(params.w_ih, params.b, x, by="lem")


def lem_recur(params, state, share, *, dt):
    """Takes the two dependent products: z moves first, and y by the new z."""
    y, z = state
    share, of_y = jnp.split(share, [params.w_hh.shape[-1]], axis=-1)
    step_z, step_y, of_z = jnp.split(share + y @ params.w_hh, 3, axis=-1)
    step_z, step_y = dt * jax.nn.sigmoid(step_z), dt * jax.nn.sigmoid(step_y)
    z = (1 - step_z) * z + step_z * jnp.tanh(of_z)
    y = (1 - step_y) * y + step_y * jnp.tanh(of_y + z @ params.w_zy)
    return LEMState(y=y, z=z), y


@functools.lru_cache(maxsize=256)
def _structure(dt: float) -> Separable:
    """Returns one and the same witness for one number, so that a jit cache can key on it."""
    return Separable(lem_project, functools.partial(lem_recur, dt=dt))


LEM = _structure(1.0)
lem_step = LEM.step


def lem(
    input_size: int,
    hidden_size: int,
    *,
    dt: float = 1.0,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the long expressive memory cell (LEM).

    ::

        s_z = dt sigmoid(y W_1 + x V_1 + b_1)             time step of z
        s_y = dt sigmoid(y W_2 + x V_2 + b_2)             time step of y
        z'  = (1 - s_z) * z + s_z * tanh(y W_z + x V_z + b_z)
        y'  = (1 - s_y) * y + s_y * tanh(z' W_y + x V_y + b_y),  output y'

    y moves by the new z, as in the paper and the authors' code; torchrecurrent 0.2.5 takes the old.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      dt: the longest time step, above 0.
      init: initializer of `w_hh`, ``(H, 3 H)``, and of `w_zy`, ``(H, H)``; uniform in
        ``+- 1 / sqrt(H)`` if not given.
      input_init: initializer of `w_ih`, ``(I, 4 H)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `LEMParams` and `LEMState`.

    Raises:
      TypeError: a size is not an integer, `dt` is no number, or `dtype` is not floating.
      ValueError: a size is less than 1, or `dt` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = lem(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.z.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      T. K. Rusch, S. Mishra, N. B. Erichson, M. Mahoney, "Long expressive memory for sequence
      modeling", 2022, equation 3.
    """
    dt = check_number("dt", dt, by="lem", above=0)
    make = sized_init(
        lem_init, input_size, hidden_size, by="lem", dtype=dtype, init=init, input_init=input_init
    )
    return from_structure(make, lem_initial_state, _structure(dt))


LEM_ENTRY = CellEntry(
    make=lem,
    paper="Rusch et al. 2022, Long expressive memory, equation 3",
    structure="Separable",
    state="y, z (H each)",
    equations=(
        "s_z, s_y = dt sigmoid(y W + x V + b)\n"
        "z' = (1 - s_z) * z + s_z * tanh(y W_z + x V_z + b_z)\n"
        "y' = (1 - s_y) * y + s_y * tanh(z' W_y + x V_y + b_y)"
    ),
    parameters="4 H (I + H + 1)",
    defaults="all uniform +-1 / sqrt(H); dt = 1",
    provenance="the authors' LEMCell on torch 2.13, values and gradients",
)
