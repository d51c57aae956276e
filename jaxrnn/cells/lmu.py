"""The Legendre memory unit: a plain network beside a window of the past on polynomials."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "LMU_ENTRY",
    "LMUParams",
    "LMUState",
    "legendre_memory",
    "lmu",
    "lmu_init",
    "lmu_initial_state",
    "lmu_project",
    "lmu_recur",
    "lmu_structure",
]


class LMUParams(NamedTuple):
    """Parameters of `lmu` with a memory of order d.

    Attributes:
      w_ih: ``(I, H + 1)``, the kernel W_x and the encoder e_x side by side.
      w_hh: ``(H, H + 1)``, W_h and e_h side by side.
      w_mh: ``(d, H)``, W_m.
      e_m: ``(d,)``.
    """

    w_ih: Array
    w_hh: Array
    w_mh: Array
    e_m: Array


class LMUState(NamedTuple):
    """State of `lmu`.

    Attributes:
      h: ``(*batch, H)``, the output of the last step.
      m: ``(*batch, d)``, the window's coefficients on the shifted Legendre polynomials.
    """

    h: Array
    m: Array


def _expm(a: np.ndarray) -> np.ndarray:
    """Returns the matrix exponential, by scaling, Taylor's series and squaring."""
    halvings = max(0, math.ceil(math.log2(max(np.abs(a).sum(axis=0).max(), 1e-300))) + 1)
    term = total = np.eye(len(a))
    for k in range(1, 20):  # the norm is 1/2 at most: terms beyond are below rounding
        term = term @ a / (2.0**halvings * k)
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


@functools.lru_cache(maxsize=64)
def legendre_memory(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the memory's matrices for inputs held over a step of length 1.

    Args:
      order: d.
      theta: the window's length in steps.

    Returns:
      ``exp(A / theta)``, ``(d, d)``, and the input's vector B, ``(d,)``, in float64.
    """
    i, j = np.arange(order)[:, None], np.arange(order)
    a = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    b = (2 * i + 1) * (-1.0) ** i
    both = _expm(np.pad(np.hstack([a, b]) / theta, ((0, 1), (0, 0))))
    return both[:-1, :-1], both[:-1, -1]


def lmu_init(key, input_size, hidden_size, *, order=None, dtype=None) -> LMUParams:
    """Makes the parameters of `lmu`."""
    order = hidden_size if order is None else order
    dtype = initializers.float_dtype(dtype)
    keys = jax.random.split(key, 5)
    kernel, encoder = jax.nn.initializers.glorot_normal(), jax.nn.initializers.lecun_uniform()

    def both(k_w, k_e, size):
        return jnp.concatenate(
            [kernel(k_w, (size, hidden_size), dtype), encoder(k_e, (size, 1), dtype)], axis=-1
        )

    return LMUParams(
        w_ih=both(keys[0], keys[1], input_size),
        w_hh=both(keys[2], keys[3], hidden_size),
        w_mh=kernel(keys[4], (order, hidden_size), dtype),
        e_m=jnp.zeros(order, dtype),
    )


def lmu_initial_state(params, batch_shape=()) -> LMUState:
    """Returns zeros, h ``(*batch, H)`` and m ``(*batch, d)``."""
    order, hidden = params.w_mh.shape
    h, m = (jnp.zeros((*batch_shape, n), params.w_mh.dtype) for n in (hidden, order))
    return LMUState(h, m)


def lmu_project(params, x):
    """Returns ``x W_x`` and ``e_x x`` side by side, ``(*batch, H + 1)``."""
    return input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="lmu")


def lmu_recur(prepared, state, share):
    """Writes u into the memory, then updates h from the new memory."""
    w_hh, w_mh, transition, b = prepared
    share = share + state.h @ w_hh
    m = state.m @ transition + share[..., -1:] * b
    h = jnp.tanh(share[..., :-1] + m @ w_mh)
    return LMUState(h, m), h


@functools.lru_cache(maxsize=256)
def lmu_structure(order: int, theta: float) -> Separable:
    """Returns one and the same witness for one memory, so that a jit cache can key on it."""
    a, b = legendre_memory(order, theta)

    def lmu_prepare(params):
        dtype = params.e_m.dtype
        vector = jnp.asarray(b, dtype)
        transition = jnp.asarray(a.T, dtype) + params.e_m[:, None] * vector
        return params.w_hh, params.w_mh, transition, vector

    return Separable(lmu_project, lmu_recur, lmu_prepare)


def lmu(
    input_size: int,
    hidden_size: int,
    *,
    order: int | None = None,
    theta: float = 100.0,
    dtype=None,
) -> Cell:
    """Makes the Legendre memory unit.

    ::

        u = e_x x + e_h h + e_m m                 one number
        m' = A m + B u                            the last theta steps of u, as d coefficients
        h' = tanh(W_x x + W_h h + W_m m'),  y = h'

    A and B are constants: the ideal delay line of length theta, in its best approximation of order
    d, discretised exactly for inputs held over each step (zero-order hold).

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      order: d, the size of the memory; H if not given. A window holds about ``d / 2`` periods.
      theta: length of the window in steps.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `LMUParams` and `LMUState`.

    Raises:
      TypeError: a size or `order` is not an integer, `theta` no number, or `dtype` is not floating.
      ValueError: a size or `order` is less than 1, or `theta` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = lmu(3, 5, order=8, theta=50.0)
      >>> params = cell.init(jax.random.key(0))
      >>> state, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> state.m.shape, y.shape
      ((2, 8), (2, 5))

    Reference:
      A. Voelker, I. Kajic, C. Eliasmith, "Legendre memory units: continuous-time representation in
      recurrent neural networks", 2019, equations 1, 2, 4, 6, 7.
    """
    hidden_size = check_size("hidden_size", hidden_size, by="lmu")
    order = hidden_size if order is None else check_size("order", order, by="lmu")
    theta = check_number("theta", theta, by="lmu", above=0)
    make = sized_init(lmu_init, input_size, hidden_size, by="lmu", dtype=dtype, order=order)
    return from_structure(make, lmu_initial_state, lmu_structure(order, theta))


LMU_ENTRY = CellEntry(
    make=lmu,
    paper="Voelker et al. 2019, equations 1, 2, 4, 6, 7",
    structure="Separable",
    state="h (H), m (d, H by default)",
    equations=(
        "u = e_x x + e_h h + e_m m\n"
        "m' = A m + B u, constants of the window's length theta\n"
        "h' = tanh(W_x x + W_h h + W_m m')"
    ),
    parameters="(I + H) (H + 1) + H^2 + H (order H)",
    defaults=(
        "W Glorot normal, e_x and e_h LeCun uniform, e_m = 0, order d = H, theta = 100 steps"
    ),
    provenance="keras-lmu 0.9.0 (the authors) on TensorFlow 2.21, values and gradients",
)
