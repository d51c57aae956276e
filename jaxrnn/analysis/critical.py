"""Cells put where gradients neither vanish nor explode."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis.lyapunov import lyapunov_spectrum
from jaxrnn.analysis.mean_field.roots import refine
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Params, State

__all__ = ["CriticalInit", "critical_init", "scale_recurrent"]

# Beyond it an exponent says no more than its sign; -inf would spoil the search's arithmetic.
_LARGE = 1e3


class CriticalInit(NamedTuple):
    """Parameters at which the measured leading exponent has a given value.

    Attributes:
      params: the parameters, tuned.
      scale: what `tune` was given for them, ``()``.
      exponent: leading exponent there, the mean over the batch, nats per step, ``()``.
      converged: bool ``()``: the exponent is within the tolerance of the target.
    """

    params: Params
    scale: Array
    exponent: Array
    converged: Array


def scale_recurrent(params: Params, scale: Array) -> Params:
    """Multiplies the recurrent weights `w_hh` of a cell's parameters.

    Args:
      params: a NamedTuple with a field `w_hh`, or a dict with such a key.
      scale: the factor, ``()``.

    Returns:
      Parameters of the same kind.

    Raises:
      TypeError: there is no `w_hh`.

    Example:
      >>> scale_recurrent({"w_hh": 2.0, "b": 1.0}, 3.0)
      {'w_hh': 6.0, 'b': 1.0}
    """
    if isinstance(params, dict) and "w_hh" in params:
        return {**params, "w_hh": scale * params["w_hh"]}
    if hasattr(params, "w_hh") and hasattr(params, "_replace"):
        return params._replace(w_hh=scale * params.w_hh)
    msg = (
        f"scale_recurrent: got parameters of type {type(params).__name__} without w_hh; expected a "
        "NamedTuple or dict with it; give critical_init another tune(params, scale)"
    )
    raise TypeError(msg)


def critical_init(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    tune: Callable[[Params, Array], Params] = scale_recurrent,
    target: float | Array = 0.0,
    low: float | Array = 0.1,
    high: float | Array = 10.0,
    warmup: int = 0,
    tolerance: float | Array = 1e-3,
) -> CriticalInit:
    """Tunes one number of a cell until its measured leading Lyapunov exponent has a given value.

    Solves ``lambda_1(tune(params, scale)) = target``, by interpolation kept safe by bisection on
    the logarithm of the scale, with the same data at every scale. For the random networks that have
    a theory, `jaxrnn.analysis.mean_field.critical_gain` says where the answer lies: a `low` and
    `high` around it save measurements.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``: data like those it will be trained on. The exponent's
        statistical error, about one over the square root of T and of the batch, is the answer's.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      tune: ``(params, scale) -> params``; one function, not a new lambda for each call, or each
        call compiles anew. Multiplies `w_hh` if not given; another may set a gate's bias.
      target: nats per step; 0 is the edge of chaos.
      low: where the exponent is on one side of the target, positive, ``()``.
      high: where it is on the other, ``()``.
      warmup: steps that are not counted.
      tolerance: how near to the target, nats per step.

    Returns:
      The parameters, and whether they are where they should be: they are not if `low` and `high`
      have exponents on the same side (then the better of the two is returned), or if the exponent
      jumps over the target.

    Raises:
      TypeError: as `lyapunov_spectrum`; `params` without `w_hh` and no `tune`.
      ValueError: as `lyapunov_spectrum`; outside `jax.jit`, not ``0 < low < high``, a tolerance
        that is not positive, or a trajectory that is not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 16)
      >>> xs = jax.random.normal(jax.random.key(1), (100, 3, 2))
      >>> tuned = critical_init(cell, cell.init(jax.random.key(0)), xs, high=3.0)
      >>> bool(tuned.converged), bool(abs(tuned.exponent) < 1e-3)
      (True, True)

    Reference:
      N. Bertschinger, T. Natschlaeger, "Real-time computation at the edge of chaos in recurrent
      neural networks", 2004.
    """
    _check(low, high, tolerance)
    result = _critical_init(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        tune=tune,
        target=target,
        low=low,
        high=high,
        warmup=warmup,
        tolerance=tolerance,
    )
    exponent = _concrete(result.exponent)
    if exponent is not None and np.any(np.isnan(exponent)):
        msg = (
            "critical_init: got a trajectory that is not finite; expected a finite one at every "
            f"scale from {low} to {high}; look at the parameters and at xs"
        )
        raise ValueError(msg)
    return result


def _concrete(value):
    """Returns a number, or None for one that is being traced."""
    try:
        return np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        return None


def _check(low, high, tolerance) -> None:
    ends = _concrete(low), _concrete(high)
    known = all(end is not None for end in ends)
    if known and not (np.all(ends[0] > 0) and np.all(ends[0] < ends[1])):
        msg = f"critical_init: got low={low}, high={high}; expected 0 < low < high, as 0.1 and 10"
        raise ValueError(msg)
    tolerance = _concrete(tolerance)
    if tolerance is not None and not np.all(tolerance > 0):
        msg = f"critical_init: got tolerance={tolerance}; expected a positive number, as 1e-3"
        raise ValueError(msg)


@compiled_per_cell("tune", "warmup")
def _critical_init(
    cell, params, xs, state, *, mask, resets, tune, target, low, high, warmup, tolerance
) -> CriticalInit:
    def measure(place):
        spectrum = lyapunov_spectrum(
            cell,
            tune(params, low * jnp.exp(place - 1)),
            xs,
            state,
            mask=mask,
            resets=resets,
            k=1,
            qr_every=1,
            warmup=warmup,
        )
        return jnp.clip(jnp.mean(spectrum.exponents), -_LARGE, _LARGE)

    dtype = jax.eval_shape(measure, jnp.ones(())).dtype
    low, high, target = (jnp.asarray(value, dtype) for value in (low, high, target))

    def excess(place):
        return measure(place) - target

    # From 1 on, so that a relative tolerance of the place is one of the scale.
    ends = jnp.stack([jnp.ones_like(low), 1 + jnp.log(high / low)])
    values = jax.lax.map(excess, ends)
    precision = float(jnp.finfo(dtype).eps)
    place, value = refine(excess, ends, values, 8 * precision, tolerance)
    scale = low * jnp.exp(place - 1)
    return CriticalInit(tune(params, scale), scale, value + target, jnp.abs(value) <= tolerance)
