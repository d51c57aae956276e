"""Directories of which each holds one step, and is there whole or not at all."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["keep_newest", "publish", "put_file", "step_path", "steps_in"]

_UNFINISHED = re.compile(r"\.tmp-step_\d+-[0-9a-f]{16}")


def step_path(directory: str | os.PathLike, step: int) -> Path:
    """Returns the directory of a step."""
    return Path(directory) / f"step_{step:08d}"


def steps_in(directory: str | os.PathLike) -> list[int]:
    """Returns the steps that a directory holds, ascending; none where there is no directory."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = [int(name[5:]) for name in names if re.fullmatch(r"step_[0-9]{8,18}", name)]
    return sorted(step for step in found if step_path(directory, step).name in names)


def _sync_directory(path: Path) -> None:
    """Makes what was created or renamed in a directory last."""
    if os.name != "posix":  # elsewhere directories cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without it
            raise
    finally:
        os.close(handle)


def put_file(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Writes a new file that is on the disk when this returns.

    Args:
      path: of a file that does not exist.
      fill: called with the open file.
    """
    with open(path, "xb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _unfinished(directory: Path, step: int) -> Path:
    return directory / f".tmp-{step_path(directory, step).name}-{secrets.token_hex(8)}"


def _remove(path: Path) -> None:
    """Removes the directory of a step, which vanishes at once."""
    hidden = _unfinished(path.parent, 0)
    os.rename(path, hidden)
    shutil.rmtree(hidden)


def _clean(directory: Path) -> None:
    """Removes what runs that were killed left unfinished."""
    for name in os.listdir(directory):
        if _UNFINISHED.fullmatch(name):
            shutil.rmtree(directory / name)


def publish(directory: Path, step: int, fill: Callable[[Path], None], *, replace: bool) -> Path:
    """Writes the directory of a step, which appears under its name when it is complete.

    Args:
      directory: where; made if it is not there. One run at a time writes to it: what others left
        unfinished is removed.
      step: the step.
      fill: called with an empty directory to write to.
      replace: remove a directory of this step that is there.

    Returns:
      The directory of the step.

    Raises:
      OSError: the disk refuses; what was there before is still there.
    """
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)
    _clean(directory)
    new, path = _unfinished(directory, step), step_path(directory, step)
    new.mkdir()
    try:
        fill(new)
        _sync_directory(new)
        if replace:
            _remove(path)
        os.rename(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(new)
        raise
    _sync_directory(directory)
    return path


def keep_newest(directory: Path, step: int, keep: int) -> None:
    """Removes the oldest of the steps before `step` so that with it `keep` are left."""
    before = [one for one in steps_in(directory) if one < step]
    for one in before[: max(len(before) - keep + 1, 0)]:
        _remove(step_path(directory, one))
