"""What the scripts share: options, the loop over problems, and where results go."""

import argparse
import pathlib

from jaxrnn.bench import (
    CASES,
    MODES,
    as_json,
    device_name,
    make_problem,
    measure_machine,
    measure_problem,
    place,
    record,
)

RESULTS = pathlib.Path(__file__).parent / "results"


def make_parser(doc, *, cells="lstm,gru,elman", cases=None, rounds=11):
    """Declares --quick, --rounds and --out; --cells and --cases unless they are None."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a tiny shape, to see that it runs; writes no results"
    )
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help="(%(default)s)")
    parser.add_argument("--out", metavar="FILE", help="instead of results/NAME_DEVICE.json")
    if cells is not None:
        parser.add_argument("--cells", default=cells, metavar="A,B,...", help="(%(default)s)")
    if cases is not None:
        sets = ", ".join(CASES)
        names = f"shapes by name, or a set of them: {sets} (%(default)s)"
        parser.add_argument("--cases", default=cases, metavar="A,B,...", help=names)
    return parser


def parse(parser, arguments=None):
    """Reads the options; a quick run is short."""
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"got --rounds {options.rounds}; expected 1 or more")
    if options.quick:
        options.rounds = 2
        if hasattr(options, "cases"):
            options.cases = "tiny"
    if hasattr(options, "cells"):
        options.cells = options.cells.split(",")
    if hasattr(options, "cases"):
        options.cases = choose_cases(parser, options.cases)
    return options


def choose_cases(parser, names):
    every = {name: case for cases in CASES.values() for name, case in cases.items()}
    chosen = {}
    for name in names.split(","):
        if name not in CASES and name not in every:
            parser.error(f"got case {name!r}; expected some of {', '.join([*CASES, *every])}")
        chosen |= CASES.get(name) or {name: every[name]}
    return chosen


def show(row):
    """Prints a row: training and inference in milliseconds, or why there are none."""
    print(f"{row['cell']} B={row['batch']} T={row['steps']} D={row['inputs']} H={row['hidden']}")
    for name, facts in row["contenders"].items():
        if facts["status"] != "measured":
            print(f"    {name:24} {facts['status']}: {facts['reason']}")
            continue
        figures = [
            f"{mode} {facts[mode]['ms']:9.3f} ms {facts[mode]['us_per_step']:9.2f} us/step"
            for mode in MODES
            if mode in facts
        ]
        memory = facts.get("temporary_mb")
        figures += [] if memory is None else [f"{memory:8.1f} MB"]
        print(f"    {name:24} {'  '.join(figures)}", flush=True)


def measure(name, options, problems, contenders, *, modes=MODES, **settings):
    """Measures and prints every problem; the file is written anew after each.

    A problem is ``(keys, kind, case)`` or ``(keys, kind, case, precision)``; the keys go into its
    row.
    """
    rows, machines = [], {}
    for keys, kind, case, *precision in problems:
        problem = make_problem(kind, case, precision=precision[0] if precision else None)
        if problem.precision not in machines:
            size = 256 if options.quick else None
            machines[problem.precision] = measure_machine(problem, size=size)
        row = measure_problem(
            problem,
            contenders,
            rounds=options.rounds,
            machine=machines[problem.precision],
            modes=modes,
        )
        rows.append({**keys, **row})
        show(row)
        data = record(rows, machines=machines, rounds=options.rounds, **settings)
        save(name, data, options, quiet=True)
    save(name, data, options)
    return data


def save(name, data, options, *, quiet=False):
    """Writes the results, to where --out says; a quick run writes nothing else."""
    if options.quick and options.out is None:
        return
    if options.out is None:
        RESULTS.mkdir(exist_ok=True)
    path = pathlib.Path(options.out or RESULTS / f"{name}_{device_name()}.json")
    data = data if "place" in data else {"place": place(), **data}
    path.write_text(as_json(data), encoding="utf-8")
    if not quiet:
        print(f"wrote {path}")
