"""Checks of arguments and of trajectories that several measurements share."""

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array, Input

__all__ = ["check_count", "check_float_inputs", "check_range", "refuse_non_finite"]


def check_range(start: int, stop: int | None, num_steps: int, *, by: str) -> tuple[int, int]:
    """Returns `start` and `stop` as integers with ``0 <= start <= stop <= num_steps``.

    Args:
      start: the step after which a product begins.
      stop: the step after which it ends; `num_steps` if None.
      num_steps: T.
      by: the function the user called, for the message.

    Raises:
      TypeError: one is not an integer.
      ValueError: the order is another.
    """
    stop = num_steps if stop is None else operator.index(stop)
    start = operator.index(start)
    if not 0 <= start <= stop <= num_steps:
        msg = (
            f"{by}: got start={start}, stop={stop}; expected 0 <= start <= stop <= "
            f"{num_steps}, the number of steps"
        )
        raise ValueError(msg)
    return start, stop


def check_count(k: int | None, size: int, *, by: str) -> int:
    """Returns the number of directions, `size` if `k` is None; at most `size`, the state's.

    Args:
      k: what the user passed.
      size: D, the size of the state without batch.
      by: the function the user called, for the message.

    Raises:
      TypeError: `k` is not an integer.
      ValueError: `k` is less than 1 or more than `size`.
    """
    if k is None:
        return size
    k = check_size("k", k, by=by)
    if k > size:
        msg = (
            f"{by}: got k={k}; expected at most {size}, the size of the state: it has no more "
            "directions; leave k out for all of them"
        )
        raise ValueError(msg)
    return k


def check_float_inputs(xs: Input, *, by: str) -> None:
    """Raises TypeError unless the inputs are one floating array, which alone has a derivative."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(xs)]
    if len(leaves) != 1 or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        msg = (
            f"{by}: got xs with dtypes {[str(leaf.dtype) for leaf in leaves]}; expected one "
            "floating array (T, *batch, features); make tokens one-hot with jax.nn.one_hot"
        )
        raise TypeError(msg)


def refuse_non_finite(first_bad: Array, *, by: str) -> None:
    """Raises ValueError if a trajectory was not finite; inside a trace it cannot, and does nothing.

    Args:
      first_bad: ``(*batch,)``, the number of steps after which the state is not finite for the
        first time; -1 where it always is.
      by: the function the user called, for the message.
    """
    try:
        steps = np.asarray(first_bad)
    except jax.errors.TracerArrayConversionError:
        return
    if np.all(steps < 0):
        return
    step = int(steps[steps >= 0].min())
    where = "the initial state" if step == 0 else f"the state after step {step}"
    if steps.ndim:
        index = tuple(int(i[0]) for i in np.nonzero(steps == step))
        where += f" of sequence {index[0] if len(index) == 1 else index}"
    look = "the initial state" if step == 0 else f"xs[{step - 1}]"
    msg = (
        f"{by}: got {where} that is not finite; expected a finite trajectory: NaN or infinity "
        f"leaves no spectrum; look at the parameters and at {look}"
    )
    raise ValueError(msg)
