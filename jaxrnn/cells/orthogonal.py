"""Orthogonal networks: the recurrent matrix is the exponential or the Cayley map of a skew one."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.antisymmetric import skew
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "CAYLEY_RNN_ENTRY",
    "EXP_RNN",
    "EXP_RNN_ENTRY",
    "OrthogonalParams",
    "cayley_angles",
    "cayley_matrix",
    "cayley_rnn",
    "cayley_rnn_init",
    "exp_matrix",
    "exp_rnn",
    "exp_rnn_init",
    "exp_rnn_step",
    "henaff_angles",
    "modrelu",
    "orthogonal_initial_state",
    "orthogonal_pointwise",
    "orthogonal_project",
]


class OrthogonalParams(NamedTuple):
    """Parameters of `exp_rnn` and `cayley_rnn`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(H, H)``, of which only the antisymmetric part counts.
      b: ``(H,)``, where the nonlinearity sets in.
    """

    w_ih: Array
    w_hh: Array
    b: Array


# ------------------------------------------------------------------------- initial values
def _rotations(angles: Array, size: int) -> Array:
    """Returns the matrix of which `skew` has 2 x 2 blocks with the angles, above the diagonal."""
    above = jnp.zeros(size - 1, angles.dtype).at[::2].set(angles)
    return jnp.diag(above, k=1)


def henaff_angles(key, shape, dtype=None):
    """Draws rotations of planes by angles in [-pi, pi], as an initializer ``(H, H)``."""
    dtype = initializers.float_dtype(dtype)
    angles = jax.random.uniform(key, (shape[0] // 2,), dtype, -jnp.pi, jnp.pi)
    return _rotations(angles, shape[0])


def cayley_angles(key, shape, dtype=None):
    """Draws ``-tan(s / 2)``, s in [0, pi / 2], on the planes, as an initializer ``(H, H)``."""
    dtype = initializers.float_dtype(dtype)
    angles = jax.random.uniform(key, (shape[0] // 2,), dtype, 0, jnp.pi / 2)
    return _rotations(-jnp.tan(angles / 2), shape[0])


def _uniform(bound):
    def initialize(key, shape, dtype=None):
        return jax.random.uniform(key, shape, initializers.float_dtype(dtype), -bound, bound)

    return initialize


def _init(key, input_size, hidden_size, init, input_init, bias_init, dtype) -> OrthogonalParams:
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_b = jax.random.split(key, 3)
    return OrthogonalParams(
        input_init(k_ih, (input_size, hidden_size), dtype),
        init(k_hh, (hidden_size, hidden_size), dtype),
        bias_init(k_b, (hidden_size,), dtype),
    )


def exp_rnn_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> OrthogonalParams:
    """Makes the parameters of `exp_rnn`."""
    init = henaff_angles if init is None else init
    input_init = initializers.normal((2 / input_size) ** 0.5) if input_init is None else input_init
    return _init(key, input_size, hidden_size, init, input_init, _uniform(0.01), dtype)


def cayley_rnn_init(
    key, input_size, hidden_size, *, init=None, input_init=None, dtype=None
) -> OrthogonalParams:
    """Makes the parameters of `cayley_rnn`."""
    init = cayley_angles if init is None else init
    input_init = _uniform(0.01) if input_init is None else input_init
    zeros = initializers.constant(0)
    return _init(key, input_size, hidden_size, init, input_init, zeros, dtype)


def orthogonal_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


# ------------------------------------------------------------------------- the step
def orthogonal_project(params, x):
    """Returns ``x @ w_ih``, ``(*batch, H)``."""
    return input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="an orthogonal cell")


def _in_full_precision(matrix):
    """Makes ``matrix(params)`` in float32 at least: LAPACK knows no half precision."""

    @functools.wraps(matrix)
    def full(params, **numbers):
        w = params.w_hh
        wide = params._replace(w_hh=w.astype(jnp.promote_types(w.dtype, jnp.float32)))
        with jax.default_matmul_precision("highest"):
            return matrix(wide, **numbers).astype(w.dtype)

    return full


@_in_full_precision
def exp_matrix(params):
    """Returns ``expm(w_hh - w_hh.T)``, a rotation."""
    return jax.scipy.linalg.expm(skew(params.w_hh))


@_in_full_precision
def cayley_matrix(params, *, negative):
    """Returns ``D (I + A)^-1 (I - A)``, A = w_hh - w_hh.T; the last `negative` of D are -1."""
    a = skew(params.w_hh)
    size = a.shape[0]
    eye = jnp.eye(size, dtype=a.dtype)
    signs = jnp.where(jnp.arange(size) < size - negative, 1, -1).astype(a.dtype)
    return signs[:, None] * jnp.linalg.solve(eye + a, eye - a)


def modrelu(a, b):
    """Shrinks (b < 0) or widens (b > 0) each number and keeps its sign: sign(a) max(|a| + b, 0)."""
    return jnp.sign(a) * jax.nn.relu(jnp.abs(a) + b)


def _bias(params):
    return params.b


def orthogonal_pointwise(b, h, a):
    """Returns ``h' = modrelu(a, b)`` as state and output."""
    del h
    h = modrelu(a, b)
    return h, h


EXP_RNN = Gated(orthogonal_project, exp_matrix, orthogonal_pointwise, vectors=_bias)
exp_rnn_step = EXP_RNN.step


@functools.lru_cache(maxsize=256)
def _cayley(negative: int) -> Gated:
    """Returns one and the same witness for one number, so that a jit cache can key on it."""
    return EXP_RNN._replace(weights=functools.partial(cayley_matrix, negative=negative))


def exp_rnn(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the orthogonal cell whose recurrent matrix is a matrix exponential.

    ::

        B  = expm(w_hh - w_hh^T)
        a  = x w_ih + h B
        h' = sign(a) * max(|a| + b, 0),  y = h'

    B is orthogonal whatever `w_hh` is, so any optimiser keeps it so. It is made once per unroll,
    outside the loop over time.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, H)``; `henaff_angles` if not given (rotations of planes by
        angles uniform in [-pi, pi]), the paper's other choice is `cayley_angles`.
      input_init: initializer of `w_ih`; normal with variance 2 / I (He) if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `OrthogonalParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = exp_rnn(3, 4)
      >>> params = cell.init(jax.random.key(0))
      >>> matrix = cell.parts.weights(params)
      >>> jnp.allclose(matrix @ matrix.T, jnp.eye(4), atol=1e-6).item()
      True

    Reference:
      M. Lezcano-Casado, D. Martinez-Rubio, "Cheap orthogonal constraints in neural networks: a
      simple parametrization of the orthogonal and unitary group", 2019, section 4 (expRNN). M.
      Henaff, A. Szlam, Y. LeCun, "Recurrent orthogonal networks and long-memory tasks", 2016.
    """
    make = sized_init(
        exp_rnn_init,
        input_size,
        hidden_size,
        by="exp_rnn",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, orthogonal_initial_state, EXP_RNN)


def cayley_rnn(
    input_size: int,
    hidden_size: int,
    *,
    negative: int | None = None,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the orthogonal cell of the scaled Cayley transform (scoRNN).

    ::

        A  = w_hh - w_hh^T
        W  = D (I + A)^-1 (I - A)                 D diagonal, of 1 and -1
        a  = x w_ih + h W
        h' = sign(a) * max(|a| + b, 0),  y = h'

    The Cayley transform alone reaches no matrix with an eigenvalue -1; the fixed D does. W is
    orthogonal whatever `w_hh` is, and is made once per unroll, outside the loop over time.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      negative: how many of D's entries are -1, 0 to H; H // 2 if not given.
      init: initializer of `w_hh`, ``(H, H)``; `cayley_angles` if not given.
      input_init: initializer of `w_ih`; uniform in [-0.01, 0.01] if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `OrthogonalParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `negative` lies outside 0 to H.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = cayley_rnn(3, 4, negative=1)
      >>> matrix = cell.parts.weights(cell.init(jax.random.key(0)))
      >>> jnp.linalg.det(matrix).round(5).item()
      -1.0

    Reference:
      K. Helfrich, D. Willmott, Q. Ye, "Orthogonal recurrent neural networks with scaled Cayley
      transform", 2018, section 3.
    """
    make = sized_init(
        cayley_rnn_init,
        input_size,
        hidden_size,
        by="cayley_rnn",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    if negative is None:
        negative = hidden_size // 2
    elif negative != 0:
        negative = check_size("negative", negative, by="cayley_rnn")
    if negative > hidden_size:
        msg = (
            f"cayley_rnn: got negative={negative} for hidden_size={hidden_size}; expected 0 to "
            f"{hidden_size}: D has as many entries as there are units; pass less"
        )
        raise ValueError(msg)
    return from_structure(make, orthogonal_initial_state, _cayley(int(negative)))


_STEP = "a = x w_ih + h W\nh' = sign(a) * max(|a| + b, 0)"
EXP_RNN_ENTRY = CellEntry(
    make=exp_rnn,
    paper="Lezcano-Casado & Martinez-Rubio 2019, Cheap orthogonal constraints (expRNN)",
    structure="Gated",
    state="h (H)",
    equations=f"W = expm(w_hh - w_hh^T)\n{_STEP}",
    parameters="H (I + H + 1)",
    defaults="w_ih He normal, w_hh planes turned by U(-pi, pi), b = U(-0.01, 0.01)",
    provenance="the authors' OrthogonalRNN on torch 2.13, values and gradients",
)
CAYLEY_RNN_ENTRY = CellEntry(
    make=cayley_rnn,
    paper="Helfrich et al. 2018, scaled Cayley transform (scoRNN)",
    structure="Gated",
    state="h (H)",
    equations=f"A = w_hh - w_hh^T\nW = D (I + A)^-1 (I - A)\n{_STEP}",
    parameters="H (I + H + 1)",
    defaults="w_ih U(-0.01, 0.01), w_hh planes -tan(U(0, pi / 2) / 2), b = 0; H // 2 entries -1",
    provenance="torch 2.13 parametrizations.orthogonal (cayley), values and gradients",
    sizes=(2, 4),  # a unit left over turns in no plane, and inputs run back and forth cancel there
)
