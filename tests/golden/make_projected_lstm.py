"""Writes the golden file of `jaxrnn.cells.projected_lstm`: values and gradients by torch.

Run with ``PYTHONPATH=tests python tests/golden/make_projected_lstm.py`` from the repository root,
with torch 2.13.
"""

from golden.record import About, record, with_torch

SIZES, PROJECTION = (3, 5), 2


def main():
    import torch
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    module = torch.nn.LSTM(*SIZES, proj_size=PROJECTION)

    def run(params, xs, state):
        weights = {
            "weight_ih_l0": params.w_ih.T,
            "weight_hh_l0": params.w_hh.T,
            "bias_ih_l0": params.b,
            "bias_hh_l0": 0 * params.b,
            "weight_hr_l0": params.w_hr.T,
        }
        ys, (h, c) = functional_call(module, weights, (xs, (state.h[None], state.c[None])))
        return (h[0], c[0]), ys

    options, note = {"projection_size": PROJECTION}, "the paper's cell has peepholes as well"
    source = "torch 2.13 nn.LSTM(proj_size)"
    about = About("projected_lstm", options, SIZES, source, "library", note)
    record("projected_lstm", about, run, with_torch)


if __name__ == "__main__":
    main()
