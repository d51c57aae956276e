"""From how many steps on is it faster to run a recurrence in parallel in time, and how much?

`unroll` (the sequential scan), `associative_unroll`, `chunked_unroll` with its own choice of a
chunk's size (chunked) and with several (chunked/32 is 32 steps a chunk, chunked/all one chunk), and
`jax.lax.associative_scan` over the cell's maps as one would write it without a library (naive); for
any cell `newton_unroll` by its default method (newton), and for Gated cells `fused_unroll`. All
lengths, sizes and batches in turn: training (gradients of parameters and inputs) and outputs alone,
compared with the textbook scan before anything is timed. Where newton takes part, its iterations
stand beside the times. At the end: the fastest of each shape, and the crossover line.

    python benchmarks/parallel.py [--cells min_gru,lru] [--steps 1000,10000,100000]
        [--hidden 1,8,32,128] [--batch 1,16] [--contenders unroll,associative,...]
        [--most 20000000] [--rounds 5] [--quick]

A minute on an accelerator: --cells lru --steps 10000 --hidden 32,128 --batch 16 --rounds 3
"""

import functools

import jax
from common import make_parser, measure, parse

from jaxrnn import (
    Linear,
    associative_unroll,
    chunked_unroll,
    fused_unroll,
    newton_unroll,
    newton_unroll_with_info,
    unroll,
)
from jaxrnn.bench import MODES, Case, Contender, Unavailable, make_problem, unroll_contender

SIZES = (16, 32, 128, 512)
SEQUENTIAL = ("unroll", "fused", "chunked/all")


def naive(cell, params, xs):
    """The associative scan with the derivative that JAX finds, from a state of zeros."""
    parts = cell.parts
    elements = jax.vmap(parts.coefficients, (None, 0))(params, xs)
    prefixes = jax.lax.associative_scan(jax.vmap(parts.combine), elements)
    state = cell.initial_state(params, xs.shape[1:-1])
    states = jax.vmap(parts.apply, (0, None))(prefixes, state)
    return states[-1], jax.vmap(parts.readout, (None, 0, 0))(params, states, xs)


def one_chunk(cell, params, xs):
    return chunked_unroll(cell, params, xs, chunk_size=xs.shape[0])


# From a name to a way to run Linear cells.
LINEAR = {
    "associative": associative_unroll,
    "chunked": chunked_unroll,
    "chunked/all": one_chunk,
    **{f"chunked/{n}": functools.partial(chunked_unroll, chunk_size=n) for n in SIZES},
    "naive": naive,
}


def linear_contender(name, run):
    """A contender that takes part where the cell is Linear."""
    inner = unroll_contender(name, run)

    def make(problem):
        if not isinstance(problem.cell.parts, Linear):
            msg = f"it takes Linear cells only, and {problem.kind} is none"
            raise Unavailable(msg)
        return inner.make(problem)

    return Contender(name, inner.package, make)


def all_contenders():
    """All rows there can be; `unroll` first, which the others are compared with."""
    found = {"unroll": unroll_contender("unroll", unroll)}
    found |= {name: linear_contender(name, run) for name, run in LINEAR.items()}
    return found | {
        "newton": unroll_contender("newton", newton_unroll),
        "fused": unroll_contender("fused", fused_unroll, gated=True),
    }


def iterations(kind, case):
    """What newton's run on a problem takes, as it goes into the row."""
    problem = make_problem(kind, case)
    run = jax.jit(functools.partial(newton_unroll_with_info, problem.cell))
    _, _, info = run(problem.params, problem.xs)
    return {
        "converged": bool(info.converged.all()),
        "iterations": int(info.iterations.max()),
        "blocks": int(info.num_blocks),
    }


def times_of(row, mode):
    """Milliseconds by name, of those that were measured."""
    return {n: f[mode]["ms"] for n, f in row["contenders"].items() if mode in f}


def show_fastest(data):
    """Prints the fastest of each shape, and its time as a part of that of `unroll`."""
    for row in data["cases"]:
        sizes = f"{row['cell']} B={row['batch']} T={row['steps']} H={row['hidden']}"
        for mode in MODES:
            times = times_of(row, mode)
            if "unroll" not in times:
                continue
            best = min(times, key=times.get)
            print(f"{sizes} {mode}: {best}, {times[best] / times['unroll']:.2f} of unroll")


def crossovers(data):
    """From how many steps on a parallel run is ahead of every sequential one.

    Returns:
      By cell, batch, units and mode the fewest steps from which on it is so at all lengths
      measured, None where the longest is not; and the longest.
    """
    ahead = {}
    for row in data["cases"]:
        for mode in MODES:
            times = times_of(row, mode)
            parallel = [ms for name, ms in times.items() if name not in SEQUENTIAL]
            sequential = [ms for name, ms in times.items() if name in SEQUENTIAL]
            if parallel and sequential:
                key = (row["cell"], row["batch"], row["hidden"], mode)
                ahead.setdefault(key, {})[row["steps"]] = min(parallel) < min(sequential)
    found = {}
    for key, by_steps in ahead.items():
        first = None
        for steps in sorted(by_steps, reverse=True):
            if not by_steps[steps]:
                break
            first = steps
        found[key] = first, max(by_steps)
    return found


def show_crossovers(data):
    """Prints the crossover line."""
    for (cell, batch, hidden, mode), (first, longest) in crossovers(data).items():
        said = f"not up to T={longest}" if first is None else f"from T={first} on"
        print(f"{cell} B={batch} H={hidden} {mode}: in parallel is faster {said}")


def main(arguments=None):
    parser = make_parser(__doc__, cells="min_gru,lru", rounds=5)
    for name, default in (("steps", "1000,10000,100000"), ("hidden", "1,8,32,128")):
        parser.add_argument(f"--{name}", default=default, metavar="A,B,...", help="(%(default)s)")
    parser.add_argument("--batch", default="1,16", metavar="A,B,...", help="(%(default)s)")
    every = all_contenders()
    parser.add_argument("--contenders", default=",".join(every), metavar="A,B,...")
    most = "leave out shapes of more numbers, T times B times H (%(default)s)"
    parser.add_argument("--most", type=int, default=20_000_000, metavar="N", help=most)
    options = parse(parser, arguments)
    names = options.contenders.split(",")
    if not set(names) <= set(every):
        parser.error(f"got --contenders {options.contenders}; expected some of {', '.join(every)}")
    if options.quick:
        options.steps, options.hidden, options.batch = "40", "4", "2"
        names = [*list(every)[:4], "newton"]
    try:
        steps, hidden, batch = (
            [int(n) for n in words.split(",")]
            for words in (options.steps, options.hidden, options.batch)
        )
    except ValueError as error:
        parser.error(f"{error}; expected whole numbers, as in --steps 1000,10000")
    cases = [Case(b, t, h, h) for t in steps for h in hidden for b in batch]
    left_out = [
        case.label for case in cases if case.batch * case.steps * case.hidden > options.most
    ]
    if left_out:
        print(f"left out, more than {options.most} numbers: {'; '.join(left_out)}")
    small = [case for case in cases if case.label not in left_out]
    if not small:
        parser.error("got no shape that is small enough; expected one; raise --most")
    problems = (
        ({"newton": iterations(kind, case)} if "newton" in names else {}, kind, case)
        for kind in options.cells
        for case in small
    )
    chosen = [every[name] for name in names]
    data = measure("parallel", options, problems, chosen, left_out=left_out)
    show_fastest(data)
    show_crossovers(data)


if __name__ == "__main__":
    main()
