"""`jaxrnn bench`: how fast the library is on this machine, beside others."""

import argparse
import pathlib
import textwrap
from typing import Any

from jaxrnn.bench import (
    CASES,
    CONTENDERS,
    TEXTBOOK,
    Case,
    as_json,
    best_mean,
    best_other,
    by_cell,
    make_problem,
    measure_machine,
    measure_problem,
    our_way,
    record,
)
from jaxrnn.cli.choices import add_number_arguments, check_numbers, choose_cells
from jaxrnn.cli.output import check_file, write_files
from jaxrnn.cli.terminal import format_table, progress

__all__ = ["add_arguments", "bench_rows", "bench_text", "run"]

_ROUNDS = {"core": 11, "quick": 5}
_WORDS = {"train": "training", "infer": "inference"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{len(CASES['quick'])} of the {len(CASES['core'])} shapes, about a minute on 2 cores",
    )
    parser.add_argument(
        "--cells",
        default="lstm,gru,elman",
        metavar="A,B,...",
        help="names from `jaxrnn cells` (default: %(default)s)",
    )
    rounds = "how often each contender is timed (default: {core}; {quick} with --quick)"
    add_number_arguments(parser, {"rounds": (None, rounds.format(**_ROUNDS))})
    parser.add_argument("--out", metavar="FILE.json", help="write all numbers there")


def _measure(cells: list[str], cases: dict[str, Case], rounds: int) -> dict[str, Any]:
    rows, machine, precision = [], None, ""
    with progress(len(cells) * len(cases), unit="case") as advance:
        for kind in cells:
            for name, case in cases.items():
                problem = make_problem(kind, case)
                if machine is None:
                    advance("measuring the machine", 0)
                    machine, precision = measure_machine(problem), problem.precision
                row = measure_problem(
                    problem,
                    CONTENDERS.values(),
                    rounds=rounds,
                    machine=machine,
                    on_progress=lambda label: advance(label, 0),
                )
                rows.append({"case": name, **row})
                advance(problem.label, 1)
    return record(rows, machines={precision: machine}, rounds=rounds)


def _number(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _other(row: dict[str, Any], mode: str) -> str:
    found = best_other(row, mode)
    return "-" if found is None else f"{found[1]:.2f} {found[0]}"


def bench_rows(data: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of the table, as text.

    Args:
      data: as of `jaxrnn.bench.record`.
    """
    header = ["cell", "B,T,D,H", "train ms", "infer ms", "us/step", "MB", "compile s", "x floor"]
    header += ["others, train", "others, infer"]
    rows = []
    for row in data["cases"]:
        ours = row["contenders"].get(our_way(row), {})
        train, infer = ours.get("train", {}), ours.get("infer", {})
        figures = [
            train.get("ms"),
            infer.get("ms"),
            train.get("us_per_step"),
            ours.get("temporary_mb"),
            ours.get("compile_s"),
            train.get("over_floor"),
        ]
        sizes = ",".join(str(row[name]) for name in Case._fields)
        others = [_other(row, mode) for mode in _WORDS]
        rows.append([row["cell"], sizes, *map(_number, figures), *others])
    return header, rows


def _means(data: dict[str, Any]) -> list[str]:
    lines = []
    for cell, rows in by_cell(data).items():
        parts = []
        for mode, word in _WORDS.items():
            mean = best_mean(rows, mode)
            if mean is not None:
                parts.append(f"{word} {mean:.2f}")
        if parts:
            lines.append(f"{cell}, geometric means of others: {', '.join(parts)}.")
    return lines


def _company(data: dict[str, Any]) -> list[str]:
    """Who was compared, who is missing, who failed."""
    versions, by_status = data["place"]["versions"], {}
    for row in data["cases"]:
        for name, facts in row["contenders"].items():
            place = f"{row['cell']} {','.join(str(row[size]) for size in Case._fields)}"
            by_status.setdefault(facts["status"], {}).setdefault(name, []).append((place, facts))
    measured = [
        f"{name} {versions[package]}" if package in versions else name
        for name in by_status.get("measured", {})
        if (package := CONTENDERS[name].package) != "jaxrnn"
    ]
    textbook = f"{TEXTBOOK} (jax.lax.scan over the cell's step)"
    lines = [f"Compared with: {', '.join([textbook, *measured])}."]
    missing = by_status.get("not installed", {})
    if missing:
        names = ", ".join(missing)
        lines.append(f"Not installed: {names}; to compare: pip install 'jaxrnn[peers]'")
    for status in ("wrong", "failed"):
        for name, places in by_status.get(status, {}).items():
            for place, facts in places:
                lines.append(f"Not timed, {status}: {name} on {place}: {facts['reason']}")
    return lines


def bench_text(data: dict[str, Any]) -> str:
    """Returns what the command prints.

    Args:
      data: as of `jaxrnn.bench.record`.
    """
    place, (precision, limits) = data["place"], next(iter(data["limits"].items()))
    versions = place["versions"]
    method = [
        f"On {place['device']} ({place['platform']}, {place['cores']} cores), {precision}, with "
        f"jaxrnn {versions['jaxrnn']} and jax {versions['jax']}. Medians of {data['rounds']} "
        "rounds; contenders take turns in one process, after their outputs and all gradients were "
        "compared.",
        "Training: outputs and gradients of parameters and inputs. us/step, MB (temporaries), "
        "compile time and floor are of training. x floor: over the time of the same work at this "
        f"machine's measured {limits['gflops']:.0f} GFLOP/s, steps one after the other.",
        "others: time of the fastest other contender over ours; above 1 ours is faster.",
        *_means(data),
        *_company(data),
    ]
    wrapped = [textwrap.fill(line, 100, subsequent_indent="  ") for line in method]
    return "\n".join([format_table(*bench_rows(data), left=2), "", *wrapped])


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing unless all of it succeeds."""
    check_numbers(arguments, {"rounds": (1, 2**20)})
    cells = list(choose_cells(arguments.cells))
    if arguments.out is not None:
        check_file("--out", arguments.out)
    name = "quick" if arguments.quick else "core"
    data = _measure(cells, CASES[name], arguments.rounds or _ROUNDS[name])
    if arguments.out is not None:
        path = pathlib.Path(arguments.out).absolute()
        write_files(path.parent, {path.name: as_json(data).encode()})
    print(bench_text(data))
    if arguments.out is not None:
        print(f"\nAll numbers: {arguments.out}")
