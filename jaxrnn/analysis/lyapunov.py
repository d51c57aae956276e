"""Lyapunov exponents of a driven cell."""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.arguments import check_count, refuse_non_finite
from jaxrnn.analysis.automatic import on_automatic_axes
from jaxrnn.analysis.flow import Flow, over_batch, read_flow
from jaxrnn.analysis.frames import cholesky_qr, householder_qr
from jaxrnn.analysis.growth import Growth, batch_interval, frame_growth
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = [
    "LyapunovSpectrum",
    "check_warmup",
    "is_reliable",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
    "mean_error",
    "per_step",
]

_BY = "lyapunov_spectrum"
_QR = {"householder": householder_qr, "cholesky": cholesky_qr}
# Above this estimate of the error by rounding, in nats per step, an exponent is not reliable.
_TOLERANCE = 1e-3


class LyapunovSpectrum(NamedTuple):
    """Lyapunov exponents, the largest first, in nats per step; N steps are counted.

    Attributes:
      exponents: ``(*batch, k)``; ``-inf`` for directions that die exactly.
      stderr: ``(*batch, k)``, standard error of each as a mean over time; NaN below 16 steps.
      history: ``(N, *batch, k)``, the running estimates; growth is known at orthonormalisations
        and spread evenly over the steps between, the death of a direction too.
      kaplan_yorke_dimension: ``(*batch,)``; NaN if k directions are too few to know it.
      entropy: ``(*batch,)``, the sum of the positive exponents, nats per step: an upper bound of
        the Kolmogorov-Sinai entropy; NaN if all k are positive and there are more.
      qr_every: int32, the steps between orthonormalisations.
      reliable: ``(*batch, k)`` bool: rounding, magnified by how nearly parallel the directions had
        become, is estimated to move the exponent by less than 0.001.
    """

    exponents: Array
    stderr: Array
    history: Array
    kaplan_yorke_dimension: Array
    entropy: Array
    qr_every: Array
    reliable: Array


def mean_error(values: Array) -> Array:
    """Estimates the standard error of a mean over time.

    Batch means: the steps are cut into about sqrt(N) batches, whose means vary by the error sought;
    what correlation is left between neighbouring batches is added.

    Args:
      values: ``(N, ...)``.

    Returns:
      ``(...)``; NaN below 16 values, or where one is infinite.

    Reference:
      C. Alexopoulos, A. Seila, "Output data analysis", Handbook of Simulation, 1998.
    """
    count = len(values)
    if count < 16:
        return jnp.full(values.shape[1:], jnp.nan, values.dtype)
    batches = int(count**0.5)
    size = count // batches
    cut = values[count - batches * size :].reshape(batches, size, *values.shape[1:])
    noise = jnp.mean(cut, axis=1)
    noise = noise - jnp.mean(noise, axis=0)
    variance = jnp.sum(noise**2, axis=0) / (batches - 1)
    shared = jnp.maximum(jnp.sum(noise[1:] * noise[:-1], axis=0) / (batches - 1), 0)
    return jnp.sqrt((variance + 2 * shared) / batches)


def kaplan_yorke_dimension(exponents: Array, size: int | None = None) -> Array:
    """Returns the Kaplan-Yorke dimension: where the sum of the exponents crosses zero.

    ``j + (l_1 + ... + l_j) / |l_{j+1}|`` with j the last index at which the sum is not negative.

    Args:
      exponents: ``(*batch, k)``, decreasing, nats per step.
      size: D, the number of exponents there are; k if not given.

    Returns:
      ``(*batch,)``; 0 if the first exponent is negative; D if the sum never turns negative; NaN if
      it has not with k < D exponents.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(kaplan_yorke_dimension(jnp.array([0.9056, 0.0, -14.5723]))), 3)
      2.062

    Reference:
      J. Kaplan, J. Yorke, "Chaotic behavior of multidimensional difference equations", 1979.
    """
    k = exponents.shape[-1]
    sums = jnp.cumsum(exponents, axis=-1)
    # Not a count: after -inf a sum stays negative, before it rounding may dip below zero twice.
    kept = jnp.cumprod(sums >= 0, axis=-1)
    index = jnp.sum(kept, axis=-1)
    padded = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)
    total = jnp.take_along_axis(padded, index[..., None], axis=-1)[..., 0]
    nearest = jnp.minimum(index, k - 1)[..., None]
    following = jnp.take_along_axis(exponents, nearest, axis=-1)[..., 0]
    inside = index < k
    part = total / jnp.abs(jnp.where(inside & (following < 0), following, -1))
    end = k if size in (None, k) else jnp.nan
    dimension = jnp.where(inside, index + part, end)
    return jnp.where(jnp.any(jnp.isnan(exponents), axis=-1), jnp.nan, dimension)


def per_step(logs: Array, ends: Array) -> Array:
    """Spreads growth that was noted at some steps evenly over the steps since the one before.

    Args:
      logs: ``(N, k)``.
      ends: ``(N,)`` bool, the steps at which growth was noted; True at the last.

    Returns:
      ``(N, k)``.
    """
    count = len(logs)
    places = jnp.arange(count)
    after = jax.lax.cummin(jnp.where(ends, places, count - 1), reverse=True)
    before = jax.lax.cummax(jnp.where(ends, places + 1, 0))
    begins = jnp.concatenate([jnp.zeros_like(before[:1]), before[:-1]])
    return logs[after] / (after + 1 - begins).astype(logs.dtype)[:, None]


def is_reliable(growth: Growth, count: int) -> Array:
    """Says for each direction whether rounding moved its exponent over `count` steps by little.

    A direction is made orthogonal to those before it, so it is no better than the worst of them.
    """
    eps = jnp.finfo(growth.rounding.dtype).eps
    return eps * jax.lax.cummax(growth.rounding) / count < _TOLERANCE


def _entropy(exponents: Array, size: int) -> Array:
    """Returns the sum of the positive exponents; NaN where there may be more than those given."""
    total = jnp.sum(jnp.maximum(exponents, 0), axis=-1)
    if exponents.shape[-1] < size:
        total = jnp.where(exponents[..., -1] > 0, jnp.nan, total)
    return total


def check_warmup(warmup: int, num_steps: int, *, by: str) -> int:
    """Returns `warmup` as an integer with ``0 <= warmup < num_steps``.

    Args:
      warmup: steps not counted.
      num_steps: T.
      by: the function the user called, for the message.

    Raises:
      TypeError: it is not an integer.
      ValueError: it is negative, or leaves no step.
    """
    warmup = operator.index(warmup)
    if not 0 <= warmup < num_steps:
        msg = (
            f"{by}: got warmup={warmup} with a sequence of {num_steps} steps; expected 0 to "
            f"{num_steps - 1}: at least one step has to be counted; pass a longer sequence"
        )
        raise ValueError(msg)
    return warmup


def _chunked_growth(flow: Flow, k: int, key: Key, chunks: int, warmup: int, **options) -> Growth:
    """Returns the growth of chunks side by side, each with its own warm-up before it."""
    counted = len(flow.states) - warmup
    length = -(-counted // chunks)
    starts = [min(index * length, counted - length) for index in range(chunks)]
    firsts = [warmup + min(index * length, counted) for index in range(chunks)]

    def one(start, first, key):
        indices = start + jnp.arange(warmup + length)
        return frame_growth(flow, k, key, first=first, indices=indices, **options)

    keys = jax.random.split(key, chunks)
    parts = jax.vmap(one)(jnp.array(starts), jnp.array(firsts), keys)
    # Where the chunks do not fit, the last ones overlap: each step is counted once.
    cuts = [slice(first - start, None) for start, first in zip(starts, firsts, strict=True)]
    logs, ends = (
        [part[cut] for part, cut in zip(values, cuts, strict=True)]
        for values in (parts.logs, parts.ends)
    )
    bad = flow.first_bad()
    rounding = jnp.sum(parts.rounding, axis=0)
    return Growth(jnp.concatenate(logs), jnp.concatenate(ends), rounding, bad)


def _summary(growth: Growth, size: int, first: int, qr_every: Array) -> LyapunovSpectrum:
    logs = per_step(growth.logs[first:], growth.ends[first:])
    count = len(logs)
    # Sums of what is left of a first estimate: in float32 long ones would lose digits.
    middle = jnp.mean(logs, axis=0)
    middle = jnp.where(jnp.isfinite(middle), middle, 0)
    steps = jnp.arange(1, count + 1, dtype=logs.dtype)[:, None]
    history = middle + jnp.cumsum(logs - middle, axis=0) / steps
    exponents = middle + jnp.mean(logs - middle, axis=0)
    order = jnp.argsort(-exponents)
    exponents = exponents[order]
    # A direction is orthogonal to those before it: what is wrong in them is wrong in it.
    stderr = mean_error(logs)[order]
    return LyapunovSpectrum(
        exponents,
        jnp.where(jnp.isfinite(exponents), stderr, jnp.nan),
        history[:, order],
        kaplan_yorke_dimension(exponents, size),
        _entropy(exponents, size),
        qr_every,
        is_reliable(growth, count)[order] & ~jnp.isnan(exponents),
    )


_BATCH_AXES = (LyapunovSpectrum(0, 0, 1, 0, 0, None, 0), 0)


@compiled_per_cell("k", "qr_every", "warmup", "num_chunks", "window", "qr")
def _spectrum(
    cell, params, xs, state, *, mask, resets, k, qr_every, warmup, key, num_chunks, window, qr
):
    def measure(params, xs, state, mask, resets, key):
        pilot_key, key = jax.random.split(key)
        sequence = xs, state, mask, resets
        if qr_every is None:
            free = jax.lax.stop_gradient((params, *sequence[:2]))
            limits = {"first": 0, "stop": len(jax.tree.leaves(xs)[0]), "by": _BY}
            interval = batch_interval(cell, *free, mask, resets, k, pilot_key, **limits)
        else:
            interval = jnp.int32(qr_every)

        def run(qr):
            def one(*sequence):
                flow = read_flow(cell, params, *sequence, by=_BY, floats_only=True)
                size = flow.start.shape[0]
                count = check_count(k, size, by=_BY)
                options = {"qr_every": interval, "window": window, "qr": qr}
                if num_chunks == 1:
                    growth = frame_growth(flow, count, key, first=warmup, **options)
                    first = warmup
                else:
                    growth = _chunked_growth(flow, count, key, num_chunks, warmup, **options)
                    first = 0
                return _summary(growth, size, first, interval), growth.first_bad

            return over_batch(one, cell, params, *sequence, out_axes=_BATCH_AXES, by=_BY)

        result, bad = run(_QR[qr])
        if qr == "cholesky":
            lost = jnp.any(jnp.isnan(result.exponents))
            return jax.lax.cond(lost, lambda: run(householder_qr), lambda: (result, bad))
        return result, bad

    arrays = params, xs, state, mask, resets, key
    return on_automatic_axes(measure, _BATCH_AXES, cell, *arrays)


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    k: int | None = None,
    qr_every: int | None = None,
    warmup: int = 0,
    key: Key | None = None,
    num_chunks: int = 1,
    window: int | None = None,
    qr: str = "householder",
) -> LyapunovSpectrum:
    """Estimates the Lyapunov exponents of a cell driven by its inputs.

    ``l_i = lim (1/T) log s_i(A_T ... A_1)``: the mean growth per step of the i-th of k orthonormal
    directions that are pushed through the steps (forward mode) and made orthonormal again every few
    steps. They are properties of long sequences; the exact singular values of a finite product are
    another thing, see `singular_spectrum`. Differentiable in the parameters, as a regularizer needs
    it, unless directions die or become equal.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None. A masked step's Jacobian is the identity and counts as a
        step without growth: measure sequences without padding.
      resets: bool ``(T, *batch)`` or None; across a reset every direction dies.
      k: how many, from the largest; all D if not given.
      qr_every: steps between orthonormalisations; chosen if not given, from how fast the directions
        part in eight pieces of the sequence, the fastest of the batch: a quarter of the dtype's
        digits, at most 32.
      warmup: steps at the beginning that move the state to where it will stay and align the
        directions, and are not counted.
      key: for the first directions; ``jax.random.key(0)`` if not given.
      num_chunks: this many chunks of the counted steps side by side, each after `warmup` steps of
        its own that align it: parallel in time, without any D x D matrix. The bias is
        ``exp(-gap * warmup)``.
      window: derivatives reach at most this many steps back, as in truncated backpropagation: in a
        chaotic network they grow as ``exp(l_1 T)`` otherwise. The value stays the same.
      qr: "householder", or "cholesky": faster for tall frames on an accelerator, and done anew by
        Householder reflections where it breaks down.

    Returns:
      Exponents, errors, and what follows from them.

    Raises:
      TypeError: as `jaxrnn.unroll`; a part of the state is not a real floating array.
      ValueError: as `jaxrnn.unroll`; `k`, `qr_every`, `num_chunks` or `window` out of range;
        `warmup` leaves no step to count; outside `jax.jit`, a state is not finite (the first such
        step is named). Inside, the exponents are NaN and not reliable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(2, 8)
      >>> xs = jax.random.normal(jax.random.key(1), (400, 3, 2))
      >>> spectrum = lyapunov_spectrum(cell, cell.init(jax.random.key(0)), xs, k=2, warmup=100)
      >>> spectrum.exponents.shape, spectrum.history.shape
      ((3, 2), (300, 3, 2))

    Reference:
      G. Benettin et al., "Lyapunov characteristic exponents for smooth dynamical systems", 1980;
      R. Engelken, F. Wolf, L. Abbott, "Lyapunov spectra of chaotic recurrent neural networks",
      2023; T. Fukaya et al., "CholeskyQR2", 2014.
    """
    if qr not in _QR:
        raise unknown_name("qr", qr, _QR)
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    warmup = check_warmup(warmup, num_steps, by=_BY)
    num_chunks = check_size("num_chunks", num_chunks, by=_BY)
    if num_chunks > num_steps - warmup:
        msg = (
            f"{_BY}: got num_chunks={num_chunks}; expected at most {num_steps - warmup}, the steps "
            "that are counted"
        )
        raise ValueError(msg)
    result, bad = _spectrum(
        cell,
        params,
        xs,
        state,
        mask=mask,
        resets=resets,
        k=None if k is None else check_size("k", k, by=_BY),
        qr_every=None if qr_every is None else check_size("qr_every", qr_every, by=_BY),
        warmup=warmup,
        key=jax.random.key(0) if key is None else key,
        num_chunks=num_chunks,
        window=None if window is None else check_size("window", window, by=_BY),
        qr=qr,
    )
    refuse_non_finite(bad, by=_BY)
    return result
