"""A tree brought to the host, and the files of its checkpoint."""

import hashlib
import operator
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import numpy as np

from jaxrnn.train.checkpoint_files import ARRAYS, MANIFEST
from jaxrnn.train.leaves import describe, named_leaves, stored_type, to_stored
from jaxrnn.train.manifest import Manifest, check_info, current_versions, write_manifest
from jaxrnn.train.pieces import Box, box_of, piece_name, whole_box
from jaxrnn.train.reading import EXTRA
from jaxrnn.train.safetensors import write_arrays
from jaxrnn.train.step_directory import put_file
from jaxrnn.train.together import Processes, processes_of

__all__ = ["Share", "Snapshot", "fill_directory", "put_arrays", "snapshot"]


class Share(NamedTuple):
    """What one of several processes that write a checkpoint together has of it.

    Attributes:
      processes: which, and which it is.
      boxes: what each of its arrays holds, by name in the file: the name of the leaf, and a box.
      scattered: whether any array lies in pieces; otherwise one file of process 0 holds them.
      own: arrays of which every process has one of its own, which have to be equal.
      token: the same in all processes, and another for every training.
      hurry: set where the training is ending with an error, so that others may have died.
    """

    processes: Processes
    boxes: dict[str, tuple[str, Box]]
    scattered: bool
    own: dict[str, np.ndarray]
    token: str
    hurry: threading.Event


class Snapshot(NamedTuple):
    """A tree as it is written; it holds NumPy arrays alone, so that any thread may write it.

    Attributes:
      manifest: what the arrays are; size and checksum are filled in when they are written.
      arrays: by name; of several processes, those that this one writes.
      stored_as: how each is stored.
      share: None where this process writes everything.
    """

    manifest: Manifest
    arrays: dict[str, np.ndarray]
    stored_as: dict[str, str]
    share: Share | None = None


def _check_step(step: Any, *, by: str) -> int:
    try:
        count = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        count = -1
    if not 0 <= count < 10**18:
        msg = f"{by}: got step={step!r}; expected an integer, 0 or more"
        raise (ValueError if isinstance(step, int) else TypeError)(msg)
    return count


def _scattered(leaf: Any, processes: Processes) -> bool:
    """Whether an array lies in pieces over several processes."""
    if processes.count == 1 or not isinstance(leaf, jax.Array) or not leaf.size:
        return False
    return not leaf.is_fully_replicated and _global(leaf, processes)


def _global(leaf: Any, processes: Processes) -> bool:
    """Whether an array lies over several processes, in pieces or as copies."""
    devices = leaf.sharding.device_set if isinstance(leaf, jax.Array) else ()
    return len({processes.owner(device) for device in devices}) > 1


def _pieces(leaf: jax.Array, processes: Processes) -> list[tuple[Box, jax.Array]]:
    """Returns what this process writes of an array: of equal pieces the first, wherever it is."""
    axes = leaf.ndim  # of keys JAX gives an axis more, that of their data
    return [
        (box_of(shard.index[:axes], leaf.shape), shard.data)
        for shard in leaf.addressable_shards
        if shard.replica_id == 0 and processes.owner(shard.device) == processes.index
    ]


def snapshot(
    tree: Any,
    *,
    step: int,
    info: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    processes: Processes | None = None,
    token: str = "",
    by: str = "save_checkpoint",
) -> Snapshot:
    """Brings a tree to the host, ready to be written; of several processes each what it writes.

    Args:
      tree: arrays, random keys and numbers.
      step: the number of steps done.
      info: what JSON can hold; of several processes that of process 0 is written.
      extra: more arrays, which `load_checkpoint` passes over; likewise.
      processes: which hold the tree together; found from its arrays if not given.
      token: see `Share`.
      by: the function the user called, for the messages.

    Returns:
      The snapshot.

    Raises:
      TypeError: a leaf or something in `info` cannot be stored, or the step is no integer.
      ValueError: the step is negative, a number in `info` is not finite, or an array lies over some
        of several processes.
    """
    step, info = _check_step(step, by=by), check_info(info, by=by)
    processes = processes_of(tree, by=by) if processes is None else processes
    leaves = named_leaves(tree, by=by)
    extra = {f"{EXTRA}{name}": np.asarray(array) for name, array in (extra or {}).items()}
    together = leaves | extra
    described = {name: describe(name, leaf, by=by) for name, leaf in together.items()}
    stored_as = {name: stored_type(leaf)[2] for name, leaf in together.items()}
    arrays, boxes, own = {}, {}, {}
    for name, leaf in together.items():
        if _scattered(leaf, processes):
            for box, data in _pieces(leaf, processes):
                key = piece_name(name, box, leaf.shape)
                arrays[key], boxes[key] = to_stored(name, data, by=by), (name, box)
            continue
        compared = processes.count > 1 and name in leaves and not _global(leaf, processes)
        if processes.index == 0 or compared:
            values = to_stored(name, leaf, by=by)
            own |= {name: values} if compared else {}
            if processes.index == 0:
                arrays[name] = values
                boxes[name] = name, whole_box(described[name].shape)
    tops = ({name: described[name] for name in part} for part in (leaves, extra))
    manifest = Manifest(step, *tops, 0, "", info, current_versions())
    if processes.count == 1:
        return Snapshot(manifest, arrays, stored_as)
    scattered = any(_scattered(leaf, processes) for leaf in leaves.values())
    share = Share(processes, boxes, scattered, own, token, threading.Event())
    return Snapshot(manifest, arrays, stored_as, share)


def put_arrays(path: Path, snapshot: Snapshot) -> tuple[int, str]:
    """Writes a file of arrays.

    Args:
      path: of a file that does not exist.
      snapshot: whose arrays.

    Returns:
      Its size and its sha256.
    """
    digest, size = hashlib.sha256(), 0

    def put(file: BinaryIO):
        def write(piece):
            nonlocal size
            file.write(piece)
            digest.update(piece)
            size += len(piece)

        write_arrays(write, snapshot.arrays, {"format": "jaxrnn"})

    put_file(path, put)
    return size, digest.hexdigest()


def fill_directory(path: Path, snapshot: Snapshot) -> None:
    """Writes the two files of a checkpoint of one process into a directory.

    Args:
      path: the directory.
      snapshot: what to write.
    """
    size, sha256 = put_arrays(path / ARRAYS, snapshot)
    manifest = snapshot.manifest._replace(size=size, sha256=sha256)
    text = write_manifest(manifest, snapshot.stored_as)
    put_file(path / MANIFEST, lambda file: file.write(text))
