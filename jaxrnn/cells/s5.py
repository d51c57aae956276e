"""S5: a diagonal complex state space model, discretised with a learnt step, HiPPO at first."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.irregular import features_and_dt
from jaxrnn.cells.lru import complex_from, complex_share, complex_zeros, real_product
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Array

__all__ = [
    "S5",
    "S5_ENTRY",
    "S5Params",
    "hippo_eigenvectors",
    "s5",
    "s5_coefficients",
    "s5_init",
    "s5_initial_state",
    "s5_readout",
    "s5_step",
]


class S5Params(NamedTuple):
    """Parameters of `s5`, H even; complex numbers as two real ones.

    Attributes:
      lambda_re: ``(H/2,)``, the real parts of the eigenvalues.
      lambda_im: ``(H/2,)``, the imaginary parts; their conjugates are implied.
      log_step: ``(H/2,)``, the logarithm of the step size.
      w_ih: ``(I, H)``, B: its real and its imaginary part side by side.
      w_hy: ``(H/2, 2 O)``, C: its real and its imaginary part side by side.
      d: ``(I, O)``, D, the input's way around the recurrence.
    """

    lambda_re: Array
    lambda_im: Array
    log_step: Array
    w_ih: Array
    w_hy: Array
    d: Array


def hippo_eigenvectors(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonalises the normal part of the HiPPO-LegS matrix, ``A + p p^T``.

    Args:
      size: N, even.

    Returns:
      The eigenvalues with negative imaginary part, ``(N/2,)``, and their eigenvectors,
      ``(N, N/2)``; the other half are the conjugates.
    """
    n = np.arange(size)
    p = np.sqrt(n + 0.5)
    legs = -2 * np.tril(np.outer(p, p), -1) - np.diag(n + 1)
    normal = legs + np.outer(p, p)  # -1/2 on the diagonal, else antisymmetric
    frequencies, vectors = np.linalg.eigh(-1j * (normal + np.eye(size) / 2))
    half = size // 2
    return -0.5 + 1j * frequencies[:half], vectors[:, :half]


def s5_init(
    key,
    input_size,
    hidden_size,
    *,
    output_size=None,
    blocks=1,
    dt_min=0.001,
    dt_max=0.1,
    dtype=None,
) -> S5Params:
    """Makes the parameters of `s5`."""
    dtype = initializers.float_dtype(dtype)
    wide = jnp.promote_types(dtype, jnp.float32)
    output_size = hidden_size if output_size is None else output_size
    eigenvalues, vectors = hippo_eigenvectors(hidden_size // blocks)
    eigenvalues, vectors = np.tile(eigenvalues, blocks), np.kron(np.eye(blocks), vectors)
    k_step, k_b, k_re, k_im, k_d = jax.random.split(key, 5)
    step = jax.random.uniform(k_step, (hidden_size // 2,), wide, math.log(dt_min), math.log(dt_max))
    lecun = jax.nn.initializers.lecun_normal()
    b = lecun(k_b, (hidden_size, input_size), wide).T @ jnp.asarray(vectors.conj())
    c = complex_from(*(lecun(k, (hidden_size, output_size), wide) for k in (k_re, k_im)))
    c = jnp.asarray(vectors.T) @ c
    d = jax.random.normal(k_d, (input_size, output_size), wide) / input_size**0.5
    parts = (
        jnp.asarray(eigenvalues.real),
        jnp.asarray(eigenvalues.imag),
        step,
        jnp.concatenate([b.real, b.imag], axis=-1),
        jnp.concatenate([c.real, c.imag], axis=-1),
        d,
    )
    return S5Params(*(part.astype(dtype) for part in parts))


def s5_initial_state(params, batch_shape=()) -> Array:
    """Returns complex zeros, ``(*batch, H/2)``."""
    return complex_zeros(params.w_hy, batch_shape)


def s5_coefficients(params, x):
    """Returns the discretised ``(lambda, B x)``, complex ``(*batch, H/2)`` each."""
    x, dt = features_and_dt(x, by="s5")
    rate = complex_from(params.lambda_re, params.lambda_im)
    step = jnp.exp(params.log_step) if dt is None else dt * jnp.exp(params.log_step)
    change = jnp.expm1(rate * step)
    share = change / rate * complex_share(params.w_ih, x, by="s5")
    return jnp.broadcast_to(1 + change, share.shape), share


def s5_readout(params, h, x):
    """Returns ``2 Re(C h) + D x``, ``(*batch, O)``; 2 for the conjugates, which are not stored."""
    x, _ = features_and_dt(x, by="s5")
    skip = input_share(params.d, jnp.zeros((), params.d.dtype), x, by="s5")
    return 2 * real_product(params.w_hy, h) + skip


S5 = Linear(s5_coefficients, s5_readout)
s5_step = S5.step


def s5(
    input_size: int,
    hidden_size: int,
    *,
    output_size: int | None = None,
    blocks: int = 1,
    dt_min: float = 0.001,
    dt_max: float = 0.1,
    dtype=None,
) -> Cell:
    """Makes the S5 state space model: the linear part of an S5 layer.

    ::

        h' = exp(lambda s) * h + (exp(lambda s) - 1) / lambda * (B x),   s = exp(log_step) * dt
        y = 2 Re(C h') + D x

    This is ``dh/dt = lambda * h + B x`` with x held over each step (zero-order hold). Eigenvalues
    come in conjugate pairs, of which one is stored. They start as those of the normal part of the
    HiPPO-LegS matrix, in `blocks` equal blocks, and B and C as random matrices in the basis of its
    eigenvectors. D is a matrix; the authors' code has a diagonal one, which needs O = I. The real
    parts are not held below zero, as by default in the authors' code.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the size of the state (the paper's P), of which H/2 complex numbers are kept.
      output_size: O, the number of output features; H if not given.
      blocks: J, number of HiPPO blocks on the diagonal of the first state matrix.
      dt_min: smallest step size at first.
      dt_max: largest step size at first.
      dtype: of the parameters, which are real; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `S5Params`; its state is the complex array h, ``(*batch, H/2)``. An input
      is x or, for irregular times, the pair (x, dt) with the time dt, ``(*batch, 1)``, in units of
      the usual step.

    Raises:
      TypeError: a size is not an integer, a step size no number, or `dtype` is not floating.
      ValueError: a size is less than 1, `hidden_size` is no multiple of ``2 * blocks``, or
        ``0 < dt_min <= dt_max`` does not hold.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = s5(3, 6)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> h.shape, y.shape
      ((2, 3), (2, 6))

    Reference:
      J. Smith, A. Warrington, S. Linderman, "Simplified state space layers for sequence modeling",
      2023, sections 2 and 3, appendix B.1.
    """
    blocks = check_size("blocks", blocks, by="s5")
    if check_size("hidden_size", hidden_size, by="s5") % (2 * blocks):
        msg = (
            f"s5: got hidden_size={hidden_size} with blocks={blocks}; expected a multiple of "
            f"2 * blocks = {2 * blocks}, since eigenvalues come in conjugate pairs in each block; "
            "change one of the two"
        )
        raise ValueError(msg)
    dt_min = check_number("dt_min", dt_min, by="s5", above=0)
    dt_max = check_number("dt_max", dt_max, by="s5", least=dt_min)
    if output_size is not None:
        output_size = check_size("output_size", output_size, by="s5")
    make = sized_init(
        s5_init,
        input_size,
        hidden_size,
        by="s5",
        dtype=dtype,
        output_size=output_size,
        blocks=blocks,
        dt_min=dt_min,
        dt_max=dt_max,
    )
    return from_structure(make, s5_initial_state, S5)


S5_ENTRY = CellEntry(
    make=s5,
    paper="Smith et al. 2023, sections 2 and 3, appendix B.1",
    structure="Linear",
    state="h (H/2 complex)",
    equations=(
        "s = exp(log_step) * dt\n"
        "h' = exp(lambda s) * h + (exp(lambda s) - 1) / lambda * (B x)\n"
        "y = 2 Re(C h') + D x"
    ),
    parameters="3 H/2 + H I + H^2 + I H (output size H)",
    defaults=(
        "lambda of the normal part of HiPPO-LegS (1 block), B and C LeCun normal in its "
        "eigenvectors' basis, D normal / sqrt(I), step log-uniform in [0.001, 0.1]"
    ),
    provenance="s5-pytorch 0.2.1, values and gradients",
    sizes=(2, 4),
)
