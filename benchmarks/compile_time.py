"""How long does a training step take to compile, at several lengths?

Tracing included, every cache of JAX cleared before, contenders in turn.

    python benchmarks/compile_time.py [--cells lstm,gru,elman] [--rounds 5] [--quick]
"""

import random

import jax
import numpy as np
from common import make_parser, parse, save

from jaxrnn.bench import Case, choose_contenders, make_problem, place
from jaxrnn.bench.contenders import not_installed

CASES = [Case(32, steps, 128, 128) for steps in (1, 10, 97, 100, 1000, 10_000)]
CASES += [Case(16, steps, 64, 64) for steps in (97, 1009)]
QUICK = [Case(2, 3, 3, 4)]


def compile_seconds(problem, contenders, rounds):
    """Seconds of every round by name, or the reason why there are none."""
    seconds, reasons = {contender: [] for contender in contenders}, {}
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        turn = list(seconds)
        shuffle(turn)
        for contender in turn:
            jax.clear_caches()
            try:
                seconds[contender].append(contender.make(problem).facts["compile_s"])
            except Exception as error:  # other libraries fail in ways of their own
                missing = not_installed(contender)
                reasons[contender.name] = missing or f"{type(error).__name__}: {error}"
                del seconds[contender]
    return {contender.name: values for contender, values in seconds.items()}, reasons


def main(arguments=None):
    parser = make_parser(__doc__, rounds=5)
    names = "fused,fused_outputs,unroll,textbook,flax,keras"
    parser.add_argument("--contenders", default=names, metavar="A,B,...")
    options = parse(parser, arguments)
    contenders = choose_contenders(options.contenders.split(","))
    rows = []
    for kind in options.cells[: 1 if options.quick else None]:
        for case in QUICK if options.quick else CASES:
            found, reasons = compile_seconds(make_problem(kind, case), contenders, options.rounds)
            medians = {name: float(np.median(values)) for name, values in found.items()}
            least = {name: min(values) for name, values in found.items()}
            print(f"{kind} {case.label}: "
                  + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items())
                  + "".join(f"; without {name}: {why}" for name, why in reasons.items()),
                  flush=True)  # fmt: skip
            rows.append(
                {"cell": kind, **case._asdict(), "median_s": medians, "least_s": least}
                | {"without": reasons}
            )
    took_part = {c.package for c in contenders if any(c.name in row["median_s"] for row in rows)}
    where = place(sorted(took_part - {"jaxrnn", "jax"}))
    data = {"place": where, "rounds": options.rounds, "cases": rows}
    save("compile_time", data, options)


if __name__ == "__main__":
    main()
