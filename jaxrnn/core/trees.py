"""Helpers on pytrees of arrays whose leading axes are batch axes."""

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array, Input

__all__ = [
    "batch_shape_of",
    "global_norm",
    "largest",
    "mask_zero",
    "num_parameters",
    "select",
    "spread",
]


def spread(flags: Array, leaf: Array) -> Array:
    """Appends axes of size 1 to `flags`, ``(*lead,)``, until it broadcasts to ``(*lead, ...)``."""
    return flags.reshape(flags.shape + (1,) * (leaf.ndim - flags.ndim))


def select(flags: Array, on_true, on_false):
    """Chooses between two trees by flags over their leading axes.

    Args:
      flags: bool, ``(*lead,)``.
      on_true: tree of arrays, each ``(*lead, ...)``.
      on_false: tree of the same structure.

    Returns:
      The tree of ``where(flags, on_true, on_false)``.
    """

    def pick(a, b):
        return jnp.where(spread(flags, a), a, b)

    return jax.tree.map(pick, on_true, on_false)


def mask_zero(mask: Array, tree):
    """Writes zeros where `mask`, bool over the leading axes, is False, also in place of NaN."""
    return select(mask, tree, jax.tree.map(jnp.zeros_like, tree))


def batch_shape_of(x: Input, input_ndim: int = 1) -> tuple[int, ...]:
    """Returns the batch axes of one step's input.

    Args:
      x: tree whose first leaf is ``(*batch, features)``, or ``(*batch,)`` if it holds integers:
        an integer is a token and has no feature axis.
      input_ndim: number of feature axes of a float leaf, the cell's ``input_ndim``.

    Returns:
      The shape of the batch axes.
    """
    leaf = jax.tree.leaves(x)[0]
    return leaf.shape if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf.shape[:-input_ndim]


def largest(values: Array) -> Array:
    """Returns the largest magnitude in an array; NaN if it holds one.

    XLA's maximum on CPU loses a NaN in arrays of 4,096 numbers and more, so it is looked for.
    """
    top = jnp.max(jnp.abs(values))
    return jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, top)


def global_norm(tree) -> Array:
    """Returns the Euclidean norm over all leaves.

    The largest entry is divided out before squaring, so the norm is finite where it can be: an
    exploding gradient of 1e20 has one in float32, where its square has not.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    top = largest(jnp.stack([largest(leaf) for leaf in leaves]))
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1)
    return scale * jnp.sqrt(sum(jnp.sum(jnp.square(jnp.abs(leaf / scale))) for leaf in leaves))


def num_parameters(params) -> int:
    """Returns the number of array elements in a tree of parameters (or of their shapes)."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
