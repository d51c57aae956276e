"""Reads numeric columns out of comma-separated text, naming the cell when one is wrong."""

import csv
import difflib
import io
import math
from collections.abc import Sequence

import numpy as np

from jaxrnn.tasks._shared import explain

__all__ = ["numeric_columns"]


def numeric_columns(
    content: str, label: str, columns: str | Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    r"""Parses comma-separated text and takes the named columns as numbers.

    Args:
      content: the text.
      label: what to call the file in an error.
      columns: names, in the order wanted; None takes all.

    Returns:
      The names of the C columns and their values, float64 ``(rows, C)``.

    Raises:
      TypeError: `columns` holds something that is not a name.
      ValueError: see `series`.

    Example:
      >>> names, values = numeric_columns("day,t\nmon,1.5\ntue,2\n", "demo.csv", ["t"])
      >>> names, values.tolist()
      (('t',), [[1.5], [2.0]])
    """
    rows = _rows(content, label)
    first = rows[0][1]
    has_header = all(_number(cell) is None for cell in first) and any(c.strip() for c in first)
    header = [cell.strip() for cell in first] if has_header else [str(i) for i in range(len(first))]
    body = rows[1:] if has_header else rows
    if not body:
        raise ValueError(
            explain(
                f"series: {label!r}",
                got="a header and no rows",
                expected="one row of numbers per time step",
                remedy="name another file",
            )
        )
    wanted = _choose(header, label, columns)
    _same_width(rows, label)
    positions = [header.index(name) for name in wanted]
    values = [
        [_cell(cells[at], line, name, label) for at, name in zip(positions, wanted, strict=True)]
        for line, cells in body
    ]
    return wanted, np.array(values, dtype=np.float64)


def _rows(content: str, label: str) -> list[tuple[int, list[str]]]:
    """Splits into ``(line number, cells)``, without the blank lines at the end."""
    # a byte order mark, which spreadsheets write, would become part of the first column's name
    reader = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            rows.append((reader.line_num, cells or [""]))
    except csv.Error as error:
        raise ValueError(
            explain(
                f"series: {label!r}, line {reader.line_num}",
                got=f"text that is no CSV ({error})",
                expected="comma-separated values",
                remedy="export the table again as CSV",
            )
        ) from None
    while rows and len(rows[-1][1]) == 1 and not rows[-1][1][0].strip():
        rows.pop()
    if not rows:
        raise ValueError(
            explain(
                f"series: {label!r}",
                got="only blank lines",
                expected="one row of numbers per time step",
                remedy="name another file",
            )
        )
    return rows


def _same_width(rows: list[tuple[int, list[str]]], label: str) -> None:
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise ValueError(
                explain(
                    f"series: {label!r}, line {line}",
                    got=f"{len(cells)} cells ({','.join(cells)[:60]!r})",
                    expected=f"{width} cells, as in line {rows[0][0]}",
                    remedy="complete the row, or quote a cell that holds a comma",
                )
            )


def _choose(header: list[str], label: str, columns: str | Sequence[str] | None) -> tuple[str, ...]:
    # a bare string is one name, not a sequence of one-letter names
    wanted = tuple(header) if columns is None else columns
    wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    subject = f"series: columns of {label!r}"
    if not wanted:
        raise ValueError(
            explain(
                subject,
                got="no column",
                expected="at least one name",
                remedy=f"choose among {_listed(header)}, or pass None for all",
            )
        )
    for name in wanted:
        if not isinstance(name, str):
            raise TypeError(
                explain(
                    subject,
                    got=f"{name!r} ({type(name).__name__})",
                    expected="names",
                    remedy=f"choose among {_listed(header)}",
                )
            )
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "check the first line of the file"
            raise ValueError(
                explain(subject, got=repr(name), expected=f"one of {_listed(header)}", remedy=hint)
            )
        if wanted.count(name) > 1 or header.count(name) > 1:
            raise ValueError(
                explain(
                    subject,
                    got=f"{name!r} more than once",
                    expected="each column once, under a name of its own",
                    remedy="name each column once, here and in the first line of the file",
                )
            )
    return wanted


def _cell(cell: str, line: int, column: str, label: str) -> float:
    value = _number(cell)
    if value is not None and math.isfinite(value):
        return value
    if not cell.strip():
        got = "an empty cell"
    elif value is None:
        got = f"{cell[:60]!r}, which is not a number"
    else:
        got = f"{cell!r}, which is not finite"
    raise ValueError(
        explain(
            f"series: {label!r}, line {line}, column {column!r}",
            got=got,
            expected="a finite number with a decimal point",
            remedy="correct the cell, fill the gap, or leave the column out by naming the others",
        )
    )


def _number(cell: str) -> float | None:
    # Python reads 1_000 as a number; in a data file it is more likely damage
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _listed(header: list[str]) -> str:
    shown = ", ".join(repr(name) for name in header[:12])
    return shown if len(header) <= 12 else f"{shown} and {len(header) - 12} more"
