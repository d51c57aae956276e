"""`jaxrnn report`: train networks on data and report how gradients flow through them."""

import argparse
import contextlib
import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxrnn.cells import CELLS, CellEntry
from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.measure import CellReport, measure_cell
from jaxrnn.cli.output import output_directory, write_files
from jaxrnn.cli.results import make_json, table_rows, verdict, versions
from jaxrnn.core.checks import unknown_name
from jaxrnn.tasks import TASKS, Task

__all__ = ["add_arguments", "choose_cells", "choose_task", "format_table", "run"]

_LEARNING_RATE = 3e-3
_CLIP_NORM = 1.0
_BATCH_SIZE = 32
_MEASURED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    tasks = "; ".join(f"{name}: {entry.summary}" for name, entry in TASKS.items())
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="a UTF-8 text file, or a numeric CSV file (its name ends in .csv)",
    )
    parser.add_argument("--task", metavar="NAME", help=f"{tasks}. Default: text")
    parser.add_argument(
        "--columns", metavar="A,B,...", help="of a CSV file with a header (default: all)"
    )
    parser.add_argument(
        "--cells",
        default="elman,lstm,gru",
        metavar="A,B,...",
        help=f"of {', '.join(CELLS)} (default: %(default)s)",
    )
    numbers = (
        ("hidden", 64, "hidden size"),
        ("length", 100, "steps of a sequence (copy: of its delay)"),
        ("steps", 600, "training steps"),
    )
    for name, default, what in numbers:
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default: {default})"
        )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of everything random (default: 0)"
    )
    parser.add_argument(
        "--out",
        default="jaxrnn-report",
        metavar="DIR",
        help="where index.html, report.json and the pictures go (default: %(default)s)",
    )


def choose_cells(names: str) -> dict[str, CellEntry]:
    """Returns the rows of CELLS for names separated by commas, in that order.

    Raises:
      ValueError: no name, a name twice, or an unknown one.
    """
    chosen: dict[str, CellEntry] = {}
    if not names.strip():
        msg = f"got no cell; expected names separated by commas, such as {','.join(CELLS)}"
        raise ValueError(msg)
    for name in (part.strip() for part in names.split(",")):
        if name not in CELLS:
            raise unknown_name("cell", name, CELLS)
        if name in chosen:
            msg = f"got cell {name!r} twice; expected each cell once"
            raise ValueError(msg)
        chosen[name] = CELLS[name]
    return chosen


def choose_task(
    name: str | None,
    path: str | None,
    *,
    length: int,
    batch_size: int,
    columns: str | None = None,
) -> Task:
    """Returns the task that `--task`, `--data` and `--columns` ask for.

    Raises:
      ValueError: an unknown task, a file for a task that takes none, or unfit data.
      OSError: the file cannot be read.
    """
    if name is None:
        name = "series" if path is not None and path.lower().endswith(".csv") else "text"
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    entry = TASKS[name]
    sizes: dict[str, Any] = {"length": length, "batch_size": batch_size}
    if columns is not None:
        if name != "series":
            msg = f"got --columns {columns} with the task {name}; expected a CSV file, as --data"
            raise ValueError(msg)
        sizes["columns"] = [part.strip() for part in columns.split(",")]
    if path is None:
        return entry.make(**sizes)
    if not entry.takes_path:
        readers = ", ".join(one for one, row in TASKS.items() if row.takes_path)
        msg = (
            f"got --data {path} with --task {name}, which makes its own data; use one of {readers}"
        )
        raise ValueError(msg)
    return entry.make(path, **sizes)


@contextlib.contextmanager
def _progress(total: int):
    """Yields a function that moves a progress bar on, on a terminal: ``(label, steps, loss)``."""
    from tqdm import tqdm

    with tqdm(total=total, unit="step", dynamic_ncols=True, disable=None) as bar:

        def advance(label: str, steps: int, loss: float | None = None) -> None:
            bar.set_description(label)
            if loss is not None:
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(steps)

        yield advance


def _measure_all(arguments, cells, task: Task, advance: Callable[..., None]) -> list[CellReport]:
    reports = []
    for name, entry in cells.items():
        done = 0

        def on_chunk(steps, metrics, name=name):
            nonlocal done
            label = f"{name}, measuring" if steps == arguments.steps else name
            advance(label, steps - done, float(metrics.loss[-1]))
            done = steps

        advance(f"{name}, compiling and measuring", 0)
        reports.append(
            measure_cell(
                name,
                entry.make,
                task,
                hidden_size=arguments.hidden,
                steps=arguments.steps,
                seed=arguments.seed,
                learning_rate=_LEARNING_RATE,
                clip_norm=_CLIP_NORM,
                num_sequences=_MEASURED,
                on_chunk=on_chunk,
            )
        )
    return reports


def format_table(header: list[str], rows: list[list[str]], *, left: int = 1) -> str:
    """Lays a table out for the terminal; the first `left` columns to the left, others right."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]

    def line(cells):
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def _check(arguments: argparse.Namespace) -> None:
    missing = [name for name in ("matplotlib", "tqdm") if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"needs {' and '.join(missing)}; install with: pip install 'jaxrnn[report]'"
        raise CommandError(msg)
    limits = {"hidden": (1, 2**24), "length": (1, 2**31), "steps": (1, 2**31), "seed": (0, 2**32)}
    for name, (low, high) in limits.items():
        value = getattr(arguments, name)
        if not low <= value < high:
            msg = f"got --{name} {value}; expected {low} to {high - 1}; try --{name} 1"
            raise CommandError(msg)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing unless all of it succeeds."""
    _check(arguments)
    cells = choose_cells(arguments.cells)
    task = choose_task(
        arguments.task,
        arguments.data,
        length=arguments.length,
        batch_size=_BATCH_SIZE,
        columns=arguments.columns,
    )
    from jaxrnn.cli.page import make_page
    from jaxrnn.cli.pictures import draw_pictures

    settings: dict[str, Any] = {
        "task": task.name,
        "cells": list(cells),
        "hidden": arguments.hidden,
        "length": arguments.length,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "batch_size": _BATCH_SIZE,
        "measured_sequences": _MEASURED,
        "optimizer": "adam",
        "learning_rate": _LEARNING_RATE,
        "clip_norm": _CLIP_NORM,
    }
    with output_directory(arguments.out) as directory:
        start = time.perf_counter()
        with _progress(arguments.steps * len(cells)) as advance:
            reports = _measure_all(arguments, cells, task, advance)
        seconds = time.perf_counter() - start
        source = task.info["source"]
        loss_label = f"loss ({task.info['loss']})"
        pictures = draw_pictures(
            reports,
            baseline=task.info["baseline_loss"],
            clip_norm=_CLIP_NORM,
            loss_label=loss_label,
        )
        found = [*verdict(reports), _losses(reports, task)]
        device = jax.devices()[0]
        page = make_page(
            title=f"How gradients flow through {', '.join(cells)}",
            lead=(
                f"Networks with {arguments.hidden} hidden units, trained for {arguments.steps} "
                f"steps on {source}, sequences of {task.info['sequence_length']} steps; gradients "
                f"measured on {_MEASURED} sequences before and after."
            ),
            found=found,
            table=table_rows(reports, full=True),
            pictures=pictures,
            settings={
                **settings,
                "cells": ", ".join(cells),
                **{key: value for key, value in task.info.items() if key != "vocabulary"},
                "device": f"{device.platform}, {device.device_kind}",
                **versions(),
            },
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
