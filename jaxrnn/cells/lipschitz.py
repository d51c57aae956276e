"""The Lipschitz network: a linear part and a Lipschitz one, both of steered symmetric part."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.antisymmetric import skew
from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated, Separable
from jaxrnn.core.types import Array

__all__ = [
    "LIPSCHITZ",
    "LIPSCHITZ_ENTRY",
    "LIPSCHITZ_MIDPOINT",
    "LipschitzParams",
    "lipschitz",
    "lipschitz_init",
    "lipschitz_initial_state",
    "lipschitz_matrices",
    "lipschitz_midpoint_recur",
    "lipschitz_mix",
    "lipschitz_pointwise",
    "lipschitz_project",
    "lipschitz_step",
]


class LipschitzParams(NamedTuple):
    """Parameters of `lipschitz`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(H, 2 H)``: M_A and M_W side by side.
      b: ``(H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


class _Numbers(NamedTuple):
    epsilon: float
    beta_a: float
    beta_w: float
    gamma_a: float
    gamma_w: float


def lipschitz_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> LipschitzParams:
    """Makes the parameters of `lipschitz`."""
    uniform = initializers.uniform_by_hidden(input_size)
    init = initializers.normal(0.1 / hidden_size) if init is None else init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_b = jax.random.split(key, 3)
    return LipschitzParams(
        (uniform if input_init is None else input_init)(k_ih, (input_size, hidden_size), dtype),
        init(k_hh, (hidden_size, 2 * hidden_size), dtype),
        uniform(k_b, (hidden_size,), dtype),
    )


def lipschitz_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def lipschitz_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="lipschitz")


def _steered(m, beta, gamma):
    """Returns ``(1 - beta) (M + M^T) + beta (M - M^T) - gamma I``."""
    eye = jnp.eye(m.shape[0], dtype=m.dtype)
    return (1 - beta) * (m + m.T) + beta * skew(m) - gamma * eye


def lipschitz_matrices(params, *, numbers):
    """Returns A and W side by side, ``(H, 2 H)``."""
    m_a, m_w = jnp.split(params.w_hh, 2, axis=-1)
    a = _steered(m_a, numbers.beta_a, numbers.gamma_a)
    return jnp.concatenate([a, _steered(m_w, numbers.beta_w, numbers.gamma_w)], axis=-1)


def lipschitz_mix(z, r):
    """Adds the input's share to the part inside tanh: ``(*batch, H)`` and ``2 H`` to ``2 H``."""
    linear, inner = jnp.split(r, 2, axis=-1)
    return jnp.concatenate([linear, z + inner], axis=-1)


def _slope(a):
    linear, inner = jnp.split(a, 2, axis=-1)
    return linear + jnp.tanh(inner)


def lipschitz_pointwise(vectors, h, a, *, epsilon):
    """Takes one Euler step; `a`, ``(*batch, 2 H)``, is the linear part and the part inside tanh."""
    del vectors
    h = h + epsilon * _slope(a)
    return h, h


def lipschitz_midpoint_recur(matrices, h, z, *, epsilon):
    """Takes one step of the explicit midpoint method, a Runge-Kutta method of order 2."""
    middle = h + epsilon / 2 * _slope(lipschitz_mix(z, h @ matrices))
    h = h + epsilon * _slope(lipschitz_mix(z, middle @ matrices))
    return h, h


@functools.lru_cache(maxsize=256)
def _structure(numbers: _Numbers, solver: str) -> Gated | Separable:
    """Returns one and the same witness for the same numbers, so that a jit cache can key on it."""
    matrices = functools.partial(lipschitz_matrices, numbers=numbers)
    if solver == "midpoint":
        recur = functools.partial(lipschitz_midpoint_recur, epsilon=numbers.epsilon)
        return Separable(lipschitz_project, recur, matrices)
    pointwise = functools.partial(lipschitz_pointwise, epsilon=numbers.epsilon)
    return Gated(lipschitz_project, matrices, pointwise, lipschitz_mix)


_SOLVERS = ("euler", "midpoint")
LIPSCHITZ, LIPSCHITZ_MIDPOINT = (
    _structure(_Numbers(0.03, 0.75, 0.75, 0.001, 0.001), solver) for solver in _SOLVERS
)
lipschitz_step = LIPSCHITZ.step


def lipschitz(
    input_size: int,
    hidden_size: int,
    *,
    epsilon: float = 0.03,
    beta_a: float = 0.75,
    beta_w: float = 0.75,
    gamma_a: float = 0.001,
    gamma_w: float = 0.001,
    solver: str = "euler",
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the Lipschitz cell: a linear part, and a part whose slope is bounded.

    ::

        A  = (1 - beta_a) (M_A + M_A^T) + beta_a (M_A - M_A^T) - gamma_a I
        W  = (1 - beta_w) (M_W + M_W^T) + beta_w (M_W - M_W^T) - gamma_w I
        f(h) = h A + tanh(h W + x w_ih + b)
        h' = h + epsilon f(h)                               solver="euler"
        h' = h + epsilon f(h + epsilon / 2 f(h))            solver="midpoint"
        y = h'

    The defaults are the authors' for sequential MNIST.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      epsilon: size of the time step, above 0.
      beta_a: how far A is antisymmetric: 1 wholly, 1/2 as M_A is, 0 to 1.
      beta_w: how far W is.
      gamma_a: diffusion in A, 0 or more.
      gamma_w: diffusion in W, 0 or more.
      solver: "euler", or "midpoint", of order 2.
      init: initializer of `w_hh`, ``(H, 2 H)``; normal with standard deviation 0.1 / H if not
        given.
      input_init: initializer of `w_ih`, ``(I, H)``; uniform in ``+- 1 / sqrt(I)``, as `b` is, if
        not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A cell with `LipschitzParams`: `Gated` for "euler", `Separable` for "midpoint". Its state is
      the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, a number is none, or `dtype` is not floating.
      ValueError: a size is less than 1, a number lies outside, or `solver` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = lipschitz(3, 5, solver="midpoint")
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      N. B. Erichson, O. Azencot, A. Queiruga, L. Hodgkinson, M. Mahoney, "Lipschitz recurrent
      neural networks", 2021, equations 3 to 5.
    """
    if solver not in _SOLVERS:
        raise unknown_name("solver", solver, _SOLVERS)
    numbers = _Numbers(
        check_number("epsilon", epsilon, by="lipschitz", above=0),
        check_number("beta_a", beta_a, by="lipschitz", least=0, most=1),
        check_number("beta_w", beta_w, by="lipschitz", least=0, most=1),
        check_number("gamma_a", gamma_a, by="lipschitz", least=0),
        check_number("gamma_w", gamma_w, by="lipschitz", least=0),
    )
    make = sized_init(
        lipschitz_init,
        input_size,
        hidden_size,
        by="lipschitz",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, lipschitz_initial_state, _structure(numbers, solver))


LIPSCHITZ_ENTRY = CellEntry(
    make=lipschitz,
    paper="Erichson et al. 2021, Lipschitz recurrent neural networks",
    structure="Gated",
    state="h (H)",
    equations=(
        "A, W = (1 - beta) (M + M^T) + beta (M - M^T) - gamma I\n"
        "h' = h + epsilon (h A + tanh(h W + x w_ih + b))"
    ),
    parameters="H (I + 2 H + 1)",
    defaults=(
        "w_ih, b uniform +-1 / sqrt(I), w_hh normal (std 0.1 / H); "
        "epsilon = 0.03, beta = 0.75, gamma = 0.001"
    ),
    provenance="the authors' LipschitzRNN_ODE with torchdiffeq 0.2.5 on torch 2.13",
)
