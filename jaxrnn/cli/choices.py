"""What the commands let the user choose: task and data, cells, sizes."""

import argparse
import importlib.util
from collections.abc import Mapping
from typing import Any

from jaxrnn.cells import CELLS, CellEntry
from jaxrnn.cli.errors import CommandError
from jaxrnn.core.checks import unknown_name
from jaxrnn.tasks import TASKS, Task

__all__ = [
    "LIMITS",
    "add_number_arguments",
    "add_task_arguments",
    "check_numbers",
    "check_packages",
    "choose_cell",
    "choose_cells",
    "choose_task",
]

# From, and up to but without.
LIMITS = {"hidden": (1, 2**24), "length": (1, 2**31), "steps": (1, 2**31), "seed": (0, 2**32)}


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that choose task and data."""
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


def add_number_arguments(
    parser: argparse.ArgumentParser, numbers: Mapping[str, tuple[int | None, str]]
) -> None:
    """Declares options that take a whole number.

    Args:
      parser: of the command.
      numbers: from an option's name to its default and what it is; with a default of None that
        says what happens without the option.
    """
    for name, (default, what) in numbers.items():
        shown = what if default is None else f"{what} (default: {default})"
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=shown)


def check_numbers(arguments: argparse.Namespace, limits: Mapping[str, tuple[int, int]]) -> None:
    """Checks options that take a whole number.

    Args:
      arguments: what the user wrote; an option of None was not given.
      limits: from an option's name to the least value and the first that is too large.

    Raises:
      CommandError: a value is out of its range.
    """
    for name, (low, high) in limits.items():
        value = getattr(arguments, name)
        if value is not None and not low <= value < high:
            msg = f"got --{name} {value}; expected {low} to {high - 1}; try --{name} {max(low, 1)}"
            raise CommandError(msg)


def check_packages() -> None:
    """Checks that the packages of the extra "report" are installed.

    Raises:
      CommandError: one is not.
    """
    missing = [name for name in ("matplotlib", "tqdm") if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"needs {' and '.join(missing)}; install with: pip install 'jaxrnn[report]'"
        raise CommandError(msg)


def choose_cell(name: str) -> CellEntry:
    """Returns the row of CELLS for a name.

    Raises:
      ValueError: an unknown name.
    """
    if name not in CELLS:
        raise unknown_name("cell", name, CELLS)
    return CELLS[name]


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
        entry = choose_cell(name)
        if name in chosen:
            msg = f"got cell {name!r} twice; expected each cell once"
            raise ValueError(msg)
        chosen[name] = entry
    return chosen


def choose_task(
    name: str | None,
    path: str | None,
    *,
    length: int,
    batch_size: int,
    columns: str | None = None,
    part: tuple[float, float] | None = None,
) -> Task:
    """Returns the task that `--task`, `--data` and `--columns` ask for.

    `part` is for tasks that read files: fractions of the file, from where to where.

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
        sizes["columns"] = [column.strip() for column in columns.split(",")]
    if part is not None:
        sizes["part"] = part
    if path is None:
        return entry.make(**sizes)
    if not entry.takes_path:
        readers = ", ".join(one for one, row in TASKS.items() if row.takes_path)
        msg = (
            f"got --data {path} with --task {name}, which makes its own data; use one of {readers}"
        )
        raise ValueError(msg)
    return entry.make(path, **sizes)
