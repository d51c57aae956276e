"""`jaxrnn report`: train networks on data and report how gradients flow through them."""

import argparse
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxrnn.cells import CELLS, CellEntry
from jaxrnn.cli.choices import (
    LIMITS,
    add_number_arguments,
    add_task_arguments,
    check_numbers,
    check_packages,
    choose_cells,
    choose_task,
)
from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.measure import CellReport, measure_cells, measure_runs
from jaxrnn.cli.output import output_directory, write_files
from jaxrnn.cli.processes import (
    add_process_arguments,
    agreed,
    by_first,
    choose_mesh,
    is_first,
    start,
)
from jaxrnn.cli.results import make_json, table_rows, verdict, versions
from jaxrnn.cli.runs import read_runs
from jaxrnn.cli.terminal import format_table, progress
from jaxrnn.tasks import Task

__all__ = ["add_arguments", "run"]

_LEARNING_RATE = 3e-3
_CLIP_NORM = 1.0
_BATCH_SIZE = 32
_MEASURED = 8


_NUMBERS = {
    "hidden": (64, "hidden size"),
    "length": (100, "steps of a sequence (copy: of its delay)"),
    "steps": (300, "training steps"),
    "seed": (0, "of everything random"),
}
_CELLS = "elman,lstm,gru"


class _Plan(NamedTuple):
    """What is reported on.

    Attributes:
      task: the task.
      settings: of the training, as the page and the JSON file name them.
      measure: from what moves the progress bar to the reports.
      total: the bar's steps.
    """

    task: Task
    settings: dict[str, Any]
    measure: Callable[[Callable[..., None]], list[CellReport]]
    total: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(parser)
    parser.add_argument(
        "--cells",
        metavar="A,B,...",
        help=f"of {', '.join(CELLS)} (default: {_CELLS})",
    )
    add_number_arguments(parser, _NUMBERS)
    parser.set_defaults(**dict.fromkeys(_NUMBERS))  # filled in later: with --runs none may be given
    parser.add_argument(
        "--runs",
        metavar="DIR,...",
        help="report on networks of one layer that `jaxrnn train` saved in these directories, in "
        "place of training some; all but --data and --out comes from them",
    )
    parser.add_argument(
        "--out",
        default="jaxrnn-report",
        metavar="DIR",
        help="where index.html, report.json and the pictures go (default: %(default)s)",
    )
    add_process_arguments(parser)


def _settings(task: Task, cells: Mapping[str, CellEntry], **training: Any) -> dict[str, Any]:
    return {"task": task.name, "cells": list(cells), **training, "optimizer": "adam"}


def _plan_training(arguments: argparse.Namespace) -> _Plan:
    """Reads what to train and to measure from the command's options."""
    check_numbers(arguments, LIMITS)
    for name, (default, _) in _NUMBERS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    cells = choose_cells(_CELLS if arguments.cells is None else arguments.cells)
    task = choose_task(
        arguments.task,
        arguments.data,
        length=arguments.length,
        batch_size=_BATCH_SIZE,
        columns=arguments.columns,
    )
    settings = _settings(
        task,
        cells,
        **{name: getattr(arguments, name) for name in _NUMBERS},
        batch_size=_BATCH_SIZE,
        measured_sequences=_MEASURED,
        learning_rate=_LEARNING_RATE,
        clip_norm=_CLIP_NORM,
    )
    mesh = choose_mesh(arguments.mesh, batch=_BATCH_SIZE, hidden=arguments.hidden, free=False)
    done = dict.fromkeys(cells, 0)

    def measure(advance):
        def on_chunk(name, steps, metrics):
            label = f"{name}, measuring" if steps == arguments.steps else name
            advance(label, steps - done[name], float(metrics.loss[-1]))
            done[name] = steps

        advance(f"{next(iter(cells))}, compiling", 0)
        reports = measure_cells(
            {name: entry.make for name, entry in cells.items()},
            task,
            hidden_size=arguments.hidden,
            steps=arguments.steps,
            seed=arguments.seed,
            learning_rate=_LEARNING_RATE,
            clip_norm=_CLIP_NORM,
            num_sequences=_MEASURED,
            on_chunk=on_chunk,
            mesh=mesh,
        )
        return list(reports)

    return _Plan(task, settings, measure, arguments.steps * len(cells))


def _plan_runs(arguments: argparse.Namespace) -> _Plan:
    """Reads what was trained, and is to be measured, from runs of `jaxrnn train`."""
    for name in ("cells", "task", "columns", "mesh", *_NUMBERS):
        if getattr(arguments, name) is not None:
            msg = (
                f"got --{name} {getattr(arguments, name)} with --runs; expected it to come from "
                f"the runs; leave --{name} out"
            )
            raise CommandError(msg)
    task, chosen, runs = read_runs(arguments.runs, arguments.data)
    cells = choose_cells(",".join(runs))
    taken = [len(run.metrics.loss) for run in runs.values()]
    settings = _settings(
        task,
        cells,
        hidden=chosen["hidden"],
        length=chosen["length"],
        steps=taken[0] if len(set(taken)) == 1 else taken,
        seed=chosen["seed"],
        batch_size=chosen["batch"],
        measured_sequences=min(_MEASURED, chosen["batch"]),
        learning_rate=chosen["lr"],
        clip_norm=chosen["clip"] or None,
    )

    def measure(advance):
        reports = []
        advance(f"{next(iter(cells))}, compiling", 0)
        for report in measure_runs(
            {name: entry.make for name, entry in cells.items()},
            task,
            runs,
            hidden_size=chosen["hidden"],
            seed=chosen["seed"],
            num_sequences=settings["measured_sequences"],
        ):
            reports.append(report)
            advance(f"{report.name}, measured", 1)
        return reports

    return _Plan(task, settings, measure, len(cells))


def _plan(arguments: argparse.Namespace) -> _Plan:
    check_packages()
    return _plan_training(arguments) if arguments.runs is None else _plan_runs(arguments)


def _told(arguments: argparse.Namespace, plan: _Plan) -> dict[str, Any]:
    """Returns what has to be the same in all processes."""
    told = {f"--{name}": value for name, value in plan.settings.items()}
    compared = ("mesh", "out", "runs", "processes")
    told |= {f"--{name}": getattr(arguments, name) for name in compared}
    return told | {
        "versions": versions(),
        "data": (plan.task.info.get("sha256"), plan.task.info["source"]),
    }


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing unless all of it succeeds."""
    start(arguments)
    task, settings, measure, total = agreed(
        lambda: _plan(arguments), lambda plan: _told(arguments, plan)
    )
    cells, steps = settings["cells"], settings["steps"]
    taken = f"{min(steps)} to {max(steps)}" if isinstance(steps, list) else steps
    from jaxrnn.cli.page import make_page
    from jaxrnn.cli.pictures import draw_pictures
    from jaxrnn.cli.report_page import EXPLANATION, METHOD, report_figures

    place = by_first(output_directory(arguments.out), pathlib.Path(arguments.out))
    with place as directory:
        began = time.perf_counter()
        unit = "step" if arguments.runs is None else "network"
        with progress(total, unit=unit, shown=is_first()) as advance:
            reports = measure(advance)
        if not is_first():
            return
        seconds = time.perf_counter() - began
        source = task.info["source"]
        loss_label = f"loss ({task.info['loss']})"
        pictures = draw_pictures(
            reports,
            baseline=task.info["baseline_loss"],
            clip_norm=settings["clip_norm"],
            loss_label=loss_label,
        )
        found = [*verdict(reports), _losses(reports, task)]
        device = jax.devices()[0]
        page = make_page(
            title=f"How gradients flow through {', '.join(cells)}",
            lead=(
                f"Networks with {settings['hidden']} hidden units, trained for {taken} steps "
                f"on {source}, sequences of {task.info['sequence_length']} steps; gradients "
                f"measured on {settings['measured_sequences']} sequences before and after."
            ),
            found=found,
            tables=[table_rows(reports, full=True)],
            explanation=EXPLANATION,
            figures=report_figures(reports, pictures),
            method=METHOD,
            settings={
                **settings,
                "cells": ", ".join(cells),
                **{key: value for key, value in task.info.items() if key != "vocabulary"},
                "device": f"{device.platform}, {device.device_kind}",
                **versions(),
            },
            numbers="report.json",
        )
        numbers = make_json(reports, settings, task.info)
        # A file's name need not be UTF-8; what the page cannot hold it shows as a number.
        html = page.encode("utf-8", "xmlcharrefreplace")
        files = {"report.json": numbers.encode(), **pictures, "index.html": html}
        write_files(directory, files)
    print(format_table(*table_rows(reports, full=False)))
    print()
    print("\n".join(found))
    print(f"\nMeasured in {seconds:.0f} s. Open {directory / 'index.html'}")


def _losses(reports: list[CellReport], task: Task) -> str:
    """Says which networks learnt something that a predictor without memory does not know."""
    baseline = task.info["baseline_loss"]
    below = []
    for report in reports:
        last = report.metrics.loss[-max(1, len(report.metrics.loss) // 10) :]
        if math.isfinite(float(last.mean())) and float(last.mean()) < baseline:
            below.append(report.name)
    known = f"the baseline of {baseline:.3f} ({task.info['baseline']})"
    if not below:
        return f"No network reached a loss below {known}: train for more steps before concluding."
    return f"Below {known} at the end of training: {', '.join(below)}."
