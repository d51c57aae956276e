"""The files of a checkpoint's directory, read with distrust.

What they say is compared, with each other and with what is wanted, before memory is taken.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxrnn.train.leaves import Plain
from jaxrnn.train.manifest import CheckpointError, Manifest, parse_manifest
from jaxrnn.train.pieces import Box, Piece, paste, piece_name, sizes, touches, whole_box
from jaxrnn.train.safetensors import (
    Entry,
    Header,
    SafetensorsError,
    pass_over,
    read_array,
    read_header,
)
from jaxrnn.train.step_directory import step_path

__all__ = [
    "ARRAYS",
    "MANIFEST",
    "Wanted",
    "looks_whole",
    "part_name",
    "read_arrays",
    "read_manifest",
]

ARRAYS, MANIFEST = "arrays.safetensors", "manifest.json"
_MAX_MANIFEST = 100_000_000  # bytes


class Wanted(NamedTuple):
    """What is to be read of an array.

    Attributes:
      like: what it is to become.
      boxes: those of its indices that this process needs.
      kind: the format's dtype that it has to be stored with.
      shape: the shape that it has to be stored with.
    """

    like: Any
    boxes: list[Box]
    kind: str
    shape: tuple[int, ...]


def part_name(index: int, count: int) -> str:
    """Returns the name of the file of arrays of one of several processes."""
    return f"part-{index:05d}-of-{count:05d}.safetensors"


def _open(path: Path, limit: int | None = None) -> tuple[BinaryIO, int]:
    """Opens a file of a checkpoint."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            msg = f"got a {path.name} that is no file; expected the files of a checkpoint"
            raise CheckpointError(msg)
        file = open(path, "rb")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        msg = f"got no file {path.name}; expected the files of a checkpoint"
        raise CheckpointError(msg) from None
    size = os.fstat(file.fileno()).st_size
    if limit is not None and size > limit:
        file.close()
        msg = f"got {path.name} of {size} bytes; expected at most {limit}"
        raise CheckpointError(msg)
    return file, size


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of the checkpoint in the directory `path`, or raises CheckpointError."""
    file, _ = _open(path / MANIFEST, _MAX_MANIFEST)
    with file:
        manifest = parse_manifest(file.read(_MAX_MANIFEST + 1))
    if step_path(path.parent, manifest.step).name != path.name:
        msg = f"got a manifest of step {manifest.step}; expected the step of the directory's name"
        raise CheckpointError(msg)
    return manifest


def _files(manifest: Manifest) -> list[tuple[str, int]]:
    """Returns the names and sizes of a checkpoint's files of arrays."""
    parts = manifest.parts
    if not parts:
        return [(ARRAYS, manifest.size)]
    return [(part_name(index, len(parts)), part.size) for index, part in enumerate(parts)]


def looks_whole(path: Path) -> bool:
    """Whether the manifest and the sizes of a checkpoint in the directory `path` are right."""
    try:
        return all(
            (path / name).stat().st_size == size for name, size in _files(read_manifest(path))
        )
    except (CheckpointError, OSError):
        return False


def _open_arrays(path: Path, name: str, size: int, heard: Callable) -> tuple[BinaryIO, Header]:
    """Opens a file of arrays of the size that the manifest says, and reads its header."""
    file, found = _open(path / name)
    try:
        if found != size:
            msg = f"got {name} of {found} bytes; expected {size}, as the manifest says"
            raise CheckpointError(msg)
        return file, read_header(file, size, heard)
    except BaseException:
        file.close()
        raise


def _check_stored(
    names: Iterable[str], header: Header, expected: Mapping[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Compares what a manifest says with what a file of arrays holds."""
    names, entries = sorted(names), header.entries
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


def _array(
    file: BinaryIO, name: str, entry: Entry, like: Any, heard: Callable[[Any], Any]
) -> np.ndarray:
    try:
        return read_array(file, name, entry, heard)
    except MemoryError:
        if not isinstance(like, Plain):
            raise  # as large as was asked for
        msg = (
            f"got {name!r:.200} of {entry.stop - entry.start} bytes beside the tree; expected what "
            "fits into memory"
        )
        raise CheckpointError(msg) from None


def _read_whole(
    path: Path, manifest: Manifest, wanted: Mapping[str, Wanted], stored: dict[str, dict]
) -> None:
    """Reads a checkpoint of one file, all of it for its checksum."""
    digest = hashlib.sha256()
    file, header = _open_arrays(path, ARRAYS, manifest.size, digest.update)
    with file:
        expected = {name: (one.kind, one.shape) for name, one in wanted.items()}
        _check_stored([*manifest.leaves, *manifest.extra], header, expected)
        for name, entry in header.entries.items():
            if name not in wanted:
                pass_over(file, entry, digest.update)
                continue
            one = wanted[name]
            array = _array(file, name, entry, one.like, digest.update)
            whole = whole_box(getattr(one.like, "shape", ()))
            paste(stored[name], one.boxes, whole, lambda array=array: array)
    if digest.hexdigest() != manifest.sha256:
        msg = f"got {ARRAYS} with another checksum than the manifest says; expected it unchanged"
        raise CheckpointError(msg)


def _read_part(
    path: Path,
    manifest: Manifest,
    index: int,
    pieces: Mapping[str, tuple[str, Piece]],
    wanted: Mapping[str, Wanted] | None,
    stored: dict[str, dict],
) -> None:
    """Reads what is needed of the file of one of several processes; all of it for no `wanted`."""
    name, size = _files(manifest)[index]
    digest = hashlib.sha256()
    file, header = _open_arrays(path, name, size, digest.update)
    with file:
        if digest.hexdigest() != manifest.parts[index].header:
            msg = f"got {name} with another header than the manifest says; expected it unchanged"
            raise CheckpointError(msg)
        begin, expected = file.tell(), {}
        for key, (leaf, piece) in pieces.items():
            if wanted is not None:
                one = wanted[leaf]
                trailing = one.shape[len(piece.box) :]
                expected[key] = (one.kind, sizes(piece.box) + trailing)
        _check_stored(pieces, header, expected)

        def read(key, entry, sha256, run):
            file.seek(begin + entry.start)
            digest = hashlib.sha256()
            array = run(digest.update)
            if digest.hexdigest() != sha256:
                msg = (
                    f"got {key!r:.200} in {name} with another checksum than the manifest says; "
                    "expected it unchanged"
                )
                raise CheckpointError(msg)
            return array

        for key, entry in header.entries.items():
            leaf, piece = pieces[key]
            if wanted is None:
                read(key, entry, piece.sha256, lambda heard, e=entry: pass_over(file, e, heard))
                continue
            one = wanted[leaf]

            def run(heard, k=key, e=entry, like=one.like):
                return _array(file, k, e, like, heard)

            paste(
                stored[leaf],
                one.boxes,
                piece.box,
                lambda k=key, e=entry, p=piece, run=run: read(k, e, p.sha256, run),
            )


def _read_parts(
    path: Path, manifest: Manifest, wanted: Mapping[str, Wanted] | None, stored: dict[str, dict]
) -> None:
    """Reads what is needed of the files of several processes."""
    shapes = {name: leaf.shape for name, leaf in (manifest.leaves | manifest.extra).items()}
    parts: list[dict] = [{} for _ in manifest.parts]
    needed = set(range(len(parts))) if wanted is None else set()
    for name, pieces in manifest.pieces.items():
        for piece in pieces:
            parts[piece.part][piece_name(name, piece.box, shapes[name])] = name, piece
            if wanted is not None and touches(piece.box, wanted[name].boxes):
                needed.add(piece.part)
    if sum(map(len, parts)) < sum(map(len, manifest.pieces.values())):
        msg = "got a manifest with two pieces of one name; expected a name for each"
        raise CheckpointError(msg)
    for index in sorted(needed):
        _read_part(path, manifest, index, parts[index], wanted, stored)


def read_arrays(
    path: Path, manifest: Manifest, wanted: Mapping[str, Wanted] | None
) -> dict[str, dict[Box, np.ndarray]]:
    """Reads what is wanted of the arrays of the checkpoint in the directory `path`.

    Args:
      path: the directory.
      manifest: what its manifest says.
      wanted: what is wanted of each array, all of which are named; None to check all checksums and
        keep nothing.

    Returns:
      What the boxes that hold anything hold, by name and box.

    Raises:
      CheckpointError: the files are not what the manifest says, or it is not what is wanted.
    """
    stored: dict[str, dict] = {name: {} for name in wanted or {}}
    try:
        if manifest.parts:
            _read_parts(path, manifest, wanted, stored)
        else:
            _read_whole(path, manifest, wanted or {}, stored)
    except SafetensorsError as error:
        msg = f"in the files of arrays: {error}"
        raise CheckpointError(msg) from None
    return stored
