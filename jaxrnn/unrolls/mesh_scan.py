"""A scan over time that a mesh axis splits: each device composes the map of its own steps."""

from typing import NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrnn.core.trees import select
from jaxrnn.unrolls.linear_scan import Action, Time, one_by_one, shift_earlier, shift_later

__all__ = ["TimeAxis"]

_WHOLE = PartitionSpec()


class TimeAxis(NamedTuple):
    """The mesh axis over which time, axis 0 of arrays, is split.

    Attributes:
      mesh: the mesh.
      name: the axis.
    """

    mesh: Mesh
    name: str

    def walk(self) -> Time:
        """Returns how to go along this time."""
        return Time(self._scan, self._later, self._earlier)

    def place(self, tree):
        """Splits axis 0 of arrays ``(T, ...)`` over the mesh axis; other axes stay as they are."""

        def place(leaf):
            free = [PartitionSpec.UNCONSTRAINED] * (leaf.ndim - 1)
            where = NamedSharding(self.mesh, PartitionSpec(self.name, *free))
            return jax.lax.with_sharding_constraint(leaf, where)

        return jax.tree.map(place, tree)

    @property
    def size(self) -> int:
        """The number of devices along the axis."""
        return self.mesh.shape[self.name]

    def _on_each(self, function, *in_specs):
        """Runs a function on each device; other axes of the mesh are left to XLA."""
        split = PartitionSpec(self.name)
        return jax.shard_map(
            function, mesh=self.mesh, axis_names={self.name}, in_specs=in_specs, out_specs=split
        )

    def _vary(self, tree):
        """Lets a tree that is the same on every device become different on each."""
        return jax.lax.pcast(tree, self.name, to="varying")

    def _scan(self, action: Action, constants, elements, state, *, reverse: bool = False):
        """Finds the states after each step, ``(T, ...)``, split over the mesh axis.

        Every device composes the map of each of its steps with those before them. Of these maps
        the devices exchange one each, find all states between devices, one after the other, and
        apply their maps to the state in which their own steps begin.
        """

        def run(constants, elements, state):
            constants, state = self._vary((constants, state))
            maps = jax.lax.associative_scan(jax.vmap(action.combine), elements, reverse=reverse)
            own = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], maps)
            each = jax.lax.all_gather(own, self.name)
            ends = one_by_one(action, constants, each, state, reverse=reverse)
            starts = shift_earlier(ends, state) if reverse else shift_later(state, ends)
            index = jax.lax.axis_index(self.name)
            start = jax.tree.map(lambda leaf: leaf[index], starts)
            return jax.vmap(action.apply, (None, 0, None))(constants, maps, start)

        split = PartitionSpec(self.name)
        return self._on_each(run, _WHOLE, split, _WHOLE)(constants, elements, state)

    # XLA would collect all steps on every device for a concatenation along time.

    def _later(self, first, rest):
        def run(first, rest):
            before = self._from_neighbour(jax.tree.map(lambda leaf: leaf[-1], rest), 1)
            at_edge = jax.lax.axis_index(self.name) == 0
            return shift_later(select(at_edge, self._vary(first), before), rest)

        return self._on_each(run, _WHOLE, PartitionSpec(self.name))(first, rest)

    def _earlier(self, rest, last):
        def run(rest, last):
            after = self._from_neighbour(jax.tree.map(lambda leaf: leaf[0], rest), -1)
            at_edge = jax.lax.axis_index(self.name) == self.size - 1
            return shift_earlier(rest, select(at_edge, self._vary(last), after))

        return self._on_each(run, PartitionSpec(self.name), _WHOLE)(rest, last)

    def _from_neighbour(self, tree, step: int):
        """Sends a tree `step` devices on; the device at the edge receives zeros."""
        pairs = [(i, i + step) for i in range(self.size) if 0 <= i + step < self.size]
        return jax.lax.ppermute(tree, self.name, pairs)
