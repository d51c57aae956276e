"""Log norms of Jacobian products over time and lag."""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.norms import read_norm, start_rows
from jaxrnn.analysis.scaled import log_scale, rescale, scaled
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import Array, Input, Key, Params, State
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["LagMatrix", "lag_matrix", "read_max_lag"]

_BY = "lag_matrix"


class LagMatrix(NamedTuple):
    """``log || d s_t / d s_{t-lag} ||`` for many end times t and lags.

    Attributes:
      times: ``(N,)``, end times in steps, increasing; the last is T.
      lags: ``(M,)``, 1 to M steps.
      log_norms: ``(N, M, *batch)`` in nats; ``-inf`` where the Jacobian is exactly zero, NaN where
        there is none: the lag reaches back beyond the first state.
    """

    times: Array
    lags: Array
    log_norms: Array


def read_max_lag(max_lag: int | None, low: int, high: int, *, by: str) -> int:
    """Returns `max_lag`, or `high` for None; raises ValueError outside ``[low, high]``."""
    if max_lag is None:
        return high
    lag = operator.index(max_lag)
    if not low <= lag <= high:
        msg = (
            f"{by}: got max_lag={lag}; expected {low} to {high}, what the sequence's number of "
            "steps allows; leave it out for all lags"
        )
        raise ValueError(msg)
    return lag


@compiled_per_cell("norm", "stride", "max_lag", "num_probes")
def lag_matrix(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    norm: str = "frobenius",
    stride: int = 1,
    max_lag: int | None = None,
    num_probes: int | None = None,
    key: Key | None = None,
) -> LagMatrix:
    """Measures ``d s_t / d s_{t-lag} = A_t ... A_{t-lag+1}`` for every time and lag.

    One pass back over the steps: at each, the products that end at all times still within reach are
    pulled back together (reverse mode), each with a power of two taken out. With N end times and M
    lags that is ``T min(N, M / stride)`` pulls of D rows, and as many numbers in memory as
    ``min(N, M / stride)`` matrices D x D; `stride`, `max_lag` and `num_probes` make both small. The
    last row is what `gradient_decay` measures.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None; a masked step's Jacobian is the identity, so it counts as
        a lag over which nothing changes.
      resets: bool ``(T, *batch)`` or None; across a reset the Jacobian is exactly zero.
      norm: "frobenius" or "spectral" (largest singular value; one decomposition for each time and
        lag).
      stride: steps between end times: T, T - stride, ...
      max_lag: M, the largest lag; T if not given.
      num_probes: pull this many random rows back in place of the D unit rows, the same for every
        end time: an unbiased estimate of the squared Frobenius norm. Needs `key`, and
        ``norm="frobenius"``.
      key: for the probes.

    Returns:
      End times, lags and log norms.

    Raises:
      TypeError: as `jaxrnn.unroll`, or a size is not an integer.
      ValueError: as `jaxrnn.unroll`; an unknown norm; `stride` below 1; `max_lag` not in
        ``[1, T]``; probes without a key or with the spectral norm.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)
      >>> found = lag_matrix(cell, cell.init(jax.random.key(0)), jnp.ones((9, 3)), stride=4)
      >>> found.times.tolist(), found.log_norms.shape, int(jnp.sum(jnp.isnan(found.log_norms)))
      ([1, 5, 9], (3, 9), 12)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equation 5, here for every pair of times.
    """
    stride = check_size("stride", stride, by=_BY)
    num_steps = read_sequence(cell, xs, mask, resets, by=_BY).num_steps
    max_lag = read_max_lag(max_lag, 1, num_steps, by=_BY)
    measure, num_probes = read_norm(norm, num_probes, key, by=_BY)
    count = -(-num_steps // stride)
    # End time T - n * stride lives in slot n % slots, and is past the last lag when it must leave.
    slots = min(count, -(-max_lag // stride))
    ends = np.arange(count)[::-1]
    times = num_steps - stride * ends
    lags = np.arange(1, max_lag + 1)
    first = times[:, None] - lags

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by=_BY)
        size = flow.states.shape[1]
        rows = start_rows(flow, num_probes, key)
        start = scaled(rows)

        def back(products, index):
            behind = num_steps - 1 - index
            begins = (behind % stride == 0) & (jnp.arange(slots) == behind // stride % slots)
            values = jnp.where(begins[:, None, None], start.values, products.values)
            exponent = jnp.where(begins, start.exponent, products.exponent)
            pulled = flow.pull(index, values.reshape(-1, size)).reshape(values.shape)
            products = jax.vmap(rescale)(pulled, exponent)
            norms = jax.vmap(measure)(products.values)
            return products, log_scale(products.exponent, norms)

        # What waits in a slot for its end time is never read, but zeros would have no gradient.
        waiting = jax.vmap(scaled)(jnp.ones((slots, 1, 1), rows.dtype) * rows)
        _, found = jax.lax.scan(back, waiting, jnp.arange(num_steps), reverse=True)
        found = found[np.maximum(first, 0), (ends % slots)[:, None]]
        return jnp.where(first >= 0, found, jnp.nan)

    log_norms = over_batch(one, cell, params, xs, state, mask, resets, out_axes=2, by=_BY)
    return LagMatrix(jnp.asarray(times), jnp.asarray(lags), log_norms)
