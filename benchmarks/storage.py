"""What should `fused_unroll` keep for the backward pass, and how many steps make a block?

Both kinds of storage, with its own choice of a block's size (gates, outputs) and with several
(gates/20), beside `checkpointed(fused_unroll)`, the textbook scan, and that with `jax.checkpoint`.

    python benchmarks/storage.py [--cells lstm,gru] [--cases core] [--rounds 7] [--quick]
"""

import functools

import jax
from common import make_parser, measure, parse

from jaxrnn import checkpointed, fused_unroll
from jaxrnn.bench import TEXTBOOK, choose_contenders, unroll_contender

SIZES = (5, 10, 20, 50, 100)


def recomputing_scan(cell, params, xs):
    """The textbook scan that keeps the states alone."""
    state = cell.initial_state(params, xs.shape[1:-1])
    return jax.lax.scan(jax.checkpoint(functools.partial(cell.step, params)), state, xs)


def contenders(sizes):
    found = [*choose_contenders([TEXTBOOK]), unroll_contender("jax.checkpoint", recomputing_scan)]
    for storage in ("gates", "outputs"):
        for size in (None, *sizes):
            run = functools.partial(fused_unroll, storage=storage, block_size=size)
            name = storage if size is None else f"{storage}/{size}"
            found.append(unroll_contender(name, run, gated=True))
    found.append(unroll_contender("checkpointed", checkpointed(fused_unroll), gated=True))
    return found


def main(arguments=None):
    options = parse(make_parser(__doc__, cells="lstm,gru", cases="core", rounds=7), arguments)
    problems = [
        ({"case": name}, kind, case)
        for kind in options.cells[: 1 if options.quick else None]
        for name, case in options.cases.items()
    ]
    measure("storage", options, problems, contenders((2,) if options.quick else SIZES))


if __name__ == "__main__":
    main()
