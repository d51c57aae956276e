"""The mesh axis that a user names: checked, with what to do where it does not fit."""

from jax.sharding import AxisType, Mesh

from jaxrnn.core.checks import unknown_name

__all__ = ["check_mesh_axis"]


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
