"""How much a loss changes with the state at each time."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.adjoint import output_gradient, scan_adjoint
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.scaled import log_scale, rescale
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Output, Params, State

__all__ = ["LossGradientProfile", "loss_gradient_profile"]

_BY = "loss_gradient_profile"


class LossGradientProfile(NamedTuple):
    """How large ``dL / d s_t`` is at each time.

    Attributes:
      times: ``(T + 1,)``; time t is after t steps, 0 the initial state.
      log_norms: ``(T + 1, *batch)``, log of the Euclidean norm, in nats; ``-inf`` for exact zeros.
      parts: the same for each top-level part of the state, in the state's own container: for
        `jaxrnn.lstm` an `LSTMState` of ``h`` and ``c``, for `jaxrnn.wrappers.stacked` a tuple with
        one entry a layer. None for a part without floats, and where the state is one array.
    """

    times: Array
    log_norms: Array
    parts: Any = None


def loss_gradient_profile(
    loss_fn: Callable[[Output], Array],
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> LossGradientProfile:
    """Measures the gradient of a loss with respect to the state at every time.

    ``dL / d s_t`` is the derivative with respect to the state handed from step t to step t + 1: all
    that reaches it from steps t + 1 to T. The output of step t is computed in the step that makes
    s_t and is not counted, so at time T, which no later step reads, the gradient is zero
    (``-inf``). At time 0 it is what `jax.grad` gives for the initial state.

    Args:
      loss_fn: ``ys -> scalar``, ys ``(T, *batch, ...)`` as `jaxrnn.unroll` returns; a readout and
        the targets go in by closure.
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None; no gradient passes a reset.

    Returns:
      Times and log norms, of the whole state and of its parts. The backward pass carries a power of
      two apart, so it overflows for no T.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`, or `loss_fn` does not return a scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman, gru
      >>> from jaxrnn.wrappers import stacked
      >>> cell = stacked(elman(3, 5), gru(5, 4))
      >>> profile = loss_gradient_profile(
      ...     lambda ys: jnp.sum(ys[-1] ** 2), cell, cell.init(jax.random.key(0)), jnp.ones((9, 3)))
      >>> profile.log_norms.shape, [part.shape for part in profile.parts]
      ((10,), [(10,), (10,)])

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equations 3 to 5.
    """
    d_ys = output_gradient(loss_fn, cell, params, xs, state, mask=mask, resets=resets, by=_BY)
    log_norms, parts = _log_norms(cell, params, xs, state, mask=mask, resets=resets, d_ys=d_ys)
    return LossGradientProfile(jnp.arange(log_norms.shape[0]), log_norms, parts)


def _children(state: State) -> tuple[list[State], Any]:
    """Returns the top-level children of a state, and the tree that holds them."""
    return jax.tree.flatten(state, is_leaf=lambda node: node is not state)


def _part_size(child: State) -> int:
    leaves = jax.tree.leaves(child)
    inexact = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum((2 if jnp.iscomplexobj(leaf) else 1) * leaf.size for leaf in inexact)


@compiled_per_cell()
def _log_norms(cell, params, xs, state, *, mask, resets, d_ys):
    def one(xs, state, mask, resets, d_ys):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY)
        children, tree = _children(state)
        sizes = [_part_size(child) for child in children]
        stops = list(itertools.accumulate(sizes))

        def log_norm(gradient, start, stop):
            # Scaled anew: a part may lie far below the whole.
            part = rescale(gradient.values[start:stop], gradient.exponent)
            return log_scale(part.exponent, jnp.linalg.norm(part.values))

        def record(gradient):
            whole = log_scale(gradient.exponent, jnp.linalg.norm(gradient.values))
            if jax.tree_util.treedef_is_leaf(tree):
                return whole, None
            parts = [
                log_norm(gradient, stop - size, stop) if size else None
                for size, stop in zip(sizes, stops, strict=True)
            ]
            return whole, jax.tree.unflatten(tree, parts)

        def end(log_norms):
            return jnp.concatenate([log_norms, jnp.full_like(log_norms[:1], -jnp.inf)])

        return jax.tree.map(end, scan_adjoint(flow, d_ys, record))

    return over_batch(one, cell, params, xs, state, mask, resets, d_ys, out_axes=1, by=_BY)
