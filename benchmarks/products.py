"""How fast are the matrix products that a layer cannot do without, and what do they leave possible?

For each shape, in GFLOP/s: the product of all steps' inputs at once; that of one step's state and
its transpose, one after another in a loop as the recurrence has them, with the copies between; and
one step's in torch. At these rates all products of a layer take the times that are printed last,
for outputs and for training: about what is left if everything around the products costs nothing.

    python benchmarks/products.py [--cells lstm,gru,elman] [--cases core] [--rounds 11] [--quick]
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from common import make_parser, parse, save

GATES = {"lstm": 4, "gru": 3, "elman": 1}
FLOPS, MOST = 2e8, 1000  # of the products between two looks at the clock; how many at most


def in_a_loop(count):
    """Products of which each needs the result of the one before."""

    def run(h, w):
        width = min(w.shape)

        def step(h, _):
            return h.at[:, :width].set(1e-3 * (h @ w)[:, :width]), None

        return jax.lax.scan(step, h, None, length=count)[0]

    return jax.jit(run)


def torch_product(h, w):
    """One product in torch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    h, w = torch.tensor(h), torch.tensor(w)
    return lambda: torch.matmul(h, w)


def seconds(run, rounds):
    """The least time of a call."""
    run()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def rates(rows, inner, outer, steps, rounds):
    """GFLOP/s of the products ``(rows, inner) @ (inner, outer)``, by name."""
    flops = 2 * rows * inner * outer
    count = min(max(1, round(FLOPS / flops)), MOST)
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32)

    h, a, w = normal(rows, inner), normal(rows, outer), normal(inner, outer)
    w_t = np.ascontiguousarray(w.T)
    all_steps = jax.jit(jnp.matmul)
    xs = normal(rows * steps, inner)
    loop = in_a_loop(count)
    timed = {
        "all_steps": (steps, lambda: all_steps(xs, w).block_until_ready()),
        "step": (count, lambda: loop(h, w).block_until_ready()),
        "step_transposed": (count, lambda: loop(a, w_t).block_until_ready()),
    }
    product = torch_product(h, w)
    if product is not None:
        timed["torch_step"] = count, lambda: [product() for _ in range(count)]
    return {name: n * flops / seconds(run, rounds) / 1e9 for name, (n, run) in timed.items()}


def least(case, gates, found):
    """Milliseconds that the products of a layer take at these rates."""
    rows = 2 * case.batch * case.steps * gates * case.hidden
    inputs, recurrent = rows * case.inputs / 1e6, rows * case.hidden / 1e6
    at_once, step, transposed = (found[n] for n in ("all_steps", "step", "step_transposed"))
    infer = inputs / at_once + recurrent / step
    return {
        "infer": infer,
        "train": infer + recurrent / transposed + (2 * inputs + recurrent) / at_once,
    }


def main(arguments=None):
    options = parse(make_parser(__doc__, cases="core"), arguments)
    rows = []
    for kind in options.cells:
        for case in options.cases.values():
            gates = GATES[kind]
            found = rates(case.batch, case.hidden, gates * case.hidden, case.steps, options.rounds)
            took = least(case, gates, found)
            shown = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items())
            times = ", ".join(f"{mode} {ms:.1f} ms" for mode, ms in took.items())
            print(f"{kind} {case.label}: GFLOP/s {shown}; {times}", flush=True)
            rows.append({"cell": kind, **case._asdict(), "gflops": found, "least_ms": took})
    save("products", {"rounds": options.rounds, "cases": rows}, options)


if __name__ == "__main__":
    main()
