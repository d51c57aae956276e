"""Writes zoo/sru.npz and zoo/sru_square.npz: values and gradients by the authors' package.

Run with ``PYTHONPATH=tests python tests/golden/make_sru.py`` from the repository root, with torch
2.13 and ``pip install --no-deps --no-build-isolation sru==2.6.0``, whose import compiles C++ for a
minute and needs ninja. Its path in pure Python is the one with gradients on a CPU.
"""

import warnings

from golden.record import HIDDEN, INPUT, About, record, with_torch

SOURCE = "sru 2.6.0 (the authors), SRUCell"
NOTE = "alpha, a parameter here, is a constant of the source where I = H"


def main():
    """Writes the files."""
    import sru
    import torch
    from torch.func import functional_call

    warnings.filterwarnings("ignore", message="Running SRU on CPU")
    for name, sizes in (("sru", (INPUT, HIDDEN)), ("sru_square", (HIDDEN, HIDDEN))):
        cell = sru.SRUCell(*sizes).double()

        def run(params, xs, c, cell=cell):
            blocks = params.w_ih.split(HIDDEN, dim=1)
            weights = {
                "weight": torch.stack(blocks, dim=-1).flatten(1),  # the blocks' columns in turn
                "weight_c": params.v,
                "bias": params.b,
                "scale_x": torch.ones(1) if params.alpha is None else params.alpha[None],
            }
            ys, c = functional_call(cell, weights, (xs, c))
            return c, ys

        record(name, About("sru", {}, sizes, SOURCE, "library", NOTE), run, with_torch)


if __name__ == "__main__":
    main()
