"""Directories of which each holds one step, and is there whole or not at all."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from jaxrnn.train.together import ALONE, Processes, all_succeed

__all__ = [
    "check_free",
    "check_writable",
    "keep_newest",
    "publish",
    "put_file",
    "reserved",
    "step_path",
    "steps_in",
    "unfinished",
]

_UNFINISHED = re.compile(r"\.tmp-step_\d+-([0-9a-f]{16})(\.failed(\.writing)?)?")
_VISIBLE = 10.0  # seconds after which the file system of a network shows what others wrote
_RESERVED: ContextVar[tuple[str, ...]] = ContextVar("directories that fit writes to", default=())


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


def unfinished(directory: str | os.PathLike, step: int, token: str = "") -> Path:
    """Returns the name of the directory of a step while it is written.

    Args:
      directory: where.
      step: the step.
      token: 16 hexadecimal digits that several processes know; random ones if not given.
    """
    name = step_path(directory, step).name
    return Path(directory) / f".tmp-{name}-{token or secrets.token_hex(8)}"


@contextlib.contextmanager
def reserved(directory: str | os.PathLike, *, by: str) -> Iterator[None]:
    """Keeps a directory, within a ``with`` block and what it calls, for the one who enters.

    Args:
      directory: which.
      by: the function the user called, for the message.

    Raises:
      ValueError: it is kept already.
    """
    check_free(directory, by=by)
    before = _RESERVED.set((*_RESERVED.get(), os.path.realpath(directory)))
    try:
        yield
    finally:
        _RESERVED.reset(before)


def check_free(directory: str | os.PathLike, *, by: str) -> None:
    """Checks that no `fit` that is running writes to a directory.

    Args:
      directory: which.
      by: the function the user called, for the message.

    Raises:
      ValueError: one does: it calls what wants to write.
    """
    if os.path.realpath(directory) in _RESERVED.get():
        msg = (
            f"{by}: got {os.fspath(directory)!r}, to which the fit that is running saves; expected "
            "another directory: one run at a time writes to it; name another"
        )
        raise ValueError(msg)


def _delete(path: Path) -> None:
    """Deletes a directory with what is in it, or a file, or a link but not what it leads to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _remove(path: Path) -> None:
    """Removes what has the name of a step, which vanishes at once."""
    hidden = unfinished(path.parent, 0)
    os.rename(path, hidden)
    _delete(hidden)


def _clean(directory: Path, token: str) -> None:
    """Removes what killed runs left unfinished; what cannot be removed waits for the next save.

    What has a run's own token stays: other processes of it may have to read there what went wrong.
    """
    for name in os.listdir(directory):
        found = _UNFINISHED.fullmatch(name)
        if found and found[1] != token:
            with contextlib.suppress(OSError):
                _delete(directory / name)


def _make(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)


def check_writable(directory: str | os.PathLike, *, by: str, processes: Processes = ALONE) -> None:
    """Makes a directory where there is none, and an entry in it, which is removed again.

    Args:
      directory: where checkpoints will be written.
      by: the function the user called, for the message.
      processes: which write to it; process 0 makes the entry, and the others have to see it.

    Raises:
      OSError: that cannot be done.
      RuntimeError: it cannot be done in another process; the message says which.
    """
    token = processes.exchange(secrets.token_hex(8))[0]
    trial = unfinished(directory, 0, token)

    def write():
        try:
            if not processes.index:
                _make(trial.parent)
                trial.mkdir()
        except OSError as error:
            msg = f"{by}: got {error}; expected to write to {directory}; name another directory"
            raise OSError(error.errno, msg) from error

    def see():
        end = time.monotonic() + _VISIBLE
        while not trial.is_dir() and time.monotonic() < end:
            time.sleep(0.05)
        if not trial.is_dir():
            msg = (
                f"{by}: got {os.fspath(directory)!r}, in which process {processes.index} does not "
                "see what process 0 wrote; expected a directory on a file system that all "
                "processes share; name such a one, with its whole path"
            )
            raise OSError(msg)

    all_succeed(processes, write, by=by)
    try:
        all_succeed(processes, see, by=by)
    finally:
        if not processes.index:
            with contextlib.suppress(OSError):
                trial.rmdir()


def publish(
    directory: Path, step: int, fill: Callable[[Path], None], *, replace: bool, token: str = ""
) -> Path:
    """Writes the directory of a step, which appears under its name when it is complete.

    Args:
      directory: where; made if it is not there. One run at a time writes to it: what others left
        unfinished is removed.
      step: the step.
      fill: called with an empty directory to write to.
      replace: remove a directory of this step that is there.
      token: see `unfinished`.

    Returns:
      The directory of the step.

    Raises:
      OSError: the disk refuses; what was there before is still there.
    """
    _make(directory)
    _clean(directory, token)
    new, path = unfinished(directory, step, token), step_path(directory, step)
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
