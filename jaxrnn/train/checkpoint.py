"""Checkpoints: a tree of arrays on the disk, written whole or not at all, read with distrust.

::

    DIR/step_00001000/arrays.safetensors    the numbers, readable by any safetensors reader
    DIR/step_00001000/manifest.json         what they are: names, shapes, dtypes, checksums, info

Of arrays that lie in pieces over several processes each writes a file of its own, see `parts`.
"""

import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxrnn.core.checks import check_size
from jaxrnn.train.checkpoint_files import looks_whole, read_manifest
from jaxrnn.train.choosing import choose
from jaxrnn.train.manifest import CheckpointError, UnknownVersionError
from jaxrnn.train.parts import fill_together, follow, telling
from jaxrnn.train.reading import Contents, make_contents, read_directory, read_files
from jaxrnn.train.snapshot import Snapshot, fill_directory, snapshot
from jaxrnn.train.step_directory import check_free, keep_newest, publish, step_path
from jaxrnn.train.together import Processes, all_succeed, processes_of

__all__ = [
    "CheckpointError",
    "Loaded",
    "checkpoint_info",
    "load_checkpoint",
    "load_contents",
    "save_checkpoint",
    "write_snapshot",
]


class Loaded(NamedTuple):
    """What `load_checkpoint` returns.

    Attributes:
      tree: of the structure of `like`.
      step: the step it was saved at.
      info: what was saved with it.
    """

    tree: Any
    step: int
    info: dict[str, Any]


def _existing(directory: Path, step: int, *, by: str) -> bool:
    """Whether a broken checkpoint is in the way; raises where a good one is."""
    path = step_path(directory, step)
    if not os.path.lexists(path):
        return False
    unknown = ""
    try:
        read_directory(path, with_tree=False)
    except UnknownVersionError:
        unknown = " of a version that is unknown here"
    except CheckpointError:
        return True
    msg = (
        f"{by}: got step={step}, of which {directory} holds a checkpoint{unknown}; expected "
        f"another step; remove {path}, or save to another directory"
    )
    raise FileExistsError(msg)


def _written(directory: Path, snapshot: Snapshot, *, by: str) -> Path:
    """Writes a snapshot, and returns the directory of the checkpoint."""
    step, share = snapshot.manifest.step, snapshot.share
    if share is None:
        replace = _existing(directory, step, by=by)
        return publish(directory, step, lambda new: fill_directory(new, snapshot), replace=replace)
    if share.processes.index:
        return follow(directory, snapshot)
    with telling(directory, snapshot):
        return publish(
            directory,
            step,
            lambda new: fill_together(new, snapshot),
            replace=_existing(directory, step, by=by),
            token=share.token,
        )


def write_snapshot(
    directory: str | os.PathLike, snapshot: Snapshot, keep: int, *, by: str = "save_checkpoint"
) -> Path:
    """Writes a snapshot, as `save_checkpoint` does.

    Args:
      directory: where.
      snapshot: what; of several processes each calls this with its own.
      keep: how many checkpoints to keep.
      by: the function the user called, for the messages.

    Returns:
      The directory of the checkpoint.

    Raises:
      FileExistsError: there is a checkpoint of this step that is not broken.
      OSError: the disk refuses, or another process did not write its share; the message says that
        older checkpoints are as they were.
      ValueError: the processes save different trees.
    """
    directory, step = Path(directory), snapshot.manifest.step
    try:
        path = _written(directory, snapshot, by=by)
    except (OSError, ValueError) as error:
        if isinstance(error, FileExistsError) and error.errno is None:
            raise
        if isinstance(error, ValueError) or error.errno is None:  # of what processes do together
            msg = (
                f"{by}: {error}; in the checkpoint of step {step} in {directory}; the checkpoints "
                "that are there are as they were"
            )
            kinds = (TimeoutError, OSError, ValueError)
            raise next(kind for kind in kinds if isinstance(error, kind))(msg) from error
        msg = (
            f"{by}: got {error} for the checkpoint of step {step}; expected to write to "
            f"{directory}; make room, or name another directory; the checkpoints that are there "
            "are as they were"
        )
        raise OSError(error.errno, msg) from error
    if snapshot.share is not None and snapshot.share.processes.index:
        return path
    try:
        keep_newest(directory, step, keep, looks_whole)
    except OSError as error:
        msg = f"{by}: wrote {path}, but could not remove older checkpoints: {error}"
        warnings.warn(msg, stacklevel=3)
    return path


def save_checkpoint(
    directory: str | os.PathLike,
    tree: Any,
    *,
    step: int,
    info: Mapping[str, Any] | None = None,
    keep: int = 3,
) -> Path:
    """Saves a tree of arrays as the checkpoint of a step.

    The checkpoint appears complete or not at all, whatever happens meanwhile: it is written beside,
    forced to the disk and renamed. One run at a time writes to a directory; what killed runs left
    unfinished there is removed.

    Where an array lies over several processes, all of them call this together, with a directory on
    a file system that they share: each writes the pieces that it holds, process 0 the rest. Any
    number of devices and processes can load it. Of the rest each process has its own, which has to
    be equal in all; `info` is that of process 0.

    Args:
      directory: holds one directory a step; made if it is not there.
      tree: arrays of JAX or NumPy of any dtype of numbers, random keys, numbers of Python; such as
        a `TrainState`.
      step: the number of training steps done.
      info: what else to remember, such as a configuration: whatever JSON can hold.
      keep: after a successful save, only the newest `keep` checkpoints up to this step are left;
        broken ones do not count.

    Returns:
      The directory of the checkpoint, ``directory/step_00001000``.

    Raises:
      FileExistsError: the directory holds a checkpoint of this step that is good, or of an unknown
        version.
      OSError: the disk refuses, being full for instance, or process 0 gave up; older checkpoints
        are as they were.
      RuntimeError: the tree of another process cannot be stored; the message says why.
      TimeoutError: another process does nothing for ten minutes; the message says which.
      TypeError: a leaf or something in `info` cannot be stored, or a count is no integer.
      ValueError: `step` is negative, `keep` less than 1, or a number in `info` is not finite; the
        `fit` that is running saves to `directory`; processes save different trees.

    Example:
      >>> import jax.numpy as jnp, tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = save_checkpoint(directory, {"w": jnp.arange(3.0)}, step=10, info={"lr": 0.1})
      ...     loaded = load_checkpoint(directory, {"w": jnp.zeros(3)})
      >>> path.name, loaded.tree["w"].tolist(), loaded.step, loaded.info
      ('step_00000010', [0.0, 1.0, 2.0], 10, {'lr': 0.1})
    """
    keep = check_size("keep", keep, by="save_checkpoint")
    check_free(directory, by="save_checkpoint")
    processes = processes_of(tree, by="save_checkpoint")
    token = processes.exchange(secrets.token_hex(8))[0]

    def take():
        return snapshot(tree, step=step, info=info, processes=processes, token=token)

    taken = all_succeed(processes, take, by="save_checkpoint")
    return write_snapshot(directory, taken, keep)


def load_contents(
    directory: str | os.PathLike,
    like: Any,
    *,
    step: int | None = None,
    by: str,
    level: int,
    processes: Processes | None = None,
) -> Contents:
    """Loads a checkpoint with the arrays beside its tree; see `load_checkpoint`.

    Args:
      directory: as there.
      like: as there.
      step: as there.
      by: the function the user called, for the messages.
      level: how many frames above this one the user called it, for warnings.
      processes: which hold `like` together; found from its arrays if not given.
    """
    processes = processes_of(like, by=by) if processes is None else processes

    def read(path):
        return read_files(path, like, by=by)

    files = choose(directory, step, read, by=by, level=level + 1, processes=processes)
    return make_contents(files, like)


def load_checkpoint(directory: str | os.PathLike, like: Any, *, step: int | None = None) -> Loaded:
    """Loads a checkpoint.

    Nothing in the files is executed, names in them are never paths, and sizes, shapes and dtypes
    are compared with `like` and the files' sizes before memory is taken. Where the newest
    checkpoint is broken, a warning names it and the one before is loaded. One of an unknown version
    is not passed over: it is an error.

    What `fit` saved has the structure of a `TrainState`::

        state = train.load_checkpoint(directory, train.init(params, optimizer)).tree

    where `fit` was given `carried`, that of ``train.init(params, optimizer, carried)``.

    Args:
      directory: what `save_checkpoint` or `fit` was given.
      like: a tree of the structure, shapes and dtypes that are expected; arrays, or what
        `jax.eval_shape` returns. Its values are not used. Where it holds JAX arrays, so does the
        result, sharded as they are, however they were when saved; for arrays of NumPy and numbers
        of Python it holds such. Where one lies over several processes all call this together, and
        each reads what it needs.
      step: which checkpoint; the newest that is not broken if not given.

    Returns:
      The tree, its step, and the info saved with it.

    Raises:
      CheckpointError: what was asked for is cut off, changed since it was written, foreign, or of
        an unknown version. It is a ValueError.
      FileNotFoundError: there is no checkpoint, or none of this step.
      NotADirectoryError: `directory` is something else.
      RuntimeError: it failed in another process; the message says why.
      ValueError: the checkpoint is of another architecture; the message lists the leaves that
        differ, got and expected.

    Example:
      >>> import jax, tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = save_checkpoint(directory, (jax.random.key(7), 0.5), step=1)
      ...     key, rate = load_checkpoint(directory, (jax.random.key(0), 0.0)).tree
      >>> bool(key == jax.random.key(7)), rate
      (True, 0.5)
    """
    found = load_contents(directory, like, step=step, by="load_checkpoint", level=2)
    return Loaded(found.tree, found.step, found.info)


def checkpoint_info(directory: str | os.PathLike, *, step: int | None = None) -> dict[str, Any]:
    """Reads what was saved beside the tree of a checkpoint, such as a configuration.

    Args:
      directory: what `save_checkpoint` or `fit` was given.
      step: which checkpoint; the newest whose manifest is not broken if not given.

    Returns:
      The info; tuples have become lists.

    Raises:
      CheckpointError: no manifest is as it was written.
      FileNotFoundError: there is no checkpoint, or none of this step.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = save_checkpoint(directory, 1, step=1, info={"cell": "lstm", "sizes": (3, 5)})
      ...     checkpoint_info(directory)
      {'cell': 'lstm', 'sizes': [3, 5]}
    """
    return choose(directory, step, read_manifest, by="checkpoint_info", level=2).info
