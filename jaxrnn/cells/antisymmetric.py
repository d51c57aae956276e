"""The antisymmetric network: a stable ordinary differential equation, one Euler step at a time."""

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
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "ANTISYMMETRIC",
    "ANTISYMMETRIC_ENTRY",
    "ANTISYMMETRIC_GATED_ENTRY",
    "AntisymmetricParams",
    "antisymmetric",
    "antisymmetric_gated_mix",
    "antisymmetric_gated_pointwise",
    "antisymmetric_init",
    "antisymmetric_initial_state",
    "antisymmetric_matrix",
    "antisymmetric_pointwise",
    "antisymmetric_project",
    "antisymmetric_step",
    "skew",
]


class AntisymmetricParams(NamedTuple):
    """Parameters of `antisymmetric`; with the gate, inputs side by side in the order gate, update.

    Attributes:
      w_ih: ``(I, H)``; ``(I, 2 H)`` with the gate.
      w_hh: ``(H, H)``, of which only the antisymmetric part counts.
      b: ``(H,)``; ``(2 H,)`` with the gate.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def antisymmetric_init(
    key, input_size, hidden_size, *, gated=False, init=None, input_init=None, dtype=None
) -> AntisymmetricParams:
    """Makes the parameters of `antisymmetric`."""
    init = initializers.normal(hidden_size**-0.5) if init is None else init
    input_init = initializers.normal(input_size**-0.5) if input_init is None else input_init
    dtype, width = initializers.float_dtype(dtype), (2 if gated else 1) * hidden_size
    k_ih, k_hh = jax.random.split(key)
    w_ih = input_init(k_ih, (input_size, width), dtype)
    w_hh = init(k_hh, (hidden_size, hidden_size), dtype)
    return AntisymmetricParams(w_ih, w_hh, jnp.zeros(width, dtype))


def antisymmetric_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def antisymmetric_project(params, x):
    """Returns ``x @ w_ih + b``."""
    return input_share(params.w_ih, params.b, x, by="antisymmetric")


def skew(w: Array) -> Array:
    """Returns the antisymmetric matrix ``w - w.T``."""
    return w - w.T


def antisymmetric_matrix(params, *, gamma):
    """Returns ``w_hh - w_hh.T - gamma I``: eigenvalues have the real part -gamma."""
    w = params.w_hh
    return skew(w) - gamma * jnp.eye(w.shape[0], dtype=w.dtype)


def antisymmetric_pointwise(vectors, h, a, *, epsilon):
    """Takes one Euler step of size epsilon; `a` is ``(*batch, H)``."""
    del vectors
    h = h + epsilon * jnp.tanh(a)
    return h, h


def antisymmetric_gated_mix(z, r):
    """Adds the one recurrent product to the gate's share and to the update's, ``(*batch, 2 H)``."""
    return z + jnp.concatenate([r, r], axis=-1)


def antisymmetric_gated_pointwise(vectors, h, a, *, epsilon):
    """Takes one Euler step of size epsilon times the gate; `a` is ``(*batch, 2 H)``."""
    del vectors
    gate, update = jnp.split(a, 2, axis=-1)
    h = h + epsilon * jax.nn.sigmoid(gate) * jnp.tanh(update)
    return h, h


@functools.lru_cache(maxsize=256)
def _structure(epsilon: float, gamma: float, gated: bool) -> Gated:
    """Returns one and the same witness for the same numbers, so that a jit cache can key on it."""
    matrix = functools.partial(antisymmetric_matrix, gamma=gamma)
    if gated:
        pointwise = functools.partial(antisymmetric_gated_pointwise, epsilon=epsilon)
        return Gated(antisymmetric_project, matrix, pointwise, antisymmetric_gated_mix)
    pointwise = functools.partial(antisymmetric_pointwise, epsilon=epsilon)
    return Gated(antisymmetric_project, matrix, pointwise)


ANTISYMMETRIC = _structure(0.1, 0.01, False)
antisymmetric_step = ANTISYMMETRIC.step


def antisymmetric(
    input_size: int,
    hidden_size: int,
    *,
    epsilon: float = 0.1,
    gamma: float = 0.01,
    gated: bool = False,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the antisymmetric cell, whose differential equation neither explodes nor vanishes.

    ::

        A  = w_hh - w_hh^T - gamma I
        h' = h + epsilon * tanh(h A + x w_ih + b),  y = h'

    With the gate the one matrix A serves twice::

        z  = sigmoid(h A + x W_z + b_z)
        h' = h + epsilon * z * tanh(h A + x W + b),  y = h'

    The Jacobian of the equation, ``A^T diag(tanh')``, has imaginary eigenvalues for gamma = 0 and
    none with a positive real part for gamma > 0, which makes up for the growth that the Euler
    step itself brings.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      epsilon: size of the Euler step, above 0.
      gamma: strength of diffusion, 0 or more.
      gated: whether the step is scaled by an input-dependent gate.
      init: initializer of `w_hh`, ``(H, H)``; normal with variance 1 / H if not given.
      input_init: initializer of `w_ih`; normal with variance 1 / I if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `AntisymmetricParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, a number is none, or `dtype` is not floating.
      ValueError: a size is less than 1, `epsilon` is not above 0, or `gamma` is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = antisymmetric(3, 5, gamma=0.1)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      B. Chang, M. Chen, E. Haber, E. Chi, "AntisymmetricRNN: a dynamical system view on recurrent
      neural networks", 2019, section 3 (the plain and the gated step).
    """
    epsilon = check_number("epsilon", epsilon, by="antisymmetric", above=0)
    gamma = check_number("gamma", gamma, by="antisymmetric", least=0)
    make = sized_init(
        antisymmetric_init,
        input_size,
        hidden_size,
        by="antisymmetric",
        dtype=dtype,
        gated=bool(gated),
        init=init,
        input_init=input_init,
    )
    structure = _structure(epsilon, gamma, bool(gated))
    return from_structure(make, antisymmetric_initial_state, structure)


def _antisymmetric_gated(input_size: int, hidden_size: int) -> Cell:
    return antisymmetric(input_size, hidden_size, gated=True)


_MATRIX = "A = w_hh - w_hh^T - gamma I\n"
_DEFAULTS = "w_ih normal (1 / I), w_hh normal (1 / H), b = 0; epsilon = 0.1, gamma = 0.01"
ANTISYMMETRIC_ENTRY = CellEntry(
    make=antisymmetric,
    paper="Chang et al. 2019, AntisymmetricRNN",
    structure="Gated",
    state="h (H)",
    equations=f"{_MATRIX}h' = h + epsilon * tanh(h A + x w_ih + b)",
    parameters="H (I + H + 1)",
    defaults=_DEFAULTS,
    provenance="torchrecurrent 0.2.5 AntisymmetricRNNCell, values and gradients",
)
ANTISYMMETRIC_GATED_ENTRY = CellEntry(
    make=_antisymmetric_gated,
    paper="Chang et al. 2019, AntisymmetricRNN with gating",
    structure="Gated",
    state="h (H)",
    equations=(
        f"{_MATRIX}z = sigmoid(h A + x W_z + b_z)\nh' = h + epsilon * z * tanh(h A + x W + b)"
    ),
    parameters="2 H (I + 1) + H^2",
    defaults=_DEFAULTS,
    provenance="torchrecurrent 0.2.5 GatedAntisymmetricRNNCell, values and gradients",
)
