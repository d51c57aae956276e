"""Writes zoo/rg_lru.npz and zoo/rg_lru_square.npz: values and gradients by the authors' package.

Run with ``PYTHONPATH=tests python tests/golden/make_rg_lru.py`` from the repository root, with
torch 2.13 and ``pip install --no-deps recurrentgemma==1.0.1 "typeguard<3" jaxtyping sentencepiece
einops``.
"""

import functools

from golden.record import BATCH, HIDDEN, INPUT, STEPS, About, record, with_torch

SOURCE = "recurrentgemma 1.0.1 (the authors), torch.layers.RGLRU"
NOTE = (
    "the source's parameter is -Lambda; it leaves the root out at position 0 of a sequence, so the "
    "positions start at 1 here; it accumulates in float32, set to float64 here"
)


def main():
    """Writes the files."""
    import torch
    from recurrentgemma.torch import layers
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    layers.rnn_scan = functools.partial(layers.rnn_scan, acc_dtype=torch.float64)
    positions = torch.arange(1, STEPS + 1).expand(BATCH, STEPS)
    cell = layers.RGLRU(HIDDEN, num_heads=1)

    def run(params, xs, h):
        (w_a, w_x), (b_a, b_x) = params.w_ih.chunk(2, dim=1), params.b.chunk(2)
        weights = {
            "a_param": -params.a_logit,
            "a_gate.w": w_a[None],
            "a_gate.b": b_a[None],
            "input_gate.w": w_x[None],
            "input_gate.b": b_x[None],
        }
        xs = xs if params.w_in is None else xs @ params.w_in
        ys, last = functional_call(cell, weights, (xs.transpose(0, 1), positions, h))
        return last, ys.transpose(0, 1)

    for name, sizes in (("rg_lru", (INPUT, HIDDEN)), ("rg_lru_square", (HIDDEN, HIDDEN))):
        record(name, About("rg_lru", {}, sizes, SOURCE, "library", NOTE), run, with_torch)


if __name__ == "__main__":
    main()
