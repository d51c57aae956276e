"""How do time and memory grow with T, with B and with H?

Four sweeps of one LSTM: T, B and H one at a time, and T up to 65,536 with one sequence of H = 256,
where memory is the question.

    python benchmarks/scaling.py [--cells lstm] [--sweeps steps,batch,hidden,memory] [--rounds 7]
"""

from common import make_parser, measure, parse

from jaxrnn import checkpointed, fused_unroll
from jaxrnn.bench import Case, choose_contenders, unroll_contender

SWEEPS = {
    "steps": [Case(8, steps, 128, 128) for steps in (16, 64, 256, 1024, 4096)],
    "batch": [Case(batch, 100, 128, 128) for batch in (1, 4, 16, 64, 256, 1024)],
    "hidden": [Case(16, 100, hidden, hidden) for hidden in (16, 64, 128, 256, 512, 1024)],
    "memory": [Case(1, steps, 256, 256) for steps in (1024, 4096, 16384, 65536)],
}
QUICK = {
    "steps": [Case(2, 6, 3, 4)],
    "batch": [Case(4, 3, 3, 4)],
    "hidden": [Case(2, 3, 3, 8)],
    "memory": [Case(1, 12, 3, 4)],
}


def main(arguments=None):
    parser = make_parser(__doc__, cells="lstm", rounds=7)
    parser.add_argument("--sweeps", default=",".join(SWEEPS), metavar="A,B,...")
    names = "fused,fused_outputs,unroll,textbook,flax,torch"
    parser.add_argument("--contenders", default=names, metavar="A,B,...")
    options = parse(parser, arguments)
    cases = QUICK if options.quick else SWEEPS
    chosen = options.sweeps.split(",")
    if not set(chosen) <= set(cases):
        parser.error(f"got --sweeps {options.sweeps}; expected some of {', '.join(cases)}")
    contenders = choose_contenders(options.contenders.split(","))
    contenders.append(unroll_contender("checkpointed", checkpointed(fused_unroll), gated=True))
    problems = [
        ({"sweep": sweep}, kind, case)
        for kind in options.cells
        for sweep in chosen
        for case in cases[sweep]
    ]
    measure("scaling", options, problems, contenders)


if __name__ == "__main__":
    main()
