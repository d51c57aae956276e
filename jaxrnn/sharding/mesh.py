"""The mesh: devices in a grid of three named axes."""

import math
import operator
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

__all__ = ["AXES", "check_mesh", "mesh"]

AXES = ("data", "time", "model")
"""The axes of every mesh, the slowest first. Devices side by side belong to "model", whose
collectives run in every step of a sequence; those far apart, such as on other machines, to "data",
whose one collective runs after the backward pass."""

_BY = "mesh"


def _read_sizes(sizes: dict[str, int]) -> dict[str, int]:
    """Returns the sizes as integers, at most one of them -1."""
    read = {}
    for name, size in sizes.items():
        try:
            number = operator.index(size)
        except TypeError:
            number = None
        if number is None or isinstance(size, bool):
            msg = (
                f"{_BY}: got {name}={size!r} ({type(size).__name__}); expected a number of "
                "devices; pass an integer, or -1 for all that are left"
            )
            raise TypeError(msg)
        if number < 1 and number != -1:
            msg = (
                f"{_BY}: got {name}={number}; expected a positive number of devices; pass "
                f"{name}=1 for an axis that splits nothing, or -1 for all devices that are left"
            )
            raise ValueError(msg)
        read[name] = number
    if list(read.values()).count(-1) > 1:
        free = ", ".join(f"{name}=-1" for name, size in read.items() if size == -1)
        msg = f"{_BY}: got {free}; expected -1 for one axis at most; give the others a number"
        raise ValueError(msg)
    return read


def _text(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _fill(sizes: dict[str, int], count: int) -> dict[str, int]:
    """Puts the number of devices that are left in the place of -1."""
    taken = math.prod(size for size in sizes.values() if size != -1)
    if -1 not in sizes.values():
        return sizes
    free = next(name for name, size in sizes.items() if size == -1)
    if taken > count:
        # The axis of -1 is 1 at least: then the check of the numbers says what to change.
        return sizes | {free: 1}
    if count % taken:
        fits = max(size for size in range(1, taken) if count % size == 0)
        msg = (
            f"{_BY}: got {_text(sizes)} for {count} devices; expected the other axes to take a "
            f"divisor of {count}, not {taken}; make them take {fits}, or pass "
            f"{free}={count // taken}, which leaves {count % taken} idle"
        )
        raise ValueError(msg)
    return sizes | {free: count // taken}


def _check_count(sizes: dict[str, int], count: int) -> None:
    wanted = math.prod(sizes.values())
    if wanted <= count:
        return
    fits = {
        name: most
        for name, size in sizes.items()
        if size > 1 and (most := count // (wanted // size)) >= 1
    }
    remedy = " or ".join(f"{name}={most}" for name, most in fits.items())
    remedy = f"use {remedy}" if remedy else "make more than one axis smaller"
    msg = (
        f"{_BY}: got {_text(sizes)}, {wanted} devices; expected at most {count}, which there are; "
        f"{remedy}; virtual ones on a CPU are made before the first use of JAX, with "
        f'jax.config.update("jax_num_cpu_devices", {wanted})'
    )
    raise ValueError(msg)


def _check_processes(devices: Sequence[jax.Device], given: int) -> None:
    """Raises ValueError where a process holds no part of the mesh and another does."""
    holders = {device.process_index for device in devices}
    idle = sorted(set(range(jax.process_count())) - holders)
    if not idle or holders == {jax.process_index()}:
        return
    msg = (
        f"{_BY}: got {len(devices)} of {given} devices, none of them of process "
        f"{', '.join(map(str, idle))}; expected a part of the mesh in each of "
        f"{jax.process_count()} processes; use more devices, such as data=-1, or pass devices= "
        "with some of every process, or jax.local_devices() for a mesh of this process alone"
    )
    raise ValueError(msg)


def mesh(
    *,
    data: int = 1,
    model: int = 1,
    time: int = 1,
    devices: Sequence[jax.Device] | None = None,
    explicit: bool = False,
) -> Mesh:
    """Makes a mesh with the axes "data", "time" and "model".

    Batch axes are split over "data", hidden and gate axes over "model", time over "time"; see
    `param_specs` and the other functions of that kind. All three axes are always there: one of
    size 1 splits nothing, so that a program written for a mesh runs on one device.

    The axes lie in this order, "model" innermost: devices that follow each other, those of one
    process first, share its collectives, which run in every step of a sequence, while the one
    collective of "data" runs after the backward pass and may cross machines. Where JAX knows how
    the devices are wired (TPU) it orders them by that.

    Args:
      data: number of parts of the batch; -1, here or on another axis, for all devices left.
      model: number of parts of hidden and gate axes.
      time: number of parts of the sequence.
      devices: the devices, in this order; all of `jax.devices` if not given, process by process.
      explicit: whether arrays carry their sharding in their types (`AxisType.Explicit`), which is
        checked while a program is traced. By default XLA decides (`AxisType.Auto`).

    Returns:
      The mesh. In one process the first ``data * time * model`` devices; the others stay idle.

    Raises:
      TypeError: a size is not an integer.
      ValueError: more devices are asked for than there are; a size is less than 1; -1 is given
        twice, or the devices cannot be shared equally; with several processes, one of them would
        hold no part of the mesh (a mesh of this process's own devices alone is all right), or
        without `devices` some would be idle.

    Example:
      >>> dict(mesh(data=1, model=1).shape)
      {'data': 1, 'time': 1, 'model': 1}
    """
    sizes = _read_sizes({"data": data, "time": time, "model": model})
    chosen = devices is not None
    if chosen:
        every = list(devices)
        if len(set(every)) < len(every):
            twice = sorted({str(device) for device in every if every.count(device) > 1})
            msg = f"{_BY}: got {', '.join(twice)} more than once; expected each device once"
            raise ValueError(msg)
    else:
        every = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    sizes = _fill(sizes, len(every))
    _check_count(sizes, len(every))
    wanted = math.prod(sizes.values())
    if wanted < len(every) and jax.process_count() > 1 and not chosen:
        msg = (
            f"{_BY}: got {_text(sizes)}, {wanted} of {len(every)} devices of "
            f"{jax.process_count()} processes; expected all of them; use data=-1, or choose with "
            "devices=, some of every process"
        )
        raise ValueError(msg)
    every = every[:wanted]
    _check_processes(every, len(every))
    kind = AxisType.Explicit if explicit else AxisType.Auto
    shape = tuple(sizes[name] for name in AXES)
    return jax.make_mesh(shape, AXES, axis_types=(kind,) * len(AXES), devices=every)


def check_mesh(found: Mesh, *, by: str) -> Mesh:
    """Returns `found` if it is a mesh with the three axes.

    Args:
      found: what the user passed.
      by: the function the user called, for the message.

    Raises:
      TypeError: it is no mesh.
      ValueError: it lacks an axis.
    """
    remedy = "make it with jaxrnn.sharding.mesh(data=..., model=..., time=...)"
    if not isinstance(found, Mesh | jax.sharding.AbstractMesh):
        msg = (
            f"{by}: got mesh of type {type(found).__name__}; expected a jax.sharding.Mesh; {remedy}"
        )
        raise TypeError(msg)
    missing = [name for name in AXES if name not in found.axis_names]
    if missing:
        names = ", ".join(map(repr, found.axis_names))
        msg = (
            f"{by}: got a mesh with the axes {names}; expected {', '.join(map(repr, AXES))}, one "
            f"of size 1 where nothing is split; {remedy}"
        )
        raise ValueError(msg)
    return found
