"""The nouns of the task package: a batch, a task, and a row of the table of tasks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

__all__ = ["Batch", "StreamBatch", "Task", "TaskEntry"]


class Batch(NamedTuple):
    """Holds one batch of sequences, time-major.

    Attributes:
      xs: inputs, float ``(T, B, F)``, or int32 tokens ``(T, B)``.
      targets: float ``(T, B, O)``, or int32 ``(T, B)``.
      mask: bool ``(T, B)``, True where the target counts in the loss; always an array.
    """

    xs: jax.Array
    targets: jax.Array
    mask: jax.Array


class StreamBatch(NamedTuple):
    """Holds one window of parallel streams: a `Batch`, and where the streams begin.

    Attributes:
      xs: inputs, float ``(T, B, F)``, or int32 tokens ``(T, B)``.
      targets: float ``(T, B, O)``, or int32 ``(T, B)``.
      mask: bool ``(T, B)``, True where the target counts in the loss.
      resets: bool ``(T, B)``, True where the streams begin, the first time and again after their
        end: there the state carried over is dropped.
    """

    xs: jax.Array
    targets: jax.Array
    mask: jax.Array
    resets: jax.Array


class Task(NamedTuple):
    """Holds a source of batches together with the facts a model and a report need.

    Attributes:
      name: the name in `TASKS`.
      kind: ``"tokens"`` (int inputs, int targets), ``"classification"`` (float inputs, int targets)
        or ``"regression"`` (float inputs, float targets).
      input_size: features per step, or the vocabulary size for tokens.
      output_size: outputs per step: features, or the number of classes.
      sample: ``(key) -> Batch``, a pure function that jit accepts, as callee and as argument.
      stream: ``(step) -> StreamBatch``, or None. Window `step` of `batch_size` parallel streams:
        window ``step + 1`` continues window `step`, row of the batch by row, so a state can be
        carried over. It wraps after ``info["stream_steps"]`` windows; `resets` says where.
      info: facts as JSON types: source, sizes, `baseline_loss`, and for data the licence and the
        `sha256` of the raw bytes.
    """

    name: str
    kind: str
    input_size: int
    output_size: int
    sample: Callable[[jax.Array], Batch]
    stream: Callable[[jax.Array | int], StreamBatch] | None
    info: dict[str, Any]


class TaskEntry(NamedTuple):
    """Describes one row of `TASKS`, the table that the command line reads.

    Attributes:
      make: ``make(*, length, batch_size) -> Task``; with `takes_path` also
        ``make(path=None, *, length, batch_size, part=(0, 1))``.
      takes_path: whether `make` reads a file of the user's.
      summary: one line for a list of tasks.
    """

    make: Callable[..., Task]
    takes_path: bool
    summary: str
