"""Where a training lives: on one device, or spread over a mesh."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.core.types import Params
from jaxrnn.sharding.batches import batch_specs
from jaxrnn.sharding.fitting import names_of
from jaxrnn.sharding.mesh import check_mesh
from jaxrnn.sharding.optimizers import optimizer_specs
from jaxrnn.sharding.placing import shard
from jaxrnn.sharding.specs import param_specs, partition, state_specs

__all__ = ["Placement", "read_placement"]


class Placement:
    """Spreads what a training holds over a mesh; without one it leaves all as it is.

    Where a leaf lies follows from shapes, so that it can be worked out at trace time as well.

    Args:
      mesh: the mesh, or None.
      specs: what `param_specs` should not decide, or None.
      batch: what `batch_specs` should not decide, or None.
    """

    def __init__(self, mesh: Mesh | None, specs: Any = None, batch: Any = None) -> None:
        self._mesh, self._specs, self._batch = mesh, specs, batch
        self._explicit = mesh is not None and AxisType.Explicit in mesh.axis_types
        self._everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())

    def _of_params(self, params: Params) -> Any:
        return param_specs(self._mesh, params, overrides=self._specs)

    def _of_state(self, train_state: Any) -> Any:
        """Returns the shardings of a training state, a tree like it."""
        params, opt_state, carried, *_ = train_state
        specs = self._of_params(params)
        specs = train_state._replace(
            params=specs,
            opt_state=optimizer_specs(self._mesh, opt_state, params, specs),
            carried=state_specs(self._mesh, carried),
            step=self._everywhere,
            skipped=self._everywhere,
        )
        return jax.tree.map(self._as_compiled, specs, train_state)

    def _as_compiled(self, sharding: NamedSharding, leaf: Any) -> NamedSharding:
        """Returns a sharding as a compiled program writes it, for which JAX need not compile again.

        Axes of size 1 are left out. The type of an array on an explicit mesh has an entry an axis.
        """
        shape, entries = self._mesh.shape, []
        for entry in sharding.spec:
            names = tuple(name for name in names_of(entry) if shape[name] > 1)
            entries.append(names[0] if len(names) == 1 else names or None)
        if self._explicit:
            entries += [None] * (jnp.ndim(leaf) - len(entries))
            return NamedSharding(self._mesh, PartitionSpec(*entries))
        return NamedSharding(self._mesh, partition(entries))

    def put_params(self, params: Params) -> Params:
        """Returns the parameters, each leaf where it belongs."""
        return params if self._mesh is None else shard(params, self._of_params(params))

    def put(self, train_state: Any) -> Any:
        """Returns a training state, each leaf where it belongs."""
        if self._mesh is None:
            return train_state
        return shard(train_state, self._of_state(train_state))

    def around(self, params: Params):
        """Lets an optimiser make arrays of its own on an explicit mesh; a context."""
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params))
        if traced or not self._explicit:
            return contextlib.nullcontext()
        return jax.set_mesh(self._mesh)

    def copy(self, tree: Any) -> Any:
        """Returns a tree with the whole of each leaf on every device; what is spread stays so."""
        if self._mesh is None:
            return tree
        devices = set(self._mesh.devices.flat)

        def one(leaf):
            there = isinstance(leaf, jax.Array) and leaf.sharding.device_set == devices
            return leaf if there else shard(leaf, self._everywhere)

        return jax.tree.map(one, tree)

    def spread_step(self, step: Callable) -> Callable:
        """Makes a training step keep its state spread, and spread its batch; for a trace."""
        if self._mesh is None:
            return step

        def spread(train_state, batch):
            specs = self._of_state(train_state)
            train_state = self._constrain(train_state, specs)
            spread_batch = batch_specs(self._mesh, batch, overrides=self._batch)
            batch = self._constrain(batch, spread_batch)
            with self._known():
                train_state, metrics = step(train_state, batch)
            everywhere = jax.tree.map(lambda _: self._everywhere, metrics)
            return self._constrain(train_state, specs), self._constrain(metrics, everywhere)

        return spread

    def _known(self):
        """Lets the code of a step know of the mesh: `jaxrnn.unrolls.batch_groups` asks for it."""
        if self._explicit:
            return contextlib.nullcontext()  # JAX has done so
        return jax.sharding.use_abstract_mesh(self._mesh.abstract_mesh)

    def _constrain(self, tree: Any, specs: Any) -> Any:
        # Where an explicit mesh is automatic for a while, JAX wants specs without the mesh.
        if self._explicit:
            specs = jax.tree.map(lambda one: one.spec, specs)
        return jax.lax.with_sharding_constraint(tree, specs)

    def _automatic(self, function: Callable, out: Any) -> Callable:
        """Makes the axes of an explicit mesh automatic inside a function, so that any code runs."""
        if not self._explicit:
            return function
        return jax.sharding.auto_axes(function, out_sharding=out)

    def make_step(self, step: Callable) -> Callable:
        """Makes a training step for the caller's own `jax.jit`."""
        spread = self.spread_step(step)
        if not self._explicit:
            return spread

        def run(train_state, batch):
            out = self._of_state(train_state), self._everywhere
            return self._automatic(spread, out)(train_state, batch)

        return run

    def compiled(self, function: Callable, train_state: Any) -> Callable:
        """Compiles ``(train_state, ...) -> (train_state, rest)``; states go out as they come in.

        Args:
          function: the function; the rest is the same on every device.
          train_state: a training state, for its shapes.
        """
        if self._mesh is None:
            return jax.jit(function)
        out = self._of_state(train_state), self._everywhere
        return jax.jit(self._automatic(function, out), out_shardings=out)

    def measuring(self, function: Callable) -> Callable:
        """Compiles a function of the parameters whose results every process reads."""
        if self._mesh is None:
            return jax.jit(function)
        out = self._everywhere
        return jax.jit(self._automatic(function, out), out_shardings=out)


def read_placement(mesh: Mesh | None, specs: Any, batch: Any, *, by: str) -> Placement:
    """Checks the arguments `mesh`, `specs` and `batch_specs` of a function.

    Args:
      mesh: a mesh, or None.
      specs: what `param_specs` should not decide, or None.
      batch: what `batch_specs` should not decide, or None.
      by: the function the user called, for the messages.

    Returns:
      The placement.

    Raises:
      TypeError: `mesh` is no mesh.
      ValueError: specs without `mesh`, or a mesh that lacks an axis.
    """
    if mesh is not None:
        return Placement(check_mesh(mesh, by=by), specs, batch)
    if specs is not None or batch is not None:
        msg = f"{by}: got specs without mesh; expected the mesh that they are of; pass mesh as well"
        raise ValueError(msg)
    return Placement(None)
