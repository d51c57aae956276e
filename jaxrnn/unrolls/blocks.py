"""Unrolls that work in blocks of steps: truncated and checkpointed backpropagation through time."""

import math

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, hoist
from jaxrnn.core.checks import check_size
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.types import UnrollFn
from jaxrnn.unrolls.sequence import Sequence, read_sequence, read_state
from jaxrnn.unrolls.time_blocks import Blocks, cut, uncut

__all__ = ["checkpointed", "truncated"]


def _pad(cell: Cell, sequence: Sequence, before: int, after: int) -> Sequence:
    """Adds masked steps, which hold the state, at both ends."""
    if before == after == 0:
        return sequence

    def widen(leaf):
        return jnp.pad(leaf, [(before, after)] + [(0, 0)] * (leaf.ndim - 1))

    mask = sequence.mask
    if mask is None:
        mask = jnp.ones((sequence.num_steps, *sequence.batch_shape(cell)), bool)
    return jax.tree.map(widen, sequence._replace(mask=mask))


def _join(blocks, num_steps: int):
    """Joins the outputs of whole blocks and drops the steps that padding added."""
    return jax.tree.map(lambda leaf: leaf[:num_steps], uncut(Blocks(blocks, None)))


def _last(blocks):
    return jax.tree.map(lambda leaf: leaf[-1], blocks)


def _check_unroll(unroll_fn, by: str) -> None:
    if not callable(unroll_fn):
        msg = (
            f"{by}: got {type(unroll_fn).__name__}; expected an unroll function such as "
            f"jaxrnn.unroll; for a layer write layer(cell, {by}(jaxrnn.unroll, ...))"
        )
        raise TypeError(msg)


def truncated(unroll_fn: UnrollFn, window: int, every: int | None = None) -> UnrollFn:
    """Truncates backpropagation through time: values unchanged, gradients stop.

    With `window` alone (k), the sequence is cut into windows of k steps and no gradient crosses
    from a window into the one before. With `every` (k1) and `window` (k2), the loss at the last k1
    steps of each window reaches back over all k2 steps of it, and windows start k1 steps apart;
    that costs k2 / k1 times the work.

    The state passed in, or the initial state, does get its gradient from the first window(s), so a
    window of at least T steps is the plain unroll. To train over a stream, pass the state that the
    last call returned (`jaxrnn.train.fit` does): it enters as a value and carries no gradient.

    Args:
      unroll_fn: how a window is run, such as `unroll`.
      window: k2, steps a gradient travels at most; at least 1.
      every: k1, steps between the starts of windows; a divisor of `window`; `window` if not given.

    Returns:
      An unroll. T need not be a multiple of anything: the last window is shorter.

    Raises:
      TypeError: `window` or `every` is not an integer, or `unroll_fn` is no function.
      ValueError: `window` or `every` is less than 1, or `every` does not divide `window`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> from jaxrnn.unrolls.scan import unroll
      >>> cell = elman(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> _, ys = truncated(unroll, window=20, every=5)(cell, params, jnp.ones((64, 3)))
      >>> ys.shape
      (64, 5)

    Reference:
      R. Williams, J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent
      network trajectories", 1990: BPTT(h; h') with h = window, h' = every.
    """
    _check_unroll(unroll_fn, "truncated")
    window = check_size("window", window, by="truncated")
    every = window if every is None else check_size("every", every, by="truncated")
    if window % every:
        near = [n for n in range(1, window + 1) if window % n == 0]
        msg = (
            f"truncated: got every={every} for window={window}; expected a divisor of the window, "
            f"one of {near}"
        )
        raise ValueError(msg)
    overlap = window - every

    @compiled_per_cell()
    def run(cell, params, xs, state=None, *, mask=None, resets=None):
        sequence = read_sequence(cell, xs, mask, resets, by="truncated")
        state = read_state(cell, params, sequence, state, by="truncated")
        num_steps = sequence.num_steps
        # Masked steps before the first make every window equally long: they hold the state.
        blocks = cut(_pad(cell, sequence, overlap, -num_steps % every), every).whole
        count = -(-num_steps // every)
        cell, params = hoist(cell, params)

        def advance(state, block):
            return unroll_fn(cell, params, block.xs, state, mask=block.mask, resets=block.resets)

        def take_window(state, inputs):
            index, first, rest = inputs
            state, ys = advance(state, first)
            last = state
            if overlap:
                last, ys = advance(state, rest)
                ys = jax.tree.map(lambda leaf: leaf[-every:], ys)
            # Until the window's start reaches the sequence, its state is still the initial one.
            inside = (index + 1) * every > overlap
            state = jax.tree.map(
                lambda leaf: jnp.where(inside, jax.lax.stop_gradient(leaf), leaf), state
            )
            return state, (last, ys)

        def rest_of_window(leaf):
            starts = jnp.arange(count)[:, None] + jnp.arange(1, window // every)
            return leaf[starts].reshape(count, overlap, *leaf.shape[2:])

        inputs = (
            jnp.arange(count),
            jax.tree.map(lambda leaf: leaf[:count], blocks),
            jax.tree.map(rest_of_window, blocks) if overlap else None,
        )
        _, (states, ys) = jax.lax.scan(take_window, state, inputs)
        return _last(states), _join(ys, num_steps)

    run.inner_unroll = unroll_fn
    return run


def checkpointed(unroll_fn: UnrollFn, every: int | None = None) -> UnrollFn:
    """Stores one state per block of steps and recomputes the rest in the backward pass.

    Values and gradients are those of `unroll_fn`; memory falls from all T steps to one state per
    block and one block at a time, for one more forward pass.

    Args:
      unroll_fn: how a block is run, such as `unroll`.
      every: steps a block, at least 1; the square root of T, rounded up, if not given, which needs
        the least memory.

    Returns:
      An unroll. T need not be a multiple of `every`: the last block is shorter.

    Raises:
      TypeError: `every` is not an integer, or `unroll_fn` is no function.
      ValueError: `every` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> from jaxrnn.unrolls.scan import unroll
      >>> cell = gru(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> _, ys = checkpointed(unroll)(cell, params, jnp.ones((64, 3)))
      >>> ys.shape
      (64, 5)

    Reference:
      T. Chen et al., "Training deep nets with sublinear memory cost", 2016, section 4.3.
    """
    _check_unroll(unroll_fn, "checkpointed")
    if every is not None:
        every = check_size("every", every, by="checkpointed")

    @compiled_per_cell()
    def run(cell, params, xs, state=None, *, mask=None, resets=None):
        sequence = read_sequence(cell, xs, mask, resets, by="checkpointed")
        state = read_state(cell, params, sequence, state, by="checkpointed")
        num_steps = sequence.num_steps
        size = math.isqrt(num_steps - 1) + 1 if every is None else min(every, num_steps)
        cell, params = hoist(cell, params)

        def take_block(state, block):
            return unroll_fn(cell, params, block.xs, state, mask=block.mask, resets=block.resets)

        blocks = cut(_pad(cell, sequence, 0, -num_steps % size), size).whole
        # Inside a scan the loop itself keeps XLA from merging the recomputation away.
        take_block = jax.checkpoint(take_block, prevent_cse=False)
        state, ys = jax.lax.scan(take_block, state, blocks)
        return state, _join(ys, num_steps)

    run.inner_unroll = unroll_fn
    return run
