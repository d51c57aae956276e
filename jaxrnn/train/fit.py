"""The training loop: chunks of jitted steps, with a word to the caller between chunks."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Key, Params, State
from jaxrnn.train.manifest import check_info
from jaxrnn.train.monitor import Monitor, Monitored, record
from jaxrnn.train.placement import Placement, read_placement
from jaxrnn.train.saver import Progress, Saver, joined, progress_snapshot, resume_progress
from jaxrnn.train.step import Metrics, TrainState, init, make_step
from jaxrnn.train.step_directory import check_writable
from jaxrnn.train.together import processes_of

__all__ = ["FitResult", "fit", "sampled"]


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      state: the training state after the last step; ``state.params`` are the parameters. Of a
        training over a mesh it stays spread over the devices.
      metrics: NumPy arrays ``(steps,)``.
      monitored: what the monitor saw; None without one.
    """

    state: TrainState
    metrics: Metrics
    monitored: Monitored | None = None


def _draw(sample, key, step):
    return sample(jax.random.fold_in(key, step))


def sampled(sample: Callable[[Key], Any], key: Key) -> Callable[[Any], Any]:
    """Makes the batch of each step from a function of a key, such as ``task.sample``.

    Args:
      sample: ``(key) -> batch``, pure; a `jax.tree_util.Partial` keeps its data out of the compiled
        program.
      key: step i draws with ``fold_in(key, i)``, so that any step's batch can be made again.

    Returns:
      ``(step) -> batch``, for `fit`.

    Example:
      >>> import jax
      >>> batch_fn = sampled(lambda key: jax.random.normal(key, (3,)), jax.random.key(0))
      >>> batch_fn(7).shape
      (3,)
    """
    if not isinstance(sample, jax.tree_util.Partial):
        sample = jax.tree_util.Partial(sample)
    return jax.tree_util.Partial(_draw, sample, key)


def _make_chunk(step, size: int, place: Placement, train_state: TrainState):
    """Compiles up to `size` steps as one loop; how many is an argument, so one program serves."""
    step = place.spread_step(step)

    def run_chunk(train_state, batch_fn, count):
        _, spec = jax.eval_shape(step, train_state, jax.eval_shape(batch_fn, train_state.step))
        empty = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), spec)

        def body(index, carry):
            train_state, kept = carry
            train_state, metrics = step(train_state, batch_fn(train_state.step))
            return train_state, jax.tree.map(lambda k, m: k.at[index].set(m), kept, metrics)

        return jax.lax.fori_loop(0, count, body, (train_state, empty))

    return place.compiled(run_chunk, train_state)


def _check_skipped(skipped: np.ndarray, in_row: int, first: int, limit: int) -> int:
    """Returns the number of steps skipped in a row at the end; raises at the limit."""
    for index, one in enumerate(skipped):
        in_row = in_row + 1 if one else 0
        if in_row == limit:
            start = first + index - limit + 1
            msg = (
                f"fit: got a non-finite loss or gradient at step {start} and at each of the "
                f"{limit} steps from there to step {first + index}; expected finite values; lower "
                "the learning rate, clip with clip_norm=1.0, or look at the batch of step "
                f"{start} with batch_fn({start})"
            )
            raise FloatingPointError(msg)
    return in_row


def fit(
    loss_fn: Callable[..., Any],
    params: Params,
    optimizer: optax.GradientTransformation,
    batch_fn: Callable[[Any], Any],
    *,
    steps: int,
    clip_norm: float | None = 1.0,
    carried: State | None = None,
    chunk: int = 25,
    max_skipped: int = 10,
    on_chunk: Callable[[int, Metrics], Any] | None = None,
    monitor: Monitor | None = None,
    stop_fn: Callable[[int, dict[str, np.ndarray], Params], Any] | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    keep: int = 3,
    info: Mapping[str, Any] | None = None,
    mesh: Mesh | None = None,
    specs: Any = None,
    batch_specs: Any = None,
) -> FitResult:
    """Trains for a number of steps.

    Steps run in jitted chunks without a word from Python inside; between chunks the metrics come
    back, `on_chunk` is called, and non-finite steps are looked at.

    With `checkpoint` the training can be stopped and gone on with: Ctrl-C and SIGTERM end the
    chunk, save and raise `Interrupted` (in the main thread), and a run that was killed loses what
    came after its last checkpoint. Called again with the same arguments and ``resume=True``, on
    the same machine and versions, it gives bit for bit what one run without a break would have:
    parameters, optimiser, carried state, metrics of all steps, and what the monitor saw. (On a GPU
    XLA has to be told to be deterministic, with ``--xla_gpu_deterministic_ops=true``.)

    With `mesh` it trains over many devices, and the numbers are those of one device but for the
    rounding of sums. Three lines change::

        from jaxrnn import sharding

        mesh = sharding.mesh(data=2, model=4)  # a batch in 2 parts, a hidden axis in 4
        result = train.fit(loss_fn, params, optimizer, batch_fn, steps=1000, mesh=mesh)

    Parameters, optimiser and carried state are spread over it by the rules of `jaxrnn.sharding`,
    and stay so: `FitResult.state` is spread too. Loss, norm, clipping and skipped steps are those
    of the whole batch, and every process has them. On an explicit mesh the axes are automatic
    inside the loss and `batch_fn`, so that they need not know of the mesh
    (`jax.sharding.explicit_axes` makes them explicit again).

    Over "data" the devices add up their gradients once a step; with keys among the parameters
    (wrappers seeded for each sequence) or an unroll of your own they may do so at every time step,
    or gather. Sequences of a batch must not look at each other.

    Over "model" a plain ``layer(cell)`` leaves to XLA what the devices exchange at every time step:
    of an Elman network its state, of cells with several gates much more; there use
    ``layer(cell, hidden_sharded(fused_unroll, mesh))``.
    Over "time" use `time_sharded` or `pipelined`: a plain layer gathers the sequence. These want an
    automatic mesh.

    Batches are spread inside the loop, by `jaxrnn.sharding.batch_specs`. What is drawn does not
    depend on the number of devices. Of a batch that is drawn (the tasks adding and copy) each
    device makes its share alone. A corpus in a `jax.tree_util.Partial` (text) is copied to every
    device, unless it is spread over the mesh already, and each device cuts its share of the windows
    out of its copy. For data that are read while the training goes on, see `make_step`.

    Args:
      loss_fn: ``(params, batch) -> loss``; with `carried`, ``(params, batch, carried) -> (loss,
        carried)``: stateful truncated training over a stream, with ``batch_fn=task.stream``.
      params: the parameters to start from; they are not changed.
      optimizer: any optax transformation.
      batch_fn: ``(step) -> batch``, pure and traceable; step is an int32 counting from 0. See
        `sampled`. As a `jax.tree_util.Partial` its data are arguments of the compiled program.
      steps: number of steps, at least 1.
      clip_norm: clip the gradient to this Euclidean norm; None for no clipping.
      carried: the recurrent state before the first batch of a stream, or None.
      chunk: steps between two words to the caller.
      max_skipped: this many non-finite steps in a row end the training with an error.
      on_chunk: called after each chunk with the number of steps done and that chunk's metrics
        (NumPy arrays): for a progress bar or a log.
      monitor: measures the parameters before the first step and after every ``monitor.every``
        steps, such as `flow_monitor`.
      stop_fn: for early stopping: called after each measurement of the monitor but the first with
        the number of steps done, what was measured (NumPy arrays) and the parameters; where it
        returns True the training ends. A resumed training does not repeat earlier calls, so that a
        function that remembers has to find its memory again, such as in a file. One that was ended
        so is complete, unless more `steps` are asked for, or no `stop_fn` is given.
      checkpoint: a directory to save to, of this run alone, or None. The tree of a checkpoint is
        the `TrainState`, see `load_checkpoint`.
      checkpoint_every: steps between two checkpoints, ten chunks if not given; the last step is
        saved too. The disk is written to while the training goes on.
      resume: go on from the newest checkpoint that is not broken; start anew where there is none.
        Then `params` and `carried` give the structure alone, and `on_chunk` hears of new chunks.
      keep: how many checkpoints to keep.
      info: kept in every checkpoint, such as a configuration, for `checkpoint_info`; None for none,
        or where a training is resumed for what it was.
      mesh: a mesh of `jaxrnn.sharding.mesh` to train over, or None for one device.
      specs: where parameters lie whose place `jaxrnn.sharding.param_specs` should not decide: its
        `overrides`, or what it returned. The optimiser's state lies with the parameters.
      batch_specs: likewise, where `jaxrnn.sharding.batch_specs` should not decide how a batch is
        split, such as ``PartitionSpec("data")`` for batches with sequences on axis 0.

    Returns:
      The training state, the metrics of every step taken, and what the monitor saw.

    Raises:
      CheckpointError: all checkpoints to resume from are broken, or the newest that is not is of an
        unknown version.
      FileExistsError: `checkpoint` holds checkpoints, and `resume` is False.
      FloatingPointError: `max_skipped` steps in a row were not finite; the message names the step.
      Interrupted: a signal asked to stop; the training is saved.
      OSError: `checkpoint` cannot be written to, which is tried before the first step; or a
        checkpoint could not be written.
      TypeError: a count is not an integer, `batch_fn` is no function, or `mesh` is no mesh.
      ValueError: the mesh divides the batch, the hidden size or the steps of a sequence with a
        remainder, or lacks an axis; `specs` do not fit; a count is less than 1; `resume` without
        `checkpoint`, `stop_fn` without `monitor`; the checkpoint is of another network, optimiser
        (the message lists what differs) or monitor, or of more steps.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> batch_fn = sampled(lambda key: 3 + jax.random.normal(key, (8,)), jax.random.key(0))
      >>> result = fit(lambda w, x: jnp.mean((w - x) ** 2), jnp.zeros(()), optax.sgd(0.1), batch_fn,
      ...              steps=60)
      >>> bool(abs(result.state.params - 3) < 0.5), result.metrics.loss.shape
      (True, (60,))
    """
    steps = check_size("steps", steps, by="fit")
    chunk = min(check_size("chunk", chunk, by="fit"), steps)
    max_skipped = check_size("max_skipped", max_skipped, by="fit")
    if not callable(batch_fn):
        msg = (
            f"fit: got batch_fn={batch_fn!r}; expected a function of the step; a task without a "
            "stream says why in task.info, and train.sampled(task.sample, key) always works"
        )
        raise TypeError(msg)
    if not isinstance(batch_fn, jax.tree_util.Partial):
        batch_fn = jax.tree_util.Partial(batch_fn)
    if checkpoint_every is not None:
        check_size("checkpoint_every", checkpoint_every, by="fit")
    check_size("keep", keep, by="fit")
    check_info(info, by="fit")
    if checkpoint is None and (resume or checkpoint_every is not None):
        msg = (
            f"fit: got resume={resume} and checkpoint_every={checkpoint_every} without checkpoint; "
            "expected the directory of the checkpoints; pass checkpoint='runs/name'"
        )
        raise ValueError(msg)
    if stop_fn is not None and monitor is None:
        msg = "fit: got stop_fn without monitor; expected what it judges by; pass a train.Monitor"
        raise ValueError(msg)
    place = read_placement(mesh, specs, batch_specs, by="fit")
    start = init(params, optimizer, carried, mesh=mesh, specs=specs)
    step = make_step(loss_fn, optimizer, clip_norm=clip_norm)
    run_chunk = _make_chunk(step, chunk, place, start)
    if monitor is not None:
        monitor = monitor._replace(measure=place.measuring(monitor.measure))
    batch_fn = place.copy(batch_fn)
    processes = processes_of(start, by="fit")
    progress = Progress(start, 0, [], [], 0, None)
    if checkpoint is not None:
        norm = float("inf") if clip_norm is None else float(clip_norm)
        progress = resume_progress(checkpoint, progress.state, steps, monitor, resume, norm)
    train_state, done, history, seen, stopped, info_before, norm = progress
    train_state = place.put(train_state)
    info = info_before if info is None else info
    ended = done == steps or (stop_fn is not None and steps <= stopped)
    if checkpoint is not None and not ended:
        check_writable(checkpoint, by="fit", processes=processes)
    in_row = 0
    for metrics in history:
        in_row = _check_skipped(metrics.skipped, in_row, 0, max_skipped)

    def look():
        if monitor is None or done % monitor.every:
            return False
        seen.append((done, jax.tree.map(np.asarray, monitor.measure(train_state.params))))
        return stop_fn is not None and done > 0 and stop_fn(*seen[-1], train_state.params)

    def take():
        wanted = steps if stopped else 0
        now = Progress(train_state, done, history, seen, wanted, info, norm)
        return progress_snapshot(now, monitor)

    with Saver(checkpoint, checkpoint_every, chunk, keep, done, processes) as saver:
        if not done:
            look()
        while not ended:
            count = min(chunk, steps - done, saver.until(done))
            if monitor is not None:
                count = min(count, monitor.every - done % monitor.every)
            train_state, kept = run_chunk(train_state, batch_fn, count)
            metrics = Metrics(*(np.asarray(leaf)[:count] for leaf in kept))
            in_row = _check_skipped(metrics.skipped, in_row, done, max_skipped)
            history.append(metrics)
            done += count
            if on_chunk is not None:
                on_chunk(done, metrics)
            stopped = bool(look())
            ended = stopped or done == steps
            saver.after_chunk(done, ended, take)
    metrics = joined(history)
    return FitResult(train_state, metrics, record(seen, metrics) if seen else None)
