"""One problem, all contenders: made ready, compared, and only then timed."""

from collections.abc import Callable, Iterable
from typing import Any

from jaxrnn.bench.check import errors, find_fault
from jaxrnn.bench.contenders import Contender, not_installed, textbook_scan
from jaxrnn.bench.machine import Machine, floor
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model, Program, Results, Unavailable, compile_model
from jaxrnn.bench.timing import summary, timed

__all__ = ["MODES", "measure_problem", "reference_results"]

MODES = ("train", "infer")


def reference_results(problem: Problem) -> Results:
    """Returns what all contenders are compared with: the textbook scan's, in full precision."""
    cell = problem.cell
    model = Model(lambda params: params, lambda params, xs: textbook_scan(cell, params, xs)[1])
    return compile_model(problem, model, precision="fp32").results()


def _reason(error: Exception) -> str:
    """The first line of an error, with its type where that says more."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _make_ready(
    contender: Contender, problem: Problem, expected: Results
) -> tuple[Program | None, dict[str, Any]]:
    """Returns the program, None where it takes no part, and what there is to say so far."""
    missing = not_installed(contender)
    if missing is not None:
        return None, {"status": "not installed", "reason": missing}
    try:
        program = contender.make(problem)
        found = errors(program.results(), expected)
    except Unavailable as error:
        return None, {"status": "not applicable", "reason": str(error)}
    except Exception as error:  # other libraries fail in ways of their own
        return None, {"status": "failed", "reason": _reason(error)}
    fault = find_fault(found, problem)
    if fault is not None:
        return None, {"status": "wrong", "reason": fault, "errors": found}
    return program, {"status": "measured", **program.facts, "errors": found}


def measure_problem(
    problem: Problem,
    contenders: Iterable[Contender],
    *,
    rounds: int,
    machine: Machine | None = None,
    modes: Iterable[str] = MODES,
    on_progress: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Compares contenders on one problem, and times those whose results are right.

    Outputs and the gradients of inputs and parameters are compared with the textbook scan's. A
    contender that is not installed, does not apply, fails or is wrong gets a row that says so, and
    is not timed.

    Args:
      problem: the problem.
      contenders: who takes part.
      rounds: how often each is timed; the order changes from round to round.
      machine: its limits, for the ratio to the floor.
      modes: "train" (gradients of parameters and inputs, and outputs), "infer" (outputs).
      on_progress: told what is being done.

    Returns:
      A row for the file of results: sizes, the floor in milliseconds, and by contender its status
      with the figures or the reason.
    """
    tell = on_progress or (lambda _: None)
    tell(f"{problem.label}, reference")
    expected = reference_results(problem)
    programs, rows = {}, {}
    for contender in contenders:
        tell(f"{problem.label}, {contender.name}")
        program, rows[contender.name] = _make_ready(contender, problem, expected)
        if program is not None:
            programs[contender.name] = program
    limits = None if machine is None else floor(problem, machine)
    for mode in modes:
        tell(f"{problem.label}, timing")
        failures: dict[str, Exception] = {}
        functions = {name: getattr(program, mode) for name, program in programs.items()}
        for name, seconds in timed(functions, rounds, failures=failures).items():
            least = None if limits is None else limits[mode]
            rows[name][mode] = summary(seconds, steps=problem.case.steps, floor=least)
        for name, error in failures.items():
            rows[name] = {"status": "failed", "reason": _reason(error)}
            del programs[name]
    return {
        "cell": problem.kind,
        **problem.case._asdict(),
        "precision": problem.precision,
        **({} if limits is None else {"floor_ms": {m: 1e3 * t for m, t in limits.items()}}),
        "contenders": rows,
    }
