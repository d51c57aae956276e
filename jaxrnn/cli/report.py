"""`jaxrnn report`: train networks on data and report how gradients flow through them."""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxrnn.cells import CELLS
from jaxrnn.cli.choices import (
    LIMITS,
    add_number_arguments,
    add_task_arguments,
    check_numbers,
    check_packages,
    choose_cells,
    choose_task,
)
from jaxrnn.cli.measure import CellReport, measure_cells
from jaxrnn.cli.output import output_directory, write_files
from jaxrnn.cli.results import make_json, table_rows, verdict, versions
from jaxrnn.cli.terminal import format_table, progress
from jaxrnn.tasks import Task

__all__ = ["add_arguments", "run"]

_LEARNING_RATE = 3e-3
_CLIP_NORM = 1.0
_BATCH_SIZE = 32
_MEASURED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(parser)
    parser.add_argument(
        "--cells",
        default="elman,lstm,gru",
        metavar="A,B,...",
        help=f"of {', '.join(CELLS)} (default: %(default)s)",
    )
    add_number_arguments(
        parser,
        {
            "hidden": (64, "hidden size"),
            "length": (100, "steps of a sequence (copy: of its delay)"),
            "steps": (300, "training steps"),
            "seed": (0, "of everything random"),
        },
    )
    parser.add_argument(
        "--out",
        default="jaxrnn-report",
        metavar="DIR",
        help="where index.html, report.json and the pictures go (default: %(default)s)",
    )


def _measure_all(arguments, cells, task: Task, advance: Callable[..., None]) -> list[CellReport]:
    done = dict.fromkeys(cells, 0)

    def on_chunk(name, steps, metrics):
        label = f"{name}, measuring" if steps == arguments.steps else name
        advance(label, steps - done[name], float(metrics.loss[-1]))
        done[name] = steps

    advance(f"{next(iter(cells))}, compiling", 0)
    return list(
        measure_cells(
            {name: entry.make for name, entry in cells.items()},
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


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing unless all of it succeeds."""
    check_packages()
    check_numbers(arguments, LIMITS)
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
    from jaxrnn.cli.report_page import EXPLANATION, METHOD, report_figures

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
        with progress(arguments.steps * len(cells)) as advance:
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
