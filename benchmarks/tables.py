"""Writes README's table of speed and docs/speed.png from results/training_cpu.json.

python benchmarks/tables.py
"""

import json
import math
import pathlib
import re
import textwrap

from jaxrnn.bench import (
    Case,
    best_mean,
    best_other,
    by_cell,
    geometric_mean,
    our_way,
    ratio_to,
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "training_cpu.json"
TABLE = re.compile(r"(<!-- benchmark: begin -->\n).*?(<!-- benchmark: end -->)", re.DOTALL)
HEADER = [
    ["cell", "B, T, D, H", "training", "best JAX peer", "torch"]
    + ["inference", "best JAX peer", "torch", "memory", "textbook"],
    ["---", "---", *["---:"] * 8],
]
MODES = {"train": "training", "infer": "inference"}
LEFT_OUT = {"place", "jaxrnn", "python", "jaxlib", "numpy"}


def number(value, unit=""):
    if value is None:
        return "-"
    return f"{value:.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"


def ratio(value):
    return "-" if value is None else f"{value:.2f}"


def named(found):
    return "-" if found is None else f"{found[1]:.2f} {found[0]}"


def table_row(row):
    ours = row["contenders"].get(our_way(row), {})
    textbook = row["contenders"].get("textbook", {})
    figures = []
    for mode in MODES:
        figures += [
            number(ours.get(mode, {}).get("ms"), " ms"),
            named(best_other(row, mode, jax_only=True)),
            ratio(ratio_to(row, "torch", mode)),
        ]
    memory = [number(one.get("temporary_mb"), " MB") for one in (ours, textbook)]
    return [row["cell"], ", ".join(str(row[name]) for name in Case._fields), *figures, *memory]


def mean_row(cell, rows):
    figures = []
    for mode in MODES:
        means = [
            best_mean(rows, mode, jax_only=True),
            geometric_mean(ratio_to(row, "torch", mode) for row in rows),
        ]
        figures += ["", *(f"**{ratio(mean)}**" for mean in means)]
    return [f"**{cell}**", "geometric mean", *figures, "", ""]


def losses(data):
    """How often another is faster, in one sentence."""
    parts = []
    for mode, word in MODES.items():
        best = [best_other(row, mode, jax_only=True) for row in data["cases"]]
        torch = [ratio_to(row, "torch", mode) for row in data["cases"]]
        counts = [
            sum(value is not None and value < 1 for value in values)
            for values in ([one and one[1] for one in best], torch)
        ]
        parts.append(f"in {word} a JAX peer on {counts[0]}, torch on {counts[1]}")
    return f"Another is faster on some of the {len(data['cases'])} rows: {'; '.join(parts)}."


def missing(data):
    """Who was to be compared and was not, and why, where it is no matter of the cell."""
    found = {}
    for row in data["cases"]:
        for name, facts in row["contenders"].items():
            if facts["status"] in ("not installed", "failed", "wrong"):
                where = f"{row['cell']} {', '.join(str(row[key]) for key in Case._fields)}"
                found.setdefault(f"{name} ({facts['status']})", []).append(where)
    lines = [f"{name}: {'; '.join(where)}" for name, where in found.items()]
    return [f"Not compared: {'. '.join(lines)}."] if lines else []


def speed_table(data):
    """What stands between the markers of README."""
    lines = list(HEADER)
    for cell, rows in by_cell(data).items():
        lines += [*map(table_row, rows), mean_row(cell, rows)]
    place = data["place"]
    versions = ", ".join(
        f"{name} {version}" for name, version in place["versions"].items() if name not in LEFT_OUT
    )
    note = [
        f"{place['device']}, {place['cores']} cores, Python {place['versions']['python']}, "
        f"{versions}; float32, medians of {data['rounds']} rounds, all in turn in one process. "
        "The figures beside our times are the time of the other over ours: above 1 `fused_unroll` "
        "is faster, below 1 the other is.",
        losses(data),
        *missing(data),
    ]
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{rows}\n\n" + "\n".join(textwrap.fill(line, 100) for line in note) + "\n"


def with_table(text, data):
    return TABLE.sub(lambda match: match[1] + speed_table(data) + match[2], text)


def draw(data):
    """One panel a cell: others' training time over ours at every shape."""
    from jaxrnn.plots.style import cell_colors, new_axes, plain_grid

    cells = by_cell(data)
    names = [
        name
        for name in ("textbook", "flax", "haiku", "equinox", "keras", "torch")
        if any(ratio_to(row, name, "train") is not None for row in data["cases"])
    ]
    colors = cell_colors(names)
    figure, panels = new_axes(len(cells), height=3.8, width=3.6)
    ratios = [1.0]
    for axes, (cell, rows) in zip(panels, cells.items(), strict=True):
        for index, name in enumerate(names):
            places = [at + 0.11 * (index - (len(names) - 1) / 2) for at in range(len(rows))]
            values = [ratio_to(row, name, "train") for row in rows]
            values = [math.nan if value is None else value for value in values]
            ratios += [value for value in values if value == value]
            axes.plot(places, values, "o", color=colors[name], label=name, markersize=4.5)
        axes.axhline(1, color="0.3", linewidth=1)
        axes.set_yscale("log")
        labels = [",".join(str(row[key]) for key in Case._fields) for row in rows]
        axes.set_xticks(range(len(rows)), labels, rotation=60, ha="right", fontsize=8)
        axes.set_title(cell)
        plain_grid(axes)
    for axes in panels:
        axes.set_ylim(min(ratios) / 1.2, max(ratios) * 1.2)
        ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16) if
                 min(ratios) / 1.2 <= tick <= max(ratios) * 1.2]  # fmt: skip
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    panels[0].set_ylabel("training time over fused_unroll's\n(above 1: fused_unroll is faster)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.supxlabel("B, T, D, H", fontsize=9)
    return figure


def main():
    data = json.loads(RESULTS.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert TABLE.search(text), "README.md has no markers for the table"
    readme.write_text(with_table(text, data), encoding="utf-8")
    draw(data).savefig(ROOT / "docs" / "speed.png", dpi=110)
    print("wrote README.md's table of speed and docs/speed.png")


if __name__ == "__main__":
    main()
