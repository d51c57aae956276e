"""The unitary evolution network: a complex state turned by a product of simple unitary maps."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "UNITARY",
    "UNITARY_ENTRY",
    "UnitaryParams",
    "complex_modrelu",
    "unitary",
    "unitary_init",
    "unitary_initial_state",
    "unitary_matrix",
    "unitary_permutation",
    "unitary_project",
    "unitary_recur",
    "unitary_step",
]


class UnitaryParams(NamedTuple):
    """Parameters of `unitary`: real numbers, real parts before imaginary ones.

    Attributes:
      w_ih: ``(I, 2 H)``.
      theta: ``(3, H)``, the angles of D1, D2, D3.
      v: ``(2, 2 H)``, the vectors of the reflections R1, R2.
      b: ``(H,)``, where the nonlinearity sets in.
      h_0: ``(2 H,)``, the initial state.
    """

    w_ih: Array
    theta: Array
    v: Array
    b: Array
    h_0: Array


def unitary_init(key, input_size, hidden_size, *, input_init=None, dtype=None) -> UnitaryParams:
    """Makes the parameters of `unitary`."""
    input_init = initializers.glorot_uniform() if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_theta, k_v, k_h = jax.random.split(key, 4)
    bound = (3 / (2 * hidden_size)) ** 0.5
    return UnitaryParams(
        w_ih=input_init(k_ih, (input_size, 2 * hidden_size), dtype),
        theta=jax.random.uniform(k_theta, (3, hidden_size), dtype, -jnp.pi, jnp.pi),
        v=jax.random.uniform(k_v, (2, 2 * hidden_size), dtype, -1, 1),
        b=jnp.zeros(hidden_size, dtype),
        h_0=jax.random.uniform(k_h, (2 * hidden_size,), dtype, -bound, bound),
    )


def unitary_initial_state(params, batch_shape=()) -> Array:
    """Returns the learnt initial state, ``(*batch, 2 H)``."""
    return jnp.broadcast_to(params.h_0, (*batch_shape, *params.h_0.shape))


def unitary_project(params, x):
    """Returns ``x @ w_ih``, ``(*batch, 2 H)``."""
    return input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="unitary")


def _complex(pairs: Array) -> Array:
    return jax.lax.complex(*jnp.split(pairs, 2, axis=-1))


def _reflect(h: Array, v: Array) -> Array:
    """Returns ``(I - 2 v v* / |v|^2) h`` for each row h."""
    overlap = h @ v.conj()
    return h - 2 * overlap[..., None] * v / jnp.vdot(v, v).real


def unitary_permutation(seed: int, size: int) -> np.ndarray:
    """Draws the fixed permutation P, ``(H,)``; NumPy promises that RandomState never changes."""
    return np.random.RandomState(seed).permutation(size)


def unitary_matrix(params, *, seed):
    """Returns the matrix that turns rows of pairs, ``(2 H, 2 H)`` and orthogonal.

    It is ``W = D3 R2 F^-1 D2 P R1 F D1`` applied to the unit vectors, in real numbers: as long as H
    is at most some thousands, one product a step is faster than transforms and reflections.
    """
    wide = jnp.promote_types(params.theta.dtype, jnp.float32)  # the transform knows no half
    d1, d2, d3 = jnp.exp(1j * params.theta.astype(wide))
    v1, v2 = _complex(params.v.astype(wide))
    with jax.default_matmul_precision("highest"):
        h = jnp.diag(d1)  # in each row one unit vector, turned
        h = _reflect(jnp.fft.fft(h, norm="ortho"), v1)
        h = d2 * h[:, unitary_permutation(seed, len(d1))]
        h = d3 * _reflect(jnp.fft.ifft(h, norm="ortho"), v2)
    return jnp.block([[h.real, h.imag], [-h.imag, h.real]]).astype(params.theta.dtype)


def complex_modrelu(a, b):
    """Applies ``z max(|z| + b, 0) / |z|`` to complex z, given as pairs ``(*batch, 2 H)``."""
    real, imag = jnp.split(a, 2, axis=-1)
    square = real**2 + imag**2
    nothing = square == 0  # its direction, and the root's slope, are not defined
    modulus = jnp.sqrt(jnp.where(nothing, 1, square))
    scale = jnp.where(nothing, 0, jax.nn.relu(modulus + b) / modulus)
    return a * jnp.concatenate([scale, scale], axis=-1)


def unitary_recur(prepared, h, z):
    """Turns the state, adds the input's share and applies the nonlinearity."""
    matrix, b = prepared
    h = complex_modrelu(z + h @ matrix, b)
    return h, h


@functools.lru_cache(maxsize=256)
def _structure(seed: int) -> Separable:
    """Returns one and the same witness for one seed, so that a jit cache can key on it."""

    def prepare(params):
        return unitary_matrix(params, seed=seed), params.b

    return Separable(unitary_project, unitary_recur, prepare)


UNITARY = _structure(0)
unitary_step = UNITARY.step


def unitary(
    input_size: int,
    hidden_size: int,
    *,
    seed: int = 0,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the unitary evolution cell (uRNN).

    ::

        W  = D3 R2 F^-1 D2 P R1 F D1          D = diag(exp(i theta)), R = I - 2 v v* / |v|^2
        z  = W h + V x                        h and z complex, (H,)
        h' = z max(|z| + b, 0) / |z|,  y = h'

    F is the unitary Fourier transform, P a fixed permutation. State and output are real arrays: the
    H real parts, then the H imaginary parts. The parameters are real too, in pairs like that. W is
    unitary whatever they are; it is made once per unroll, outside the loop over time.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the number of complex units.
      seed: of the permutation P, which is fixed, not learnt: 0 to 2^32 - 1.
      input_init: initializer of `w_ih`, ``(I, 2 H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `UnitaryParams`; its state is the real array h, ``(*batch, 2 H)``. The
      initial state is learnt.

    Raises:
      TypeError: a size or `seed` is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `seed` lies outside.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = unitary(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 10)

    Reference:
      M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", 2016,
      section 4 (W, modReLU, the initial values; the authors' code adds 1e-5 to |z| below the line).
    """
    make = sized_init(
        unitary_init, input_size, hidden_size, by="unitary", dtype=dtype, input_init=input_init
    )
    if seed != 0:
        seed = check_size("seed", seed, by="unitary")
    if seed >= 2**32:
        msg = f"unitary: got seed={seed}; expected 0 to 2^32 - 1; take another"
        raise ValueError(msg)
    return from_structure(make, unitary_initial_state, _structure(int(seed)))


UNITARY_ENTRY = CellEntry(
    make=unitary,
    paper="Arjovsky et al. 2016, Unitary evolution recurrent neural networks",
    structure="Separable",
    state="h (H complex: 2 H reals)",
    equations=("W = D3 R2 F^-1 D2 P R1 F D1\nz = W h + V x\nh' = z max(|z| + b, 0) / |z|"),
    parameters="2 H I + 10 H",
    defaults="w_ih Glorot uniform, theta U(-pi, pi), v U(-1, 1), b = 0, h_0 U(+-sqrt(3 / (2 H)))",
    provenance="NumPy 80-bit transcription of the paper's section 4",
)
