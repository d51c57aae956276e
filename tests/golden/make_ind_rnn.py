"""Writes zoo/ind_rnn.npz and zoo/ind_rnn_tanh.npz: values and gradients by torchrecurrent.

Run with ``PYTHONPATH=tests python tests/golden/make_ind_rnn.py`` from the repository root, with
torch 2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.
"""

from golden.record import HIDDEN, INPUT, About, record, with_torch

SIZES = (INPUT, HIDDEN)
NOTE = "the source adds a second bias, of zeros here"


def main():
    """Writes the files."""
    import torch
    import torchrecurrent
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    for activation, name in (("relu", "ind_rnn"), ("tanh", "ind_rnn_tanh")):
        cell = torchrecurrent.IndRNNCell(*SIZES, nonlinearity=activation)

        def run(params, xs, h, cell=cell):
            weights = {"weight_ih": params.w_ih.T, "vector_u": params.u, "bias_ih": params.b}
            weights["bias_hh"] = torch.zeros_like(params.b)
            hs = []
            for x in xs:
                h = functional_call(cell, weights, (x, h))
                hs.append(h)
            return h, torch.stack(hs)

        about = About(
            "ind_rnn",
            {"activation": activation},
            SIZES,
            "torchrecurrent 0.2.5 IndRNNCell",
            "library",
            NOTE,
        )
        record(name, about, run, with_torch)


if __name__ == "__main__":
    main()
