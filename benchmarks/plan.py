"""How many devices is a training step worth, by the cost model of `jaxrnn.sharding`?

Writes the tables of docs/scaling.md, and docs/scaling.png. Nothing is timed and nothing compiled:
the numbers are predictions, but for the times on one H200, which come from results/.

    python benchmarks/plan.py
"""

import json
import pathlib
import re
from typing import NamedTuple

from jaxrnn.sharding import DEVICES, Network, best_splits, pays_up_to, training_cost

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DEVICE = DEVICES["H200"]
COUNTS = (8, 64, 1000)
KINDS = {"data": "data", "model": "tensor", "time": "time", "stages": "pipeline"}


class Plan(NamedTuple):
    network: Network
    batch: int
    steps: int

    def cost(self, **split):
        return training_cost(self.network, DEVICE, batch=self.batch, steps=self.steps, **split)

    def best(self, devices):
        return best_splits(self.network, DEVICE, devices, batch=self.batch, steps=self.steps)[0]

    @property
    def kinds(self):
        return [kind for kind in KINDS if kind != "time" or not self.network.recurrent]


PLANS = {
    "small LSTM": Plan(Network(256, 256, 2), 64, 150),
    "language LSTM": Plan(Network(1024, 2048, 4), 256, 512),
    "large LSTM": Plan(Network(4096, 8192, 8), 1024, 256),
    "long minGRU": Plan(Network(512, 512, 4, 2, 12, recurrent=False), 8, 131072),
}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rows_as_text(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def named(split):
    parts = [f"{size} {KINDS[name]}" for name, size in split._asdict().items() if size > 1]
    return " x ".join(parts) or "one device"


def plans_table():
    head = ["network", "layers", "I", "H", "B", "T", "one device", "GB"]
    rows = []
    for name, plan in PLANS.items():
        net, alone = plan.network, plan.cost()
        sizes = [net.layers, net.inputs, net.hidden, plan.batch, f"{plan.steps:,}"]
        memory = number(alone.memory / 1e9) + ("" if alone.fits else ": too much")
        rows.append([name, *sizes, f"{number(1e3 * alone.seconds)} ms", memory])
    return rows_as_text(head, rows)


def best_table():
    head = ["network", "devices", "used", "split", "ms", "times faster", "efficiency"]
    head += ["steps", "exchange", "GB"]
    rows = []
    for name, plan in PLANS.items():
        alone = plan.cost().seconds
        for count in COUNTS:
            best = plan.best(count)
            used, faster = best.split.devices, alone / best.seconds
            parts = best.step_seconds, best.exchange_seconds
            rows.append(
                [name, f"{count:,}", used, named(best.split), number(1e3 * best.seconds)]
                + [number(faster), f"{faster / used:.0%}"]
                + [f"{part / best.seconds:.0%}" for part in parts]
                + [number(best.memory / 1e9)]
            )
    return rows_as_text(head, rows)


def limits_table():
    rows = []
    for name, plan in PLANS.items():
        sizes = {"batch": plan.batch, "steps": plan.steps}
        found = {kind: pays_up_to(kind, plan.network, DEVICE, **sizes) for kind in plan.kinds}
        rows.append([name, *(found.get(kind, "-") for kind in KINDS)])
    return rows_as_text(["network", *KINDS.values()], rows)


def weak_table():
    """A batch that grows with the devices: the part of their time that is not lost."""
    rows = []
    for name, plan in PLANS.items():
        each = plan.batch
        while not plan._replace(batch=each).cost().fits:
            each //= 2
        alone = plan._replace(batch=each).cost().seconds
        grown = [plan._replace(batch=each * n).cost(data=n).seconds for n in COUNTS]
        rows.append([name, each, *(f"{alone / seconds:.1%}" for seconds in grown)])
    return rows_as_text(["network", "B of a device", *(f"{n:,}" for n in COUNTS)], rows)


def measured_table():
    """Training times on one H200, and what the model says."""
    data = json.loads((RESULTS / "accelerator_h200.json").read_text(encoding="utf-8"))
    layers = {"lstm": (4, 6), "gru": (3, 5)}
    rows = []
    for row in data["cases"]:
        batch, steps, inputs, hidden = (row[key] for key in ("batch", "steps", "inputs", "hidden"))
        network = Network(inputs, hidden, 1, *layers[row["cell"]])
        said = 1e3 * Plan(network, batch, steps).cost().seconds
        found = row["contenders"]["fused"]["train"]["ms"]
        sizes = f"{batch}, {steps}, {inputs}, {hidden}"
        rows.append([row["cell"], sizes, number(found), number(said), f"{said / found:.2f}"])
    return rows_as_text(["cell", "B, T, I, H", "measured ms", "predicted ms", "ratio"], rows)


TABLES = {
    "plans": plans_table,
    "best": best_table,
    "limits": limits_table,
    "weak": weak_table,
    "measured": measured_table,
}


def marks(name):
    return re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)


def with_tables(text):
    for name, table in TABLES.items():
        found = marks(name)
        assert found.search(text), f"docs/scaling.md has no markers for the table {name}"
        content = table()
        text = found.sub(lambda match, content=content: match[1] + content + match[2], text)
    return text


def draw():
    """One panel a network: how many times faster, by the number of devices."""
    from jaxrnn.plots.style import cell_colors, new_axes, plain_grid

    figure, panels = new_axes(len(PLANS), height=3.6, width=3.3)
    colors = cell_colors(KINDS)
    counts = [2**power for power in range(11)]
    for axes, (name, plan) in zip(panels, PLANS.items(), strict=True):
        alone = plan.cost().seconds
        axes.plot(counts, counts, ":", color="0.5", linewidth=1.2, label="all of the devices")
        best = {}
        for count in counts:
            try:
                best[count] = alone / plan.best(count).seconds
            except ValueError:
                continue  # too few devices for the memory it takes
        axes.plot(*zip(*best.items(), strict=True), color="0.75", linewidth=6, label="best mix")
        whole = {"data": plan.batch, "model": plan.network.hidden}
        whole |= {"time": plan.steps, "stages": plan.network.layers}
        for kind in plan.kinds:
            here = [n for n in counts if whole[kind] % n == 0]
            faster = [alone / plan.cost(**{kind: n}).seconds for n in here]
            axes.plot(here, faster, "o-", color=colors[kind], markersize=3, label=KINDS[kind])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_ylim(0.25, 1024)
        ticks = [1, 4, 16, 64, 256, 1024]
        axes.set_xticks(ticks, ticks)
        axes.set_yticks(ticks, ticks)
        axes.minorticks_off()
        axes.set_title(name)
        axes.set_xlabel("devices")
        plain_grid(axes)
    panels[0].set_ylabel("times as fast as one device, predicted")
    found = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found, loc="outside right center", frameon=False)
    return figure


def main():
    path = ROOT / "docs" / "scaling.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    draw().savefig(ROOT / "docs" / "scaling.png", dpi=100)
    print("wrote the tables of docs/scaling.md, and docs/scaling.png")


if __name__ == "__main__":
    main()
