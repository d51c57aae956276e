"""Writes the golden files of `jaxrnn.cells.br_cell`: values and gradients by torchrecurrent.

Run with ``PYTHONPATH=tests python tests/golden/make_br_cell.py`` from the repository root, with
torch 2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.
"""

from golden.record import About, record, with_torch

SIZES = (3, 4)
NOTE = "the paper's equations have no bias; of the source's biases the gates' alone are kept"


def biases(params):
    from torch.nn.functional import pad

    hidden = SIZES[1]
    return {"bias_ih": pad(params.b, (0, hidden)), "bias_hh": 0 * params.b}


def bistable(params):
    from torch import cat

    weights = {"weight_ih": params.w_ih.T, "weight_hh": cat([params.w_a, params.w_c])}
    return weights | biases(params)


def neuromodulated(params):
    return {"weight_ih": params.w_ih.T, "weight_hh": params.w_hh.T} | biases(params)


def main():
    import torch
    import torchrecurrent
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    for name, cell, weights in (
        ("br_cell", torchrecurrent.BRCell(*SIZES), bistable),
        ("nbr_cell", torchrecurrent.NBRCell(*SIZES), neuromodulated),
    ):

        def run(params, xs, h, cell=cell, weights=weights):
            hs = []
            for x in xs:
                h = functional_call(cell, weights(params), (x, h))
                hs.append(h)
            return h, torch.stack(hs)

        source = f"torchrecurrent 0.2.5 {type(cell).__name__}"
        record(name, About(name, {}, SIZES, source, "library", NOTE), run, with_torch)


if __name__ == "__main__":
    main()
