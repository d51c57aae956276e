"""Which checkpoint is read: the newest that is not broken, the same in all processes."""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrnn.train.manifest import CheckpointError, UnknownVersionError
from jaxrnn.train.step_directory import step_path, steps_in
from jaxrnn.train.together import ALONE, Processes, all_succeed

__all__ = ["choose"]


def _steps(directory: str | os.PathLike, step: int | None, *, by: str) -> list[int]:
    """Returns the steps that come into question, descending."""
    steps = steps_in(directory, by=by)
    if not steps or (step is not None and step not in steps):
        what = "checkpoint" if step is None else f"checkpoint of step {step}"
        there = f"one of the steps {', '.join(map(str, steps))}" if steps else "step_NNNNNNNN in it"
        msg = f"{by}: got {directory} without a {what}; expected {there}; look at the path"
        raise FileNotFoundError(msg)
    return steps[::-1] if step is None else [step]


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes where a directory is removed or replaced."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


class _Gone(Exception):
    """A checkpoint was removed or replaced while it was read: no broken one."""


def _try(read: Callable[[Path], Any], path: Path, *, by: str) -> tuple[Any, Exception | None]:
    """Returns what `read` makes of a checkpoint, and what was wrong with that."""
    before = _identity(path)
    try:
        return read(path), None
    except UnknownVersionError as error:
        return None, UnknownVersionError(f"{by}: in {path}: {error}")
    except CheckpointError as error:
        same = before is not None and _identity(path) == before
        return None, error if same else _Gone()
    except Exception as error:
        return None, error


def _verdict(error: Exception | None, processes: Processes, *, by: str) -> str:
    """Returns why a checkpoint is passed over, the same in all processes; "" where it is not.

    Raises:
      Exception: the error, where none is passed over for it.
    """
    passed = error is None or isinstance(error, _Gone)
    kind = "" if passed else f"{type(error).__name__}: "
    if isinstance(error, CheckpointError) and not isinstance(error, UnknownVersionError):
        passed, kind = True, ""
    word = {"stop": not passed, "gone": isinstance(error, _Gone), "why": f"{kind}{error or ''}"}
    if processes.count == 1:
        words = [word]
    else:
        words = [json.loads(one) for one in processes.exchange(json.dumps(word))]
    if not passed:
        raise error
    why = [
        one["why"] if processes.count == 1 else f"process {index}: {one['why']}"
        for index, one in enumerate(words)
        if one["why"]
    ]
    if any(one["stop"] for one in words):
        msg = f"{by}: stopped since another process did; {'; '.join(why)}"
        raise RuntimeError(msg)
    return "gone" if any(one["gone"] for one in words) else "; ".join(why)


def choose(
    directory: str | os.PathLike,
    step: int | None,
    read: Callable[[Path], Any],
    *,
    by: str,
    level: int,
    processes: Processes = ALONE,
) -> Any:
    """Returns what `read` makes of the step's checkpoint, or of the newest that is not broken.

    Of several processes, process 0 chooses, and what is broken for one of them is so for all.

    Args:
      directory: that of the steps.
      step: which one, or None.
      read: reads the checkpoint in a directory, or raises CheckpointError.
      by: the function the user called, for the messages.
      level: how many frames above this one the user called it, for the warning.
      processes: which read together.

    Raises:
      CheckpointError: all that come into question are broken, or one is of an unknown version.
      FileNotFoundError: there is none.
      RuntimeError: another process raised what is not passed over.
    """
    broken: dict[int, str] = {}
    while True:
        steps = all_succeed(processes, lambda: _steps(directory, step, by=by), by=by)
        left = [one for one in steps if one not in broken]
        one = int(processes.exchange(str(left[0] if left else -1))[0])
        if one < 0:
            break
        path = step_path(directory, one)
        found, error = _try(read, path, by=by)
        why = _verdict(error, processes, by=by)
        if why == "gone":
            continue
        if why:
            broken[one] = f"{path}: {why}"
            continue
        if broken:
            msg = f"{by}: got broken checkpoints, and loads step {one} instead; "
            warnings.warn(msg + "; ".join(broken.values()), stacklevel=level + 1)
        return found
    what = "a broken checkpoint" if len(broken) == 1 else "broken checkpoints alone"
    lines = "\n  ".join(broken.values())
    msg = f"{by}: got {what}; expected one as it was saved; load another:\n  {lines}"
    raise CheckpointError(msg)
