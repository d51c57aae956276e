"""How much of a pipeline's time is used, and how much is the bubble?

A stack of L equal layers on n devices, in K blocks of time, beside the stack on one device. The
pipeline takes K + n - 1 ticks, of which each device works in K: its speedup would be
n K / (K + n - 1) if blocks cost nothing of their own. Outputs and gradients are compared first.

On CPU each of two devices gets one thread, and the machine needs two cores that do nothing else.

    python benchmarks/pipeline.py [--cells lstm] [--devices 2] [--rounds 11] [--note TEXT]
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from common import make_parser, parse, save

import jaxrnn
from jaxrnn.bench import Case, place, timed

CASE, BLOCKS = Case(16, 256, 128, 128), (1, 2, 4, 8, 16)
QUICK, QUICK_BLOCKS = Case(2, 4, 3, 3), (1, 2)


def make_programs(net, params, xs):
    """Compiled: outputs, and gradients of parameters and inputs."""

    def value(params, xs):
        return jnp.sum(jnp.sin(net.apply(params, xs)[1]))

    functions = {
        "infer": lambda params, xs: net.apply(params, xs)[1],
        "train": jax.grad(value, (0, 1)),
    }
    return {name: jax.jit(one).lower(params, xs).compile() for name, one in functions.items()}


def check(name, got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        error = np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(b))
        if not error < 1e-4:
            raise SystemExit(f"{name}: off by {error:.1e} of the largest value; nothing was timed")


def measure(kind, case, devices, every, rounds):
    """A row: times by number of blocks, the speedup over one device, and the one expected."""
    layer = jaxrnn.layer(jaxrnn.CELLS[kind].make(case.hidden, case.hidden))
    net = jaxrnn.stack(*(layer,) * devices)
    params = net.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (case.steps, case.batch, case.hidden))
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("pipe",), axis_types=kinds, devices=jax.devices()[:devices])
    everywhere = jax.device_put((params, xs), jax.NamedSharding(mesh, jax.P()))
    alone = make_programs(net, params, xs)
    piped = {
        count: make_programs(jaxrnn.pipelined(net, mesh, "pipe", blocks=count), *everywhere)
        for count in every
    }
    row = {"cell": kind, **case._asdict(), "layers": devices, "devices": devices}
    for mode, program in alone.items():
        expected = program(params, xs)
        for count, programs in piped.items():
            check(f"{mode}, {count} blocks", programs[mode](*everywhere), expected)
        functions = {"stack": lambda program=program: jax.block_until_ready(program(params, xs))}
        functions |= {
            count: lambda one=programs[mode]: jax.block_until_ready(one(*everywhere))
            for count, programs in piped.items()
        }
        times = {name: float(np.median(t)) for name, t in timed(functions, rounds).items()}
        row[mode] = {"stack_ms": 1e3 * times.pop("stack"), "blocks": []}
        for count, seconds in times.items():
            used = count / (count + devices - 1)
            figures = {"blocks": count, "ticks": count + devices - 1, "ms": 1e3 * seconds}
            figures["speedup"] = row[mode]["stack_ms"] / figures["ms"]
            figures["predicted_speedup"] = devices * used
            figures["used"], figures["predicted_used"] = figures["speedup"] / devices, used
            row[mode]["blocks"].append(figures)
            print(
                f"{kind} {mode} K={count:2} {figures['ms']:8.2f} ms, {figures['speedup']:.2f} "
                f"times as fast as one device, {devices * used:.2f} predicted",
                flush=True,
            )
    return row


def main(arguments=None):
    parser = make_parser(__doc__, cells="lstm")
    parser.add_argument("--devices", type=int, default=2, metavar="N", help="(%(default)s)")
    parser.add_argument("--note", default="", metavar="TEXT", help="goes into the results")
    options = parse(parser, arguments)
    if options.devices > len(jax.devices()):
        parser.error(f"got --devices {options.devices}; expected at most {len(jax.devices())}")
    case, every = (QUICK, QUICK_BLOCKS) if options.quick else (CASE, BLOCKS)
    rows = [measure(kind, case, options.devices, every, options.rounds) for kind in options.cells]
    settings = {"rounds": options.rounds, "note": options.note}
    save("pipeline", {"place": place(), **settings, "cases": rows}, options)


if __name__ == "__main__":
    # One thread a device: or the stack alone would have both cores for its products too.
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip()
    jax.config.update("jax_num_cpu_devices", 2)
    main()
