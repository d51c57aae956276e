"""The mesh axis that a user names: checked, with what to do where it does not fit; and "data"."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh

from jaxrnn.core.checks import unknown_name

__all__ = ["check_around", "check_mesh_axis", "enter_varying", "find_batch_axis"]

_BATCH_AXIS = "data"


def check_mesh_axis(mesh: Mesh, axis: str, *, by: str) -> int:
    """Returns how many devices lie along an axis of a mesh whose axes are of type Auto.

    Args:
      mesh: the devices.
      axis: the name of one of its axes.
      by: the function the user called, for the messages.

    Returns:
      The axis's size.

    Raises:
      TypeError: `mesh` is no mesh.
      ValueError: the mesh has no such axis, or has axes that are not Auto.
    """
    if not isinstance(mesh, Mesh):
        msg = (
            f"{by}: got mesh of type {type(mesh).__name__}; expected a jax.sharding.Mesh; make "
            f'one with jax.make_mesh((jax.device_count(),), ("{axis}",))'
        )
        raise TypeError(msg)
    if axis not in mesh.axis_names:
        raise unknown_name("mesh axis", axis, mesh.axis_names)
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        kinds = ", ".join(str(kind) for kind in mesh.axis_types)
        msg = (
            f"{by}: got a mesh with axes of type {kinds}; expected Auto alone; make it with "
            "jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(names))"
        )
        raise ValueError(msg)
    return mesh.shape[axis]


def check_around(mesh: Mesh, *, by: str) -> None:
    """Checks what is around a call: no map, since maps are not nested here, and no other mesh.

    Args:
      mesh: the devices to use.
      by: the function the user called, for the messages.

    Raises:
      NotImplementedError: inside `jax.shard_map`.
      ValueError: another mesh is set, as by `jax.set_mesh` or by a training over one.
    """
    around = jax.sharding.get_abstract_mesh()
    kinds = zip(around.axis_names, around.axis_types, strict=True)
    mapped = [name for name, kind in kinds if kind == AxisType.Manual]
    if mapped:
        msg = (
            f"{by}: got a call inside jax.shard_map over {', '.join(mapped)}; expected one "
            "outside, under jax.jit at most; let layers inside jaxrnn.pipelined run on one device "
            "each"
        )
        raise NotImplementedError(msg)
    if around.axis_names and dict(around.shape) != dict(mesh.shape):
        msg = (
            f"{by}: got a mesh {dict(mesh.shape)} inside a program over {dict(around.shape)}; "
            "expected one mesh; make one and pass it to all that take a mesh"
        )
        raise ValueError(msg)


def find_batch_axis(mesh: Mesh, axis: str, batch_shape: tuple[int, ...], *trees) -> str | None:
    """Returns the mesh axis over which the batch goes too, so that sums over it wait for the end.

    Inside a loop over time XLA would add up a matrix's gradient over the batch at every step.

    Args:
      mesh: the mesh.
      axis: the axis that is used for something else.
      batch_shape: the batch axes.
      *trees: parameters and states.

    Returns:
      "data", or None where the mesh has no such axis, it does not divide the batch, or there are
      keys, of which one may be for each sequence.
    """
    if _BATCH_AXIS == axis or mesh.shape.get(_BATCH_AXIS, 1) == 1:
        return None
    kinds = [jnp.result_type(leaf) for leaf in jax.tree.leaves(trees)]
    keys = any(jnp.issubdtype(kind, jax.dtypes.extended) for kind in kinds)
    divides = batch_shape and batch_shape[0] % mesh.shape[_BATCH_AXIS] == 0
    return _BATCH_AXIS if divides and not keys else None


def enter_varying(leaf, axes: tuple[str, ...]):
    """Lets an array of floats vary over mesh axes over which it is the same, inside `shard_map`.

    Before a loop, and not in it, where the transpose would be a sum over devices at every step.
    """
    if not axes or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    return jax.lax.pcast(leaf, axes, to="varying")
