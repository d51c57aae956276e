"""A checkpoint that several processes write together, on a file system that they share.

Process 0 makes the directory under a name of its own. Every process puts its part there, on the
disk, and beside it a small file with its checksums, which appears whole. When process 0 has seen
those of all it writes the manifest and renames the directory: whatever dies before that leaves no
checkpoint. The devices have no part in it, so that the training goes on meanwhile.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from jaxrnn.train.checkpoint_files import ARRAYS, MANIFEST, part_name
from jaxrnn.train.manifest import Part, write_manifest
from jaxrnn.train.pieces import Piece, check_tiling
from jaxrnn.train.safetensors import strict_json, write_arrays
from jaxrnn.train.snapshot import Snapshot, put_arrays
from jaxrnn.train.step_directory import put_file, step_path, unfinished

__all__ = ["SHORT", "WAIT", "Patience", "fill_together", "follow", "telling"]

WAIT = 600.0  # seconds that nothing happens until a process gives the others up
SHORT = 3.0  # the same where the training is ending with an error, well before JAX aborts
_LOOK = 0.02  # seconds between two looks
_MAX_SIDE = 100_000_000  # bytes
_MAX_WORD = 2000  # bytes of a message


class Patience:
    """Waits for what other processes do in a directory, as long as something happens there.

    Args:
      path: the directory; it need not be there yet.
      hurry: set where the training is ending with an error, so that others may have died.
    """

    def __init__(self, path: Path, hurry: threading.Event) -> None:
        self._path, self._hurry = path, hurry
        self._seen: Any = None
        self._since = time.monotonic()

    def _state(self) -> list[tuple[str, int]]:
        try:
            with os.scandir(self._path) as entries:
                return sorted((one.name, one.stat().st_size) for one in entries)
        except OSError:  # not there yet, or no more
            return []

    def until(self, found: Callable[[], Any], missing: Callable[[], str]) -> Any:
        """Waits.

        Args:
          found: looks; what it returns is returned when it is not None.
          missing: says what was waited for in vain.

        Raises:
          TimeoutError: nothing happened for too long.
        """
        while True:
            result = found()
            if result is not None:
                return result
            state = self._state()
            if state != self._seen:
                self._seen, self._since = state, time.monotonic()
            limit = SHORT if self._hurry.is_set() else WAIT
            if time.monotonic() - self._since > limit:
                msg = (
                    f"got {missing()} within {limit:g} seconds in which nothing changed in "
                    f"{self._path}; expected every process to write there; look whether all run, "
                    "and whether they share the file system"
                )
                raise TimeoutError(msg)
            time.sleep(_LOOK)


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _tree_digest(snapshot: Snapshot) -> str:
    manifest = snapshot.manifest
    said = [manifest.step, {k: repr(v) for k, v in (manifest.leaves | manifest.extra).items()}]
    return _digest(json.dumps(said).encode())


def _put_part(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Writes the file of arrays of this process, and returns what its side file says."""
    header, pieces, size, names = hashlib.sha256(), [], 0, []

    def put(file: BinaryIO):
        count = 0

        def write(piece):
            nonlocal count, size
            file.write(piece)
            size, count = size + len(piece), count + 1
            if count <= 2:
                header.update(piece)
            else:
                pieces.append(_digest(piece))

        names.extend(write_arrays(write, snapshot.arrays, {"format": "jaxrnn"}))

    put_file(path, put)
    boxes = snapshot.share.boxes
    listed = [(*boxes[name], sha) for name, sha in zip(names, pieces, strict=True)]
    return {"size": size, "header": header.hexdigest(), "pieces": listed}


def _put_share(new: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Writes what this process has: its part where arrays lie in pieces, and its side file."""
    share = snapshot.share
    index, count, *_ = share.processes
    said: dict[str, Any] = {"tree": _tree_digest(snapshot)}
    said["own"] = {name: _digest(array.tobytes()) for name, array in share.own.items()}
    name = part_name(index, count)
    if share.scattered:
        said |= _put_part(new / name, snapshot)
    elif index == 0:
        said["size"], said["sha256"] = put_arrays(new / ARRAYS, snapshot)
    if index:
        text = json.dumps(said).encode()
        side = _side(new, index, count)
        hidden = side.with_suffix(".writing")
        put_file(hidden, lambda file: file.write(text))
        os.rename(hidden, side)
    return said


def _side(new: Path, index: int, count: int, suffix: str = ".json") -> Path:
    return (new / part_name(index, count)).with_suffix(suffix)


def _read(path: Path, limit: int) -> bytes | None:
    """Returns a small file's bytes, None where it is not there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(path, "rb") as file:
        return file.read(limit)
    return None


def _tell(path: Path, error: BaseException) -> None:
    """Leaves word of an error for the other processes, if the disk lets it."""
    word = f"{type(error).__name__}: {error}".encode(errors="replace")[:_MAX_WORD]
    with contextlib.suppress(OSError):
        hidden = path.with_name(f"{path.name}.writing")
        hidden.write_bytes(word)
        os.rename(hidden, path)


def _gave_up(index: int, word: bytes) -> NoReturn:
    msg = f"process {index} gave up: {word.decode(errors='replace')}"
    raise OSError(msg)


def _others(new: Path, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Waits for the side files of the other processes, and returns what they say."""
    share = snapshot.share
    count = share.processes.count
    said: dict[int, dict] = {}

    def missing():
        return "no part of process " + ", ".join(
            str(index) for index in range(1, count) if index not in said
        )

    def look():
        for index in range(1, count):
            if index in said:
                continue
            word = _read(_side(new, index, count, ".failed"), _MAX_WORD)
            if word is not None:
                _gave_up(index, word)
            text = _read(_side(new, index, count), _MAX_SIDE)
            if text is None:
                continue
            one = strict_json(text)
            if share.scattered:
                part = new / part_name(index, count)
                if not part.exists() or part.stat().st_size != one["size"]:
                    continue  # a network's file system shows it later
            said[index] = one
        return said if len(said) == count - 1 else None

    Patience(new, share.hurry).until(look, missing)
    return [said[index] for index in range(1, count)]


def _check_equal(mine: dict[str, Any], others: list[dict[str, Any]]) -> None:
    for index, one in enumerate(others, 1):
        if one["tree"] != mine["tree"]:
            msg = (
                f"got another step, or arrays of other names, shapes or dtypes, from process "
                f"{index} than from process 0; expected all processes to save one tree; run the "
                "same program in each"
            )
            raise ValueError(msg)
        names = [name for name in mine["own"] if one["own"].get(name) != mine["own"][name]]
        if names:
            msg = (
                f"got an array of its own at {names[0] or 'the root'} in process {index} that is "
                "not that of process 0; expected arrays over all processes, or equal ones; place "
                "it on the mesh with jaxrnn.sharding.shard"
            )
            raise ValueError(msg)


def _failed(directory: Path, snapshot: Snapshot) -> Path:
    """The file in which process 0 says why there is no checkpoint."""
    new = unfinished(directory, snapshot.manifest.step, snapshot.share.token)
    return new.with_name(f"{new.name}.failed")


@contextlib.contextmanager
def telling(directory: Path, snapshot: Snapshot) -> Iterator[None]:
    """Tells the other processes where, within a ``with`` block, process 0 fails.

    Args:
      directory: where the checkpoints are kept.
      snapshot: what process 0 has.

    Yields:
      Nothing; what is raised in the block goes on from here.
    """
    try:
        yield
    except BaseException as error:
        _tell(_failed(directory, snapshot), error)
        raise


def fill_together(new: Path, snapshot: Snapshot) -> None:
    """Fills the directory of a checkpoint, in process 0, with what all processes have.

    Args:
      new: the directory, still empty, under the name that `unfinished` gives it.
      snapshot: what process 0 has.

    Raises:
      OSError: the disk refuses, or another process gave up; the message says why.
      TimeoutError: another process does nothing; the message says which.
      ValueError: the processes save different trees.
    """
    share, manifest = snapshot.share, snapshot.manifest
    mine = _put_share(new, snapshot)
    others = _others(new, snapshot)
    _check_equal(mine, others)
    if share.scattered:
        pieces: dict[str, list[Piece]] = {}
        for index, said in enumerate([mine, *others]):
            for name, box, sha256 in said["pieces"]:
                box = tuple((start, stop) for start, stop in box)
                pieces.setdefault(name, []).append(Piece(index, box, sha256))
        for name, leaf in (manifest.leaves | manifest.extra).items():
            check_tiling(name, leaf.shape, [piece.box for piece in pieces.get(name, [])])
        parts = tuple(Part(one["size"], one["header"]) for one in [mine, *others])
        manifest = manifest._replace(
            parts=parts, pieces={name: tuple(sorted(found)) for name, found in pieces.items()}
        )
    else:
        manifest = manifest._replace(size=mine["size"], sha256=mine["sha256"])
    text = write_manifest(manifest, snapshot.stored_as)
    for index in range(1, share.processes.count):
        _side(new, index, share.processes.count).unlink()
    put_file(new / MANIFEST, lambda file: file.write(text))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def follow(directory: Path, snapshot: Snapshot) -> Path:
    """Writes the share of a process other than 0, and waits until the checkpoint is there.

    Args:
      directory: where.
      snapshot: what.

    Returns:
      The directory of the checkpoint.

    Raises:
      OSError: the disk refuses, or process 0 gave up; the message says why.
      TimeoutError: process 0 does nothing.
    """
    step, share = snapshot.manifest.step, snapshot.share
    new, path = unfinished(directory, step, share.token), step_path(directory, step)
    failed, patience = _failed(directory, snapshot), Patience(new, share.hurry)

    def heard():
        word = _read(failed, _MAX_WORD)
        if word is not None:
            _gave_up(0, word)

    def begun():
        heard()
        return _identity(new)

    identity = patience.until(begun, lambda: "nothing of process 0")
    try:
        _put_share(new, snapshot)
    except BaseException as error:
        if _identity(new) != identity:  # process 0 removed it, and is about to say why
            end = time.monotonic() + SHORT
            while time.monotonic() < end:
                heard()
                time.sleep(_LOOK)
        _tell(_side(new, share.processes.index, share.processes.count, ".failed"), error)
        raise
    gone: list[float] = []

    def ended():
        if _identity(path) == identity:
            return path
        heard()
        if _identity(new) is None:
            gone.append(time.monotonic())
            if gone[-1] - gone[0] > SHORT:
                _gave_up(0, b"the directory that it wrote to is no more")
        return None

    return patience.until(ended, lambda: "no manifest of process 0")
