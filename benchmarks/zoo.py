"""How long does each cell of the table remember, and how soon does it learn to add?

Measures `gradient_decay` of every cell as it is made, without training, on noise; then trains it,
from the same state, on the adding problem until its loss is half of what a network without memory
has. Writes docs/zoo.md and docs/zoo.png from the results. Rows of cells that --cells leaves out
stay as they were.

    python benchmarks/zoo.py [--cells lstm,gru] [--quick]
"""

import contextlib
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import RESULTS, make_parser, parse, save

import jaxrnn
from jaxrnn import analysis, tasks, train
from jaxrnn.bench import device_name, place

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
ROUND = 50  # steps between two looks at the loss
RATES = (1e-2, 1e-3)  # of Adam, the next where the last did not do


def space_of(cell):
    """The grid on which a convolutional cell lives; no axes for the others."""
    state = jax.eval_shape(lambda: cell.initial_state(cell.init(jax.random.key(0))))
    return jax.tree.leaves(state)[0].shape[: cell.input_ndim - 1]


def on_grid(cell, xs):
    """Puts the same features at every point of the cell's grid."""
    space = space_of(cell)
    lead = xs.shape[:-1]
    return jnp.broadcast_to(
        xs.reshape(*lead, *(1,) * len(space), -1), (*lead, *space, xs.shape[-1])
    )


def memory(name, hidden, steps, batch=4):
    """The decay of gradients in an untrained cell: nats per step, over `batch` sequences."""
    cell = jaxrnn.CELLS[name].make(2, hidden)
    xs = on_grid(cell, jax.random.normal(jax.random.key(1), (steps, batch, 2)))
    decay = analysis.gradient_decay(cell, cell.init(jax.random.key(0)), xs)
    return {"rate": float(jnp.median(decay.rate)), "rates": decay.rate.tolist()}


def network(cell):
    """The cell, the mean over its grid, and a linear readout of one number."""

    def init(key):
        k_cell, k_out = jax.random.split(key)
        params = cell.init(k_cell)
        x = jnp.zeros((1, 1, *space_of(cell), 2))
        _, ys = jax.eval_shape(lambda p: jaxrnn.unroll(cell, p, x), params)
        weights = jax.random.normal(k_out, (ys.shape[-1],)) / ys.shape[-1] ** 0.5
        return params, weights, jnp.zeros(())

    def apply(params, xs):
        params, weights, bias = params
        ys = jaxrnn.select_unroll(cell)(cell, params, on_grid(cell, xs))[1]
        ys = jnp.mean(ys, axis=tuple(range(2, ys.ndim - 1)))
        return (ys @ weights + bias)[..., None]

    return init, apply


class Learnt(Exception):
    """Ends the training."""


def learn(name, *, length, hidden, most):
    """Steps of Adam until the loss is half the baseline; None if `most` do not suffice.

    At the first rate of RATES that does; if none does, the one that ends lowest.
    """
    tried = []
    for rate in RATES:
        tried.append(learn_at(name, rate, length=length, hidden=hidden, most=most))
        if tried[-1]["steps"] is not None:
            return tried[-1]
    return min(tried, key=lambda found: found["loss"])


def learn_at(name, rate, *, length, hidden, most):
    """What `learn` returns, at one rate of learning."""
    task = tasks.adding(length=length, batch_size=32)
    init, apply = network(jaxrnn.CELLS[name].make(2, hidden))

    baseline, found = task.info["baseline_loss"], {"steps": None}

    def loss_fn(params, batch):
        return train.squared_error(apply(params, batch.xs), batch.targets, batch.mask)

    def look(step, metrics):
        found["loss"] = float(np.mean(metrics.loss[-ROUND:]))
        if found["loss"] < 0.5 * baseline:
            found["steps"] = step
            raise Learnt

    with contextlib.suppress(Learnt):
        train.fit(
            loss_fn,
            init(jax.random.key(0)),
            optax.adam(rate),
            train.sampled(task.sample, jax.random.key(1)),
            steps=most,
            chunk=ROUND,
            on_chunk=look,
        )
    return {**found, "baseline": baseline, "rate": rate}


def table(data):
    """docs/zoo.md: the cells sorted by memory."""
    size, length = data["settings"]["hidden"], data["settings"]["length"]
    lines = [
        "# The zoo sorted by memory",
        "",
        f"Untrained cells with {size} units, made by `CELLS[name].make(2, {size})`, on inputs of "
        f"normal noise: the rate at which gradients decay (`jaxrnn.analysis.gradient_decay`, "
        f"{data['settings']['steps']} steps, median of four sequences), the number of steps after "
        "which half is left, and the steps of Adam until the loss on the adding "
        f"problem over {length} steps is half of that without memory, with the rate of learning "
        f"({RATES[0]}, or {RATES[1]} where that does not do). One seed; what a cell does at first "
        "says little about what it learns to do. Where it does not get there, the loss at the end "
        "as a part of that without memory: `lru` and `s5` are linear from input to output, "
        "and the adding problem multiplies. Written by `python benchmarks/zoo.py`.",
        "",
        "![Rates of decay of all cells](zoo.png)",
        "",
        "| cell | nats per step | half-life in steps | steps to learn | rate |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in by_memory(data):
        rate = row["memory"]["rate"]
        half = "-" if not rate < 0 else f"{math.log(2) / -rate:.3g}"
        learning = row["learning"]
        part = learning["loss"] / learning["baseline"]
        missed = f"not in {data['settings']['most']} ({part:.0%})"
        said = missed if learning["steps"] is None else str(learning["steps"])
        lines.append(f"| `{name}` | {rate:+.4f} | {half} | {said} | {learning['rate']} |")
    return "\n".join(lines) + "\n"


def by_memory(data):
    return sorted(data["zoo"].items(), key=lambda item: -item[1]["memory"]["rate"])


def draw(data):
    """One bar a cell: its rate of decay, on a scale that is linear near zero."""
    from jaxrnn.plots.style import new_axes, plain_grid

    rows = by_memory(data)
    figure, (axes,) = new_axes(1, height=0.19 * len(rows) + 1.2, width=7)
    rates = [row["memory"]["rate"] for _, row in rows]
    places = range(len(rows))
    lowest = 3 * min((rate for rate in rates if math.isfinite(rate)), default=-1)
    shown = [max(rate, lowest) for rate in rates]
    axes.barh(places, shown, color=["C3" if rate > 0 else "C0" for rate in rates])
    for index, rate in enumerate(rates):
        if not math.isfinite(rate):
            axes.text(lowest, index, " exactly 0", fontsize=6, color="white", va="center")
    axes.set_yticks(places, [name for name, _ in rows], fontsize=7)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=0.01)
    axes.axvline(0, color="0.3", linewidth=1)
    axes.set_xlabel("decay of gradients at initialisation (nats per step)")
    plain_grid(axes)
    return figure


def numbers(facts):
    """Undoes what JSON needs: infinities are texts there."""
    return {key: float(one) if one in ("-inf", "inf", "nan") else one for key, one in facts.items()}


def merged(old, new):
    """Adds rows to earlier results of the same settings."""
    if old["settings"] != new["settings"]:
        raise SystemExit(
            f"zoo.py: got settings {new['settings']} and results of {old['settings']}; expected "
            "the same; measure all cells, after removing the old results"
        )
    here = place()
    rows = {name: {**row, "place": here} for name, row in new["zoo"].items()}
    return {**old, "zoo": {name: {**old["zoo"], **rows}[name] for name in jaxrnn.CELLS}}


def main(arguments=None):
    parser = make_parser(__doc__, cells=",".join(jaxrnn.CELLS))
    options = parse(parser, arguments)
    unknown = [name for name in options.cells if name not in jaxrnn.CELLS]
    if unknown:
        parser.error(f"got --cells {','.join(unknown)}; expected names from `jaxrnn cells`")
    settings = {"hidden": 32, "steps": 200, "length": 20, "most": 3000}
    if options.quick:
        settings = {"hidden": 4, "steps": 12, "length": 4, "most": ROUND}
    found = {}
    for name in options.cells:
        found[name] = {
            "memory": memory(name, settings["hidden"], settings["steps"]),
            "learning": learn(
                name, length=settings["length"], hidden=settings["hidden"], most=settings["most"]
            ),
        }
        learnt = found[name]["learning"]
        print(f"{name:20} {found[name]['memory']['rate']:+9.4f} nats per step, learnt after "
              f"{learnt['steps']} steps, loss {learnt['loss']:.4f}", flush=True)  # fmt: skip
    data = {"rounds": options.rounds, "settings": settings, "zoo": found}
    earlier = RESULTS / f"zoo_{device_name()}.json"
    if not options.quick and earlier.exists():
        data = merged(json.loads(earlier.read_text(encoding="utf-8"), object_hook=numbers), data)
    save("zoo", data, options)
    if not options.quick:
        (DOCS / "zoo.md").write_text(table(data), encoding="utf-8")
        draw(data).savefig(DOCS / "zoo.png", dpi=110)


if __name__ == "__main__":
    main()
