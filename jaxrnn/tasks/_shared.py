"""What several tasks share: argument checks, reading a file, windows over a data array."""

import functools
import operator
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxrnn.tasks.types import Batch, StreamBatch

__all__ = [
    "explain",
    "positive_int",
    "read_utf8",
    "sample_windows",
    "shorter_or_more",
    "static",
    "stream_windows",
    "take_part",
    "window_functions",
]


def explain(subject: str, *, got: str, expected: str, remedy: str) -> str:
    """Builds the text of an error: what was wrong, got, expected, remedy."""
    return f"{subject}: got {got}; expected {expected}; {remedy}"


def positive_int(name: str, value: Any, *, minimum: int = 1) -> int:
    """Checks that `value` is an integer of at least `minimum` and returns it as an int.

    Raises:
      TypeError: it is no integer, or a bool.
      ValueError: it is below `minimum`.
    """
    expected = f"an integer of at least {minimum}"
    remedy = f"pass for example {name}={max(minimum, 32)}"
    try:
        # a bool is an int to Python, but length=True is a slip and not a length of one
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        got = f"{value!r} ({type(value).__name__})"
        raise TypeError(explain(name, got=got, expected=expected, remedy=remedy))
    if number < minimum:
        raise ValueError(explain(name, got=str(number), expected=expected, remedy=remedy))
    return number


def read_utf8(path: str | PathLike[str], task: str) -> tuple[bytes, str]:
    """Reads a UTF-8 file and returns its raw bytes and its text, line ends untouched.

    Raises:
      FileNotFoundError: nothing is there.
      IsADirectoryError: a directory is there.
      ValueError: the file is empty or not UTF-8.
    """
    where = Path(path)
    subject = f"{task}: path"
    if where.is_dir():
        raise IsADirectoryError(
            explain(
                subject,
                got=f"the directory {str(where)!r}",
                expected="a file",
                remedy="name one file inside it",
            )
        )
    if not where.exists():
        raise FileNotFoundError(
            explain(
                subject,
                got=f"{str(where)!r}, where nothing exists",
                expected="a UTF-8 file",
                remedy="check the spelling and the working directory, or leave path out for the "
                "data that comes with the library",
            )
        )
    try:
        raw = where.read_bytes()
    except OSError as error:
        got = f"{str(where)!r}, which cannot be read ({error.strerror or error})"
        remedy = "check its permissions"
        raise OSError(explain(subject, got=got, expected="a file", remedy=remedy)) from error
    if not raw:
        raise ValueError(
            explain(
                subject,
                got=f"{str(where)!r}, which is empty (0 bytes)",
                expected="a UTF-8 file with content",
                remedy="name another file",
            )
        )
    try:
        return raw, raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            explain(
                subject,
                got=f"{str(where)!r}, which is not UTF-8: byte 0x{raw[error.start]:02x} at byte "
                f"offset {error.start} ({error.reason})",
                expected="UTF-8 text",
                remedy="convert it first, for example with iconv -t UTF-8",
            )
        ) from None


def shorter_or_more(available: int, what: str) -> str:
    """Says what to do when `available` rows or characters are too few for one window."""
    more = f"pass a longer {what}"
    return f"use a length of {available - 1} or less, or {more}" if available > 1 else more


def take_part(rows: int, part: tuple[float, float], *, task: str) -> slice:
    """Returns the rows that lie in a part of the data, by position.

    Args:
      rows: how many there are.
      part: ``(start, stop)``, fractions of the data. Parts that meet have no row in common.
      task: the task's name, for the message.

    Raises:
      TypeError: `part` is no pair of numbers.
      ValueError: it is not ``0 <= start < stop <= 1``.
    """
    try:
        start, stop = (float(fraction) for fraction in part)
    except (TypeError, ValueError):
        raise TypeError(
            explain(
                f"{task}: part",
                got=repr(part),
                expected="a pair of fractions",
                remedy="pass for example part=(0, 0.9)",
            )
        ) from None
    if not 0 <= start < stop <= 1:
        raise ValueError(
            explain(
                f"{task}: part",
                got=repr(part),
                expected="0 <= start < stop <= 1",
                remedy="pass for example part=(0, 0.9), and (0.9, 1) for the rest",
            )
        )
    return slice(round(start * rows), round(stop * rows))


@functools.cache
def static(fn: Callable[..., Batch], **sizes: int) -> Callable[..., Batch]:
    """Binds sizes to `fn`, giving the same object for the same sizes.

    jit compares the function inside a `Partial` by identity here, so two tasks made alike share one
    trace only when they share this object.
    """
    return functools.partial(fn, **sizes)


def sample_windows(data: jax.Array, key: jax.Array, *, length: int, batch_size: int) -> Batch:
    """Draws windows of `length` steps at uniform starts; targets are one step ahead.

    Args:
      data: ``(N, ...)``, with ``N > length``.
      key: PRNG key.
      length: steps T of a window.
      batch_size: windows B.

    Returns:
      A `Batch` of ``(T, B, ...)`` inputs and targets, every position counted.
    """
    starts = jax.random.randint(key, (batch_size,), 0, data.shape[0] - length)
    return _windows(data, starts, length)


def stream_windows(
    data: jax.Array, step: jax.Array | int, *, length: int, batch_size: int, steps: int
) -> StreamBatch:
    """Cuts one window of parallel streams; targets are one step ahead.

    Stream b reads ``data[b * steps * length :]``; after `steps` windows it starts again. The
    streams lie end to end, so one pass uses every target once, up to a remainder at the end of the
    data.

    Args:
      data: ``(N, ...)``, with ``N > batch_size * steps * length``.
      step: integer scalar, traced or not: which window.
      length: steps T of a window.
      batch_size: streams B.
      steps: windows in one pass.

    Returns:
      ``(T, B, ...)`` inputs and targets, every position counted.

    Raises:
      TypeError: `step` is not an integer scalar.
    """
    index = jnp.asarray(step)
    if not jnp.issubdtype(index.dtype, jnp.integer) or index.ndim != 0:
        raise TypeError(
            explain(
                "stream: step",
                got=f"{index.dtype} of shape {index.shape}",
                expected="an integer scalar",
                remedy="pass the number of the window, for example stream(0)",
            )
        )
    starts = (jnp.arange(batch_size) * steps + index % steps) * length
    batch = _windows(data, starts, length)
    begins = (jnp.arange(length) == 0) & (index % steps == 0)
    return StreamBatch(*batch, jnp.broadcast_to(begins[:, None], batch.mask.shape))


def _windows(data: jax.Array, starts: jax.Array, length: int) -> Batch:
    # one gather for inputs and targets: they overlap in all but one step
    window = data[starts[None, :] + jnp.arange(length + 1)[:, None]]
    mask = jnp.ones((length, starts.shape[0]), dtype=bool)
    return Batch(window[:-1], window[1:], mask)


def window_functions(
    data: jax.Array, *, length: int, batch_size: int
) -> tuple[Partial, Partial | None, dict[str, Any]]:
    """Makes `sample` and `stream` over one data array, and the facts about the stream.

    Args:
      data: ``(N, ...)``, with ``N > length``. It is a leaf of both functions, so it enters jit as
        an argument when the function does, not as a constant of the program.
      length: steps T of a window.
      batch_size: windows B.

    Returns:
      ``(sample, stream, facts)``; `stream` is None when the data are too short for it, and
      ``facts["stream_note"]`` then says so.
    """
    sample = Partial(static(sample_windows, length=length, batch_size=batch_size), data)
    needed = batch_size * length + 1
    steps = (data.shape[0] - 1) // (batch_size * length)
    if steps == 0:
        note = (
            f"no stream: {batch_size} parallel streams of {length} steps need {needed} rows, "
            f"the data have {data.shape[0]}; use a smaller length or batch_size"
        )
        return sample, None, {"stream_steps": 0, "stream_note": note}
    sizes = {"length": length, "batch_size": batch_size, "steps": steps}
    note = (
        f"{batch_size} parallel streams wrap after {steps} windows; "
        f"{data.shape[0] - 1 - steps * batch_size * length} targets at the end are left out"
    )
    stream = Partial(static(stream_windows, **sizes), data)
    return sample, stream, {"stream_steps": steps, "stream_note": note}
