"""Forecasting: predict the next row of a numeric CSV file, or of the sunspot numbers."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from os import PathLike

import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks._csv import numeric_columns
from jaxrnn.tasks._shared import (
    explain,
    positive_int,
    read_utf8,
    shorter_or_more,
    take_part,
    window_functions,
)
from jaxrnn.tasks.types import Task

__all__ = ["series"]

_SUNSPOTS = "sunspots.csv"


def series(
    path: str | PathLike[str] | None = None,
    *,
    length: int = 100,
    batch_size: int = 32,
    columns: str | Sequence[str] | None = None,
    part: tuple[float, float] = (0, 1),
) -> Task:
    """Makes the task of predicting the next row of a table from the rows so far.

    Each column is standardised, ``(value - mean) / std`` over the whole file; ``info["mean"]`` and
    ``info["std"]`` undo it. Targets are the inputs one row ahead. To hold rows out make two tasks
    of two parts, such as ``part=(0, 0.9)`` and ``part=(0.9, 1)``.

    A first line without a single number in it is a header; without one the columns are called
    ``"0"``, ``"1"`` and so on.

    Args:
      path: a UTF-8 file of comma-separated values, one row per time step. None takes the monthly
        mean sunspot numbers from 1749 to 2008: 3,120 rows, month-to-month noise on a cycle of about
        eleven years (130 rows) whose height drifts over a century.
      length: rows T in a window.
      batch_size: windows B in a batch.
      columns: names of the columns to use, in this order; None takes all. Columns that are not used
        may hold anything, dates for example.
      part: fractions ``(start, stop)``: the windows lie between these positions of the file; mean,
        standard deviation and baseline stay those of the whole file.

    Returns:
      A `Task` of kind ``"regression"``: xs and targets float ``(T, B, C)`` for C columns, in
      standard deviations, every position counted. `stream` is None when ``batch_size * length + 1``
      rows are more than there are. ``info["baseline_loss"]`` is the mean squared error of repeating
      the last row, or of always answering the mean, whichever is less.

    Raises:
      FileNotFoundError: nothing is at `path`.
      IsADirectoryError: a directory is at `path`.
      TypeError: `length` or `batch_size` is not an integer, `columns` holds no names, or `part` is
        no pair of numbers.
      ValueError: a cell that is used is empty, not a number, or not finite; rows differ in their
        number of cells; fewer than ``length + 1`` rows in the part; a column does not vary; a
        column name is unknown or repeated; the file is empty or not UTF-8; `part` is none; or a
        size is below one.

    Example:
      >>> import jax
      >>> task = series(length=24, batch_size=4)
      >>> task.sample(jax.random.key(0)).xs.shape, task.info["rows"]
      ((24, 4, 1), 3120)

    Reference:
      The sunspot numbers: data/sunspots.LICENCE.md beside this module.
    """
    length = positive_int("length", length)
    batch_size = positive_int("batch_size", batch_size)
    if path is None:
        # a traversable and not a path: it also works from inside a zip file
        shipped = resources.files("jaxrnn.tasks").joinpath("data", _SUNSPOTS)
        raw = shipped.read_bytes()
        content = raw.decode("utf-8")
        label = _SUNSPOTS
        source = "monthly mean sunspot numbers 1749 to 2008, National Geophysical Data Center"
        licence = "public domain"
    else:
        raw, content = read_utf8(path, "series")
        label = source = str(path)
        licence = "not stated"
    names, values = numeric_columns(content, label, columns)
    chosen = take_part(values.shape[0], part, task="series")
    rows = chosen.stop - chosen.start
    if rows < length + 1:
        raise ValueError(
            explain(
                "series: length",
                got=f"length {length} for {rows} rows in {_place(label, part)}",
                expected=f"at least length + 1 = {length + 1} rows",
                remedy=shorter_or_more(rows, "series"),
            )
        )
    mean, std = _moments(names, values, label)
    standard = (values - mean) / std
    repeat = float(np.mean(np.square(np.diff(standard, axis=0))))
    sample, stream, facts = window_functions(
        jnp.asarray(standard[chosen], dtype=float), length=length, batch_size=batch_size
    )
    info = {
        "source": source,
        "licence": licence,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "rows": rows,
        "part": [float(fraction) for fraction in part],
        "columns": list(names),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "length": length,
        "sequence_length": length,
        "batch_size": batch_size,
        "loss": "mean squared error, in squared standard deviations",
        "baseline": "repeating the last row" if repeat < 1 else "always answering the mean",
        "baseline_loss": min(repeat, 1.0),
        **facts,
    }
    return Task("series", "regression", len(names), len(names), sample, stream, info)


def _place(label: str, part: tuple[float, float]) -> str:
    whole = tuple(part) == (0, 1)
    return repr(label) if whole else f"the part {part[0]:g} to {part[1]:g} of {label!r}"


def _moments(names: Sequence[str], values: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, std = values.mean(axis=0), values.std(axis=0)
    for name, column, spread in zip(names, values.T, std, strict=True):
        # compared as values: the std of a constant 0.1 is not exactly zero after rounding
        if np.all(column == column[0]):
            raise ValueError(
                explain(
                    f"series: column {name!r} of {label!r}",
                    got=f"{column[0]:g} in every row, a standard deviation of 0",
                    expected="a column that varies, for it is divided by its standard deviation",
                    remedy="leave it out by naming the other columns",
                )
            )
        if not 0 < spread < np.inf:
            raise ValueError(
                explain(
                    f"series: column {name!r} of {label!r}",
                    got=f"values of a size whose variance float64 cannot hold, like {column[0]:g}",
                    expected="a finite, positive standard deviation",
                    remedy="change its unit",
                )
            )
    return mean, std
