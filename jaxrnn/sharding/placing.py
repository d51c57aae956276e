"""Putting arrays where their specs say, in one process and in several, and back."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.sharding.axes import is_key, shape_of
from jaxrnn.sharding.batches import batch_specs
from jaxrnn.sharding.fitting import check_spec, names_of, spec_of
from jaxrnn.sharding.mesh import AXES, check_mesh
from jaxrnn.sharding.overrides import path_name, specs_by_leaf
from jaxrnn.sharding.specs import without_idle

__all__ = ["from_processes", "shard", "unshard"]


def _ambient_mesh(mesh: Mesh | None, *, by: str):
    """Returns the mesh for a `PartitionSpec`: the one given, else the one set around the call."""
    if mesh is not None:
        return mesh
    found = jax.sharding.get_abstract_mesh()
    if found.empty:
        msg = (
            f"{by}: got a PartitionSpec and no mesh; expected the mesh that it is for; pass "
            "mesh=..., or call it under `with jax.set_mesh(mesh):`, or pass NamedShardings"
        )
        raise ValueError(msg)
    try:
        return jax.sharding.get_mesh()
    except ValueError:  # inside jit, where there is the abstract one alone
        return found


def _shardings(tree, specs, mesh: Mesh | None, *, by: str) -> list[tuple[Any, NamedSharding]]:
    """Returns every leaf and its sharding, checked against each other."""
    leaves = jax.tree.leaves_with_path(tree)
    found = specs_by_leaf(specs, [path for path, _ in leaves], by=by)
    rows = []
    for (path, leaf), spec in zip(leaves, found, strict=True):
        name = path_name(path)
        if not isinstance(spec, NamedSharding):
            over = _ambient_mesh(mesh, by=by)
            spec = spec_of(spec, over, what=name, by=by)
            check_spec(shape_of(leaf), spec, over, what=name, by=by)
            spec = NamedSharding(over, spec)
        else:
            check_spec(shape_of(leaf), spec.spec, spec.mesh, what=name, by=by)
        rows.append((leaf, spec))
    return rows


def _constrain(leaf, sharding: NamedSharding):
    """Places a traced array, in the way that the mesh's type of axes asks for."""
    kinds = dict(zip(sharding.mesh.axis_names, sharding.mesh.axis_types, strict=True))
    named = {name for entry in sharding.spec for name in names_of(entry)} or set(kinds)
    if all(kinds[name] == AxisType.Explicit for name in named):
        return jax.sharding.reshard(leaf, sharding)
    return jax.lax.with_sharding_constraint(leaf, sharding)


def _spread(leaf, sharding: NamedSharding):
    """Places what every process holds whole on a mesh of several processes."""
    if is_key(leaf):
        data = _spread(jax.random.key_data(leaf), sharding)
        make = jax.jit(
            lambda data: jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)),
            out_shardings=sharding,
        )
        return make(data)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.jit(lambda x: x, out_shardings=sharding)(leaf)  # from one placing to another
    whole = np.asarray(leaf, jax.dtypes.canonicalize_dtype(np.result_type(leaf)))
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def shard(tree: Any, specs: Any, *, mesh: Mesh | None = None) -> Any:
    """Puts every array of a tree where its spec says.

    Outside `jax.jit` arrays are moved (as by `jax.device_put`: the one that comes back may share
    memory with the one that was given, so donate neither while you need the other). Inside, XLA is
    told where they are to lie (with an explicit mesh JAX wants the program run under
    ``jax.set_mesh``). With several processes, every process calls it with the same
    values, and places the parts of its own devices; for data of which each has read its share see
    `from_processes`.

    Args:
      tree: any tree of arrays, NumPy's and random keys among them.
      specs: a tree of `jax.sharding.NamedSharding` like `tree`, or like its first levels: one
        sharding alone holds for all arrays. `jax.sharding.PartitionSpec` is all right where the
        mesh is known.
      mesh: the mesh of a `PartitionSpec`; the one of `jax.set_mesh` if not given.

    Returns:
      The tree, placed.

    Raises:
      TypeError: a spec is none.
      ValueError: `specs` does not fit the tree, or an array not its spec (the message names the
        leaf, and which number to change); a `PartitionSpec` without a mesh.

    Example:
      >>> import jax, jaxrnn
      >>> mesh = jaxrnn.sharding.mesh()
      >>> params = jaxrnn.lstm(3, 8).init(jax.random.key(0))
      >>> params = shard(params, jaxrnn.sharding.param_specs(mesh, params))
      >>> params.w_hh.sharding.spec
      P(None, 'model')
    """
    by = "shard"
    placed = []
    for leaf, sharding in _shardings(tree, specs, mesh, by=by):
        if isinstance(leaf, jax.core.Tracer) or not isinstance(sharding.mesh, Mesh):
            placed.append(_constrain(leaf, sharding))
        elif sharding.is_fully_addressable:
            placed.append(jax.device_put(leaf, sharding))
        else:
            placed.append(_spread(leaf, sharding))
    return jax.tree.unflatten(jax.tree.structure(tree), placed)


def unshard(tree: Any) -> Any:
    """Collects every array of a tree whole, on each process, as NumPy.

    With several processes all of them have to call it. It needs memory for the whole of the
    largest array on every device.

    Args:
      tree: any tree of arrays. Random keys stay keys, on one device.

    Returns:
      The tree of NumPy arrays.

    Example:
      >>> import jax.numpy as jnp, jaxrnn
      >>> from jax.sharding import PartitionSpec
      >>> x = jaxrnn.sharding.shard(jnp.ones(4), PartitionSpec("data"), mesh=jaxrnn.sharding.mesh())
      >>> unshard(x)
      array([1., 1., 1., 1.], dtype=float32)
    """

    def collect(leaf):
        if is_key(leaf):
            data = collect(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            whole = NamedSharding(leaf.sharding.mesh, PartitionSpec())
            leaf = jax.jit(lambda x: x, out_shardings=whole)(leaf)
        return np.asarray(leaf)

    return jax.tree.map(collect, tree)


def _global_shape(name, shape, sharding: NamedSharding) -> tuple[int, ...]:
    """Returns the shape of the array of which this process holds `shape`."""
    mesh, whole = sharding.mesh, list(shape)
    local = mesh.local_mesh
    if len(sharding.spec) > len(shape):
        check_spec(shape, sharding.spec, mesh, what=name, by="from_processes")
    for axis, entry in enumerate(sharding.spec):
        for mesh_axis in names_of(entry):
            whole[axis] *= mesh.shape[mesh_axis] // local.shape[mesh_axis]
    return tuple(whole)


def from_processes(specs: Mesh | Any, batch: Any) -> Any:
    """Makes a global batch of what every process has read: its own share.

    The share of a process is the part of the batch of the mesh's devices that are its own: with p
    processes and the batch over "data" each reads B / p sequences, process 0 the first of them.
    Where "data" does not cross processes (such as on a mesh that splits "model" alone) every
    process reads the whole. In one process it is `shard`.

    Args:
      specs: the mesh, for `batch_specs`; or a tree of `jax.sharding.NamedSharding` like the batch,
        or like its first levels.
      batch: this process's share: a `jaxrnn.tasks.Batch`, or any tree of arrays. Every process has
        the same shapes.

    Returns:
      The tree of global arrays.

    Raises:
      TypeError: a spec is no `NamedSharding`.
      ValueError: the devices of this process cannot share what it has read equally; `specs` does
        not fit the batch.

    Example:
      >>> import jax, jaxrnn
      >>> batch = jaxrnn.tasks.adding(length=6, batch_size=4).sample(jax.random.key(0))
      >>> from_processes(jaxrnn.sharding.mesh(data=1), batch).xs.sharding.spec
      P('time', 'data')
    """
    by = "from_processes"
    if isinstance(specs, Mesh):
        specs = _specs_of_share(check_mesh(specs, by=by), batch)
    leaves, structure = jax.tree.flatten_with_path(batch)
    found = specs_by_leaf(specs, [path for path, _ in leaves], by=by)
    placed = []
    for (path, leaf), sharding in zip(leaves, found, strict=True):
        name = path_name(path)
        if not isinstance(sharding, NamedSharding):
            msg = (
                f"{by}: got {sharding!r} for {name}; expected a NamedSharding; pass "
                "the mesh, or batch_specs(mesh, batch)"
            )
            raise TypeError(msg)
        whole = _global_shape(name, shape_of(leaf), sharding)
        together = "" if whole == shape_of(leaf) else ", of all processes together,"
        check_spec(whole, sharding.spec, sharding.mesh, what=name + together, by=by)
        if sharding.is_fully_addressable:
            placed.append(jax.device_put(leaf, sharding))
        else:
            local = np.asarray(leaf)
            placed.append(jax.make_array_from_process_local_data(sharding, local, whole))
    return jax.tree.unflatten(structure, placed)


def _specs_of_share(mesh: Mesh, batch: Any):
    """Returns the specs of the global batch, from a process's share of it."""
    # Sizes are checked of the whole, later: this mesh of no devices divides everything.
    undivided = AbstractMesh((1,) * len(AXES), AXES, axis_types=(AxisType.Auto,) * len(AXES))
    specs = batch_specs(undivided, batch)
    return jax.tree.map(lambda one: NamedSharding(mesh, without_idle(one.spec, mesh)), specs)
