"""A command in several processes: its options, its mesh, what all agree on, who writes."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from jaxrnn.cli.errors import CommandError
from jaxrnn.sharding import check_same, gather_texts, mesh, start_processes

__all__ = [
    "add_process_arguments",
    "agreed",
    "by_first",
    "choose_mesh",
    "is_first",
    "leave",
    "lost",
    "start",
    "wait_for_all",
]

T = TypeVar("T")
_AXES = ("data", "model")
_OPTIONS = "--coordinator, --processes, --process, --timeout"
_SECONDS = (1, 10**6)
_GONE = ("Gloo", "NCCL", "UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "heartbeat")


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options for several devices and processes."""
    group = parser.add_argument_group(
        "several devices and processes",
        "The same command, started once for each process, on one machine or on many, is one "
        "training over all their devices, with the numbers of one device. Process 0 writes and "
        "shows what happens; a directory has to be seen by all.",
    )
    group.add_argument(
        "--mesh",
        metavar="AXIS=N,...",
        help="data=2,model=4: spread the sequences of a batch over 2 times the hidden units over 4 "
        "devices (default: one device; of several processes all, on data)",
    )
    group.add_argument(
        "--coordinator",
        metavar="H:P",
        help="host of process 0 and a free port there, the same in all processes; auto: found by "
        "JAX, as under SLURM (default: JAX_COORDINATOR_ADDRESS)",
    )
    group.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="number of processes (default: JAX_NUM_PROCESSES, or 1)",
    )
    group.add_argument(
        "--process",
        type=int,
        metavar="I",
        help="which one this is, from 0 (default: JAX_PROCESS_ID)",
    )
    group.add_argument(
        "--timeout",
        type=int,
        default=60,
        metavar="SECONDS",
        help="wait so long for all processes at the start; one that is silent for as long counts "
        "as lost, and all end (default: %(default)s)",
    )


def start(arguments: argparse.Namespace) -> None:
    """Makes this process one of several, if that is asked for; before anything is computed.

    Notes in ``arguments.first`` whether it is the first; the others lose their standard output.

    Raises:
      CommandError: a process is missing, or what was asked for does not fit together.
    """
    low, high = _SECONDS
    if not low <= arguments.timeout < high:
        msg = f"got --timeout {arguments.timeout}; expected {low} to {high - 1}; try --timeout 60"
        raise CommandError(msg)
    try:
        start_processes(
            arguments.coordinator, arguments.processes, arguments.process, timeout=arguments.timeout
        )
    except (ValueError, OSError) as error:
        reason = str(error).removeprefix("start_processes: ")
        msg = f"{reason} (coordinator, count, index, timeout: {_OPTIONS})"
        raise CommandError(msg) from error
    if arguments.processes is None and os.environ.get("JAX_NUM_PROCESSES"):
        arguments.processes = int(os.environ["JAX_NUM_PROCESSES"])  # to be compared
    arguments.first = is_first()
    if not arguments.first:
        # One process speaks; and JAX's engine has a line on standard output for each.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def is_first() -> bool:
    """Says whether this is the process that writes and shows what happens."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def _all_or_none(function: Callable[[], T]) -> T:
    """Calls a function in every process; where it fails in one, all end and say why."""
    result, error = None, None
    try:
        result = function()
    except Exception as raised:
        error = raised
    failures = gather_texts("" if error is None else str(error) or type(error).__name__)
    if error is not None:
        raise error
    for index, failure in enumerate(failures):
        if failure:
            msg = f"process {index} could not start: {failure}"
            raise CommandError(msg)
    return result


def agreed(prepare: Callable[[], T], told: Callable[[T], Mapping[str, Any]]) -> T:
    """Prepares the work in every process, and makes sure that all were told the same.

    Args:
      prepare: reads what was asked for; its error is told to the other processes.
      told: from what was prepared to what has to be the same, by name; ``"data"`` is a pair of a
        checksum and the name of the data, which need not be the same.

    Returns:
      What was prepared.

    Raises:
      CommandError: another process failed, or was told something else; all end.
      Exception: what `prepare` raised, after the others were told.
    """
    if not jax.distributed.is_initialized():
        return prepare()
    prepared = _all_or_none(prepare)
    values = dict(told(prepared))
    checksum, name = values.pop("data")
    try:
        check_same({**values, "data of sha256": checksum}, notes={"data of sha256": name})
    except ValueError as different:
        raise CommandError(str(different).removeprefix("check_same: ")) from None
    return prepared


def _sizes(text: str) -> dict[str, int]:
    """Reads the sizes of a mesh's axes."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = (piece.strip() for piece in part.partition("="))
        if name not in _AXES or name in sizes or not size.isdecimal() or int(size) < 1:
            msg = (
                f"got --mesh {text}; expected the axes {' and '.join(_AXES)}, each once at most "
                "with a number of devices; try --mesh data=2,model=2"
            )
            raise CommandError(msg)
        sizes[name] = int(size)
    return {name: sizes.get(name, 1) for name in _AXES}


def choose_mesh(
    text: str | None, *, batch: int, hidden: int, free: bool = True
) -> jax.sharding.Mesh | None:
    """Returns the mesh that `--mesh` asks for; None for one device.

    Args:
      text: of the option; None for all devices of several processes, on data.
      batch: number of sequences, which the data axis has to divide.
      hidden: number of units, which the model axis has to divide.
      free: whether the command has an option for the number of sequences.

    Raises:
      CommandError: the mesh does not fit the sizes or the devices.
    """
    several = jax.distributed.is_initialized()
    if text is None and not several:
        return None
    devices = jax.device_count()
    sizes = _sizes(f"data={devices}" if text is None else text)
    asked = sizes["data"] * sizes["model"]
    words = "" if text is None else f"--mesh {text} and "
    if asked > devices or (several and asked < devices):
        every = f"of all {jax.process_count()} processes" if several else "here"
        msg = (
            f"got --mesh {text}, {asked} devices; expected {devices}, those {every}; change a "
            "number of the mesh" + (" or the number of processes" if several else "")
        )
        raise CommandError(msg)
    for axis, option, size in (("data", "batch", batch), ("model", "hidden", hidden)):
        if size % sizes[axis] and axis == "data" and not free:
            most = max(n for n in range(1, sizes[axis]) if size % n == 0)
            msg = (
                f"got {words}batches of {size} sequences over {sizes[axis]} devices; expected a "
                f"number of devices that divides {size}, as {most} does; name it by --mesh, and "
                "start as many processes as it takes"
            )
            raise CommandError(msg)
        if size % sizes[axis]:
            more = -(-size // sizes[axis]) * sizes[axis]
            msg = (
                f"got {words}--{option} {size} over {sizes[axis]} devices; expected a multiple of "
                f"{sizes[axis]}; try --{option} {more}, or another number of devices in --mesh"
            )
            raise CommandError(msg)
    return mesh(**sizes)


def lost(error: Exception) -> str | None:
    """Says what an error of JAX means where it is that another process is gone; else None."""
    reason = str(error).split("\n")[0]
    if not jax.distributed.is_initialized() or not any(word in reason for word in _GONE):
        return None
    return (
        f"process {jax.process_index()} of {jax.process_count()} lost another process, whose own "
        f"last words say why; start all of them again, a training with --resume ({reason})"
    )


def wait_for_all() -> None:
    """Waits until every process has come here: the first one writes while the others wait."""
    if jax.distributed.is_initialized():
        gather_texts("")


def leave(status: int, *, first: bool) -> int:
    """Ends a process that is one of several at once, so that those that wait for it hear of it.

    The first one leaves last: JAX aborts the others where it is gone.

    Args:
      status: the exit status, returned where there is one process.
      first: whether this is the first one.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        if first:
            time.sleep(1)
        os._exit(status)
    return status


@contextlib.contextmanager
def by_first(context: contextlib.AbstractContextManager[T], otherwise: T) -> Iterator[T]:
    """Enters a context in the process that writes; the others get something else.

    Raises:
      CommandError: the first process could not enter it; so in all of them.
    """
    if not jax.distributed.is_initialized():
        with context as value:
            yield value
        return
    with contextlib.ExitStack() as stack:
        yield _all_or_none(lambda: stack.enter_context(context) if is_first() else otherwise)
