"""Jacobians of single steps, and of long products of steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_float_inputs, check_range
from jaxrnn.analysis.flow import over_batch, read_flow, read_input_flow, trim
from jaxrnn.analysis.parallel import product_tree, scanned_product
from jaxrnn.analysis.scaled import log_scale
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.trees import largest
from jaxrnn.core.types import Array, Input, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = [
    "JacobianProduct",
    "input_jacobians",
    "jacobian_product",
    "jacobians",
]

_METHODS = ("scan", "parallel")


class JacobianProduct(NamedTuple):
    """Stands for ``matrix * exp(log_scale)``.

    Attributes:
      matrix: ``(*batch, D, D)``, its largest entry 1 in magnitude; zeros where the product is zero.
      log_scale: ``(*batch,)`` in nats; ``-inf`` where the product is exactly zero.
    """

    matrix: Array
    log_scale: Array


@compiled_per_cell()
def jacobians(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Array:
    """Returns the Jacobian of every step along a trajectory.

    Entry t is ``d s_{t+1} / d s_t``, rows the new state, columns the old, so the product over time
    is ``J[T-1] @ ... @ J[0]``. The state is ravelled in the order of
    `jax.flatten_util.ravel_pytree` (for an LSTM h before c); D is its size without batch.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; the Jacobian of a masked step is the identity.
      resets: bool ``(T, *batch)`` or None; the Jacobian of a step that resets is zero.

    Returns:
      ``(T, *batch, D, D)``. It takes T D^2 numbers; `jacobian_product` and `gradient_decay` do
      without.

    Raises:
      TypeError: as `jaxrnn.unroll`, or the state holds no floating array.
      ValueError: as `jaxrnn.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = lstm(3, 5)
      >>> jacobians(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))).shape
      (7, 2, 10, 10)
    """

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by="jacobians")
        eye, steps = flow.eye(), jnp.arange(len(flow.states))
        return jax.vmap(lambda index: flow.pull(index, eye))(steps)

    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by="jacobians")


@compiled_per_cell()
def input_jacobians(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Array:
    """Returns the Jacobian of every step with respect to that step's input.

    Entry t is ``d s_{t+1} / d x_t``, rows the new state, columns the features.

    Args:
      cell: any cell.
      params: its parameters.
      xs: one floating array, ``(T, *batch, F)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; the Jacobian of a masked step is zero.
      resets: bool ``(T, *batch)`` or None.

    Returns:
      ``(T, *batch, D, F)``, D the size of the ravelled state.

    Raises:
      TypeError: `xs` is not one floating array (make tokens one-hot: `jax.nn.one_hot`).
      ValueError: as `jaxrnn.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(3, 5)
      >>> input_jacobians(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))).shape
      (7, 2, 5, 3)
    """
    check_float_inputs(xs, by="input_jacobians")

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by="input_jacobians")
        at = read_input_flow(cell, params, xs, flow)
        return jax.vmap(at)(jnp.arange(len(flow.states)))

    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by="input_jacobians")


@compiled_per_cell("start", "stop", "method")
def jacobian_product(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    start: int = 0,
    stop: int | None = None,
    method: str = "scan",
) -> JacobianProduct:
    """Returns ``d s_stop / d s_start`` as a matrix and the logarithm of its scale.

    The product ``A_stop ... A_{start+1}`` is built by pulling the identity back through the steps
    (no step's Jacobian is formed) with a power of two taken out after every step, so it neither
    overflows nor underflows, whatever the number of steps. Directions that fall more than the
    dtype's precision below the largest are lost in the rounding of the larger ones.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step's Jacobian is the identity.
      resets: bool ``(T, *batch)`` or None; the product across a reset is exactly zero.
      start: the step after which the product begins; 0 is the state before the first step.
      stop: the step after which it ends; T if not given. ``start == stop`` gives the identity.
      method: "scan", step by step; or "parallel", by pairs of matrices in logarithmic depth, with
        T D^2 memory.

    Returns:
      The product, rows ``s_stop``, columns ``s_start``, over the ravelled state.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`, or not ``0 <= start <= stop <= T``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)
      >>> product = jacobian_product(cell, cell.init(jax.random.key(0)), jnp.ones((1000, 3)))
      >>> product.matrix.shape, bool(product.log_scale < -100)
      ((5, 5), True)
    """
    by = "jacobian_product"
    if method not in _METHODS:
        raise unknown_name("method", method, _METHODS)
    num_steps = read_sequence(cell, xs, mask, resets, by=by).num_steps
    start, stop = check_range(start, stop, num_steps, by=by)

    def one(xs, state, mask, resets):
        # At least one step, so that a trajectory exists, even if the product takes none.
        sequence = trim((xs, mask, resets), 0, max(stop, 1))
        flow = read_flow(cell, params, sequence[0], state, *sequence[1:], by=by)

        if method == "parallel" and start < stop:
            product = product_tree(flow, start, stop - start)
        else:
            product = scanned_product(flow, start, stop - start)
        top = largest(product.values)
        matrix = product.values / jnp.where(top == 0, 1, top)
        return JacobianProduct(matrix, log_scale(product.exponent, top))

    return over_batch(one, cell, params, xs, state, mask, resets, out_axes=0, by=by)
