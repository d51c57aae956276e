"""The coupled oscillatory network: damped oscillators, forced by each other and by the input."""

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
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "CORNN",
    "CORNN_ENTRY",
    "CoRNNParams",
    "CoRNNState",
    "cornn",
    "cornn_explicit_pointwise",
    "cornn_implicit_pointwise",
    "cornn_init",
    "cornn_initial_state",
    "cornn_project",
    "cornn_step",
]


class CoRNNParams(NamedTuple):
    """Parameters of `cornn`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(2 H, H)``: the rows that meet y, then those that meet z.
      b: ``(H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


class CoRNNState(NamedTuple):
    """State of `cornn`.

    Attributes:
      y: ``(*batch, H)``, the positions and the output of the last step.
      z: ``(*batch, H)``, the velocities.
    """

    y: Array
    z: Array


def cornn_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> CoRNNParams:
    """Makes the parameters of `cornn`."""
    uniform = initializers.uniform_by_hidden(input_size + 2 * hidden_size)
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_b = jax.random.split(key, 3)
    w_ih = (uniform if input_init is None else input_init)(k_ih, (input_size, hidden_size), dtype)
    w_hh = (uniform if init is None else init)(k_hh, (2 * hidden_size, hidden_size), dtype)
    return CoRNNParams(w_ih, w_hh, uniform(k_b, (hidden_size,), dtype))


def cornn_initial_state(params, batch_shape=()) -> CoRNNState:
    """Returns zeros, y and z ``(*batch, H)`` each."""
    zeros = jnp.zeros((*batch_shape, *params.b.shape), params.b.dtype)
    return CoRNNState(y=zeros, z=zeros)


def cornn_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="cornn")


def _cornn_weights(params):
    return params.w_hh


def _cornn_hidden(state):
    return jnp.concatenate(state, axis=-1)


def cornn_explicit_pointwise(vectors, state, a, *, dt, gamma, epsilon):
    """Takes one step with the damping of the old velocity; `a` is ``(*batch, H)``."""
    del vectors
    y, z = state
    z = z + dt * (jnp.tanh(a) - gamma * y - epsilon * z)
    y = y + dt * z
    return CoRNNState(y=y, z=z), y


def cornn_implicit_pointwise(vectors, state, a, *, dt, gamma, epsilon):
    """Takes one step with the damping of the new velocity; `a` is ``(*batch, H)``."""
    del vectors
    y, z = state
    z = (z + dt * (jnp.tanh(a) - gamma * y)) / (1 + dt * epsilon)
    y = y + dt * z
    return CoRNNState(y=y, z=z), y


_POINTWISE = {"explicit": cornn_explicit_pointwise, "implicit": cornn_implicit_pointwise}


@functools.lru_cache(maxsize=256)
def _structure(dt: float, gamma: float, epsilon: float, damping: str) -> Gated:
    """Returns one and the same witness for the same numbers, so that a jit cache can key on it."""
    numbers = {"dt": dt, "gamma": gamma, "epsilon": epsilon}
    pointwise = functools.partial(_POINTWISE[damping], **numbers)
    return Gated(cornn_project, _cornn_weights, pointwise, hidden=_cornn_hidden)


CORNN = _structure(0.042, 2.7, 4.7, "explicit")
cornn_step = CORNN.step


def cornn(
    input_size: int,
    hidden_size: int,
    *,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
    damping: str = "explicit",
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the coupled oscillatory cell (coRNN).

    ::

        a  = y W + z W_z + x w_ih + b
        z' = z + dt (tanh(a) - gamma y - epsilon z)       damping="explicit"
        z' = z + dt (tanh(a) - gamma y - epsilon z')      damping="implicit"
        y' = y + dt z',  output y'

    Each unit is an oscillator of frequency sqrt(gamma), damped by epsilon. The paper proves its
    bounds for the implicit form, and its experiments (the authors' code) take the explicit one. The
    three numbers are tuned to the task; the defaults are the authors' for sequential MNIST.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the number of oscillators.
      dt: size of a time step, above 0.
      gamma: the square of the frequency, above 0.
      epsilon: the damping, above 0.
      damping: "explicit" or "implicit".
      init: initializer of `w_hh`, ``(2 H, H)``, W above W_z; uniform in
        ``+- 1 / sqrt(I + 2 H)`` if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; the same if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `CoRNNParams` and `CoRNNState`.

    Raises:
      TypeError: a size is not an integer, a number is none, or `dtype` is not floating.
      ValueError: a size is less than 1, a number is not above 0, or `damping` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = cornn(3, 5, dt=0.1, gamma=1, epsilon=1)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.z.shape, y.shape
      ((2, 5), (2, 5))

    Reference:
      T. K. Rusch, S. Mishra, "Coupled oscillatory recurrent neural network (coRNN): an accurate and
      (gradient) stable architecture for learning long time dependencies", 2021, equation 3.
    """
    if damping not in _POINTWISE:
        raise unknown_name("damping", damping, _POINTWISE)
    numbers = {"dt": dt, "gamma": gamma, "epsilon": epsilon}
    checked = [check_number(name, n, by="cornn", above=0) for name, n in numbers.items()]
    make = sized_init(
        cornn_init,
        input_size,
        hidden_size,
        by="cornn",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, cornn_initial_state, _structure(*checked, damping))


CORNN_ENTRY = CellEntry(
    make=cornn,
    paper="Rusch & Mishra 2021, coRNN, equation 3",
    structure="Gated",
    state="y, z (H each)",
    equations=(
        "a = y W + z W_z + x w_ih + b\nz' = z + dt (tanh(a) - gamma y - epsilon z)\ny' = y + dt z'"
    ),
    parameters="H (I + 2 H + 1)",
    defaults="all uniform +-1 / sqrt(I + 2 H); dt = 0.042, gamma = 2.7, epsilon = 4.7",
    provenance="the authors' coRNNCell on torch 2.13, values and gradients",
)
