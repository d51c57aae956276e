"""Penalties on how gradients flow, to be added to any loss."""

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.lyapunov import lyapunov_spectrum
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State

__all__ = ["jacobian_penalty", "lyapunov_penalty"]


def lyapunov_penalty(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    k: int,
    target: float | Array = 0.0,
    mask: Array | None = None,
    resets: Array | None = None,
    warmup: int = 0,
    window: int | None = None,
    qr_every: int | None = None,
    key: Key | None = None,
) -> Array:
    """Returns the mean square distance of the leading Lyapunov exponents from a target.

    ``mean_i (l_i - target)^2`` over the k largest exponents and the batch (gradient flossing): with
    target 0 it holds gradients from vanishing and from exploding in k directions.

    In a chaotic network (``l_1 > 0``) the derivative of the trajectory grows as ``exp(l_1 T)``, and
    that of the penalty with it. Two remedies: a `window` of some ``3 / l_1`` steps lets derivatives
    pass through that many steps at most; ``window=1`` holds the trajectory fixed altogether, so
    that only the explicit dependence of each step's Jacobian on the parameters counts. The value is
    the same with any window; only its derivative is approximate.

    Args:
      cell: any cell.
      params: its parameters; the penalty is differentiable in them.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      k: number of exponents.
      target: nats per step, a number or ``(k,)``.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None; a direction that dies at one makes the penalty infinite.
      warmup: steps at the beginning that are not counted.
      window: derivatives reach at most this many steps back; all if not given.
      qr_every: steps between orthonormalisations; chosen if not given.
      key: for the first directions; ``jax.random.key(0)`` if not given. A new one at each training
        step averages over directions.

    Returns:
      A scalar, in (nats per step)^2.

    Raises:
      TypeError: as `lyapunov_spectrum`.
      ValueError: as `lyapunov_spectrum`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((30, 2))
      >>> slope = jax.grad(lambda p: lyapunov_penalty(cell, p, xs, k=2))(params)
      >>> slope.w_hh.shape
      (8, 8)

    Reference:
      R. Engelken, "Gradient flossing: improving gradient descent through dynamic control of
      Jacobians", 2023, equation 6.
    """
    k = check_size("k", k, by="lyapunov_penalty")
    if jnp.shape(target) not in ((), (k,)):
        msg = (
            f"lyapunov_penalty: got target of shape {jnp.shape(target)}; expected a number or "
            f"({k},), one for each of the {k} exponents"
        )
        raise ValueError(msg)
    spectrum = lyapunov_spectrum(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        k=k,
        warmup=warmup,
        window=window,
        qr_every=qr_every,
        key=key,
    )
    return jnp.mean((spectrum.exponents - target) ** 2)


def jacobian_penalty(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    key: Key,
    num_probes: int = 1,
    target: float = 1.0,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Array:
    """Returns how far single steps are from keeping the norm of a gradient.

    ``mean_t (|| u A_t || / || u || - target)^2`` for random directions u, over time and batch. The
    trajectory is held fixed, so that no derivative passes through more than one step and the
    penalty is safe in a chaotic network too.

    Args:
      cell: any cell.
      params: its parameters; the penalty is differentiable in them.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      key: for the directions, the same in every sequence; use a new one at each training step.
      num_probes: number of directions at each step.
      target: the factor that one step should have.
      mask: bool ``(T, *batch)`` or None; masked steps count as the identity.
      resets: bool ``(T, *batch)`` or None; a step that resets counts as 0.

    Returns:
      A scalar.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`, or `num_probes` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((30, 2))
      >>> penalty = jacobian_penalty(cell, params, xs, key=jax.random.key(1))
      >>> penalty.shape, bool(penalty < 1)
      ((), True)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equations 9 and 10 (there u is the loss's gradient).
    """
    check_size("num_probes", num_probes, by="jacobian_penalty")
    return _jacobian_penalty(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        key=key,
        num_probes=num_probes,
        target=target,
    )


@compiled_per_cell("num_probes")
def _jacobian_penalty(cell, params, xs, state, *, mask, resets, key, num_probes, target):
    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by="jacobian_penalty")
        flow = flow._replace(states=jax.lax.stop_gradient(flow.states))
        num_steps, size = flow.states.shape
        rows = jax.random.normal(key, (num_steps, num_probes, size), flow.states.dtype)
        rows = rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)
        pulled = jax.vmap(flow.pull)(jnp.arange(num_steps), rows)
        square = jnp.sum(pulled**2, axis=-1)
        # The slope of a root is infinite at zero, where a reset leaves nothing to differentiate.
        zero = square == 0
        norms = jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))
        return jnp.mean((norms - target) ** 2)

    penalties = over_batch(
        one, cell, params, xs, state, mask, resets, out_axes=0, by="jacobian_penalty"
    )
    return jnp.mean(penalties)
