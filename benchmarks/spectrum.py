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

On two CPU cores (a) takes 3 to 4.5 times as long as `lyapunov_spectrum`, (b) 1.5 to 3 times as
long as `singular_spectrum`, (c) 70 times. It is not the 16 times that 16 of 256 directions promise
because a product with 16 rows is bound by reading the weights, far below the speed of one with 256.

    python benchmarks/spectrum.py [--rounds 7] [--without-torch] [--memory]
"""

import argparse
import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from timing import timed, write

import jaxrnn
from jaxrnn import analysis

INPUT, HIDDEN, STEPS, K = 16, 128, 1000, 16


def problem(hidden, steps):
    cell = jaxrnn.lstm(INPUT, hidden)
    params = cell.init(jax.random.key(0))
    return cell, params, jax.random.normal(jax.random.key(1), (steps, INPUT))


def dense_exponents(cell, params, xs):
    """(a): a dense Jacobian at every step."""
    flat, unravel = ravel_pytree(cell.initial_state(params))

    def step(flat, x):
        return ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

    def advance(carry, x):
        flat, frame = carry
        frame, r = jnp.linalg.qr(jax.jacfwd(step)(flat, x) @ frame)
        return (step(flat, x), frame), jnp.log(jnp.abs(jnp.diagonal(r)))

    frame = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (flat.size, K)))[0]
    _, logs = jax.lax.scan(advance, (flat, frame), xs)
    return logs.mean(axis=0)


def whole_values(cell, params, xs):
    """(b): the Jacobian of the whole run."""
    flat, unravel = ravel_pytree(cell.initial_state(params))

    def run(flat):
        return ravel_pytree(jaxrnn.unroll(cell, params, xs, unravel(flat))[0])[0]

    return jnp.linalg.svd(jax.jacrev(run)(flat), compute_uv=False)[:K]


def torch_values(params, xs):
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
        return torch.linalg.svdvals(jacobian)[:K].numpy()

    return values


def compiled(function, cell, params, xs):
    program = jax.jit(lambda params, xs: function(cell, params, xs)).lower(params, xs).compile()
    return lambda: jax.block_until_ready(program(params, xs))


def check(cell, params, xs, ours, dense, with_torch):
    """Same numbers, before any is timed: exponents at all steps, singular values at 40."""
    exponents = {name: np.asarray(run()) for name, run in {"ours": ours, "dense": dense}.items()}
    # Two random frames: after T steps they differ by a few nats in the logs.
    np.testing.assert_allclose(exponents["ours"], exponents["dense"], atol=5 / STEPS)
    short = xs[:40]
    spectrum = analysis.singular_spectrum(cell, params, short, k=K)
    allowed = np.asarray(spectrum.error_bound) + 1e-4
    peers = [whole_values(cell, params, short)]
    peers += [torch_values(params, short)()] if with_torch else []
    for values in peers:
        assert np.all(np.abs(np.log(values) - spectrum.log_singular_values) < allowed)


def compare(rounds, with_torch):
    cell, params, xs = problem(HIDDEN, STEPS)
    functions = {
        "lyapunov_spectrum": lambda *args: analysis.lyapunov_spectrum(*args, k=K).exponents,
        "singular_spectrum": lambda *args: analysis.singular_spectrum(*args, k=K)[:1],
        "singular_spectrum, 1 pair": lambda *args: analysis.singular_spectrum(*args, k=K, sweeps=1)[
            :1
        ],
        "(a) dense jacfwd, QR": dense_exponents,
        "(b) jacrev, SVD": whole_values,
    }
    runs = {name: compiled(function, cell, params, xs) for name, function in functions.items()}
    check(cell, params, xs, runs["lyapunov_spectrum"], runs["(a) dense jacfwd, QR"], with_torch)
    seconds = timed(runs, rounds)
    if with_torch:
        values = torch_values(params, xs)
        seconds |= timed({"(c) torch jacobian, SVD": values}, 1)
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
    print(f"of 16 singular values, (b) at T = {STEPS} returns {lost} as 0")
    return {"sizes": [INPUT, HIDDEN, STEPS, K], "seconds": seconds, "ratios": ratios}


def measure_memory():
    """What the compiled programs need beside the trajectory, and what the process grows by."""
    cell, params, xs = problem(512, 10_000)
    trajectory = 10_000 * 2 * 512 * 4
    found = {"trajectory_bytes": trajectory}
    for function in (analysis.lyapunov_spectrum, analysis.singular_spectrum):
        program = (
            jax.jit(lambda params, xs, function=function: function(cell, params, xs, k=8)[:1])
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--memory", action="store_true", help="measure memory too")
    options = parser.parse_args()
    data = compare(options.rounds, not options.without_torch)
    if options.memory:
        data |= measure_memory()
    write("spectrum", data)
