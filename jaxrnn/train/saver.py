"""Saves a training as it goes: on the disk in another thread, and at once when it must stop."""

import contextlib
import logging
import os
import secrets
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.core.types import Params
from jaxrnn.train.checkpoint import load_contents, write_snapshot
from jaxrnn.train.interrupt import Signals, interrupted
from jaxrnn.train.manifest import current_versions
from jaxrnn.train.monitor import Monitor
from jaxrnn.train.snapshot import Snapshot, snapshot
from jaxrnn.train.step import Metrics, TrainState
from jaxrnn.train.step_directory import reserved, step_path, steps_in
from jaxrnn.train.together import ALONE, Processes, all_succeed, processes_of

__all__ = ["Progress", "Saver", "joined", "progress_snapshot", "resume_progress"]

_LOG = logging.getLogger("jaxrnn")
_CHUNKS = 10  # between two checkpoints, where it is not said


class Progress(NamedTuple):
    """How far a training has come.

    Attributes:
      state: the training state.
      done: the number of steps done.
      history: the metrics of each chunk, NumPy arrays.
      seen: what the monitor measured: pairs of a number of steps done and a dict of NumPy arrays.
      stopped: where `stop_fn` ended it, the number of steps that were wanted; 0 where it did not.
      info: what the user adds.
      clip_norm: the norm that gradients are clipped to, infinity for none; None where it is not
        known.
    """

    state: TrainState
    done: int
    history: list[Metrics]
    seen: list[tuple[int, dict[str, np.ndarray]]]
    stopped: int
    info: Mapping[str, Any] | None
    clip_norm: float | None = None


def joined(history: list[Metrics]) -> Metrics:
    """Returns the metrics of all steps out of those of each chunk."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *history)


def progress_snapshot(progress: Progress, monitor: Monitor | None) -> Snapshot:
    """Brings a training to the host; its tree is the training state, the rest stands beside.

    Args:
      progress: how far it has come, at least one step; its history is joined in place, so that the
        next time there is less to join.
      monitor: the monitor, if there is one.

    Returns:
      What is to be written.
    """
    progress.history[:] = [joined(progress.history)]
    extra = {f"metrics.{k}": v for k, v in progress.history[0]._asdict().items()}
    if progress.clip_norm is not None:
        extra["clip_norm"] = np.array(progress.clip_norm, float)
    if progress.stopped:
        extra["stopped"] = np.array(progress.stopped)
    if monitor is not None:
        extra["monitor.every"] = np.array(monitor.every)
        extra["monitor.steps"] = np.array([step for step, _ in progress.seen])
        for name in progress.seen[0][1]:
            extra[f"monitor.measured.{name}"] = np.stack([one[name] for _, one in progress.seen])
    return snapshot(progress.state, step=progress.done, info=progress.info, extra=extra, by="fit")


def _check_measured(measured: Mapping[str, np.ndarray], monitor: Monitor, params: Params) -> None:
    """Compares what was measured before, one row a measurement, with what a monitor measures."""
    got = {k: v.shape for k, v in jax.eval_shape(monitor.measure, params).items()}
    expected = {k: v.shape[1:] for k, v in measured.items()}
    if got != expected:
        msg = (
            f"fit: got a monitor that measures {got} to resume a training; expected {expected}, as "
            "it was saved (shapes by name); pass the monitor of the first run"
        )
        raise ValueError(msg)


def _resumed(
    extra: dict[str, np.ndarray], step: int, monitor: Monitor | None, params: Params, where: Any
):
    """Returns history and records out of the arrays beside a training state."""
    names = [f"metrics.{name}" for name in Metrics._fields]
    if any(name not in extra or extra[name].shape != (step,) for name in names):
        msg = (
            f"fit: got a checkpoint in {where} without the metrics of its {step} steps; expected "
            "one that fit saved; load it with load_checkpoint and pass its parameters"
        )
        raise ValueError(msg)
    history = [Metrics(*(extra[name] for name in names))]
    every = int(extra["monitor.every"]) if "monitor.every" in extra else None
    wanted = None if monitor is None else monitor.every
    if every != wanted:
        msg = (
            f"fit: got a monitor every {wanted} steps to resume a training from {where}; expected "
            f"every {every}, as it was saved (None: no monitor); pass the monitor of the first run"
        )
        raise ValueError(msg)
    if monitor is None:
        return history, []
    prefix = "monitor.measured."
    measured = {k.removeprefix(prefix): v for k, v in extra.items() if k.startswith(prefix)}
    _check_measured(measured, monitor, params)
    steps = extra["monitor.steps"].tolist()
    return history, [(at, {k: v[i] for k, v in measured.items()}) for i, at in enumerate(steps)]


def _compare_versions(saved: Mapping[str, str]) -> None:
    """Warns the caller of `fit` where other versions saved a training than go on with it."""
    now = current_versions()
    other = [name for name in ("jaxrnn", "jax") if saved.get(name) != now[name]]
    if other:
        got, here = (", ".join(f"{k} {v.get(k)}" for k in other) for v in (saved, now))
        msg = (
            f"fit: got a checkpoint that {got} saved, and goes on with {here}; with other versions "
            "the numbers may differ from those of one run without a break"
        )
        warnings.warn(msg, stacklevel=4)


def _compare_clip_norm(saved: np.ndarray | None, now: float | None) -> None:
    """Warns the caller of `fit` where a training is clipped otherwise than before."""
    if saved is None or now is None or float(saved) == now:
        return
    before, here = (None if norm == float("inf") else norm for norm in (float(saved), now))
    msg = (
        f"fit: got clip_norm={here} to resume a training that was clipped with clip_norm={before}; "
        "it goes on with the new one, and the numbers will not be those of one run without a break"
    )
    warnings.warn(msg, stacklevel=4)


def resume_progress(
    directory: str | os.PathLike,
    start: TrainState,
    steps: int,
    monitor: Monitor | None,
    resume: bool,
    clip_norm: float | None = None,
) -> Progress:
    """Returns how far a training has come: what the newest checkpoint says, or nowhere.

    Args:
      directory: where `fit` saves.
      start: the state before the first step, of which the checkpoint's has the structure.
      steps: the number of steps that are wanted.
      monitor: the monitor, if there is one.
      resume: whether checkpoints that are there are gone on from; otherwise they are an error.
      clip_norm: as in `Progress`.

    Raises:
      FileExistsError: there are checkpoints, and `resume` is False.
      ValueError: the checkpoint is of another network, optimiser or monitor, or of more steps.
    """
    processes = processes_of(start, by="fit")
    there = all_succeed(processes, lambda: steps_in(directory, by="fit"), by="fit")
    seen_by = processes.exchange(str(there[-1] if there else "none"))
    if len(set(seen_by)) > 1:
        listed = ", ".join(f"process {k}: {one}" for k, one in enumerate(seen_by))
        msg = (
            f"fit: got checkpoint={os.fspath(directory)!r}, of which processes see different "
            f"steps ({listed}); expected one directory on a file system that all processes share; "
            "name such a one"
        )
        raise ValueError(msg)
    if there and not resume:
        msg = (
            f"fit: got checkpoint={os.fspath(directory)!r}, which holds a checkpoint of step "
            f"{there[-1]}; expected a directory without; pass resume=True to go on from there, or "
            "name another directory"
        )
        raise FileExistsError(msg)
    if not there:
        return Progress(start, 0, [], [], 0, None, clip_norm)
    found = load_contents(directory, start, by="fit", level=3, processes=processes)
    if found.step > steps:
        msg = (
            f"fit: got steps={steps} to resume a training of {found.step} steps; expected at least "
            f"{found.step}: steps counts from the beginning of the first run"
        )
        raise ValueError(msg)
    _compare_versions(found.versions)
    _compare_clip_norm(found.extra.get("clip_norm"), clip_norm)
    history, seen = _resumed(found.extra, found.step, monitor, found.tree.params, directory)
    stopped = int(found.extra.get("stopped", 0))
    return Progress(found.tree, found.step, history, seen, stopped, found.info, clip_norm)


class Saver:
    """Saves after chunks, within a ``with`` block, which ends when all is written.

    One checkpoint is written at a time, in a thread of its own; the next waits for it. What goes
    wrong there is raised after the next chunk; where the training stops there, the last state is
    written all the same, and only what goes wrong with that is raised. Without a directory it does
    nothing.

    Several processes save and stop after the same chunk: a signal that one has heard is heard by
    all, and what goes wrong with a checkpoint is raised in all when the next one is due.

    Args:
      directory: where to, or None.
      every: steps between two checkpoints; ten chunks if None.
      chunk: steps of a chunk.
      keep: how many checkpoints to keep.
      done: the number of steps done.
      processes: which train together.
    """

    def __init__(
        self,
        directory: str | os.PathLike | None,
        every: int | None,
        chunk: int,
        keep: int,
        done: int,
        processes: Processes = ALONE,
    ) -> None:
        self._directory, self._keep, self._processes = directory, keep, processes
        self._token, self._hurry = "", threading.Event()
        self._open = contextlib.ExitStack()
        self._every = _CHUNKS * chunk if every is None else every
        self._signals = Signals()
        self._pending: Future | None = None
        self._done = done

    def __enter__(self) -> "Saver":
        if self._directory is not None:
            self._token = self._processes.exchange(secrets.token_hex(8))[0]
            self._open.enter_context(reserved(self._directory, by="fit"))
            self._thread = ThreadPoolExecutor(1, "jaxrnn-checkpoint")
            self._signals.__enter__()
        return self

    def until(self, done: int) -> float:
        """Returns the number of steps to the next checkpoint."""
        return float("inf") if self._directory is None else self._every - done % self._every

    def _finish(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _forgive(self) -> None:
        """Waits for a write; where it failed it is said, and the next one decides."""
        try:
            self._finish()
        except Exception as failed:
            _LOG.warning("an earlier checkpoint was not written: %s", failed)

    def _agree(self) -> int | None:
        """Returns the signal that any process has heard, the same in all of them."""
        heard = str(self._signals.heard or 0)
        return max(map(int, self._processes.exchange(heard))) or None

    def _answer(self, heard: int | None) -> None:
        if heard is not None:
            path = step_path(self._directory, self._done)
            error = interrupted(heard, self._done, path)
            if isinstance(error, SystemExit):  # of which Python shows no message
                _LOG.warning("%s", error)
            raise error

    def after_chunk(self, done: int, last: bool, take: Callable[[], Snapshot]) -> None:
        """Saves where it is time to.

        Args:
          done: the number of steps done.
          last: whether these were all.
          take: brings the training to the host.

        Raises:
          Interrupted: a signal asked to stop; the training is saved.
          OSError: a checkpoint could not be written; where the training stops, the last one.
        """
        if self._directory is None:
            return
        self._done = done
        heard = self._agree()
        stop = last or heard is not None
        alone = self._processes.count == 1  # others would still be at work on the next chunk
        if alone and self._pending is not None and self._pending.done() and not stop:
            self._finish()
        if stop or done % self._every == 0:
            taken = take()
            if taken.share is not None:
                share = taken.share._replace(token=self._token, hurry=self._hurry)
                taken = taken._replace(share=share)
            if stop:
                self._forgive()
            else:
                self._finish()
            self._pending = self._thread.submit(
                write_snapshot, self._directory, taken, self._keep, by="fit"
            )
        if stop:
            self._finish()
            self._answer(heard)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        del kind, trace
        if self._directory is None:
            return
        if error is not None:
            self._hurry.set()
        self._thread.shutdown(wait=True)
        self._signals.__exit__()
        self._open.close()
        try:
            self._finish()
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"The last checkpoint was not written: {failed}")
        if error is None:
            self._answer(self._signals.heard)  # what came after the last chunk
