"""Writes the golden files of `jaxrnn.cells.mut`: values and gradients by torchrecurrent.

Run with ``PYTHONPATH=tests python tests/golden/make_mut.py`` from the repository root, with torch
2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.
"""

from golden.record import About, record, with_torch

SIZES = (3, 4)
NOTES = {
    1: "the paper has tanh(x) for tanh(x W_h); the source's bias within that tanh is set to zero",
    2: "the paper has x for x W_r in the reset gate",
    3: "",
}


def first(params):
    """The candidate's bias stands outside the inner tanh, so it is the recurrent one."""
    from torch import cat

    gates, candidate = params.b[: 2 * SIZES[1]], params.b[2 * SIZES[1] :]
    zeros = 0 * candidate
    return {"bias_ih": cat([gates, zeros]), "bias_hh": cat([zeros, candidate])}


def others(params):
    return {"bias_ih": params.b, "bias_hh": 0 * params.b}


def main():
    import torch
    import torchrecurrent
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    for number, note in NOTES.items():
        cell = getattr(torchrecurrent, f"MUT{number}Cell")(*SIZES)
        biases = first if number == 1 else others

        def run(params, xs, h, cell=cell, biases=biases):
            weights = {"weight_ih": params.w_ih.T, "weight_hh": params.w_hh.T} | biases(params)
            hs = []
            for x in xs:
                h = functional_call(cell, weights, (x, h))
                hs.append(h)
            return h, torch.stack(hs)

        name, source = f"mut{number}", f"torchrecurrent 0.2.5 {type(cell).__name__}"
        record(name, About(name, {}, SIZES, source, "library", note), run, with_torch)


if __name__ == "__main__":
    main()
