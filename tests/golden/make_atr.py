"""Writes the golden files of `jaxrnn.cells.atr`: values and gradients by torchrecurrent.

Run with ``PYTHONPATH=tests python tests/golden/make_atr.py`` from the repository root, with torch
2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.
"""

from golden.record import About, record, with_torch

SIZES = (3, 4)
GATE = "f is that of the authors' code, which calls the one printed in the paper a misprint"
BIAS = "; the authors' cell has no biases, the source's are zero here"


def main():
    import torch
    import torchrecurrent
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    cell, zeros = torchrecurrent.ATRCell(*SIZES), torch.zeros(SIZES[1])

    def run(params, xs, h):
        weights = {
            "weight_ih": params.w_ih.T,
            "weight_hh": params.w_hh.T,
            "bias_ih": zeros if params.b_p is None else params.b_p,
            "bias_hh": zeros if params.b_q is None else params.b_q,
        }
        hs = []
        for x in xs:
            h = functional_call(cell, weights, (x, h))
            hs.append(h)
        return h, torch.stack(hs)

    source = "torchrecurrent 0.2.5 ATRCell"
    record("atr", About("atr", {}, SIZES, source, "library", GATE + BIAS), run, with_torch)
    about = About("atr", {"bias": True}, SIZES, source, "library", GATE)
    record("atr_bias", about, run, with_torch)


if __name__ == "__main__":
    main()
