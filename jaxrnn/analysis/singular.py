"""Exact finite-time singular values of long products of Jacobians."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count, check_range, refuse_non_finite
from jaxrnn.analysis.automatic import on_automatic_axes
from jaxrnn.analysis.flow import Flow, over_batch, read_flow, trim
from jaxrnn.analysis.frames import (
    Frame,
    advance_frame,
    householder_qr,
    images_of,
    random_frame,
    reached,
    scaled_images,
)
from jaxrnn.analysis.graded import Graded, graded_identity, graded_svd, multiply
from jaxrnn.analysis.growth import batch_interval
from jaxrnn.analysis.parallel import scanned_product, udt_product
from jaxrnn.analysis.scaled import log_scale
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["SingularSpectrum", "singular_spectrum", "sweep_spectrum"]

_BY = "singular_spectrum"
_METHODS = ("sweeps", "parallel", "dense")
# Directions tracked besides those asked for: the gap to the first one not tracked sets how fast
# sweeps converge.
_OVERSAMPLING = 4
# Above this error, in nats, a value is not called reliable.
_TOLERANCE = 0.1


class SingularSpectrum(NamedTuple):
    """Singular values and vectors of ``J = d s_stop / d s_start``, the largest first.

    Attributes:
      log_singular_values: ``(*batch, k)`` in nats; ``-inf`` where a direction dies exactly.
      left: ``(*batch, D, k)``, orthonormal columns in the space of ``s_stop``: where gradients at
        the end of the product must point to reach its start.
      right: ``(*batch, D, k)``, orthonormal columns in the space of ``s_start``.
      error_bound: ``(*batch, k)`` in nats, an estimate from above: what the last sweep still
        changed, extrapolated by the gap to the last direction tracked, and the rounding of all
        steps. 0 where sweeps prove that a direction dies, infinite where the other methods cannot
        tell a zero from a number below their range.
      reliable: ``(*batch, k)`` bool, whether that bound is below 0.1 nats.
    """

    log_singular_values: Array
    left: Array
    right: Array
    error_bound: Array
    reliable: Array


class _Swept(NamedTuple):
    """One sweep: the image of a frame is ``frame.rows.T @ product`` of it."""

    frame: Frame
    product: Graded
    rounding: Array


def _step_ranks(flow: Flow, indices: Array, key: Key) -> Array:
    """Bounds the rank of each step by the number of its rows and columns that are not zero."""
    like = flow.states[0]
    probe = jax.random.normal(key, (1, *like.shape), like.dtype) + jnp.zeros_like(like)

    def one(index):
        rows = jnp.sum(flow.push(index, probe) != 0)
        return jnp.minimum(rows, jnp.sum(flow.pull(index, probe) != 0)).astype(jnp.int32)

    return jax.lax.map(one, indices)


def _sweep(flow: Flow, frame: Frame, steps, interval: Array, *, forward: bool) -> _Swept:
    """Takes a frame through all steps, forwards by A or backwards by A^T.

    Args:
      flow: the linearised sequence.
      frame: the frame to start with.
      steps: indices and ranks of the steps, ``(length,)`` each, in order of time.
      interval: steps between orthonormalisations.
      forward: which way.
    """
    move = flow.push if forward else flow.pull
    length, size = len(steps[0]), jnp.int32(flow.states.shape[1])
    count = frame.rows.shape[0]

    def orthonormalise(swept, images, rank):
        frame, step = advance_frame(swept.frame, images, rank)
        product, rounding = multiply(step, swept.product), swept.rounding[step.order] + step.loss
        return _Swept(frame, product, rounding), images_of(frame), jnp.full_like(rank, size)

    def body(carry, now):
        (swept, images, rank), (number, index, most) = carry, now
        images = scaled_images(move(index, images.rows), images.exponents)
        rank = jnp.minimum(rank, jnp.minimum(most, reached(swept.frame, images.rows)))
        ends = ((number + 1) % interval == 0) | (number + 1 == length)
        carry = swept, images, rank
        return jax.lax.cond(ends, orthonormalise, lambda *carry: carry, *carry), None

    zeros = jnp.zeros_like(frame.rows[:, 0])
    start = _Swept(frame, graded_identity(count, flow.states[0]), zeros)
    rank = size + 0 * jnp.sum(frame.rows == 0, dtype=jnp.int32)
    numbers = jnp.arange(length) if forward else jnp.arange(length)[::-1]
    carry = (start, images_of(frame), rank)
    return jax.lax.scan(body, carry, (numbers, *steps), reverse=not forward)[0][0]


def _decompose(swept: _Swept) -> tuple[Array, Array, Array]:
    """Returns the SVD of a sweep's product, without couplings that rounding has overrun."""
    product = swept.product
    limit = -0.75 * math.log(jnp.finfo(product.rows.dtype).eps)
    off = ~jnp.eye(len(product.rows), dtype=bool)
    rows = jnp.where(off & (product.reversal > limit), 0, product.rows)
    return graded_svd(product.log_sizes + product.low, rows)


def sweep_spectrum(
    flow: Flow,
    start: Array | int,
    length: int,
    k: int,
    key: Key,
    interval: Array | int,
    sweeps: int = 2,
) -> SingularSpectrum:
    """Computes the spectrum of `length` steps from `start` by alternating sweeps.

    Args:
      flow: the linearised sequence.
      start: the first step.
      length: number of steps.
      k: number of singular values.
      key: for the first frame.
      interval: steps between orthonormalisations.
      sweeps: number of pairs of a forward and a backward sweep.

    Returns:
      The spectrum of one sequence.
    """
    size = flow.states.shape[1]
    tracked = min(size, k + _OVERSAMPLING)
    frame_key, probe_key = jax.random.split(key)
    indices = jnp.arange(length) + start
    steps = (indices, _step_ranks(flow, indices, probe_key))
    like = flow.states[0]

    def revive(swept):  # what died in this sweep may live in none, but its place is needed
        return Frame(swept.frame.rows, jnp.ones_like(swept.frame.alive))

    def pair(frame, _):
        there = _sweep(flow, frame, steps, interval, forward=True)
        last = revive(there)
        back = _sweep(flow, last, steps, interval, forward=False)
        return revive(back), (there, last, back)

    frame = random_frame(frame_key, tracked, like)
    _, kept = jax.lax.scan(pair, frame, None, length=sweeps)
    there, last, back = jax.tree.map(lambda leaf: leaf[-1], kept)
    previous, _, _ = _decompose(there)
    log_values, v, w = _decompose(back)
    eps = jnp.finfo(like.dtype).eps
    change = jnp.where(log_values == previous, 0, jnp.abs(log_values - previous))
    ratio = 0.0
    if tracked < size:  # else nothing is left out, and only rounding remains
        gap = jnp.where(jnp.isneginf(log_values), 0, log_values - log_values[-1])
        ratio = jnp.exp(-2 * jnp.where(jnp.isnan(gap), 0, gap))
    # Four times, since the rounding errors of two sweeps may happen to agree.
    bound = 4 * change / (1 - ratio) + 32 * eps * (1 + jax.lax.cummax(back.rounding))
    # What the ranks of the steps prove is certain; another -inf is a number below the range.
    dead = jnp.arange(tracked) >= jnp.sum(back.frame.alive)
    bound = jnp.where(jnp.isneginf(log_values), jnp.where(dead, 0, jnp.inf), bound)[:k]
    left = (w @ last.rows).T[:, :k]
    right = (v @ back.frame.rows).T[:, :k]
    return SingularSpectrum(log_values[:k], left, right, bound, bound < _TOLERANCE)


def _from_svd(length: int, u, log_values, v_rows, relative, k) -> SingularSpectrum:
    bound = jnp.where(jnp.isneginf(log_values), jnp.inf, relative)
    if length == 0:
        bound = jnp.zeros_like(bound)
    return SingularSpectrum(
        log_values[:k], u[:, :k], v_rows[:k].T, bound[:k], bound[:k] < _TOLERANCE
    )


def _dense_spectrum(flow: Flow, start: int, length: int, k: int) -> SingularSpectrum:
    product = scanned_product(flow, start, length)
    u, values, v_rows = jnp.linalg.svd(product.values)
    eps = jnp.finfo(values.dtype).eps
    relative = eps * (values.shape[0] + length) * values[0] / jnp.where(values == 0, 1, values)
    return _from_svd(length, u, log_scale(product.exponent, values), v_rows, relative, k)


def _parallel_spectrum(flow: Flow, start: int, length: int, k: int) -> SingularSpectrum:
    if length == 0:
        return _dense_spectrum(flow, start, length, k)
    u, log_sizes, rows, loss = udt_product(flow, start, length)
    log_values, left, right = graded_svd(log_sizes, rows)
    right = householder_qr(right.T)[0].T  # completes the basis where rows were zero
    precision = jnp.finfo(rows.dtype)
    # No second sweep tells what rounding did: the factor is what random products need.
    relative = 128 * precision.eps * (rows.shape[0] + jax.lax.cummax(loss))
    # Below the dtype's range sizes are lost in the products of blocks.
    lowest = log_values[0] + math.log(precision.tiny)
    relative = jnp.where(log_values < lowest, jnp.inf, relative)
    return _from_svd(length, u @ left.T, log_values, right, relative, k)


@compiled_per_cell("k", "sweeps", "start", "stop", "method")
def _spectrum(
    cell, params, xs, state, *, mask, resets, k, sweeps, start, stop, method, key
) -> tuple[SingularSpectrum, Array]:
    def measure(params, xs, state, mask, resets, key):
        interval = 1
        if method == "sweeps":
            pilot_key, key = jax.random.split(key)
            free = jax.lax.stop_gradient((params, xs, state))
            limits = {"first": start, "stop": max(stop, start + 1), "by": _BY}
            interval = batch_interval(cell, *free, mask, resets, k, pilot_key, **limits)

        def one(xs, state, mask, resets):
            sequence = trim((xs, mask, resets), 0, max(stop, 1))
            flow = read_flow(
                cell, params, sequence[0], state, *sequence[1:], by=_BY, floats_only=True
            )
            count = check_count(k, flow.states.shape[1], by=_BY)
            if method == "sweeps":
                result = sweep_spectrum(flow, start, stop - start, count, key, interval, sweeps)
            elif method == "dense":
                result = _dense_spectrum(flow, start, stop - start, count)
            else:
                result = _parallel_spectrum(flow, start, stop - start, count)
            return result, flow.first_bad()

        return over_batch(one, cell, params, xs, state, mask, resets, out_axes=0, by=_BY)

    return on_automatic_axes(measure, 0, cell, params, xs, state, mask, resets, key)


def singular_spectrum(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    k: int | None = None,
    sweeps: int = 2,
    start: int = 0,
    stop: int | None = None,
    method: str = "sweeps",
    key: Key | None = None,
) -> SingularSpectrum:
    """Computes the singular values of ``J = d s_stop / d s_start`` exactly, over any range.

    ``J = A_stop ... A_{start+1}``. A frame of directions is pushed forwards through the steps and
    made orthonormal at each, then pulled backwards from where it arrived, and so on. The triangular
    factors of the last sweep make a k x k matrix with graded rows, whose singular values come from
    Jacobi rotations with the rows' sizes kept as logarithms: hundreds of nats between the largest
    and the smallest are no problem, in float32 either. No Jacobian is formed. What one forward
    sweep alone gives (the usual "QR exponents" times T) is off by one to three nats, at any T.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step's Jacobian is the identity.
      resets: bool ``(T, *batch)`` or None; across a reset every direction dies.
      k: how many, from the largest; all D if not given.
      sweeps: pairs of a forward and a backward sweep. With all D one pair is exact to rounding;
        with fewer each pair divides the error by ``(s_i / s_{k+5})^4``.
      start: the step after which the product begins.
      stop: the step after which it ends; T if not given.
      method: "sweeps"; "parallel", logarithmic depth in time by composing (U, log d, T) triples,
        with T D^2 memory and a range that ends with the dtype's exponents (87 nats in float32, 700
        in float64); or "dense", one matrix and LAPACK's SVD, for short products: what lies below
        the dtype's precision times the largest is noise there, and marked unreliable. Only "dense"
        has derivatives.
      key: for the directions to start with; ``jax.random.key(0)`` if not given.

    Returns:
      Log singular values, vectors, and an error bound for each.

    Raises:
      NotImplementedError: a derivative is taken with a method other than "dense".
      TypeError: as `jaxrnn.unroll`; a part of the state is not a real floating array.
      ValueError: as `jaxrnn.unroll`; `k` or `sweeps` out of range; not ``start <= stop <= T``;
        outside `jax.jit`, a state is not finite (the first such step is named). Inside, the values
        are NaN and not reliable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> cell = gru(2, 4)
      >>> xs = jax.random.normal(jax.random.key(1), (300, 2))
      >>> spectrum = singular_spectrum(cell, cell.init(jax.random.key(0)), xs)
      >>> spectrum.log_singular_values.shape, spectrum.left.shape, bool(spectrum.reliable.all())
      ((4,), (4, 4), True)

    Reference:
      G. Golub, K. Solna, P. Van Dooren, "Computing the SVD of a general matrix product/quotient",
      2000; F. Christiansen, H. Rugh, "Computing Lyapunov spectra with continuous Gram-Schmidt
      orthonormalization", 1997 (QR exponents); E. Loh et al., "Stable matrix-multiplication
      algorithms for low-temperature numerical simulations of fermions", 1989 (the triples).
    """
    if method not in _METHODS:
        raise unknown_name("method", method, _METHODS)
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    start, stop = check_range(start, stop, num_steps, by=_BY)
    result, bad = _spectrum(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        k=k,
        sweeps=check_size("sweeps", sweeps, by=_BY),
        start=start,
        stop=stop,
        method=method,
        key=jax.random.key(0) if key is None else key,
    )
    refuse_non_finite(bad, by=_BY)
    return result
