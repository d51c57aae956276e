"""Arrays whose last axis is gates side by side, cut into groups of units, one a device.

With H units an array ``(..., G * H)`` has G gates; a device of n holds H / n units of every gate,
``(..., G * H / n)``, gates side by side again. Which arrays are such is read off their shapes, and
that a function takes each unit by itself is seen by running it on two units and on one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxrnn.unrolls.mesh_axis import enter_varying

__all__ = ["Place", "UnitBlocks", "is_number", "keeps_units_apart"]


def is_number(dtype) -> bool:
    """Says whether a dtype is of numbers or bools, and not of keys."""
    return jnp.issubdtype(dtype, jnp.number) or dtype == jnp.bool_


class UnitBlocks(NamedTuple):
    """Where the units of arrays lie on a mesh axis.

    Attributes:
      hidden: H, all units.
      axis: the mesh axis.
      devices: n, how many lie along it.
    """

    hidden: int
    axis: str
    devices: int

    @property
    def local(self) -> int:
        """The units of one device."""
        return self.hidden // self.devices

    def has_units(self, leaf: Any, lead: int = 0) -> bool:
        """Says by its shape whether an array's last axis, after `lead` axes, is gates of units."""
        fits = leaf.ndim > lead and leaf.shape[-1] > 0 and leaf.shape[-1] % self.hidden == 0
        return fits and is_number(leaf.dtype)

    def with_units(self, leaf: Any, units: int) -> jax.ShapeDtypeStruct:
        """Returns the array's type as it would be with another number of units."""
        shape = (*leaf.shape[:-1], leaf.shape[-1] // self.hidden * units)
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    def stand_in(self, leaf: Any, units: int):
        """Returns zeros in place of an array of which a cell of so many units reads the shape."""
        shape = [units if size == self.hidden else size for size in leaf.shape]
        if self.has_units(leaf):
            shape[-1] = leaf.shape[-1] // self.hidden * units
        return jnp.zeros(shape, leaf.dtype)

    def own(self, leaf):
        """Takes this device's units out of ``(..., G * H)``: ``(..., G * H / n)``."""
        start = jax.lax.axis_index(self.axis) * self.local
        gates = _part(leaf, self.hidden)
        return _join(jax.lax.dynamic_slice_in_dim(gates, start, self.local, axis=-1))

    def in_order_gathered(self, weights):
        """Puts the rows of ``(K * H, R)`` in the order in which devices hand over K * H / n each.

        It is another than that of the units where K groups of H units are multiplied.
        """
        groups = weights.shape[0] // self.hidden
        if groups == 1:
            return weights
        rows = weights.reshape(groups, self.devices, self.local, -1)
        return rows.swapaxes(0, 1).reshape(weights.shape)

    def on_each(self, function: Callable, mesh: Mesh, given, results, *, exchange) -> Callable:
        """Maps a function of one device's units over the mesh axis; other axes are left to XLA.

        Args:
          function: ``(*trees) -> tree``.
          mesh: the mesh.
          given: how the leaves of the arguments lie.
          results: how those of the results do. What has no units is taken from the first device.
          exchange: whether devices exchange anything in `function`. If not, JAX's check of what
            varies over an axis is off: transposed, some of its functions do not pass it.

        Returns:
          The function of global arrays.
        """
        given = jax.tree.leaves(given, is_leaf=_is_place)
        results, tree = jax.tree.flatten(results, is_leaf=_is_place)
        batch_axes = {place.batch_axis for place in [*given, *results]} - {None}
        # Axes of one device too: where all are mapped XLA adds up 16 bits on CPU, else it aborts.
        alone = {name for name, size in mesh.shape.items() if size == 1}

        def enter(leaf, place):
            axes = {self.axis, *batch_axes} - set(self._spec(place))
            if place.has_units:
                leaf = _join(leaf)
            return enter_varying(leaf, tuple(axes)) if exchange else leaf

        def run(*arguments):
            leaves, tree_in = jax.tree.flatten(arguments)

            def on_one(*leaves):
                own = list(map(enter, leaves, given))
                found = jax.tree.leaves(function(*tree_in.unflatten(own)))
                pairs = zip(found, results, strict=True)
                return [
                    _part(leaf, self.local) if place.has_units else leaf[None]
                    for leaf, place in pairs
                ]

            pairs = zip(leaves, given, strict=True)
            leaves = [
                _part(leaf, self.hidden) if place.has_units else leaf for leaf, place in pairs
            ]
            found = jax.shard_map(
                on_one,
                mesh=mesh,
                axis_names={self.axis, *batch_axes, *alone},
                check_vma=exchange,
                in_specs=tuple(map(self._spec, given)),
                out_specs=[self._spec(place, copies=True) for place in results],
            )(*leaves)
            pairs = zip(found, results, strict=True)
            return tree.unflatten(
                [_join(leaf) if place.has_units else leaf[0] for leaf, place in pairs]
            )

        return run

    def _spec(self, place: "Place", *, copies: bool = False) -> PartitionSpec:
        """Returns how an array lies, its gates parted from its units, or all copies of it."""
        dims = [None] * place.ndim
        if place.batch_axis is not None:
            dims[place.batch_at] = place.batch_axis
        if place.has_units:
            return PartitionSpec(*dims, self.axis)
        return PartitionSpec(self.axis, *dims) if copies else PartitionSpec(*dims)


class Place(NamedTuple):
    """How an array lies on the mesh.

    Attributes:
      ndim: how many axes it has.
      has_units: whether its last axis is gates of units, of which a device has its own.
      batch_axis: the mesh axis over which its batch lies, or None.
      batch_at: the batch's axis.
    """

    ndim: int
    has_units: bool
    batch_axis: str | None = None
    batch_at: int = 0


def _is_place(node) -> bool:
    return isinstance(node, Place)


def _part(leaf, units: int):
    """Parts the gates from the units: ``(..., G * units)`` to ``(..., G, units)``."""
    return leaf.reshape(*leaf.shape[:-1], leaf.shape[-1] // units, units)


def _join(leaf):
    """Puts gates side by side: ``(..., G, units)`` to ``(..., G * units)``."""
    return leaf.reshape(*leaf.shape[:-2], leaf.shape[-2] * leaf.shape[-1])


def _random(leaf, random):
    if not is_number(leaf.dtype):  # keys
        return jax.random.split(jax.random.key(0), leaf.shape) if leaf.shape else jax.random.key(0)
    if leaf.dtype == jnp.bool_:
        return jnp.asarray(random.random(leaf.shape) < 0.5)
    if jnp.issubdtype(leaf.dtype, jnp.integer):
        return jnp.asarray(random.integers(1, 3, leaf.shape), leaf.dtype)
    values = random.standard_normal(leaf.shape)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        values = values + 1j * random.standard_normal(leaf.shape)
    return jnp.asarray(values, leaf.dtype)


def _unit(leaf, has_units: bool, index: int):
    return _part(leaf, 2)[..., index] if has_units else leaf


def _same(both, alone) -> bool:
    """Says whether an output of two units is that of each unit alone."""
    if any(one.shape[:-1] != both.shape[:-1] or one.ndim != both.ndim for one in alone):
        return False
    sizes = [one.shape[-1] if one.ndim else 0 for one in alone]
    if both.ndim and both.shape[-1] == 2 * sizes[0] and sizes[0] == sizes[1]:
        parts = [_unit(both, True, index) for index in range(2)]
    elif all(one.shape == both.shape for one in alone):
        parts = [both, both]
    else:
        return False
    if not is_number(both.dtype):
        return True
    if not jnp.issubdtype(both.dtype, jnp.inexact):
        return all(np.array_equal(part, one) for part, one in zip(parts, alone, strict=True))
    near = 1e-2 if jnp.finfo(both.dtype).bits < 32 else 1e-4
    wide = jnp.promote_types(both.dtype, jnp.float32)
    return all(
        np.allclose(part.astype(wide), one.astype(wide), near, near, equal_nan=True)
        for part, one in zip(parts, alone, strict=True)
    )


def keeps_units_apart(function: Callable, given, has_units, blocks: UnitBlocks) -> bool:
    """Says whether a function takes each unit by itself, wherever the unit stands.

    It is run, while tracing, on two units with random numbers and on each of the two alone. That
    costs little whatever H is.

    Args:
      function: ``(tree, units) -> tree``, of arrays of so many units.
      given: the tree, or its shapes.
      has_units: for each leaf, whether its last axis is gates of units.
      blocks: the layout.

    Returns:
      Whether every output of two units is made of those of the two, gates side by side, or is the
      same for both; False where the function cannot be run so.
    """
    leaves, tree = jax.tree.flatten(given)
    has_units = jax.tree.leaves(has_units)
    random = np.random.default_rng(0)

    def run(values):
        alone = [
            function(
                tree.unflatten([_unit(v, f, i) for v, f in zip(values, has_units, strict=True)]), 1
            )
            for i in range(2)
        ]
        return [function(tree.unflatten(values), 2), *alone]

    with jax.ensure_compile_time_eval():
        shapes = [
            blocks.with_units(leaf, 2) if flag else leaf
            for leaf, flag in zip(leaves, has_units, strict=True)
        ]
        values = [_random(leaf, random) for leaf in shapes]
        try:
            found = jax.jit(run)(values)
        except (AssertionError, IndexError, TypeError, ValueError, ZeroDivisionError):
            return False
        both, *alone = map(jax.tree.leaves, found)
        return all(len(one) == len(both) for one in alone) and all(
            map(_same, both, zip(*alone, strict=True))
        )
