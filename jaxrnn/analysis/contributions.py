"""From how far back the gradient of the parameters comes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.accurate import accurate
from jaxrnn.analysis.adjoint import join_floats, output_gradient, scan_adjoint, split_floats
from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.lags import read_max_lag
from jaxrnn.analysis.scaled import Scaled, log_scale, rescale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.trees import global_norm, largest
from jaxrnn.core.types import Array, Input, Output, Params, State
from jaxrnn.unrolls.scan import read_recurrence
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["ParameterGradientByLag", "parameter_gradient_by_lag"]

_BY = "parameter_gradient_by_lag"
_FAR = 4096  # powers of two below which a number adds nothing to another, in any dtype


class ParameterGradientByLag(NamedTuple):
    """The parts of ``g = dL / d params`` by the lag over which they flow.

    Attributes:
      lags: ``(M + 1,)``, 0 to M: steps from the use of a parameter to the output that it changes.
      log_norms: ``(M + 1,)``, log of the Euclidean norm of each part in nats; ``-inf`` for zeros.
      cosine: ``(M + 1,)``, of the angle between each part and g; NaN where one of them is zero.
      share: ``(M + 1,)``, ``<g_lag, g> / <g, g>``; over all lags they add up to 1. One is negative
        where a part points against the whole.
      cumulative_share: ``(M + 1,)``, the sum of the shares up to each lag.
      log_norm: scalar, that of g, in nats.
    """

    lags: Array
    log_norms: Array
    cosine: Array
    share: Array
    cumulative_share: Array
    log_norm: Array

    def horizon(self, fraction: float = 0.9) -> Array:
        """Returns n such that the last n steps bring `fraction` of the gradient.

        Args:
          fraction: between 0 and 1.

        Returns:
          Integer scalar: the smallest n for which the shares of the lags 0 to n - 1, and of any
          longer range measured, add up to `fraction` or more; ``M + 2`` if the lags measured do
          not reach it, or the gradient is zero; 0 if it is NaN.

        Raises:
          ValueError: `fraction` is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            msg = f"horizon: got fraction={fraction}; expected a number between 0 and 1, as 0.9"
            raise ValueError(msg)
        reached = self.cumulative_share >= fraction
        beyond = jnp.flip(jnp.cumprod(jnp.flip(reached, -1), axis=-1), -1)
        count = self.cumulative_share.shape[-1]
        n = count - jnp.sum(beyond, axis=-1) + 1
        n = jnp.where(n > count, count + 1, n)
        return jnp.where(jnp.isnan(self.log_norm), 0, n)


def parameter_gradient_by_lag(
    loss_fn: Callable[[Output], Array],
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    max_lag: int | None = None,
) -> ParameterGradientByLag:
    """Splits the gradient of the parameters by how far back it flows.

    ::

        g_lag = sum over t of  (dL / d y_t) (d y_t / d params at step t - lag)
        dL / d params = g = sum over lags of g_lag

    Lag 0 is the step that makes the output. Each step counts as if it had parameters of its own;
    what they are made into once for all steps, and the input's share, belong to the steps that use
    them, and so does an initial state that is a parameter: to the step that starts from it. A loss
    that is any function of all outputs is covered, ``dL / d y_t`` being its derivative where it is.

    All outputs' gradients are pulled back together, one step more for every lag: that is the work
    of M plain backward passes over T steps, without their sequential part. In memory it takes the
    activations of one pass and a few copies of the parameters, whatever T and M: no copy a step, no
    copy a lag. Every sequence and time carries its own power of two, so that no part is lost or
    overflows.

    Args:
      loss_fn: ``ys -> scalar``, ys ``(T, *batch, ...)`` as `jaxrnn.unroll` returns; a readout and
        the targets go in by closure.
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``. The gradient is that of the whole batch; `jax.vmap` over
        sequences splits it.
      state: the state to start from; ``cell.initial_state`` if not given. One that is given is no
        parameter.
      mask: bool ``(T, *batch)`` or None; a masked step counts as a lag over which nothing changes.
      resets: bool ``(T, *batch)`` or None; no gradient passes a reset.
      max_lag: M, the largest lag; T - 1, which is all, if not given. Shares are of the whole
        gradient in either case.

    Returns:
      Lags, log norms, cosines and shares.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`; `loss_fn` does not return a scalar; `max_lag` not in
        ``[0, T - 1]``; the parameters hold no floats.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (30, 4, 3))
      >>> parts = parameter_gradient_by_lag(
      ...     lambda ys: jnp.sum(ys[-1] ** 2), cell, cell.init(jax.random.key(0)), xs)
      >>> bool(abs(parts.cumulative_share[-1] - 1) < 1e-5), bool(parts.horizon(0.9) < 15)
      (True, True)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equations 3 to 5: the temporal contributions, here summed over the end times of a lag.
    """
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    max_lag = read_max_lag(max_lag, 0, num_steps - 1, by=_BY)
    if not jax.tree.leaves(split_floats(params)[0]):
        msg = f"{_BY}: got parameters without floats; expected some: nothing else has a gradient"
        raise ValueError(msg)
    d_ys = output_gradient(loss_fn, cell, params, xs, state, mask=mask, resets=resets, by=_BY)
    return _by_lag(
        cell, params, xs, state, mask=mask, resets=resets, d_ys=d_ys, num_lags=max_lag + 1
    )


@compiled_per_cell("num_lags")
def _by_lag(cell, params, xs, state, *, mask, resets, d_ys, num_lags):
    def adjoint(xs, state, mask, resets, d_ys):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY)
        return scan_adjoint(flow, d_ys, lambda gradient: gradient)

    total = over_batch(adjoint, cell, params, xs, state, mask, resets, d_ys, out_axes=1, by=_BY)
    with jax.default_matmul_precision("highest"):
        return _measure(cell, params, xs, state, mask, resets, d_ys, total, num_lags)


def _measure(cell, params, xs, state, mask, resets, d_ys, total, num_lags):
    steps, pull = _untied(cell, params, xs, state, mask, resets)

    # The whole gradient: what each step adds, from the gradient of the state that it makes.
    later = _shift(total)
    top = jnp.maximum(jnp.max(later.exponent), 0)
    whole, _ = pull((_at(later, top), jax.tree.map(lambda leaf: _ldexp(leaf, -top), d_ys)))
    whole, whole_top = _rescale_tree(whole, top)
    whole_norm = global_norm(whole)

    def compare(part, exponent):
        part, exponent = _rescale_tree(part, exponent)
        norm = global_norm(part)
        pairs = zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True)
        dot = sum(jnp.vdot(a, b).real for a, b in pairs)
        share = jnp.ldexp(dot / whole_norm**2, jnp.clip(exponent - whole_top, -_FAR, _FAR))
        return log_scale(exponent, norm), dot / (norm * whole_norm), share

    def further(reach, lag):
        # The outputs' gradients enter at lag 0; from there on their pull on the states moves back.
        outputs = jax.tree.map(lambda leaf: jnp.where(lag == 0, leaf, 0), d_ys)
        top = jnp.max(reach.exponent)
        # Apart, because a sum over times and sequences needs one power of two for all of them.
        part, _ = pull((_at(reach, top), outputs))
        _, states = pull((reach.values, outputs))
        return _shift(_rescale_each(states, reach.exponent)), compare(part, top)

    lags = jnp.arange(num_lags)
    start = Scaled(jnp.zeros_like(steps), jnp.zeros_like(total.exponent))
    _, (log_norms, cosine, share) = jax.lax.scan(further, start, lags)
    log_norm = log_scale(whole_top, whole_norm)
    return ParameterGradientByLag(lags, log_norms, cosine, share, jnp.cumsum(share), log_norm)


def _untied(cell, params, xs, state, mask, resets):
    """Runs the cell, and pulls back through all its steps at once, each cut from the others.

    Returns:
      The states after each step, ``(T, *batch, D)``, and the function from cotangents of these and
      of the outputs' floats to cotangents of the parameters' floats, summed over steps and batch,
      and of the states before each step, ``(T, *batch, D)``.
    """

    def read(params):
        return read_recurrence(cell, params, xs, state, mask=mask, resets=resets, by=_BY)

    run = read(params)
    _, states = jax.lax.scan(lambda s, z: (run.advance(s, z)[0], s), run.state, run.inputs)
    states, others = split_floats(states)
    num_lead = 1 + len(read_sequence(cell, xs, mask, resets, by=_BY).batch_shape(cell))
    flat = _flatten(states, num_lead)
    floats, fixed = split_floats(params)
    # Under `shard_map` a device measures its own sequences: its parameters have to vary as they do.
    zero = jnp.sum(jnp.zeros_like(flat))
    floats = jax.tree.map(lambda leaf: leaf + zero.astype(leaf.dtype), floats)

    def all_steps(floats, flat):
        run = read(join_floats(floats, fixed))
        before = join_floats(_unflatten(flat, states), others)
        if state is None:
            # The initial state belongs to the first step, as that of a reset to its step.
            before = jax.tree.map(lambda leaf, one: leaf.at[0].set(one), before, run.state)
        after, ys = jax.vmap(run.advance)(before, run.inputs)
        return _flatten(split_floats(after)[0], num_lead), split_floats(ys)[0]

    (after, _), pull = jax.vjp(accurate(all_steps), floats, flat)
    return after, pull


def _flatten(states: State, num_lead: int) -> Array:
    """Joins leaves ``(*lead, ...)`` to ``(*lead, D)``, in the order of `Flow`'s flat state."""
    rows = []
    for leaf in jax.tree.leaves(states):
        row = leaf.reshape(*leaf.shape[:num_lead], -1)
        rows += [row.real, row.imag] if jnp.iscomplexobj(row) else [row]
    return jnp.concatenate(rows, axis=-1)


def _unflatten(flat: Array, like: State) -> State:
    leaves, tree = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        size = math.prod(leaf.shape[flat.ndim - 1 :])
        count = 2 if jnp.iscomplexobj(leaf) else 1
        rows = [flat[..., start + k * size : start + (k + 1) * size] for k in range(count)]
        whole = jax.lax.complex(*rows) if count == 2 else rows[0]
        parts.append(whole.reshape(leaf.shape).astype(leaf.dtype))
        start += count * size
    return jax.tree.unflatten(tree, parts)


def _shift(one: Scaled) -> Scaled:
    """Moves every row a step back in time; nothing comes from beyond the end."""
    none = scaled(jnp.zeros(1, one.values.dtype)).exponent
    return Scaled(
        jnp.concatenate([one.values[1:], jnp.zeros_like(one.values[:1])]),
        jnp.concatenate([one.exponent[1:], jnp.full_like(one.exponent[:1], none)]),
    )


def _at(one: Scaled, top: Array) -> Array:
    """Returns the values over ``2**top``, with `top` no less than any exponent."""
    return jnp.ldexp(one.values, jnp.maximum(one.exponent - top, -_FAR)[..., None])


def _rescale_each(values: Array, exponent: Array) -> Scaled:
    """Rescales every row of ``(*lead, D)``."""
    function = rescale
    for _ in exponent.shape:
        function = jax.vmap(function)
    return function(values, exponent)


def _ldexp(leaf: Array, shift: Array) -> Array:
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return jax.lax.complex(jnp.ldexp(leaf.real, shift), jnp.ldexp(leaf.imag, shift))
    return jnp.ldexp(leaf, shift)


def _rescale_tree(tree: Params, exponent: Array) -> tuple[Params, Array]:
    """Does to a tree what `rescale` does to an array."""
    top = largest(jnp.stack([largest(leaf) for leaf in jax.tree.leaves(tree)]))
    moved = rescale(top, exponent)
    shift = jnp.where(top == 0, 0, moved.exponent - exponent)
    return jax.tree.map(lambda leaf: _ldexp(leaf, -shift), tree), moved.exponent
