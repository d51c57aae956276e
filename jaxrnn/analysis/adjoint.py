"""The gradient of a loss with respect to the outputs, and pulled back from there to the states."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import Flow
from jaxrnn.analysis.scaled import Scaled, add, rescale, scaled
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Output
from jaxrnn.unrolls.scan import read_recurrence

__all__ = ["join_floats", "output_gradient", "scan_adjoint", "split_floats"]


def _is_float(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def split_floats(tree: Any) -> tuple[Any, Any]:
    """Splits a tree into what has a gradient and what has none; None in place of the other."""
    floats = jax.tree.map(lambda leaf: leaf if _is_float(leaf) else None, tree)
    return floats, jax.tree.map(lambda leaf: None if _is_float(leaf) else leaf, tree)


def join_floats(floats: Any, others: Any) -> Any:
    """Undoes `split_floats`."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, floats, others, is_leaf=lambda leaf: leaf is None
    )


@compiled_per_cell("by")
def _outputs(cell, params, xs, state, *, mask, resets, by):
    with jax.default_matmul_precision("highest"):
        run = read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by=by)
        return split_floats(jax.lax.scan(run.advance, run.state, run.inputs)[1])


def output_gradient(
    loss_fn: Callable[[Output], Array], cell, params, xs, state, *, mask, resets, by: str
) -> Output:
    """Returns ``dL / d ys``, a tree like ys with None for what has no gradient.

    The loss is called outside every cache: it may close over data that changes.

    Args:
      loss_fn: ``ys -> scalar``.
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      by: the function the user called.

    Raises:
      ValueError: `loss_fn` does not return a scalar.
    """
    ys, unread = _outputs(cell, params, xs, state, mask=mask, resets=resets, by=by)

    def loss_of(ys):
        return loss_fn(join_floats(ys, unread))

    kind = jax.eval_shape(loss_of, ys)
    if getattr(kind, "shape", None) != ():
        msg = f"{by}: got a loss_fn that returns {kind}; expected a scalar; take the mean"
        raise ValueError(msg)
    return jax.grad(loss_of)(ys)


def scan_adjoint(flow: Flow, d_ys: Output, record: Callable[[Scaled], Any]) -> Any:
    """Pulls ``dL / d ys`` back through one sequence, with a power of two carried apart.

    Args:
      flow: the sequence's flow.
      d_ys: ``dL / d ys``, as `output_gradient` returns.
      record: what is kept of ``dL / d s_t``, a `Scaled` ``(D,)``.

    Returns:
      What `record` returns, stacked ``(T, ...)``, entry t for the state before step t.
    """

    def back(gradient: Scaled, index):
        state, rest, inputs = flow.at(index)

        def advance(s):
            s, y = flow.advance(s, rest, inputs)
            return s, split_floats(y)[0]

        _, pull = jax.vjp(advance, state)
        d_y = jax.tree.map(lambda leaf: leaf[index], d_ys)
        (later,) = pull((gradient.values, jax.tree.map(jnp.zeros_like, d_y)))
        (now,) = pull((jnp.zeros_like(gradient.values), d_y))
        gradient = add(rescale(later, gradient.exponent), scaled(now))
        return gradient, record(gradient)

    last = scaled(jnp.zeros_like(flow.states[0]))
    return jax.lax.scan(back, last, jnp.arange(len(flow.states)), reverse=True)[1]
