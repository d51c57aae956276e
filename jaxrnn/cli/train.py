"""`jaxrnn train`: train one network, and be able to go on with it."""

import argparse
import logging
import math
import pathlib
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxrnn.cli.errors import CommandError, StoppedError
from jaxrnn.cli.output import output_directory, write_files
from jaxrnn.cli.processes import (
    add_process_arguments,
    agreed,
    by_first,
    choose_mesh,
    is_first,
    start,
)
from jaxrnn.cli.results import origins, versions, write_json
from jaxrnn.cli.runs import check_data, choose_tasks, parse_run
from jaxrnn.cli.terminal import progress
from jaxrnn.cli.train_log import MetricsLog, read_validations
from jaxrnn.cli.train_network import DeepNetwork, make_deep_network, write_text
from jaxrnn.cli.train_settings import (
    add_setting_arguments,
    cell_names,
    choose_settings,
    read_config,
)
from jaxrnn.cli.weights import fill_params, pack_params, read_arrays
from jaxrnn.core.trees import num_parameters
from jaxrnn.core.types import Params
from jaxrnn.sharding import unshard
from jaxrnn.tasks import Task
from jaxrnn.train import FitResult, Interrupted, Metrics, Monitor, fit

__all__ = ["add_arguments", "run"]

_FILES = """\
DIR holds run.json (settings, versions, the data's checksum), metrics.jsonl (one line a step),
step_NNNNNNNN (checkpoints), and at the end weights.npz (all parameters: 0/w_ih, 1/w, ...) and
cell.npz (those of the first layer's cell), which `jaxrnn spectrum CELL --params DIR/cell.npz` reads
with the same --task or --data; `jaxrnn report --runs DIR` reports on a run of one layer. With
--patience the weights are those of the lowest loss on the data held out. Ctrl-C or SIGTERM: the
chunk of steps is finished and saved, and the command says how to go on. A run that is gone on with
takes the steps that it would have taken without the interruption.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.epilog = _FILES
    add_setting_arguments(parser)
    parser.add_argument(
        "--config",
        metavar="FILE.json",
        help='these settings as a JSON object, such as {"cell": "gru", "layers": 2}, or the '
        "run.json of a run; options beat it",
    )
    parser.add_argument(
        "--checkpoint",
        default="jaxrnn-train",
        metavar="DIR",
        help="where all that belongs to the run goes (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in DIR, with its settings; begin one where there is none",
    )
    add_process_arguments(parser)


def _stored_run(directory: str, resume: bool) -> dict[str, Any] | None:
    """Returns run.json of the run in a directory, to go on with; None where there is no run."""
    path = pathlib.Path(directory) / "run.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if any(path.parent.glob("step_*")):
            msg = (
                f"got --checkpoint {directory}, which holds checkpoints and no run.json; expected "
                "a run of this command, or nothing; name another directory"
            )
            raise CommandError(msg) from None
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"got --checkpoint {directory}: {path.name}: {reason}; expected a readable file"
        raise CommandError(msg) from error
    if not resume:
        msg = (
            f"got --checkpoint {directory}, which holds a run; expected a directory without; add "
            "--resume to go on with it, or name another directory"
        )
        raise CommandError(msg)
    return parse_run(directory, text, option="--checkpoint")


def _check_run(settings: dict[str, Any], task: Task, stored: dict[str, Any] | None) -> None:
    if settings["stateful"] and task.stream is None:
        why = task.info.get("stream_note", f"the sequences of {task.name} are independent")
        msg = f"got --stateful, but {why}; expected a text or series that is long enough"
        raise CommandError(msg)
    if stored is not None:
        check_data(task, stored, remedy="begin a run in another --checkpoint")


class _Plan(NamedTuple):
    """What is to be trained, read from options and files.

    Attributes:
      settings: all of them.
      network: with its task.
      held_out: what is measured on, with patience.
      goes_on: whether there is a run to go on with.
      mesh: of the devices; None for one.
    """

    settings: dict[str, Any]
    network: DeepNetwork
    held_out: Task | None
    goes_on: bool
    mesh: jax.sharding.Mesh | None


class _Run:
    """What is written and shown while `fit` runs; nothing before the first chunk is done.

    Args:
      directory: of the run.
      record: the contents of its run.json.
      patience: how many measurements may follow the lowest one.
      advance: moves the progress bar.
    """

    def __init__(self, directory: pathlib.Path, record: str, patience: int, advance: Callable):
        self.directory, self.record, self.patience = directory, record, patience
        self.advance = advance
        self.log: MetricsLog | None = None

    def begin(self, done: int) -> MetricsLog:
        """Opens the log of a run that has so many steps behind it."""
        if is_first():
            write_files(self.directory, {"run.json": self.record.encode()})
        path = self.directory / "metrics.jsonl"
        self.log = MetricsLog(path, done=done, writes=is_first())
        return self.log

    def on_chunk(self, done: int, metrics: Metrics) -> None:
        taken = len(metrics.loss)
        if self.log is None:
            self.begin(done - taken)
            self.advance("training", done - taken)
        self.log.steps(done, metrics)
        self.advance("training", taken, float(metrics.loss[-1]))

    def on_measured(self, done: int, measured: dict[str, np.ndarray], params: Params) -> bool:
        """Says whether to stop: the loss on data held out has not fallen for too long."""
        if self.log is None:
            return False  # before the first step
        loss = float(measured["validation_loss"])
        lowest = min((one for _, one in self.log.validations), default=math.inf)
        self.log.validation(done, loss)
        if loss < lowest:
            _write_weights(self.directory, params)
        return _waited(self.log.validations) >= self.patience


def _waited(validations: list[tuple[int, float]]) -> int:
    """Returns how many measurements have followed the lowest one."""
    losses = [math.inf if math.isnan(loss) else loss for _, loss in validations]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _stopped_at(directory: pathlib.Path, patience: int) -> float:
    """Returns the step at which a run was stopped early; infinity where it was not."""
    validations = read_validations(directory / "metrics.jsonl")
    return validations[-1][0] if _waited(validations) >= patience else math.inf


def _measured(validations: list[tuple[int, float]]) -> bool:
    """Says whether there is a lowest measurement, whose weights are kept."""
    return any(loss < math.inf for _, loss in validations)


def _write_weights(directory: pathlib.Path, params: Params) -> Params:
    """Writes the network's parameters, and those of its first cell alone; returns them whole."""
    params = unshard(params)
    if is_first():
        files = {"weights.npz": pack_params(params), "cell.npz": pack_params(params[0])}
        write_files(directory, files)
    return params


def _train(
    plan: _Plan,
    directory: pathlib.Path,
    record: str,
    *,
    resume: bool,
) -> tuple[FitResult, list[tuple[int, float]]]:
    """Trains; returns what came out, and the measurements on data held out."""
    settings, network, held_out = plan.settings, plan.network, plan.held_out
    stateful, steps = settings["stateful"], settings["steps"]
    if resume and settings["patience"]:
        steps = min(steps, _stopped_at(directory, settings["patience"]))
    with progress(steps, shown=is_first()) as advance:
        run = _Run(directory, record, settings["patience"], advance)
        measuring: dict[str, Any] = {}
        if held_out is not None:
            measure = network.validation(held_out)
            measuring = {
                "monitor": Monitor(
                    lambda params: {"validation_loss": measure(params)}, settings["validate-every"]
                ),
                "stop_fn": run.on_measured,
            }
        advance("compiling", 0)
        carried = network.net.initial_state(network.params, (settings["batch"],))
        result = fit(
            network.loss_fn(stateful),
            network.params,
            optax.adam(settings["lr"]),
            network.batch_fn(stateful),
            steps=steps,
            clip_norm=settings["clip"] or None,
            carried=carried if stateful else None,
            on_chunk=run.on_chunk,
            checkpoint=directory,
            checkpoint_every=settings["checkpoint-every"],
            resume=resume,
            mesh=plan.mesh,
            **measuring,
        )
    log = run.begin(len(result.metrics.loss)) if run.log is None else run.log
    return result, log.validations


def _go_on(arguments: argparse.Namespace, *more: str) -> str:
    mesh = [] if arguments.mesh is None else ["--mesh", arguments.mesh]
    words = ["jaxrnn", "train", "--resume", "--checkpoint", arguments.checkpoint, *mesh, *more]
    return shlex.join(words) + (", in every process" if jax.distributed.is_initialized() else "")


def _plan(arguments: argparse.Namespace) -> _Plan:
    stored = _stored_run(arguments.checkpoint, arguments.resume)
    config = {} if arguments.config is None else read_config(arguments.config)
    settings = choose_settings(arguments, config, None if stored is None else stored["settings"])
    task, held_out = choose_tasks(settings)
    settings["task"] = task.name
    _check_run(settings, task, stored)
    network = make_deep_network(cell_names(settings), task, settings["hidden"], settings["seed"])
    mesh = choose_mesh(arguments.mesh, batch=settings["batch"], hidden=settings["hidden"])
    return _Plan(settings, network, held_out, stored is not None, mesh)


def _told(arguments: argparse.Namespace, plan: _Plan) -> dict[str, Any]:
    """Returns what has to be the same in all processes."""
    told = {f"--{name}": value for name, value in plan.settings.items() if name != "data"}
    compared = ("checkpoint", "mesh", "resume", "processes")
    told |= {f"--{name}": getattr(arguments, name) for name in compared}
    told["a run to go on with"] = plan.goes_on
    info = plan.network.task.info
    return told | {"versions": versions(), "data": (info.get("sha256"), info["source"])}


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing before the first steps are taken."""
    start(arguments)
    plan = agreed(lambda: _plan(arguments), lambda plan: _told(arguments, plan))
    settings, name = plan.settings, arguments.checkpoint
    record = write_json(origins(settings, plan.network.task.info))
    quiet = logging.NullHandler()  # what fit logs about signals is said below, in other words
    logging.getLogger("jaxrnn").addHandler(quiet)
    try:
        place = by_first(output_directory(name, option="--checkpoint"), pathlib.Path(name))
        with place as directory:
            result, validations = _train(plan, directory, record, resume=arguments.resume)
            params = None
            if not _measured(validations):
                params = _write_weights(directory, result.state.params)
    except Interrupted as error:
        msg = (
            f"got {error.signal}; stopped after step {error.step} of {settings['steps']}, which is "
            f"saved; to go on: {_go_on(arguments)}"
        )
        raise StoppedError(msg, 130 if error.signal == "SIGINT" else 143) from None
    except KeyboardInterrupt:
        if not (pathlib.Path(name) / "run.json").exists():
            raise
        msg = f"interrupted twice; to go on from the last checkpoint: {_go_on(arguments)}"
        raise StoppedError(msg, 130) from None
    finally:
        logging.getLogger("jaxrnn").removeHandler(quiet)
    if not is_first():
        return
    try:
        _say(arguments, plan, params, result.metrics, validations)
    except KeyboardInterrupt:
        msg = f"interrupted; the training is done and in {name}"
        raise StoppedError(msg, 130) from None


def _say(
    arguments: argparse.Namespace,
    plan: _Plan,
    params: Params | None,
    metrics: Metrics,
    validations: list[tuple[int, float]],
) -> None:
    """Prints what came out; the parameters are None where the file has those of the lowest loss."""
    settings, network, name = plan.settings, plan.network, arguments.checkpoint
    task, losses = network.task, np.asarray(metrics.loss, np.float64)
    done = len(losses)
    last = losses[-max(1, done // 10) :].mean()
    size = num_parameters(network.params)
    layers = "1 layer" if settings["layers"] == 1 else f"{settings['layers']} layers"
    print(
        f"{settings['cell']}, {layers} of {settings['hidden']} units, {size:,} parameters, on "
        f"{task.info['source']}"
    )
    print(
        f"loss ({task.info['loss']}): {losses[0]:.4f} at step 1, {last:.4f} over the last tenth of "
        f"{done} steps; {task.info['baseline_loss']:.4f} from {task.info['baseline']}"
    )
    ended = done < settings["steps"]
    if params is None:
        step, lowest = min(validations, key=lambda one: (math.isnan(one[1]), one[1], one[0]))
        stopped = f"stopped early after {done} steps; " if ended else ""
        print(f"{stopped}lowest loss on data held out: {lowest:.4f} after step {step}, kept")
        arrays = read_arrays(str(pathlib.Path(name) / "weights.npz"))
        params = fill_params(network.net, arrays, what="the network")
    if "vocabulary" in task.info and settings["sample"]:
        text = write_text(
            network.net,
            params,
            task.info["vocabulary"],
            count=settings["sample"],
            temperature=settings["temperature"],
            key=network.probe_key,
        )
        print(f"\n--- {settings['sample']} characters at temperature {settings['temperature']}")
        print(f"{text}\n---")
    more = _go_on(arguments, "--steps", str(2 * settings["steps"]))
    data = [f"--{one}={settings[one]}" for one in ("task", "data", "columns") if settings[one]]
    cell = ["--params", str(pathlib.Path(name) / "cell.npz"), *data]
    print(f"\nParameters: {pathlib.Path(name) / 'weights.npz'}")
    if not ended:
        print(f"To train on: {more}")
    print(
        f"To see its spectra: {shlex.join(['jaxrnn', 'spectrum', cell_names(settings)[0], *cell])}"
    )
