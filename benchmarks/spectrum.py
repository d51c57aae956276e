"""How fast is a spectrum, and how much memory does it take?

Times the 16 leading Lyapunov exponents and singular values of an LSTM (H = 128, T = 1,000, D = 256)
against what one would write without this library:

  (a) the Jacobian of every step by `jax.jacfwd`, and a QR of its product with a frame;
  (b) `jax.jacrev` of the whole run, and an SVD;
  (c) the same in torch, by `torch.autograd.functional.jacobian` (in rows at a time, `vectorize`).

(b) and (c) give the singular values of the whole product at once, so that they lose what lies more
than the dtype's digits below the largest, and everything once the product leaves its range: values
are compared over 40 steps, where they still work, and times taken over all steps. `--memory`
measures what H = 512, k = 8, T = 10,000 needs.

On two CPU cores (a) takes 1.7 to 1.9 times as long as `lyapunov_spectrum`, (b) 1.1 times as long as
`singular_spectrum`, (c) 5 times (`results/spectrum_cpu.json`; an earlier version on another machine
had 3 to 4.5, 1.5 to 3 and 70 times). It is not the 16 times that 16 of 256 directions promise
because a product with 16 rows is bound by reading the weights, far below the speed of one with 256.

    python benchmarks/spectrum.py [--rounds 7] [--without-torch] [--memory] [--quick]
"""

import importlib.util
import resource
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import make_parser, parse, save
from jax.flatten_util import ravel_pytree

import jaxrnn
from jaxrnn import analysis
from jaxrnn.bench import place, timed


class Sizes(NamedTuple):
    inputs: int
    hidden: int
    steps: int
    k: int


def problem(sizes):
    cell = jaxrnn.lstm(sizes.inputs, sizes.hidden)
    params = cell.init(jax.random.key(0))
    return cell, params, jax.random.normal(jax.random.key(1), (sizes.steps, sizes.inputs))


def dense_exponents(cell, params, xs, k):
    """(a): a dense Jacobian at every step."""
    flat, unravel = ravel_pytree(cell.initial_state(params))

    def step(flat, x):
        return ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

    def advance(carry, x):
        flat, frame = carry
        frame, r = jnp.linalg.qr(jax.jacfwd(step)(flat, x) @ frame)
        return (step(flat, x), frame), jnp.log(jnp.abs(jnp.diagonal(r)))

    frame = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (flat.size, k)))[0]
    _, logs = jax.lax.scan(advance, (flat, frame), xs)
    return logs.mean(axis=0)


def whole_values(cell, params, xs, k):
    """(b): the Jacobian of the whole run."""
    flat, unravel = ravel_pytree(cell.initial_state(params))

    def run(flat):
        return ravel_pytree(jaxrnn.unroll(cell, params, xs, unravel(flat))[0])[0]

    return jnp.linalg.svd(jax.jacrev(run)(flat), compute_uv=False)[:k]


def torch_values(params, xs, k):
    """(c): the Jacobian of the whole run, in torch; returns a function that computes it."""
    import torch

    w_ih, w_hh, b = (torch.from_numpy(np.array(leaf)) for leaf in params)
    shares = torch.from_numpy(np.array(xs)) @ w_ih + b
    hidden = w_hh.shape[0]

    def run(flat):
        h, c = flat[:hidden], flat[hidden:]
        for share in shares:
            i, f, g, o = torch.split(share + h @ w_hh, hidden)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return torch.cat([h, c])

    def values():
        jacobian = torch.autograd.functional.jacobian(run, torch.zeros(2 * hidden), vectorize=True)
        return torch.linalg.svdvals(jacobian)[:k].numpy()

    return values


def compiled(function, cell, params, xs, k):
    program = jax.jit(lambda params, xs: function(cell, params, xs, k)).lower(params, xs).compile()
    return lambda: jax.block_until_ready(program(params, xs))


def check(cell, params, xs, k, ours, dense, with_torch):
    """Same numbers, before any is timed: exponents at all steps, singular values at 40."""
    exponents = {name: np.asarray(run()) for name, run in {"ours": ours, "dense": dense}.items()}
    # Two random frames: after T steps they differ by a few nats in the logs.
    np.testing.assert_allclose(exponents["ours"], exponents["dense"], atol=5 / len(xs))
    short = xs[:40]
    spectrum = analysis.singular_spectrum(cell, params, short, k=k)
    allowed = np.asarray(spectrum.error_bound) + 1e-4
    peers = [whole_values(cell, params, short, k)]
    peers += [torch_values(params, short, k)()] if with_torch else []
    for values in peers:
        assert np.all(np.abs(np.log(values) - spectrum.log_singular_values) < allowed)


def medians(functions, rounds):
    return {name: float(np.median(each)) for name, each in timed(functions, rounds).items()}


def compare(sizes, rounds, with_torch):
    (cell, params, xs), k = problem(sizes), sizes.k
    functions = {
        "lyapunov_spectrum": lambda *args: (
            analysis.lyapunov_spectrum(*args[:3], k=args[3]).exponents
        ),
        "singular_spectrum": lambda *args: analysis.singular_spectrum(*args[:3], k=args[3])[:1],
        "singular_spectrum, 1 pair": lambda *args: analysis.singular_spectrum(
            *args[:3], k=args[3], sweeps=1
        )[:1],
        "(a) dense jacfwd, QR": dense_exponents,
        "(b) jacrev, SVD": whole_values,
    }
    runs = {name: compiled(function, cell, params, xs, k) for name, function in functions.items()}
    check(cell, params, xs, k, runs["lyapunov_spectrum"], runs["(a) dense jacfwd, QR"], with_torch)
    seconds = medians(runs, rounds)
    if with_torch:
        seconds |= medians({"(c) torch jacobian, SVD": torch_values(params, xs, k)}, 1)
    ratios = {
        "(a) / lyapunov_spectrum": seconds["(a) dense jacfwd, QR"] / seconds["lyapunov_spectrum"],
        "(b) / singular_spectrum": seconds["(b) jacrev, SVD"] / seconds["singular_spectrum"],
    }
    if with_torch:
        ratios["(c) / singular_spectrum"] = (
            seconds["(c) torch jacobian, SVD"] / seconds["singular_spectrum"]
        )
    for name, value in {**seconds, **ratios}.items():
        print(f"{name:32} {value:10.4g}{' s' if name in seconds else ' x'}")
    lost = int(np.sum(np.asarray(runs["(b) jacrev, SVD"]()) == 0))
    print(f"of {k} singular values, (b) at T = {sizes.steps} returns {lost} as 0")
    return {"sizes": list(sizes), "seconds": seconds, "ratios": ratios}


def measure_memory(sizes):
    """What the compiled programs need beside the trajectory, and what the process grows by."""
    cell, params, xs = problem(sizes)
    trajectory = sizes.steps * 2 * sizes.hidden * 4
    found = {"trajectory_bytes": trajectory}
    for function in (analysis.lyapunov_spectrum, analysis.singular_spectrum):
        program = (
            jax.jit(lambda params, xs, function=function: function(cell, params, xs, k=sizes.k)[:1])
            .lower(params, xs)
            .compile()
        )
        planned = program.memory_analysis().temp_size_in_bytes
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        result = jax.block_until_ready(program(params, xs))[0]
        seconds = time.perf_counter() - start
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        name = function.__name__
        found[name] = {"temporaries": planned, "grown": grown, "seconds": seconds}
        print(f"{name}: temporaries {planned / 1e6:.0f} MB, process grew by {grown / 1e6:.0f} MB,")
        print(f"    trajectory {trajectory / 1e6:.0f} MB, {seconds:.1f} s, leading {result[0]:.4f}")
    return {"memory": found}


def main(arguments=None):
    parser = make_parser(__doc__, cells=None, rounds=7)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--memory", action="store_true", help="measure memory too")
    options = parse(parser, arguments)
    with_torch = not options.without_torch
    if with_torch and importlib.util.find_spec("torch") is None:
        print("without (c): torch is not installed; pip install 'jaxrnn[peers]'")
        with_torch = False
    sizes = Sizes(3, 8, 60, 4) if options.quick else Sizes(16, 128, 1000, 16)
    data = {"rounds": options.rounds, **compare(sizes, options.rounds, with_torch)}
    if options.memory:
        long = Sizes(3, 8, 100, 2) if options.quick else Sizes(16, 512, 10_000, 8)
        data |= measure_memory(long)
    save("spectrum", {"place": place(["torch"] if with_torch else []), **data}, options)


if __name__ == "__main__":
    main()
