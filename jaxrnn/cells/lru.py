"""The linear recurrent unit: a complex diagonal recurrence whose eigenvalues start on a ring."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Linear
from jaxrnn.core.types import Array

__all__ = [
    "LRU",
    "LRU_ENTRY",
    "LRUParams",
    "complex_from",
    "complex_share",
    "complex_zeros",
    "lru",
    "lru_coefficients",
    "lru_init",
    "lru_initial_state",
    "lru_readout",
    "lru_step",
    "real_product",
]


class LRUParams(NamedTuple):
    """Parameters of `lru`; complex numbers as two real ones.

    Attributes:
      nu_log: ``(H,)``; the eigenvalues have the modulus ``exp(-exp(nu_log))``.
      theta_log: ``(H,)``; they have the phase ``exp(theta_log)``.
      gamma_log: ``(H,)``, the logarithm of the input's scale.
      w_ih: ``(I, 2 H)``, B: its real and its imaginary part side by side.
      w_hy: ``(H, 2 O)``, C: its real and its imaginary part side by side.
      d: ``(I, O)``, D, the input's way around the recurrence.
    """

    nu_log: Array
    theta_log: Array
    gamma_log: Array
    w_ih: Array
    w_hy: Array
    d: Array


def complex_from(re: Array, im: Array) -> Array:
    """Returns ``re + 1j * im``, at least in single precision: there is no half complex type."""
    wide = jnp.promote_types(jnp.result_type(re, im), jnp.float32)
    return jax.lax.complex(re.astype(wide), im.astype(wide))


def complex_share(w_ih: Array, x: Array, *, by: str) -> Array:
    """Returns ``x @ B``, complex ``(*batch, N)``, for B ``(I, 2 N)`` as two real parts."""
    return complex_from(*jnp.split(input_share(w_ih, jnp.zeros((), w_ih.dtype), x, by=by), 2, -1))


def complex_zeros(w_hy: Array, batch_shape=()) -> Array:
    """Returns complex zeros, ``(*batch, N)``, for C ``(N, 2 O)``."""
    return jnp.zeros((*batch_shape, w_hy.shape[0]), jnp.result_type(w_hy.dtype, jnp.complex64))


def real_product(w_hy: Array, h: Array) -> Array:
    """Returns ``Re(h @ C)``, ``(*batch, O)``, for a complex h and C ``(N, 2 O)`` as two parts."""
    c_re, c_im = jnp.split(w_hy, 2, axis=-1)
    return h.real.astype(w_hy.dtype) @ c_re - h.imag.astype(w_hy.dtype) @ c_im


def lru_init(
    key,
    input_size,
    hidden_size,
    *,
    output_size=None,
    r_min=0.0,
    r_max=1.0,
    max_phase=2 * math.pi,
    dtype=None,
) -> LRUParams:
    """Makes the parameters of `lru`."""
    dtype = initializers.float_dtype(dtype)
    wide = jnp.promote_types(dtype, jnp.float32)  # moduli near 1 are far apart in half precision
    output_size = hidden_size if output_size is None else output_size
    k_nu, k_theta, k_b, k_c, k_d = jax.random.split(key, 5)
    tiny = jnp.finfo(wide).tiny  # a modulus or phase of 0 has no logarithm
    u = jax.random.uniform(k_nu, (hidden_size,), wide, tiny)
    nu_log = jnp.log(-0.5 * jnp.log(u * (r_max**2 - r_min**2) + r_min**2))
    theta_log = jnp.log(max_phase * jax.random.uniform(k_theta, (hidden_size,), wide, tiny))
    gamma_log = 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))
    w_ih = jax.random.normal(k_b, (input_size, 2 * hidden_size), dtype) / (2 * input_size) ** 0.5
    w_hy = jax.random.normal(k_c, (hidden_size, 2 * output_size), dtype) / hidden_size**0.5
    d = jax.random.normal(k_d, (input_size, output_size), dtype) / input_size**0.5
    rings = (part.astype(dtype) for part in (nu_log, theta_log, gamma_log))
    return LRUParams(*rings, w_ih, w_hy, d)


def lru_initial_state(params, batch_shape=()) -> Array:
    """Returns complex zeros, ``(*batch, H)``."""
    return complex_zeros(params.w_hy, batch_shape)


def lru_coefficients(params, x):
    """Returns ``(lambda, gamma * B x)``, complex ``(*batch, H)`` each."""
    size = complex_from(-jnp.exp(params.nu_log), jnp.exp(params.theta_log))
    share = jnp.exp(params.gamma_log) * complex_share(params.w_ih, x, by="lru")
    return jnp.broadcast_to(jnp.exp(size), share.shape), share


def lru_readout(params, h, x):
    """Returns ``Re(C h) + D x``, ``(*batch, O)``."""
    skip = input_share(params.d, jnp.zeros((), params.d.dtype), x, by="lru")
    return real_product(params.w_hy, h) + skip


LRU = Linear(lru_coefficients, lru_readout)
lru_step = LRU.step


def lru(
    input_size: int,
    hidden_size: int,
    *,
    output_size: int | None = None,
    r_min: float = 0.0,
    r_max: float = 1.0,
    max_phase: float = 2 * math.pi,
    dtype=None,
) -> Cell:
    """Makes the linear recurrent unit.

    ::

        lambda = exp(-exp(nu_log) + i exp(theta_log))     stable: |lambda| < 1
        gamma = exp(gamma_log)
        h' = lambda * h + gamma * (B x)                   complex
        y = Re(C h') + D x

    lambda starts uniformly distributed on the ring between r_min and r_max, with phases up to
    max_phase, and gamma at ``sqrt(1 - |lambda|**2)``, which gives h the variance of B x for white
    inputs. D is a matrix, as in the paper's equation; the authors' listing has a diagonal one,
    which needs O = I. For long memory set r_min near 1 and max_phase small.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the number of complex units (the paper's N).
      output_size: O, the number of output features; H if not given.
      r_min: smallest modulus of lambda at first.
      r_max: largest modulus of lambda at first, at most 1.
      max_phase: largest phase of lambda at first, in radians.
      dtype: of the parameters, which are real; JAX's default floating dtype if not given.

    Returns:
      A `Linear` cell with `LRUParams`; its state is the complex array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, another argument no number, or `dtype` is not floating.
      ValueError: a size is less than 1, ``0 <= r_min < r_max <= 1`` does not hold, or `max_phase`
        is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = lru(3, 5, r_min=0.9, r_max=0.999)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> h.dtype.name, y.shape
      ('complex64', (2, 5))

    Reference:
      A. Orvieto, S. Smith, A. Gu, A. Fernando, C. Gulcehre, R. Pascanu, S. De, "Resurrecting
      recurrent neural networks for long sequences", 2023, equation 7, lemma 3.2, appendix A.
    """
    r_min = check_number("r_min", r_min, by="lru", least=0)
    r_max = check_number("r_max", r_max, by="lru", above=r_min, most=1)
    max_phase = check_number("max_phase", max_phase, by="lru", above=0)
    if output_size is not None:
        output_size = check_size("output_size", output_size, by="lru")
    make = sized_init(
        lru_init,
        input_size,
        hidden_size,
        by="lru",
        dtype=dtype,
        output_size=output_size,
        r_min=r_min,
        r_max=r_max,
        max_phase=max_phase,
    )
    return from_structure(make, lru_initial_state, LRU)


LRU_ENTRY = CellEntry(
    make=lru,
    paper="Orvieto et al. 2023, equation 7, appendix A",
    structure="Linear",
    state="h (H complex)",
    equations=(
        "lambda = exp(-exp(nu_log) + i exp(theta_log))\n"
        "h' = lambda * h + exp(gamma_log) * (B x)\n"
        "y = Re(C h') + D x"
    ),
    parameters="3 H + 2 H I + 2 H^2 + I H (output size H)",
    defaults=(
        "lambda uniform on the ring 0 <= |lambda| <= 1, gamma = sqrt(1 - |lambda|^2), "
        "B normal / sqrt(2 I), C normal / sqrt(H), D normal / sqrt(I)"
    ),
    provenance="lru-pytorch 0.1.3, values and gradients",
)
