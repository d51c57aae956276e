"""Should both directions of a bidirectional layer share one loop?

`bidirectional` runs them one after the other (two loops). In one loop they would be a pair of
sequences, each with its own weights, so that every product is a batch of two (`jax.vmap` of
`fused_unroll`). Both ways, values compared first: training (gradients of parameters and inputs)
and outputs alone.

    python benchmarks/bidirectional.py [--cells lstm,gru] [--cases core] [--rounds 9] [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import make_parser, parse, save

from jaxrnn import bidirectional, fused_unroll, layer
from jaxrnn.bench import make_problem, timed


def in_one_loop(cell):
    """``(params, xs) -> ys`` of a bidirectional layer, both directions as one batch."""

    def apply(params, xs):
        pair = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        both = jnp.stack([xs, xs[::-1]])
        _, ys = jax.vmap(lambda p, xs: fused_unroll(cell, p, xs))(pair, both)
        return jnp.concatenate([ys[0], ys[1, ::-1]], axis=-1)

    return apply


def in_two_loops(cell):
    """``(params, xs) -> ys`` of the library's layer."""
    net = bidirectional(layer(cell, fused_unroll), layer(cell, fused_unroll))
    return lambda params, xs: net.apply(params, xs)[1]


def measure_one(kind, case, rounds):
    """Median milliseconds by mode and by way."""
    problem = make_problem(kind, case)
    params = (problem.params, problem.cell.init(jax.random.key(1)))
    ways = {"two loops": in_two_loops(problem.cell), "one loop": in_one_loop(problem.cell)}
    programs = {"train": {}, "infer": {}}
    for name, apply in ways.items():
        step = jax.grad(lambda p, xs, apply=apply: jnp.sum(apply(p, xs) ** 2), (0, 1))
        for mode, function in (("train", step), ("infer", apply)):
            run = jax.jit(function).lower(params, problem.xs).compile()
            programs[mode][name] = lambda run=run: jax.block_until_ready(run(params, problem.xs))
    found = {}
    for mode, functions in programs.items():
        two, one = (jax.tree.leaves(run()) for run in functions.values())
        for a, b in zip(two, one, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1, float(jnp.max(abs(a)))))
        seconds = timed(functions, rounds)
        found[mode] = {name: 1e3 * float(np.median(each)) for name, each in seconds.items()}
    return found


def main(arguments=None):
    parser = make_parser(__doc__, cells="lstm,gru", cases="core", rounds=9)
    options = parse(parser, arguments)
    rows = []
    for kind in options.cells:
        for case in options.cases.values():
            found = measure_one(kind, case, options.rounds)
            rows.append({"cell": kind, **case._asdict(), "ms": found})
            shown = ", ".join(
                f"{mode} {ms['two loops']:.2f} ms, in one loop {ms['one loop']:.2f} ms"
                for mode, ms in found.items()
            )
            print(f"{kind} {case.label}: {shown}", flush=True)
    save("bidirectional", {"rounds": options.rounds, "cases": rows}, options)


if __name__ == "__main__":
    main()
