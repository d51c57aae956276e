"""How much a loss changes with the state at each time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.scaled import Scaled, add, log_scale, rescale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.scan import read_recurrence

__all__ = ["LossGradientProfile", "loss_gradient_profile"]

_BY = "loss_gradient_profile"


class LossGradientProfile(NamedTuple):
    """How large ``dL / d s_t`` is at each time.

    Attributes:
      times: ``(T + 1,)``; time t is after t steps, 0 the initial state.
      log_norms: ``(T + 1, *batch)``, log of the Euclidean norm, in nats; ``-inf`` for exact zeros.
    """

    times: Array
    log_norms: Array


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
      Times and log norms. The backward pass carries a power of two apart, so it overflows for no T.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`, or `loss_fn` does not return a scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(3, 5)
      >>> profile = loss_gradient_profile(
      ...     lambda ys: jnp.sum(ys[-1] ** 2), cell, cell.init(jax.random.key(0)), jnp.ones((9, 3)))
      >>> profile.log_norms.shape
      (10,)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equations 3 to 5.
    """
    ys, unread = _outputs(cell, params, xs, state, mask=mask, resets=resets)

    def loss_of(ys):
        return loss_fn(_join(ys, unread))

    kind = jax.eval_shape(loss_of, ys)
    if getattr(kind, "shape", None) != ():
        msg = f"{_BY}: got a loss_fn that returns {kind}; expected a scalar; take the mean"
        raise ValueError(msg)
    d_ys = jax.grad(loss_of)(ys)
    log_norms = _log_norms(cell, params, xs, state, mask=mask, resets=resets, d_ys=d_ys)
    return LossGradientProfile(jnp.arange(log_norms.shape[0]), log_norms)


def _is_float(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _split(ys: Output) -> tuple[Output, Output]:
    """Splits outputs into what has a gradient and what has none; None in place of the other."""
    floats = jax.tree.map(lambda leaf: leaf if _is_float(leaf) else None, ys)
    return floats, jax.tree.map(lambda leaf: None if _is_float(leaf) else leaf, ys)


def _join(floats: Output, others: Output) -> Output:
    return jax.tree.map(
        lambda a, b: b if a is None else a, floats, others, is_leaf=lambda leaf: leaf is None
    )


@compiled_per_cell()
def _outputs(cell, params, xs, state, *, mask, resets):
    with jax.default_matmul_precision("highest"):
        run = read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by=_BY)
        return _split(jax.lax.scan(run.advance, run.state, run.inputs)[1])


@compiled_per_cell()
def _log_norms(cell, params, xs, state, *, mask, resets, d_ys):
    def one(xs, state, mask, resets, d_ys):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY)

        def back(gradient: Scaled, index):
            state, rest, inputs = flow.at(index)

            def advance(s):
                s, y = flow.advance(s, rest, inputs)
                return s, _split(y)[0]

            _, pull = jax.vjp(advance, state)
            d_y = jax.tree.map(lambda leaf: leaf[index], d_ys)
            (later,) = pull((gradient.values, jax.tree.map(jnp.zeros_like, d_y)))
            (now,) = pull((jnp.zeros_like(gradient.values), d_y))
            gradient = add(rescale(later, gradient.exponent), scaled(now))
            return gradient, log_scale(gradient.exponent, jnp.linalg.norm(gradient.values))

        last = scaled(jnp.zeros_like(flow.states[0]))
        _, log_norms = jax.lax.scan(back, last, jnp.arange(len(flow.states)), reverse=True)
        return jnp.concatenate([log_norms, jnp.full_like(log_norms[:1], -jnp.inf)])

    return over_batch(one, cell, params, xs, state, mask, resets, d_ys, out_axes=1, by=_BY)
