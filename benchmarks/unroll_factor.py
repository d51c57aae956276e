"""How many steps should an iteration of the loop hold?

`unroll` and the textbook scan with several factors, and `fused_unroll`; compile time grows with the
factor.

    python benchmarks/unroll_factor.py [--cells lstm,gru,elman] [--cases core] [--rounds 7]
"""

import functools

from common import make_parser, measure, parse

from jaxrnn import unroll
from jaxrnn.bench import OURS, choose_contenders, textbook_scan, unroll_contender

FACTORS = (1, 2, 4, 8, 16)


def contenders(factors):
    found = choose_contenders([OURS])
    for name, run in (("unroll", unroll), ("textbook", textbook_scan)):
        for factor in factors:
            one = functools.partial(run, unroll_factor=factor)
            found.append(unroll_contender(f"{name}/{factor}", one))
    return found


def main(arguments=None):
    options = parse(make_parser(__doc__, cases="core", rounds=7), arguments)
    problems = [
        ({"case": name}, kind, case)
        for kind in options.cells[: 1 if options.quick else None]
        for name, case in options.cases.items()
    ]
    measure("unroll_factor", options, problems, contenders((1, 2) if options.quick else FACTORS))


if __name__ == "__main__":
    main()
