"""Several processes as one program: started by JAX's own engine, with readable errors."""

import os
import socket
import threading
from concurrent.futures import Future, wait

import jax

from jaxrnn.core.checks import check_size

__all__ = ["start_processes"]

_VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "count": "JAX_NUM_PROCESSES",
    "index": "JAX_PROCESS_ID",
}
_BY = "start_processes"
_LATER = 60  # seconds after ours that JAX's own timeout, which aborts, comes


def _from_environment(name: str) -> int | None:
    """Returns the number in a variable of the environment; None where it is not set."""
    text = os.environ.get(_VARIABLES[name], "")
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        msg = (
            f"{_BY}: got {_VARIABLES[name]}={text!r} in the environment; expected a whole number; "
            "correct or unset it"
        )
        raise ValueError(msg) from None


def _check_coordinator(coordinator: str) -> None:
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        msg = (
            f"{_BY}: got coordinator={coordinator!r}; expected HOST:PORT, the machine of process 0 "
            "and a free port there, from 1 to 65535; pass for example coordinator='10.0.0.1:8476'"
        )
        raise ValueError(msg)


def _check_place(coordinator: str | None, count: int, index: int | None) -> None:
    """Checks that it is said where the processes meet and which of them this is."""
    if index is None:
        msg = (
            f"{_BY}: got count={count} without index; expected which of the processes this is, 0 "
            f"to {count - 1}; pass index, or set {_VARIABLES['index']}"
        )
        raise ValueError(msg)
    if not 0 <= index < count:
        msg = (
            f"{_BY}: got index={index} with count={count}; expected 0 to {count - 1}; the first "
            "process is 0"
        )
        raise ValueError(msg)
    if coordinator is None:
        msg = (
            f"{_BY}: got count={count} without coordinator; expected where the processes meet; "
            f"pass coordinator='HOST:PORT' of process 0, or set {_VARIABLES['coordinator']}"
        )
        raise ValueError(msg)
    _check_coordinator(coordinator)


def _check_port(coordinator: str) -> None:
    """Raises OSError where process 0 cannot listen: JAX would end without a word."""
    port = int(coordinator.rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True).close()
        else:
            socket.create_server(("", port)).close()
    except OSError as error:
        msg = (
            f"{_BY}: got coordinator={coordinator!r}, where process 0 cannot listen: "
            f"{error.strerror or error}; expected a free port; take another one, in all processes"
        )
        raise OSError(msg) from error


def _answers(coordinator: str) -> bool:
    """Says whether something listens where process 0 should."""
    host, _, port = coordinator.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _missing(coordinator: str | None, count: int | None, index: int | None) -> str:
    """Says which processes are missing, as far as this one can know."""
    if coordinator is None:
        return "the others"
    first = f"process 0 at {coordinator}"
    if index and not _answers(coordinator):
        return first
    others = [str(one) for one in range(1, count) if one != index]
    if not others:
        return f"{first}, where something answers: is it that process?"
    if len(others) == 1:
        return f"process {others[0]}"
    return f"one or more of processes {', '.join(others)}"


def _initialize(
    coordinator: str | None, count: int | None, index: int | None, timeout: int
) -> None:
    """Starts JAX's engine in a thread: left alone it ends the process where others are missing."""
    # JAX would take SIGTERM for itself, and a process could not be told to stop but within `fit`.
    jax.config.update("jax_enable_preemption_service", False)
    started: Future[None] = Future()

    def start() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                count,
                index,
                initialization_timeout=timeout + _LATER,
                heartbeat_timeout_seconds=timeout,
                shutdown_timeout_seconds=timeout,
            )
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)

    threading.Thread(target=start, name="jaxrnn-start", daemon=True).start()
    done, _ = wait([started], timeout)
    if not done:
        msg = (
            f"{_BY}: got no word from {_missing(coordinator, count, index)} within {timeout} s; "
            "expected all processes to start at about the same time, with the same coordinator "
            "and count, each with an index of its own; start what is missing, or pass a larger "
            "timeout"
        )
        raise TimeoutError(msg)
    try:
        started.result()
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split("\n")[0]
        msg = f"{_BY}: JAX could not start process {index} of {count}: {reason}"
        raise OSError(msg) from error
    except ValueError as error:
        if coordinator is not None:
            raise
        msg = (
            f"{_BY}: got coordinator='auto' where JAX finds no processes ({error}); expected to "
            "run under SLURM, Open MPI, Kubernetes or on TPUs; pass coordinator, count and index"
        )
        raise ValueError(msg) from error


def start_processes(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    timeout: int = 60,
) -> None:
    """Makes this process one of several that run the same program over all their devices.

    Afterwards ``jax.devices()`` are the devices of all processes, and ``jax.process_index()`` says
    which process this is. It is `jax.distributed.initialize` with checked arguments, one timeout
    and readable errors; where nothing is said of several processes it does nothing. It has to be
    called before anything is computed. JAX's preemption service, which takes SIGTERM for itself, is
    off: `train.fit` answers that signal, after the same chunk in all processes.

    Args:
      coordinator: ``"HOST:PORT"``, the machine of process 0 and a free port there; the same in all
        processes. ``"auto"``: JAX finds all three, under SLURM, Open MPI, Kubernetes or on TPUs.
        The variable ``JAX_COORDINATOR_ADDRESS`` if not given.
      count: number of processes; ``JAX_NUM_PROCESSES`` if not given, else 1.
      index: which one this is, from 0; ``JAX_PROCESS_ID`` if not given.
      timeout: seconds to wait for the others at the start; a process that is silent for as long
        later on counts as lost, and JAX ends the others.

    Raises:
      OSError: process 0 cannot listen on the port, or JAX could not start.
      RuntimeError: JAX has started its devices already, or several processes.
      TimeoutError: processes are missing after `timeout` seconds; the message names them where
        that is known.
      TypeError: a number is not an integer.
      ValueError: an argument is missing, or out of its range.

    Example:
      >>> start_processes()  # one process: nothing to do
      >>> start_processes("10.0.0.1:8476", count=2, index=2)
      Traceback (most recent call last):
        ...
      ValueError: start_processes: got index=2 with count=2; expected 0 to 1; the first process is 0
    """
    check_size("timeout", timeout, by=_BY)
    if coordinator is None:
        coordinator = os.environ.get(_VARIABLES["coordinator"])
    if coordinator == "auto":
        _initialize(None, None, None, timeout)
        return
    if count is None:
        count = _from_environment("count")
    if index is None:
        index = _from_environment("index")
    if count is None and index is None and coordinator is None:
        return
    if count is None:
        given = f"coordinator={coordinator!r}" if index is None else f"index={index}"
        msg = (
            f"{_BY}: got {given} without count; expected the number of processes; pass count, or "
            f"set {_VARIABLES['count']}"
        )
        raise ValueError(msg)
    count = check_size("count", count, by=_BY)
    if count == 1 and index in (None, 0):
        return
    _check_place(coordinator, count, index)
    if index == 0:
        _check_port(coordinator)
    _initialize(coordinator, count, index, timeout)
