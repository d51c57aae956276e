"""Signals that ask a training to stop: heard, and answered when its state is saved."""

import signal
import threading
from pathlib import Path
from typing import Any

__all__ = ["Interrupted", "Signals", "interrupted"]


class Interrupted(BaseException):
    """`fit` was asked to stop, finished its chunk, and saved its state.

    After Ctrl-C (SIGINT) it is a KeyboardInterrupt too, after SIGTERM a SystemExit with code 143. A
    script that does not catch it ends: after Ctrl-C with a traceback and exit code 1 (Python exits
    as interrupted only for KeyboardInterrupt itself), after SIGTERM with 143. The message says how
    to resume.

    Attributes:
      step: the number of steps done.
      path: the directory of the checkpoint.
      signal: the name of the signal, ``SIGINT`` or ``SIGTERM``.
    """

    step: int
    path: Path
    signal: str


class _Stopped(Interrupted, KeyboardInterrupt):
    pass


class _Terminated(Interrupted, SystemExit):
    def __str__(self) -> str:
        return self.message


def interrupted(number: int, step: int, path: Path) -> Interrupted:
    """Makes the exception that answers a signal.

    Args:
      number: the signal's.
      step: the number of steps done.
      path: the directory of the checkpoint.

    Returns:
      The exception, to be raised by the caller.

    Example:
      >>> error = interrupted(signal.SIGTERM, 50, Path("runs/step_00000050"))
      >>> isinstance(error, SystemExit), error.code, error.signal
      (True, 143, 'SIGTERM')
    """
    name = signal.Signals(number).name
    message = (
        f"fit: got {name}; stopped after step {step}, whose state is saved in {path}; to go on, "
        f"call fit again with the same arguments and resume=True"
    )
    if number == signal.SIGINT:
        error: Any = _Stopped(message)
    else:
        error = _Terminated(128 + number)
        error.message = message
    error.step, error.path, error.signal = step, path, name
    return error


class Signals:
    """Hears SIGINT and SIGTERM within a ``with`` block, in the main thread; elsewhere nothing.

    The first signal is only noted. A second one acts as it would have without the block. A signal
    that is ignored, or handled by something that is no Python function, is left alone.

    Attributes:
      heard: the number of the signal, or None.
    """

    def __init__(self) -> None:
        self.heard: int | None = None
        self._before: dict[int, Any] = {}

    def _note(self, number: int, frame: Any) -> None:
        if self.heard is None:
            self.heard = number
            return
        del frame
        self._restore()
        signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):
                    self._before[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._restore()
