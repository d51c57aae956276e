"""What `jaxrnn train` saved, read back: to go on with it, and for `jaxrnn report`."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxrnn.cli.choices import choose_cell, choose_task
from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.network import make_network
from jaxrnn.cli.train_log import read_metrics
from jaxrnn.cli.train_settings import SETTINGS, cell_names, typed_settings
from jaxrnn.cli.weights import fill_params, read_arrays
from jaxrnn.core.types import Params
from jaxrnn.layers import layer, stack
from jaxrnn.tasks import TASKS, Task
from jaxrnn.train import Metrics

__all__ = ["SavedRun", "check_data", "choose_tasks", "parse_run", "read_runs"]

_HELD_OUT = 0.1
# In what the runs of one report may differ.
_OWN = {"cell", "data", "steps", "checkpoint-every", "sample", "temperature", "validate-every"}


class SavedRun(NamedTuple):
    """A finished run of one layer.

    Attributes:
      params: of the cell and of the readout, as they were saved.
      metrics: of every step.
    """

    params: tuple[Params, Params]
    metrics: Metrics


def parse_run(directory: str, text: str, *, option: str) -> dict[str, Any]:
    """Reads run.json.

    Args:
      directory: of the run, for messages.
      text: of the file.
      option: the one that named the directory, for messages.

    Returns:
      Its contents; the settings are of the right types.

    Raises:
      CommandError: it is broken.
    """
    try:
        stored = json.loads(text)
        if not isinstance(stored["settings"], dict) or not isinstance(stored["task"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"got {option} {directory} with a run.json that is broken; expected it as it was "
            "written; name another directory"
        )
        raise CommandError(msg) from error
    stored["settings"] = typed_settings(
        str(pathlib.Path(directory) / "run.json"), stored["settings"]
    )
    return stored


def choose_tasks(settings: Mapping[str, Any]) -> tuple[Task, Task | None]:
    """Returns what a run trains on and, with patience, what it measures on."""
    words = (settings["task"], settings["data"])
    sizes = {
        "length": settings["length"],
        "batch_size": settings["batch"],
        "columns": settings["columns"],
    }
    task = choose_task(*words, **sizes)
    if not settings["patience"]:
        return task, None
    if not TASKS[task.name].takes_path:
        return task, task  # its sequences are drawn anew each time
    first, rest = (
        choose_task(*words, **sizes, part=part) for part in ((0, 1 - _HELD_OUT), (1 - _HELD_OUT, 1))
    )
    return first, rest


def check_data(task: Task, stored: Mapping[str, Any], *, remedy: str) -> None:
    """Raises CommandError where a task's data are not those of the run."""
    if stored["task"].get("sha256") != task.info.get("sha256"):
        msg = (
            f"got data that are not those of the run: {task.info['source']!r} has another checksum "
            f"than {stored['task'].get('source')!r} had; expected the same contents; name that "
            f"file by --data, or {remedy}"
        )
        raise CommandError(msg)


def _read_run(directory: str, data: str | None) -> dict[str, Any]:
    path = pathlib.Path(directory) / "run.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = (
            f"got --runs {directory}: {path.name}: {reason}; expected the --checkpoint of a "
            "finished `jaxrnn train`"
        )
        raise CommandError(msg) from error
    stored = parse_run(directory, text, option="--runs")
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    stored["settings"] = {**defaults, **stored["settings"]}
    if data is not None:
        stored["settings"]["data"] = data
    if stored["settings"]["layers"] != 1:
        msg = (
            f"got --runs {directory}, a network of {stored['settings']['layers']} layers; expected "
            "one layer, since the report is about the state of one; see `jaxrnn spectrum` for the "
            "lowest"
        )
        raise CommandError(msg)
    return stored


def _compare(directories: Sequence[str], all_settings: Sequence[Mapping[str, Any]]) -> None:
    """Raises CommandError where runs cannot stand beside each other in one report."""
    first = all_settings[0]
    for directory, settings in zip(directories[1:], all_settings[1:], strict=True):
        for name in sorted(SETTINGS.keys() - _OWN):
            if settings[name] != first[name]:
                msg = (
                    f"got --runs of --{name} {first[name]} ({directories[0]}) and of --{name} "
                    f"{settings[name]} ({directory}); expected the same in all; report on them "
                    "apart"
                )
                raise CommandError(msg)


def read_runs(names: str, data: str | None) -> tuple[Task, dict[str, Any], dict[str, SavedRun]]:
    """Reads finished runs of one layer each.

    Args:
      names: their directories, separated by commas.
      data: where the data are now; None where they have not moved.

    Returns:
      The task that they were trained on, the settings of the first, and the runs by cell.

    Raises:
      CommandError: one is no finished run of one layer, or they do not go together.
      ValueError: an unknown cell or task.
    """
    directories = [name.strip() for name in names.split(",")]
    stored = [_read_run(directory, data) for directory in directories]
    settings = [one["settings"] for one in stored]
    _compare(directories, settings)
    task, _ = choose_tasks(settings[0])
    runs: dict[str, SavedRun] = {}
    for directory, one in zip(directories, stored, strict=True):
        check_data(task, one, remedy="report on another run")
        (name,) = cell_names(one["settings"])
        if name in runs:
            msg = f"got --runs with two of cell {name!r}; expected each cell once"
            raise CommandError(msg)
        runs[name] = _finished(directory, name, task, one["settings"])
    return task, settings[0], runs


def _finished(directory: str, name: str, task: Task, settings: Mapping[str, Any]) -> SavedRun:
    path = pathlib.Path(directory)
    metrics = read_metrics(path / "metrics.jsonl")
    if not (path / "weights.npz").exists() or not len(metrics.loss):
        msg = (
            f"got --runs {directory}, a run that is not finished; expected its weights.npz and "
            f"metrics.jsonl; go on with it: jaxrnn train --resume --checkpoint {directory}"
        )
        raise CommandError(msg)
    network = make_network(
        choose_cell(name).make, task, hidden_size=settings["hidden"], seed=settings["seed"]
    )
    params = fill_params(
        stack(layer(network.cell), network.head),
        read_arrays(str(path / "weights.npz"), option="--runs"),
        what="the network of its run.json",
        option="--runs",
    )
    return SavedRun(params, metrics)
