"""One checkpoint: the two files of its directory, made from a tree and read back with distrust."""

import errno
import hashlib
import operator
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import numpy as np

from jaxrnn.train.leaves import (
    describe,
    differences,
    named_leaves,
    plain_leaf,
    restore,
    stored_type,
    to_stored,
)
from jaxrnn.train.manifest import (
    CheckpointError,
    Manifest,
    check_info,
    current_versions,
    parse_manifest,
    write_manifest,
)
from jaxrnn.train.safetensors import (
    SafetensorsError,
    read_data,
    read_header,
    write_arrays,
)
from jaxrnn.train.step_directory import put_file, step_path

__all__ = [
    "Contents",
    "Snapshot",
    "fill_directory",
    "looks_whole",
    "read_directory",
    "read_manifest",
    "snapshot",
]

_ARRAYS, _MANIFEST = "arrays.safetensors", "manifest.json"
_MAX_MANIFEST = 100_000_000  # bytes
_LISTED = 20  # differences that a message shows
_EXTRA = "extra:"


class Snapshot(NamedTuple):
    """A tree as it is written; it holds NumPy arrays alone, so that any thread may write it.

    Attributes:
      manifest: what the arrays are; size and checksum are filled in when they are written.
      arrays: by name.
      stored_as: how each is stored.
    """

    manifest: Manifest
    arrays: dict[str, np.ndarray]
    stored_as: dict[str, str]


class Contents(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tree: of the structure that was asked for, or None.
      step: the step it was saved at.
      info: what the user saved with it.
      extra: arrays of NumPy beside the tree, by name.
      versions: of the packages that wrote it, by name.
    """

    tree: Any
    step: int
    info: dict[str, Any]
    extra: dict[str, np.ndarray]
    versions: dict[str, str]


def _check_step(step: Any, *, by: str) -> int:
    try:
        count = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        count = -1
    if not 0 <= count < 10**18:
        msg = f"{by}: got step={step!r}; expected an integer, 0 or more"
        raise (ValueError if isinstance(step, int) else TypeError)(msg)
    return count


def snapshot(
    tree: Any,
    *,
    step: int,
    info: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    by: str = "save_checkpoint",
) -> Snapshot:
    """Brings a tree to the host, ready to be written.

    Args:
      tree: arrays, random keys and numbers.
      step: the number of steps done.
      info: what JSON can hold.
      extra: more arrays, which `load_checkpoint` passes over.
      by: the function the user called, for the messages.

    Returns:
      The snapshot.

    Raises:
      TypeError: a leaf or something in `info` cannot be stored, or the step is no integer.
      ValueError: the step is negative, a number in `info` is not finite.
    """
    step, info = _check_step(step, by=by), check_info(info, by=by)
    leaves = named_leaves(tree, by=by)
    extra = {f"{_EXTRA}{name}": np.asarray(array) for name, array in (extra or {}).items()}
    described = {name: describe(name, leaf, by=by) for name, leaf in (leaves | extra).items()}
    arrays = {name: to_stored(name, leaf, by=by) for name, leaf in (leaves | extra).items()}
    stored_as = {name: stored_type(leaf)[2] for name, leaf in (leaves | extra).items()}
    tops = ({name: described[name] for name in part} for part in (leaves, extra))
    return Snapshot(Manifest(step, *tops, 0, "", info, current_versions()), arrays, stored_as)


def fill_directory(path: Path, snapshot: Snapshot) -> None:
    """Writes the two files of a checkpoint into an empty directory.

    Args:
      path: the directory.
      snapshot: what to write.
    """
    digest, size = hashlib.sha256(), 0

    def put_arrays(file: BinaryIO):
        def write(piece):
            nonlocal size
            file.write(piece)
            digest.update(piece)
            size += len(piece)

        write_arrays(write, snapshot.arrays, {"format": "jaxrnn"})

    put_file(path / _ARRAYS, put_arrays)
    manifest = snapshot.manifest._replace(size=size, sha256=digest.hexdigest())
    text = write_manifest(manifest, snapshot.stored_as)
    put_file(path / _MANIFEST, lambda file: file.write(text))


def _open(path: Path, limit: int | None = None) -> tuple[BinaryIO, int]:
    """Opens a file of a checkpoint."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        msg = f"got no file {path.name}; expected the two files of a checkpoint"
        raise CheckpointError(msg) from None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
        msg = f"got a {path.name} that is no file; expected the two files of a checkpoint"
        raise CheckpointError(msg)
    file = open(path, "rb")
    size = os.fstat(file.fileno()).st_size
    if limit is not None and size > limit:
        file.close()
        msg = f"got {path.name} of {size} bytes; expected at most {limit}"
        raise CheckpointError(msg)
    return file, size


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of the checkpoint in the directory `path`, or raises CheckpointError."""
    file, _ = _open(path / _MANIFEST, _MAX_MANIFEST)
    with file:
        manifest = parse_manifest(file.read(_MAX_MANIFEST + 1))
    if step_path(path.parent, manifest.step).name != path.name:
        msg = f"got a manifest of step {manifest.step}; expected the step of the directory's name"
        raise CheckpointError(msg)
    return manifest


def looks_whole(path: Path) -> bool:
    """Whether the manifest and the size of a checkpoint in the directory `path` are right."""
    try:
        return read_manifest(path).size == (path / _ARRAYS).stat().st_size
    except (CheckpointError, OSError):
        return False


def _check_stored(
    manifest: Manifest, entries: Mapping[str, Any], expected: Mapping[str, tuple]
) -> None:
    """Compares what a manifest says with what a file of arrays holds."""
    names = sorted([*manifest.leaves, *manifest.extra])
    if names != sorted(entries):
        odd = sorted(set(names) ^ set(entries))[:3] or "names that stand twice"
        msg = f"got arrays and a manifest that differ in {odd!r:.200}; expected the same names"
        raise CheckpointError(msg)
    for name, (kind, shape) in expected.items():
        entry = entries[name]
        if (entry.dtype, entry.shape) != (kind, shape):
            msg = (
                f"got {entry.dtype} {entry.shape} stored for {name!r:.200}; expected {kind} {shape}"
            )
            raise CheckpointError(msg)


def _check_like(path: Path, manifest: Manifest, like: Any, *, by: str) -> dict[str, Any]:
    """Returns the leaves of `like` by name, which are those of the checkpoint."""
    wanted = named_leaves(like, by=by)
    expected = {name: describe(name, leaf, by=by) for name, leaf in wanted.items()}
    lines = differences(manifest.leaves, expected)
    if lines:
        more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        listed = "\n  ".join(lines[:_LISTED] + more)
        msg = (
            f"{by}: got a checkpoint of another architecture, {path}; expected the structure of "
            f"`like`; make the network and the optimiser as they were saved:\n  {listed}"
        )
        raise ValueError(msg)
    return wanted


def read_directory(
    path: Path, like: Any = None, *, with_tree: bool = True, by: str = "load_checkpoint"
) -> Contents:
    """Reads a checkpoint.

    Args:
      path: its directory.
      like: a tree of the structure, shapes and dtypes that are expected.
      with_tree: make the tree; otherwise the files are checked and the tree is None.
      by: the function the user called, for the messages.

    Returns:
      What it holds.

    Raises:
      CheckpointError: it is broken; the message does not name the directory.
      ValueError: it holds another tree than `like`.
    """
    manifest = read_manifest(path)
    wanted = _check_like(path, manifest, like, by=by) if with_tree else {}
    plain = {name: plain_leaf(leaf) for name, leaf in manifest.extra.items()}
    if None in plain.values():
        msg = "got an array beside the tree of a dtype that is none; expected one of NumPy's"
        raise CheckpointError(msg)
    file, size = _open(path / _ARRAYS)
    with file:
        if size != manifest.size:
            msg = f"got {_ARRAYS} of {size} bytes; expected {manifest.size}, as the manifest says"
            raise CheckpointError(msg)
        digest = hashlib.sha256()
        try:
            header = read_header(file, size, digest.update)
            expected = {name: stored_type(leaf)[:2] for name, leaf in (wanted | plain).items()}
            _check_stored(manifest, header.entries, expected)
            arrays = read_data(file, header, digest.update)
        except SafetensorsError as error:
            msg = f"in {_ARRAYS}: {error}"
            raise CheckpointError(msg) from None
    if digest.hexdigest() != manifest.sha256:
        msg = f"got {_ARRAYS} with another checksum than the manifest says; expected it unchanged"
        raise CheckpointError(msg)
    leaves = {name: leaf.weak_type for name, leaf in manifest.leaves.items()}
    made = [restore(leaf, leaves[name], arrays[name]) for name, leaf in wanted.items()]
    tree = jax.tree.unflatten(jax.tree.structure(like), made) if with_tree else None
    extra = {
        name.removeprefix(_EXTRA): restore(leaf, False, arrays[name])
        for name, leaf in plain.items()
    }
    return Contents(tree, manifest.step, manifest.info, extra, manifest.versions)
