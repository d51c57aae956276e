"""What does a training step cost on a mesh of one or two devices, against none?

Times one training step (gradient, clipping, Adam) of an LSTM on characters and of a minGRU on a
long sequence: without a mesh, on a mesh of one device, and split over two, by the batch, the hidden
units, or time. The loss, the gradient's norm and both moments of Adam are compared with those
without a mesh before anything is timed; all take turns in one process. On CPU the two devices are
virtual ones, which share the cores with each other, and with XLA's own threads in the run without a
mesh: what comes out is the price of a mesh, not what a second device is worth.

    python benchmarks/sharding.py [--rounds 15] [--quick]
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import make_parser, parse, save

import jaxrnn
from jaxrnn import sharding, tasks, train
from jaxrnn.bench import summary, timed

ALONE = "no mesh"
TOLERANCE = 1e-4


class Wrong(Exception):
    """A result is not that of one device."""


def text_problem(quick):
    """An LSTM on characters, and a way to make it for each mesh."""
    batch, steps, hidden = (2, 8, 8) if quick else (32, 100, 256)
    task = tasks.text(length=steps, batch_size=batch)

    def network(run):
        cell = jaxrnn.lstm(task.input_size, hidden)
        return jaxrnn.stack(jaxrnn.layer(cell, run), jaxrnn.readout(task.output_size))

    def loss_fn(net, params, one):
        return train.cross_entropy(net.apply(params, one.xs)[1], one.targets, one.mask)

    sizes = {"cell": "lstm", "batch": batch, "steps": steps, "hidden": hidden}
    units = functools.partial(jaxrnn.hidden_sharded, jaxrnn.fused_unroll)
    ways = {
        ALONE: (None, None),
        "one device": ({}, None),
        "data=2": ({"data": 2}, None),
        "model=2": ({"model": 2}, None),
        "model=2, hidden_sharded": ({"model": 2}, lambda mesh: units(mesh, "model")),
    }
    return sizes, network, loss_fn, task.sample(jax.random.key(1)), ways


def long_problem(quick):
    """A minGRU that is to tell the mean of a long sequence."""
    batch, steps, hidden = (2, 16, 4) if quick else (4, 8192, 64)
    xs = jax.random.normal(jax.random.key(2), (steps, batch, 8))

    def network(run):
        return jaxrnn.stack(
            jaxrnn.layer(jaxrnn.min_gru(8, hidden), run), jaxrnn.readout(8, input_size=hidden)
        )

    def loss_fn(net, params, xs):
        return jnp.mean((net.apply(params, xs)[1] - jnp.mean(xs, 0)) ** 2)

    sizes = {"cell": "min_gru", "batch": batch, "steps": steps, "hidden": hidden}
    run = functools.partial(jaxrnn.time_sharded, jaxrnn.associative_unroll, axis="time")
    ways = {
        ALONE: (None, lambda _: jaxrnn.associative_unroll),
        "one device": ({}, run),
        "time=2": ({"time": 2}, run),
        "data=2": ({"data": 2}, lambda _: jaxrnn.associative_unroll),
    }
    return sizes, network, loss_fn, xs, ways


def make_program(network, loss_fn, batch, axes, unroll_of):
    """Compiles a training step; returns it, and how to call it."""
    mesh = None
    if axes is not None:
        count = int(np.prod([1, *axes.values()]))
        mesh = sharding.mesh(**axes, devices=jax.devices()[:count])
        batch = sharding.shard(batch, sharding.batch_specs(mesh, batch))
    net = network(unroll_of(mesh) if unroll_of else None)
    optimizer = optax.adam(1e-3)
    loss = functools.partial(loss_fn, net)
    step = train.make_step(loss, optimizer, clip_norm=1.0, mesh=mesh)
    state = train.init(net.init(jax.random.key(0)), optimizer, mesh=mesh)
    program = jax.jit(step).lower(state, batch).compile()
    return program, lambda: jax.block_until_ready(program(state, batch))


def check(found, expected):
    """Returns how far a step is off: the loss, the gradient's norm, every moment of Adam."""

    def numbers(result):
        state, metrics = result
        moments = jax.tree.leaves(state.opt_state)  # of the clipped gradients
        return [np.asarray(x, float) for x in (metrics.loss, metrics.grad_norm, *moments)]

    pairs = zip(numbers(found), numbers(expected), strict=True)
    off = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs)
    if not off < TOLERANCE:
        msg = f"a step is off by {off:.1e} of its largest number; expected {TOLERANCE:.0e} or less"
        raise Wrong(msg)
    return float(off)


def measure_all(problem, rounds):
    sizes, network, loss_fn, batch, ways = problem
    rows, functions = {}, {}
    for name, (axes, unroll_of) in ways.items():
        wanted = int(np.prod([1, *(axes or {}).values()]))
        if jax.device_count() < wanted:
            reason = f"it needs {wanted} devices, and there is {jax.device_count()}"
            rows[name] = {"status": "not applicable", "reason": reason}
            continue
        program, functions[name] = make_program(network, loss_fn, batch, axes, unroll_of)
        off = check(functions[name](), functions[ALONE]())
        sent = sharding.collectives(program)
        facts = {"kinds": sent.kinds, "executed": sent.times, "bytes_sent": sent.bytes_sent}
        rows[name] = {"status": "measured", "error": off, "collectives": facts}
    times = timed(functions, rounds, warmups=2)
    for name, seconds in times.items():
        # Of each round's ratio, since all of a round meet the same machine.
        ratio = float(np.median(seconds / times[ALONE]))
        rows[name] |= summary(seconds, steps=sizes["steps"]) | {"over_no_mesh": ratio}
    return {**sizes, "contenders": rows}


def show(row):
    print(f"{row['cell']} B={row['batch']} T={row['steps']} H={row['hidden']}")
    for name, facts in row["contenders"].items():
        if facts["status"] != "measured":
            print(f"    {name:24} {facts['status']}: {facts['reason']}")
            continue
        sent = facts["collectives"]
        print(
            f"    {name:24} {facts['ms']:9.3f} ms  {facts['over_no_mesh']:6.3f} of no mesh  "
            f"{sent['executed']} collectives, {sent['bytes_sent']:,.0f} bytes a device"
        )


def main(arguments=None):
    options = parse(make_parser(__doc__, cells=None, rounds=15), arguments)
    rows = []
    for make in (text_problem, long_problem):
        rows.append(measure_all(make(options.quick), options.rounds))
        show(rows[-1])
    save("sharding", {"rounds": options.rounds, "cases": rows}, options)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    main()
