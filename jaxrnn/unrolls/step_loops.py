"""A loop over the steps of a block, and one over blocks of steps that may overlap."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import select
from jaxrnn.core.types import Array

__all__ = ["Loop", "Span", "read", "scan_blocks"]


# No index here is negative; looking for one takes XLA as long as a small step does.
_COUNTED = {"axis": 0, "allow_negative_indices": False}


def read(tree, step):
    """Returns what arrays ``(T, ...)`` hold for one step, ``(...)`` each.

    Args:
      tree: tree of arrays with steps on axis 0.
      step: which, 0 to T - 1.
    """
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, step, keepdims=False, **_COUNTED), tree
    )


def _put(tree, values, step):
    """Returns arrays ``(T, ...)`` with other values for one step."""
    return jax.tree.map(
        lambda leaf, value: jax.lax.dynamic_update_index_in_dim(leaf, value, step, **_COUNTED),
        tree,
        values,
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

    def step(self, k):
        """Returns k, or for a step that is done the first that is not.

        A step that is done is one that may be taken all the same: what it gives is thrown away, but
        0 times a derivative that is not finite would be NaN.
        """
        return k if self.done is None else jnp.maximum(k, self.done)

    def cut(self, tree):
        """Returns the block of arrays ``(T, ...)``."""
        return jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, self.start, self.size, **_COUNTED), tree
        )

    def paste(self, tree, values):
        """Writes the block into arrays ``(T, ...)``."""
        return jax.tree.map(
            lambda leaf, value: jax.lax.dynamic_update_slice_in_dim(
                leaf, value, self.start, **_COUNTED
            ),
            tree,
            values,
        )


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
    """

    prefetch: bool
    unroll: int
    stacked: bool = False

    def __call__(self, step: Callable, carry, at: Callable, outs, to: Span, *, reverse=False):
        """Takes the steps of a block, k = 0 to its size - 1 or the other way.

        Args:
          step: ``(carry, k, here) -> (carry, out)``.
          carry: what it starts from.
          at: ``(k) -> here``, what there is for step k.
          outs: tree of arrays with steps on axis 0, into which the outputs are written.
          to: which of these rows are for the block; with no step done if `reverse`.
          reverse: begin with the last step.

        Returns:
          The last carry, and `outs` with the outputs.
        """
        if self.stacked:
            return self._stack(step, carry, at, outs, to, reverse)

        def take(k, carry, here):
            carry, outs = carry
            carry, out = step(carry, k, here)
            return carry, _put(outs, out, to.start + to.step(k))

        def place(i):
            return to.size - 1 - i if reverse else i

        carry = carry, outs
        if to.size == 1:
            return take(0, carry, at(0))
        if not self.prefetch:
            return jax.lax.fori_loop(
                0, to.size, lambda i, carry: take(place(i), carry, at(place(i))), carry,
                unroll=self.unroll,
            )  # fmt: skip

        def advance(i, carry):
            carry, here = carry
            following = at(place(jnp.minimum(i + 1, to.size - 1)))
            return take(place(i), carry, here), following

        carry = carry, at(place(0))
        return jax.lax.fori_loop(0, to.size, advance, carry, unroll=self.unroll)[0]

    def _stack(self, step, carry, at, outs, to, reverse):
        def take(carry, _):
            k, carry = carry
            carry, out = step(carry, k, at(k))
            return (k - 1 if reverse else k + 1, carry), out

        carry = jnp.int32(to.size - 1 if reverse else 0), carry
        (_, carry), block = jax.lax.scan(
            take, carry, length=to.size, reverse=reverse, unroll=self.unroll
        )
        if to.done is not None:
            block = select(jnp.arange(to.size) >= to.done, block, to.cut(outs))
        return carry, to.paste(outs, block)


def scan_blocks(
    size: int, num_steps: int, body: Callable, carry, inputs=None, *, reverse: bool = False
):
    """Scans ``body(carry, span, input) -> (carry, output)`` over all blocks of `size` steps.

    The last block ends with the sequence, and so overlaps the one before where `size` does not
    divide T: one program serves all, where steps left over would need another.

    Args:
      size: steps a block, 1 to `num_steps`.
      num_steps: T.
      body: the function.
      carry: what it starts from.
      inputs: tree of arrays ``(blocks, ...)``, what each block gets of its own.
      reverse: begin with the last block.

    Returns:
      The last carry, and the outputs ``(blocks, ...)``, first block first.
    """
    count = -(-num_steps // size)
    twice = count * size - num_steps
    if count == 1:
        one = jax.tree.map(lambda leaf: leaf[0], inputs)
        carry, output = body(carry, Span(0, size, None), one)
        return carry, jax.tree.map(lambda leaf: leaf[None], output)

    def at(carry, here):
        i, one = here
        if not twice:
            return body(carry, Span(i * size, size, None), one)
        start = jnp.minimum(i * size, num_steps - size)
        return body(carry, Span(start, size, i * size - start), one)

    return jax.lax.scan(at, carry, (jnp.arange(count), inputs), reverse=reverse)
