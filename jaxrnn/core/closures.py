"""What a function closes over, as arguments."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxrnn.core.types import Array

__all__ = ["with_constants"]


def with_constants(function: Callable, *example: Any) -> tuple[Callable, list[Array]]:
    """Returns a function with all it closes over as arguments behind its own, and these.

    `jax.closure_convert` leaves integers and keys closed over, which a custom derivative under
    `jax.jit` inside `jax.grad` may not be.

    Args:
      function: of trees of arrays.
      *example: arguments, for their shapes and types.

    Returns:
      ``call(*arguments, *constants)``, and the constants.

    Example:
      >>> import jax.numpy as jnp
      >>> scale = jnp.arange(3.0)
      >>> call, constants = with_constants(lambda x: scale * x, scale)
      >>> call(jnp.ones(3), 2 * constants[0])
      Array([0., 2., 4.], dtype=float32)
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*example)
    result = jax.tree.structure(shapes)

    def call(*arguments):
        leaves = jax.tree.leaves(arguments[: len(example)])
        constants = list(arguments[len(example) :])
        return result.unflatten(jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, constants))(*leaves))

    return call, list(closed.consts)
