"""Writes zoo/antisymmetric.npz and zoo/antisymmetric_gated.npz: values and gradients by torch.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_antisymmetric.py
with torch 2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.
"""

from golden.record import About, record, with_torch

SIZES = (3, 4)
NUMBERS = {"epsilon": 0.4, "gamma": 0.3}


def main():
    import torch
    import torchrecurrent
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    for name, module, gated, note in (
        ("antisymmetric", torchrecurrent.AntisymmetricRNNCell, False, ""),
        (
            "antisymmetric_gated",
            torchrecurrent.GatedAntisymmetricRNNCell,
            True,
            "the source's second bias, which its gate leaves out, is zero",
        ),
    ):
        cell = module(*SIZES, **NUMBERS)

        def run(params, xs, h, cell=cell):
            bias_hh = torch.zeros(SIZES[1])
            weights = {"weight_ih": params.w_ih.T, "weight_hh": params.w_hh.T}
            weights |= {"bias_ih": params.b, "bias_hh": bias_hh}
            ys = []
            for x in xs:
                h = functional_call(cell, weights, (x, h))
                ys.append(h)
            return h, torch.stack(ys)

        source = f"torchrecurrent 0.2.5 {module.__name__}"
        options = NUMBERS | {"gated": gated}
        record(
            name, About("antisymmetric", options, SIZES, source, "library", note), run, with_torch
        )


if __name__ == "__main__":
    main()
