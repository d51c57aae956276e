"""Why gates help: the paths that a step's Jacobian is made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.scaled import Scaled, add, log_scale, rescale, scaled
from jaxrnn.core.cell import Cell, from_structure, require
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Gated, Separable
from jaxrnn.core.types import Array, Input, Params, State

__all__ = ["GateAnatomy", "gate_anatomy"]

_BY = "gate_anatomy"


class GateAnatomy(NamedTuple):
    """The two paths of every step, ``A_t = C_t + R_t``, and what remains of each over many.

    Norms are Frobenius norms, their logarithms in nats, ``-inf`` where something is exactly zero.

    Attributes:
      carry: ``(T, *batch, D)``, the diagonal of ``C_t``: the factor by which each unit hands itself
        on. f for the c of `jaxrnn.lstm` (0 for its h), z for `jaxrnn.gru`, 0 for `jaxrnn.elman`.
      time_constants: ``(T, *batch, D)``, ``-1 / log |carry|`` in steps: 0 where nothing is carried,
        infinite where all is, negative where the carry grows.
      unit_time_constants: ``(*batch, D)``, the same of the geometric mean over the real steps that
        do not reset; NaN if there is none.
      log_norms: ``(T, *batch)``, of ``A_t``.
      carry_log_norms: ``(T, *batch)``, of ``C_t``, the carry path.
      product_log_norms: ``(T, *batch)``, of ``R_t``, the path through the recurrent product.
      block_log_norms: ``(T, *batch, G)``, of the parts of ``R_t`` that pass through each block of H
        columns of the recurrent matrix, in its order: i, f, g, o for `jaxrnn.lstm`, r, z, n for
        `jaxrnn.gru`. G = 1 if its columns are no multiple of its rows H.
      carry_share: ``(T, *batch)``, ``<C_t, A_t> / <A_t, A_t>``; the rest to 1 is that of ``R_t``.
        NaN where ``A_t`` is zero.
      lags: ``(T,)``, 1 to T steps.
      decay: ``(T, *batch)`` by lag, of ``d s_T / d s_{T-lag}``, as `gradient_decay` has it.
      carry_decay: ``(T, *batch)`` by lag, of ``C_T ... C_{T-lag+1}``: through the carry alone.
      product_decay: ``(T, *batch)`` by lag, of the rest: all that passes through the recurrent
        product in one step at least.
      log_carried: ``(T, *batch, D)`` by lag, log magnitude of the diagonal of
        ``C_T ... C_{T-lag+1}``: what each unit keeps of itself through the carry.
    """

    carry: Array
    time_constants: Array
    unit_time_constants: Array
    log_norms: Array
    carry_log_norms: Array
    product_log_norms: Array
    block_log_norms: Array
    carry_share: Array
    lags: Array
    decay: Array
    carry_decay: Array
    product_decay: Array
    log_carried: Array


def _opened(cell: Cell, parts: Gated) -> Cell:
    """Makes the cell whose recurrent product can be seen and changed from outside.

    Its input is a pair ``(x, delta)``; delta is added to the recurrent product r, which itself
    passes no derivative on. Its output is r.
    """

    def project(params, pair):
        x, delta = pair
        return parts.project(params, x), delta

    def recur(prepared, state, z):
        z, delta = z
        weights, vectors = prepared
        r = parts.hidden(state) @ weights
        a = parts.mix(z, jax.lax.stop_gradient(r) + delta)
        return parts.pointwise(vectors, state, a)[0], r

    structure = Separable(project, recur, prepare=parts.prepare)
    return from_structure(cell.init, cell.initial_state, structure, input_ndim=cell.input_ndim)


def _log_norm(matrix: Array, exponent: Array | int = 0) -> Array:
    matrix = rescale(matrix, jnp.int32(exponent))
    return log_scale(matrix.exponent, jnp.linalg.norm(matrix.values))


def _times(product: Scaled, matrix: Array) -> Scaled:
    return rescale(product.values @ matrix, product.exponent)


def _log(values: Array) -> Array:
    return log_scale(jnp.zeros((), jnp.int32), jnp.abs(values))


def _time_constant(log_carry: Array) -> Array:
    # Minus one over zero would be minus infinity.
    return jnp.where(log_carry == 0, jnp.inf, -1 / log_carry)


def _share(part: Array, whole: Array) -> Array:
    top = scaled(whole).exponent
    part, whole = jnp.ldexp(part, -top), jnp.ldexp(whole, -top)
    return jnp.sum(part * whole) / jnp.sum(whole * whole)


@compiled_per_cell()
def gate_anatomy(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
) -> GateAnatomy:
    """Splits the growth of gradients into the carry path and the path through the gates.

    A `Gated` step is ``s' = pointwise(v, s, a)``, ``a = mix(z, r)``, ``r = hidden(s) @ W``, so the
    state reaches the new state in two ways::

        A_t = d s' / d s = C_t + R_t
        C_t = d pointwise / d s               a held: the state itself, let through by the gates
        R_t = d pointwise / d a  d a / d s    through the recurrent product: gates and candidate

    For an LSTM ``C_t`` is ``diag(f_t)`` on the memory cell c (and ``diag(o_t tanh'(c_t) f_t)`` from
    c to h), for a GRU ``diag(z_t)``, for a plain recurrent cell zero. Gates keep gradients alive by
    ``C_t`` near the identity; growth by ``R_t`` is what a plain cell has alone.

    Step Jacobians are formed one at a time, so memory takes a few D x D matrices beside the result.

    Args:
      cell: a cell with `Gated` structure.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step carries all: C is the identity, R zero.
      resets: bool ``(T, *batch)`` or None; where a step resets both are zero.

    Returns:
      Both paths by unit, by step and by lag.

    Raises:
      TypeError: the cell is not `Gated`; as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> cell = lstm(3, 4, forget_bias=3.0)
      >>> paths = gate_anatomy(cell, cell.init(jax.random.key(0)), jnp.ones((20, 3)))
      >>> paths.carry.shape, paths.block_log_norms.shape  # h then c; i, f, g, o
      ((20, 8), (20, 4))
      >>> bool(jnp.all(paths.unit_time_constants[4:] > paths.unit_time_constants[:4]))
      True

    Reference:
      S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, section 3 (the constant error
      carousel, C = 1); F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", 2000.
    """
    parts = require(cell, Gated, by=_BY)
    opened = _opened(cell, parts)
    weights = jax.eval_shape(parts.weights, params)
    height, width = weights.shape
    blocks = width // height if width % height == 0 else 1

    def one(xs, state, mask, resets):
        num_steps = jax.tree.leaves(xs)[0].shape[0]
        delta = jnp.zeros((num_steps, width), weights.dtype)
        flow = read_flow(opened, params, (xs, delta), state, mask, resets, by=_BY)
        eye = flow.eye()

        def paths(index):
            before, rest, ((z, delta), real, reset) = flow.at(index)
            # Under `shard_map` what is differentiated has to vary over the mesh as the state does.
            delta = delta + jnp.zeros_like(before[:1], delta.dtype)

            def advance(flat, delta):
                return flow.advance(flat, rest, ((z, delta), real, reset))

            (after, r), pull = jax.vjp(advance, before, delta)
            no_r, no_state = jnp.zeros_like(r), jnp.zeros_like(after)
            carry, from_r = jax.vmap(lambda row: pull((row, no_r)))(eye)
            unit = jnp.eye(width, dtype=r.dtype) + no_r
            to_r = jax.vmap(lambda row: pull((no_state, row))[0])(unit)
            from_r = from_r.reshape(len(eye), blocks, -1)
            to_r = to_r.reshape(blocks, -1, len(eye))
            return carry, jnp.einsum("dbr,brk->bdk", from_r, to_r)

        def back(products, index):
            whole, alone, rest = products
            carry, through = paths(index)
            product = jnp.sum(through, axis=0)
            step = carry + product
            whole, rest = _times(whole, step), add(_times(rest, step), _times(alone, product))
            alone = _times(alone, carry)
            per_step = (
                jnp.diagonal(carry),
                _log_norm(step),
                _log_norm(carry),
                _log_norm(product),
                jax.vmap(_log_norm)(through),
                _share(carry, step),
            )
            by_lag = (
                *(_log_norm(one.values, one.exponent) for one in (whole, alone, rest)),
                log_scale(alone.exponent, jnp.abs(jnp.diagonal(alone.values))),
            )
            return (whole, alone, rest), (per_step, by_lag)

        start = (scaled(eye), scaled(eye), scaled(jnp.zeros_like(eye)))
        _, (per_step, by_lag) = jax.lax.scan(back, start, jnp.arange(num_steps), reverse=True)
        by_lag = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), by_lag)
        carry = per_step[0]
        log_carry = _log(carry)
        counted = jnp.ones(num_steps, bool) if mask is None else mask
        counted = counted if resets is None else counted & ~resets
        mean = jnp.sum(jnp.where(counted[:, None], log_carry, 0), 0) / jnp.sum(counted)
        constants = _time_constant(log_carry), _time_constant(mean)
        return (carry, *constants, *per_step[1:], *by_lag)

    out_axes = (1, 1, 0, *[1] * 9)
    found = over_batch(one, cell, params, xs, state, mask, resets, out_axes=out_axes, by=_BY)
    lags = jnp.arange(1, found[0].shape[0] + 1)
    return GateAnatomy(*found[:8], lags, *found[8:])
