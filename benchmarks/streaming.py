"""How long does one step take when inputs come one at a time?

One sequence, one call a step, its result waited for: state in, state out, the old state's memory
donated. Beside it torch's cell and flax's. The outputs of 20 steps are compared before timing.

    python benchmarks/streaming.py [--cells lstm,gru,elman] [--contenders jaxrnn,flax,torch]
        [--rounds 11] [--calls 300] [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import make_parser, parse, save

import jaxrnn
from jaxrnn.bench import CONTENDERS, PRECISIONS, Case, make_problem, place, timed
from jaxrnn.bench.contenders import not_installed
from jaxrnn.bench.peers.flax import flax_cell
from jaxrnn.bench.peers.torch import as_torch, torch_module
from jaxrnn.interop.weights import pack_weights

CASES = [Case(1, 20, 64, 128), Case(1, 20, 16, 32), Case(1, 20, 256, 512)]
QUICK = [Case(1, 20, 3, 4)]


def waited(step, weights, state):
    """A function of the input that keeps the state and returns the output, ready."""

    def advance(x):
        nonlocal state
        state, y = step(weights, state, x)
        return jax.block_until_ready(y)

    return advance


def ours(problem):
    stream = jaxrnn.stepper(problem.cell)
    prepared = stream.prepare(problem.params)
    return waited(stream.step, prepared, stream.initial_state(prepared, (1,)))


def flax(problem):
    cell = flax_cell(problem)
    variables = {"params": pack_weights("linen", problem.params, nested=True)}
    state = cell.initialize_carry(jax.random.key(0), problem.xs.shape[1:])
    state = jax.tree.map(jnp.copy, state)
    return waited(jax.jit(cell.apply, donate_argnums=1), variables, state)


def torch(problem):
    import torch

    cell, device = torch_module(problem, one_step=True)
    state = None

    def advance(x):
        nonlocal state
        with torch.no_grad():
            state = cell(x, state)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return state[0] if problem.kind == "lstm" else state

    return advance, lambda x: as_torch(x, device)


MAKERS = {"jaxrnn": ours, "flax": flax, "torch": torch}


def make_all(problem, names, expected):
    """Functions that are right, with an input each; reasons for the others."""
    found, reasons = {}, {}
    for name in names:
        reasons[name] = not_installed(CONTENDERS[name]) if name in CONTENDERS else None
        if reasons[name] is not None:
            continue
        try:
            made = MAKERS[name](problem)
            advance, convert = made if isinstance(made, tuple) else (made, lambda x: x)
            xs = [convert(x) for x in problem.xs]
            ys = np.stack([as_numpy(advance(x)) for x in xs])
        except Exception as error:  # other libraries fail in ways of their own
            reasons[name] = f"{type(error).__name__}: {error}"
            continue
        error = np.max(np.abs(ys - expected)) / np.max(np.abs(expected))
        if error <= PRECISIONS[problem.precision].tolerance:
            found[name] = (advance, xs[0])
        else:
            reasons[name] = f"wrong: outputs off by {error:.1e} of the largest value"
    return found, {name: why for name, why in reasons.items() if why is not None}


def as_numpy(y):
    """An array of JAX's or torch's."""
    return np.asarray(y.cpu() if hasattr(y, "cpu") else y)


def expected_outputs(problem):
    state, ys = problem.cell.initial_state(problem.params, (1,)), []
    for x in problem.xs:
        state, y = problem.cell.step(problem.params, state, x)
        ys.append(np.asarray(y))
    return np.stack(ys)


def main(arguments=None):
    parser = make_parser(__doc__)
    parser.add_argument("--calls", type=int, default=300, metavar="N", help="a round (300)")
    parser.add_argument("--contenders", default=",".join(MAKERS), metavar="A,B,...")
    options = parse(parser, arguments)
    names = options.contenders.split(",")
    if not set(names) <= set(MAKERS):
        parser.error(f"got --contenders {options.contenders}; expected some of {', '.join(MAKERS)}")
    if options.quick:
        options.calls = 3
    rows = []
    for kind in options.cells:
        for case in QUICK if options.quick else CASES:
            problem = make_problem(kind, case)
            found, reasons = make_all(problem, names, expected_outputs(problem))

            def run(advance, x):
                for _ in range(options.calls):
                    advance(x)

            functions = {n: (lambda one=one: run(*one)) for n, one in found.items()}
            figures = {}
            for name, seconds in timed(functions, options.rounds).items():
                each = np.quantile(1e6 * seconds / options.calls, (0.5, 0.1, 0.9))
                keys = ("us", "p10_us", "p90_us")
                figures[name] = dict(zip(keys, map(float, each), strict=True))
            shown = ", ".join(f"{name} {value['us']:.1f} us" for name, value in figures.items())
            print(f"{kind} D={case.inputs} H={case.hidden}: {shown}", flush=True)
            for name, why in reasons.items():
                print(f"    without {name}: {why}")
            sizes = {"inputs": case.inputs, "hidden": case.hidden}
            rows.append({"cell": kind, **sizes, "latency": figures, "without": reasons})
    took_part = sorted({name for row in rows for name in row["latency"]} - {"jaxrnn"})
    settings = {"rounds": options.rounds, "calls": options.calls}
    save("streaming", {"place": place(took_part), **settings, "cases": rows}, options)


if __name__ == "__main__":
    main()
