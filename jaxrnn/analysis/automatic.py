"""Measurements on explicit meshes: XLA chooses inside, and batch axes come out as they went in."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Input, Params

__all__ = ["on_automatic_axes"]


def on_automatic_axes(
    function: Callable, out_axes: Any, cell: Cell, params: Params, xs: Input, *rest
):
    """Runs a function whose arrays carry no shardings in their types, also on an explicit mesh.

    JAX has no rule for how a QR decomposition, or a product of matrices whose inner axes are split,
    lies on an explicit mesh. Elsewhere the function is called as it is.

    Args:
      function: ``(params, xs, *rest) -> result``; it holds no other arrays.
      out_axes: where the batch axes stand in the result: a tree like its first levels; None for
        what has none.
      cell: the cell, which says what of the inputs is the batch.
      params: its parameters.
      xs: ``(T, *batch, features)``, whose batch axes the result has.
      *rest: further trees of arrays.

    Returns:
      The result; on an explicit mesh its batch axes are split as those of `xs`, all others whole.
    """
    kinds = jax.sharding.get_abstract_mesh().axis_types
    if AxisType.Explicit not in kinds or AxisType.Manual in kinds:
        return function(params, xs, *rest)
    leaf = jax.tree.leaves(xs)[0]
    features = 0 if jnp.issubdtype(leaf.dtype, jnp.integer) else cell.input_ndim
    batch = tuple(jax.typeof(leaf).sharding.spec)[1 : leaf.ndim - features]

    def spec(axis):
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, *batch)

    specs = jax.tree.map(spec, out_axes, is_leaf=lambda axis: axis is None)
    return jax.sharding.auto_axes(function, out_sharding=specs)(params, xs, *rest)
