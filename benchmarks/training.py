"""How fast does one layer train, and run, beside other libraries on the same weights and data?

For each cell and shape: the time of the gradients of all parameters and of the inputs (training),
the time of the outputs alone (inference), temporary memory and compile time of the training step.
Outputs and all gradients are compared with the textbook scan's before anything is timed. All
contenders take turns in one process.

`textbook` is `jax.lax.scan` over the cell's step; `fused` and `fused_outputs` are `fused_unroll`
with its two kinds of storage. README's table and picture come from this file's results; rewrite
them with `python benchmarks/tables.py`.

    python benchmarks/training.py [--cells lstm,gru,elman] [--cases core] [--rounds 11] [--quick]
"""

from common import make_parser, measure, parse

from jaxrnn.bench import (
    CONTENDERS,
    best_mean,
    by_cell,
    choose_contenders,
    geometric_mean,
    ratio_to,
)


def means(data):
    """Geometric means, over the shapes, of others' times over ours."""
    found = {}
    for cell, rows in by_cell(data).items():
        for mode in ("train", "infer"):
            found[f"{cell}, {mode}"] = {
                "best JAX peer": best_mean(rows, mode, jax_only=True),
                "torch": geometric_mean(ratio_to(row, "torch", mode) for row in rows),
            }
    return found


def main(arguments=None):
    parser = make_parser(__doc__, cases="core")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), metavar="A,B,...")
    options = parse(parser, arguments)
    problems = [
        ({"case": name}, kind, case)
        for kind in options.cells
        for name, case in options.cases.items()
    ]
    contenders = choose_contenders(options.contenders.split(","))
    data = measure("training", options, problems, contenders)
    print("geometric means of the time of others over fused_unroll:")
    for what, others in means(data).items():
        shown = ", ".join(f"{who} {'-' if mean is None else f'{mean:.2f}'}"
                          for who, mean in others.items())  # fmt: skip
        print(f"    {what}: {shown}")


if __name__ == "__main__":
    main()
