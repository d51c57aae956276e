"""The undamped independent controlled oscillatory network: Hamiltonian, so volume is kept."""

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
from jaxrnn.core.structure import Elementwise
from jaxrnn.core.types import Array

__all__ = [
    "UNICORNN",
    "UNICORNN_ENTRY",
    "UnICORNNParams",
    "UnICORNNState",
    "unicornn",
    "unicornn_init",
    "unicornn_initial_state",
    "unicornn_pointwise",
    "unicornn_project",
    "unicornn_step",
]


class UnICORNNParams(NamedTuple):
    """Parameters of `unicornn`.

    Attributes:
      w_ih: ``(I, H)``.
      w: ``(H,)``, each unit's own recurrent weight.
      b: ``(H,)``.
      c: ``(H,)``, each unit's time scale: it steps by dt sigmoid(c).
    """

    w_ih: Array
    w: Array
    b: Array
    c: Array


class UnICORNNState(NamedTuple):
    """State of `unicornn`.

    Attributes:
      y: ``(*batch, H)``, the positions and the output of the last step.
      z: ``(*batch, H)``, the velocities.
    """

    y: Array
    z: Array


def unicornn_init(key, input_size, hidden_size, *, input_init=None, dtype=None) -> UnICORNNParams:
    """Makes the parameters of `unicornn`."""
    dtype = initializers.float_dtype(dtype)
    k_ih, k_w, k_c = jax.random.split(key, 3)
    if input_init is None:  # He's for a leaky ReLU of slope 8, as the authors have it
        input_init = jax.nn.initializers.variance_scaling(2 / (1 + 8**2), "fan_in", "uniform")
    return UnICORNNParams(
        w_ih=input_init(k_ih, (input_size, hidden_size), dtype),
        w=jax.random.uniform(k_w, (hidden_size,), dtype),
        b=jnp.zeros(hidden_size, dtype),
        c=jax.random.uniform(k_c, (hidden_size,), dtype, -0.1, 0.1),
    )


def unicornn_initial_state(params, batch_shape=()) -> UnICORNNState:
    """Returns zeros, y and z ``(*batch, H)`` each."""
    zeros = jnp.zeros((*batch_shape, *params.b.shape), params.b.dtype)
    return UnICORNNState(y=zeros, z=zeros)


def unicornn_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="unicornn")


def unicornn_pointwise(vectors, state, share, *, alpha):
    """Takes one step of the symplectic Euler method; `share` is the input's, ``(*batch, H)``."""
    w, dt = vectors
    y, z = state
    z = z - dt * (jnp.tanh(w * y + share) + alpha * y)
    y = y + dt * z
    return UnICORNNState(y=y, z=z), y


@functools.lru_cache(maxsize=256)
def _structure(dt: float, alpha: float) -> Elementwise:
    """Returns one and the same witness for the same numbers, so that a jit cache can key on it."""

    def vectors(params):
        return params.w, dt * jax.nn.sigmoid(params.c)

    pointwise = functools.partial(unicornn_pointwise, alpha=alpha)
    return Elementwise(unicornn_project, pointwise, vectors)


UNICORNN = _structure(0.19, 30.65)
unicornn_step = UNICORNN.step


def unicornn(
    input_size: int,
    hidden_size: int,
    *,
    dt: float = 0.19,
    alpha: float = 30.65,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes one layer of the undamped independent controlled oscillatory network (UnICORNN).

    ::

        s  = dt sigmoid(c)                                  one time step for each unit
        z' = z - s * (tanh(w * y + x w_ih + b) + alpha y)
        y' = y + s * z',  output y'

    Units do not mix within a layer. The step is symplectic: its Jacobian has determinant 1 for
    every unit, so nothing can vanish in all directions. dt and alpha are tuned to the task; the
    defaults are the authors' for permuted sequential MNIST.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the number of oscillators.
      dt: the longest time step, above 0.
      alpha: the square of the frequency of a unit without weights, 0 or more.
      input_init: initializer of `w_ih`, ``(I, H)``; uniform in ``+- sqrt(6 / (65 I))`` if not
        given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      An `Elementwise` cell with `UnICORNNParams` and `UnICORNNState`.

    Raises:
      TypeError: a size is not an integer, a number is none, or `dtype` is not floating.
      ValueError: a size is less than 1, `dt` is not above 0, or `alpha` is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = unicornn(3, 5, dt=0.1, alpha=1)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.z.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      T. K. Rusch, S. Mishra, "UnICORNN: a recurrent model for learning very long time
      dependencies", 2021, section 2 (sigma is tanh, sigma-hat the logistic function, as in the
      authors' code).
    """
    dt = check_number("dt", dt, by="unicornn", above=0)
    alpha = check_number("alpha", alpha, by="unicornn", least=0)
    make = sized_init(
        unicornn_init, input_size, hidden_size, by="unicornn", dtype=dtype, input_init=input_init
    )
    return from_structure(make, unicornn_initial_state, _structure(dt, alpha))


UNICORNN_ENTRY = CellEntry(
    make=unicornn,
    paper="Rusch & Mishra 2021, UnICORNN, one layer",
    structure="Elementwise",
    state="y, z (H each)",
    equations=(
        "s = dt sigmoid(c)\nz' = z - s * (tanh(w * y + x w_ih + b) + alpha y)\ny' = y + s * z'"
    ),
    parameters="H (I + 3)",
    defaults=(
        "w_ih uniform +-sqrt(6 / (65 I)), w = U(0, 1), c = U(-0.1, 0.1), b = 0; "
        "dt = 0.19, alpha = 30.65"
    ),
    provenance="torchrecurrent 0.2.5 UnICORNNCell, values and gradients",
)
