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

__all__ = ["check_writable", "keep_newest", "publish", "put_file", "step_path", "steps_in"]

_UNFINISHED = re.compile(r"\.tmp-step_\d+-[0-9a-f]{16}")


def step_path(directory: str | os.PathLike, step: int) -> Path:
    """Returns the directory of a step."""
    return Path(directory) / f"step_{step:08d}"


def steps_in(directory: str | os.PathLike, *, by: str = "save_checkpoint") -> list[int]:
    """Returns the steps that a directory holds, ascending; none where there is no directory.

    Args:
      directory: where.
      by: the function the user called, for the message.

    Raises:
      NotADirectoryError: it is something else, such as a file.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        msg = (
            f"{by}: got {os.fspath(directory)!r}, which is no directory; expected that of the "
            "checkpoints; name another"
        )
        raise NotADirectoryError(error.errno, msg) from None
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


def _delete(path: Path) -> None:
    """Deletes a directory with what is in it, or a file, or a link but not what it leads to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _remove(path: Path) -> None:
    """Removes what has the name of a step, which vanishes at once."""
    hidden = _unfinished(path.parent, 0)
    os.rename(path, hidden)
    _delete(hidden)


def _clean(directory: Path) -> None:
    """Removes what killed runs left unfinished; what cannot be removed waits for the next save."""
    for name in os.listdir(directory):
        if _UNFINISHED.fullmatch(name):
            with contextlib.suppress(OSError):
                _delete(directory / name)


def _make(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)


def check_writable(directory: str | os.PathLike, *, by: str) -> None:
    """Makes a directory where there is none, and an entry in it, which is removed again.

    Args:
      directory: where checkpoints will be written.
      by: the function the user called, for the message.

    Raises:
      OSError: that cannot be done.
    """
    trial = _unfinished(Path(directory), 0)
    try:
        _make(trial.parent)
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        msg = f"{by}: got {error}; expected to write to {directory}; name another directory"
        raise OSError(error.errno, msg) from error


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
    _make(directory)
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


def keep_newest(directory: Path, step: int, keep: int, whole: Callable[[Path], bool]) -> None:
    """Removes the oldest of the steps before `step` so that with it `keep` are left.

    Args:
      directory: where.
      step: the step that was just written.
      keep: how many to keep, at least 1.
      whole: says whether the directory of a step is one to count; others are removed with what is
        older than all that are kept.
    """
    before = [one for one in steps_in(directory) if one < step]
    spare = keep - 1
    while spare and len(before) > spare:
        spare -= whole(step_path(directory, before.pop()))
    if not spare:
        for one in before:
            _remove(step_path(directory, one))
