"""Time cut into blocks of steps, and a loop over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Blocks", "cut", "map_blocks", "over_blocks", "uncut"]


class Blocks(NamedTuple):
    """Something for each step, cut into blocks of equally many steps.

    Attributes:
      whole: tree of ``(n, size, ...)``, n >= 1.
      left: tree of ``(fewer, ...)``, the steps after the last whole block; None if there are none.
    """

    whole: Any
    left: Any


def cut(tree, size: int) -> Blocks:
    """Cuts time into blocks.

    Args:
      tree: arrays ``(T, ...)``.
      size: steps a block, 1 to T.

    Returns:
      The whole blocks, ``(T // size, size, ...)``, and the T % size steps left over.
    """
    count, left = divmod(jax.tree.leaves(tree)[0].shape[0], size)

    def blocks(leaf):
        return leaf[: count * size].reshape(count, size, *leaf.shape[1:])

    rest = jax.tree.map(lambda leaf: leaf[count * size :], tree) if left else None
    return Blocks(jax.tree.map(blocks, tree), rest)


def uncut(blocks: Blocks):
    """Joins blocks in time again."""

    def join(leaf):
        count, size, *rest = leaf.shape
        return leaf.reshape(count * size, *rest)

    whole = jax.tree.map(join, blocks.whole)
    if blocks.left is None:
        return whole
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), whole, blocks.left)


def map_blocks(function: Callable, *blocks: Blocks) -> Blocks:
    """Applies a function to the whole blocks of all arguments, and to what is left over."""
    left = None if blocks[0].left is None else function(*(one.left for one in blocks))
    return Blocks(function(*(one.whole for one in blocks)), left)


def over_blocks(body: Callable, carry, blocks: Blocks, *, reverse: bool = False):
    """Scans ``body(carry, block) -> (carry, output)`` over blocks; what is left over runs apart.

    Args:
      body: the function.
      carry: what it starts from.
      blocks: its inputs.
      reverse: begin with the last block.

    Returns:
      The last carry, and the outputs as `Blocks`.
    """
    last = None
    if blocks.left is not None and reverse:
        carry, last = body(carry, blocks.left)
    if jax.tree.leaves(blocks.whole)[0].shape[0] == 1:
        carry, outputs = body(carry, jax.tree.map(lambda leaf: leaf[0], blocks.whole))
        outputs = jax.tree.map(lambda leaf: leaf[None], outputs)
    else:
        carry, outputs = jax.lax.scan(body, carry, blocks.whole, reverse=reverse)
    if blocks.left is not None and not reverse:
        carry, last = body(carry, blocks.left)
    return carry, Blocks(outputs, last)
