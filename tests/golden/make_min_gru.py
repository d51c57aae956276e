"""Writes zoo/min_gru.npz, min_lstm.npz and, from a package, min_gru_positive.npz, ..._lstm_...

Run with ``PYTHONPATH=tests python tests/golden/make_min_gru.py`` from the repository root, with
torch 2.13 and ``pip install --no-deps mingru-pytorch==0.2.1``.

The package applies g to every candidate, so the linear candidate of the paper's section 3 comes
from a transcription.
"""

import numpy as np

from golden.record import HIDDEN, INPUT, About, record, with_numpy, with_torch

SIZES = (INPUT, HIDDEN)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def min_gru(params, xs, h):
    """Section 3.1."""
    w_z, w_h = np.split(params.w_ih, 2, axis=1)
    b_z, b_h = np.split(params.b, 2)
    hs = []
    for x in xs:
        z = sigma(x @ w_z + b_z)
        h = (1 - z) * h + z * (x @ w_h + b_h)
        hs.append(h)
    return h, np.stack(hs)


def min_lstm(params, xs, h):
    """Section 3.2."""
    w_f, w_i, w_h = np.split(params.w_ih, 3, axis=1)
    b_f, b_i, b_h = np.split(params.b, 3)
    hs = []
    for x in xs:
        f, i = sigma(x @ w_f + b_f), sigma(x @ w_i + b_i)
        f, i = f / (f + i), i / (f + i)
        h = f * h + i * (x @ w_h + b_h)
        hs.append(h)
    return h, np.stack(hs)


def by_package(module, name, blocks):
    """Steps of one of the package's modules, which have no bias: the input gets a feature of 1."""
    import torch
    from torch.func import functional_call

    def run(params, xs, h):
        matrix = torch.cat([params.w_ih, params.b[None]]).T
        parts = dict(zip(blocks, matrix.split(HIDDEN), strict=True))
        weights = {name: torch.cat([parts[block] for block in sorted(parts)])}
        hs, h = [], h[:, None]
        for x in torch.nn.functional.pad(xs, (0, 1), value=1.0):
            h = functional_call(module, weights, (x[:, None], h))
            hs.append(h[:, 0])
        return h[:, 0], torch.stack(hs)

    return run


def main():
    """Writes the files."""
    from minGRU_pytorch.minGRU import minGRU
    from minGRU_pytorch.minLSTM import minLSTM

    source = "Feng et al. 2024, section 3, transcribed in NumPy"
    for name, run in (("min_gru", min_gru), ("min_lstm", min_lstm)):
        record(name, About(name, {}, SIZES, source, "transcription"), run, with_numpy)
    options = {"expansion_factor": HIDDEN / (INPUT + 1), "proj_out": False}
    for name, make, weight, order in (  # our blocks, by their place in the package's
        ("min_gru", minGRU, "to_hidden_and_gate.weight", (1, 0)),
        ("min_lstm", minLSTM, "to_hidden_and_f_i_gate.weight", (1, 2, 0)),
    ):
        run = by_package(make(INPUT + 1, **options).double(), weight, order)
        about = About(
            name,
            {"positive": True},
            SIZES,
            f"mingru-pytorch 0.2.1 {make.__name__}, step by step",
            "library",
        )
        record(f"{name}_positive", about, run, with_torch)


if __name__ == "__main__":
    main()
