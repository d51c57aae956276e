"""Where a random network is critical."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn.analysis.mean_field.quadrature import as_floats
from jaxrnn.analysis.mean_field.result import MeanField
from jaxrnn.analysis.mean_field.roots import bracketed_root
from jaxrnn.core.types import Array

__all__ = ["critical_gain"]


def critical_gain(theory: Callable[[Array], MeanField], low=0.1, high=20.0) -> Array:
    """Finds the value of one parameter at which gradients neither vanish nor explode.

    Solves ``chi(gain) = 1``. The parameter is whatever `theory` takes: a gain, a bias, an input's
    variance. A critical line is one `jax.vmap` over another parameter, and `jax.grad` gives its
    slope.

    Args:
      theory: ``gain -> MeanField``, such as ``lambda gain: mean_field.elman(gain, 0.1)``.
      low: where to begin, ``()``.
      high: where to end, ``()``; ``chi - 1`` must have different signs at the two.

    Returns:
      The gain, ``()``; NaN where `low` and `high` do not enclose one. Where chi jumps over 1, as it
      may in gated networks, the place of the jump.

    Example:
      >>> from jaxrnn.analysis.mean_field.elman import elman
      >>> print(f"{critical_gain(lambda gain: elman(gain, 0.0025**0.5)):.4f}")
      1.1225

    Reference:
      S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, "Deep information propagation", 2017,
      section 3.
    """
    low, high = as_floats(low, high)

    def excess(gain):
        return theory(gain).chi - 1

    values = jax.lax.map(excess, jnp.stack([low, high]))
    encloses = values[0] * values[1] <= 0
    return jnp.where(encloses, bracketed_root(excess, low, high, values), jnp.nan)
