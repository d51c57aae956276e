"""A loop over the steps of a block, and one over blocks of steps that may overlap."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import mask_zero, select
from jaxrnn.core.types import Array

__all__ = ["Loop", "Span", "count_blocks", "each_block", "put", "read"]


# Looking for negative indices takes XLA as long as a small step does. An index that is out of range
# means the nearest that is not.
_COUNTED = {"axis": 0, "allow_negative_indices": False}


def _cut(leaf, start, size: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(leaf, start, size, **_COUNTED)


def _paste(leaf, values, start) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(leaf, values, start, **_COUNTED)


def read(tree, step):
    """Returns what arrays ``(T, ...)`` hold for one step, ``(...)`` each.

    Args:
      tree: tree of arrays with steps on axis 0.
      step: which, 0 to T - 1; if less or more, the nearest.
    """
    return jax.tree.map(lambda leaf: jax.lax.squeeze(_cut(leaf, step, 1), [0]), tree)


def put(tree, values, step):
    """Returns arrays with other values for one step.

    Args:
      tree: tree of arrays ``(T, ...)``.
      values: tree of arrays ``(...)``.
      step: which, 0 to T - 1.
    """
    return jax.tree.map(
        lambda leaf, value: _paste(leaf, jax.lax.expand_dims(value, [0]), step), tree, values
    )


class Span(NamedTuple):
    """Steps start to start + size - 1.

    Attributes:
      start: the first of them.
      size: how many.
      done: how many of the first steps the block before has taken; None if no blocks overlap.
    """

    start: int | Array
    size: int
    done: Array | None

    def cut(self, tree):
        """Returns the block of arrays ``(T, ...)``."""
        return jax.tree.map(lambda leaf: _cut(leaf, self.start, self.size), tree)

    def paste(self, tree, values):
        """Writes the block into arrays ``(T, ...)``."""
        return jax.tree.map(lambda leaf, value: _paste(leaf, value, self.start), tree, values)


class Loop(NamedTuple):
    """How XLA loops over steps.

    Attributes:
      prefetch: whether a step's inputs come with the carry. XLA on CPU fuses a slice at a running
        index into the pointwise code behind it, which then is not vectorised; a slice that lies in
        the carry is a plain array.
      unroll: steps an iteration.
      stacked: whether the outputs of a block are stacked before they are written where they belong.
        On a GPU every write is a kernel of its own, and those of an iteration become one; on CPU
        it would be one copy more. Without `prefetch`.
      skips: whether the loop begins behind the steps of a block that are done. XLA does not know
        its count then, which several steps an iteration need. Else they are taken too, and what
        they give is thrown away.
    """

    prefetch: bool
    unroll: int
    stacked: bool = False
    skips: bool = False

    def __call__(self, step: Callable, carry, at: Callable, outs, to: Span, *, reverse=False):
        """Takes the steps of a block.

        Args:
          step: ``(carry, here) -> (carry, out)``.
          carry: what it starts from.
          at: ``(k) -> here``, what there is for step k of the block; also asked for one step before
            the first and one behind the last, for nothing.
          outs: tree of arrays with steps on axis 0, into which the outputs are written.
          to: which of these rows are for the block; those of steps that are done are left as they
            are, which has to be zeros if `reverse`.
          reverse: begin with the last step.

        Returns:
          The last carry, and `outs` with the outputs.
        """
        if self.stacked:
            return self._stack(step, carry, at, outs, to, reverse)
        again = to.done is not None and not self.skips
        first = 0 if again or to.done is None else to.done
        bounds = (0, to.size - first) if reverse else (first, to.size)

        def place(i):
            return to.size - 1 - i if reverse else i

        def take(i, carry, here):
            carry, outs = carry
            row = k = place(i)
            new, out = step(carry, here)
            if again:  # no row is read: XLA would copy all to write into them after that
                new = select(k >= to.done, new, carry)
                if reverse:
                    out = mask_zero(k >= to.done, out)
                else:
                    row = jnp.maximum(k, to.done)  # and written again by the step that is next
            return new, put(outs, out, to.start + row)

        carry = carry, outs
        if to.size == 1:
            return take(0, carry, at(0))
        loop = functools.partial(jax.lax.fori_loop, *bounds, unroll=self.unroll)
        if not self.prefetch:
            return loop(lambda i, carry: take(i, carry, at(place(i))), carry)

        def advance(i, carry):
            carry, here = carry
            following = at(place(jnp.asarray(i + 1)))
            return take(i, carry, here), following

        return loop(advance, (carry, at(place(bounds[0]))))[0]

    def _stack(self, step, carry, at, outs, to, reverse):
        def take(carry, _):
            k, carry = carry
            new, out = step(carry, at(k))
            if to.done is not None:
                new = select(k >= to.done, new, carry)
            return (k - 1 if reverse else k + 1, new), out

        carry = jnp.int32(to.size - 1 if reverse else 0), carry
        (_, carry), block = jax.lax.scan(
            take, carry, length=to.size, reverse=reverse, unroll=self.unroll
        )
        if to.done is not None:
            block = select(jnp.arange(to.size) >= to.done, block, to.cut(outs))
        return carry, to.paste(outs, block)


def count_blocks(size: int, num_steps: int) -> int:
    """Returns how many blocks `each_block` takes.

    Args:
      size: steps a block, 1 to `num_steps`.
      num_steps: T.
    """
    return -(-num_steps // size)


def each_block(size: int, num_steps: int, body: Callable, carry, *, reverse: bool = False):
    """Applies ``body(carry, span, index) -> carry`` to all blocks of `size` steps, one by one.

    The last block ends with the sequence, and so overlaps the one before where `size` does not
    divide T: one program serves all, where steps left over would need another.

    Args:
      size: steps a block, 1 to `num_steps`.
      num_steps: T.
      body: the function; `index` counts the blocks.
      carry: what it starts from.
      reverse: begin with the last block.

    Returns:
      The last carry.
    """
    if size == num_steps:
        return body(carry, Span(0, size, None), 0)

    last = (count_blocks(size, num_steps) - 1) * size

    # Counted in steps: everything that is computed of a counter is a kernel more to compile. And
    # upwards: of other loops XLA does not always know the count.
    def advance(carry):
        i, carry = carry
        position = last - i if reverse else i
        span = Span(position, size, None)
        if num_steps % size:
            start = jnp.minimum(position, num_steps - size)
            span = Span(start, size, position - start)
        carry = body(carry, span, jax.lax.div(position, jnp.int32(size)))
        return i + size, carry

    return jax.lax.while_loop(lambda carry: carry[0] < num_steps, advance, (jnp.int32(0), carry))[1]
