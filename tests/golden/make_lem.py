"""Writes zoo/lem.npz from the authors' code.

Run it from the repository root with torch 2.13 and a copy of the authors' repository:
git clone https://github.com/tk-rusch/LEM ../LEM   (commit 833da6b)
PYTHONPATH=tests:../LEM/src/adding python tests/golden/make_lem.py

torchrecurrent 0.2.5 deviates: its LEMCell moves y by the old z, the paper and the authors by the
new one.
"""

from golden.record import About, record, with_torch

SIZES, DT = (3, 4), 0.7


def lem(params, xs, state):
    """The authors' cell: the steps of y and z and the inputs of y and z the other way round."""
    import torch
    from network import LEMCell
    from torch.func import functional_call

    def swapped(columns, order):
        parts = columns.chunk(len(order), dim=-1)
        return torch.cat([parts[k] for k in order], dim=-1)

    cell = LEMCell(*SIZES, DT)
    hidden = SIZES[1]
    weights = {
        "inp2hid.weight": swapped(params.w_ih, (1, 0, 3, 2)).T,
        "inp2hid.bias": swapped(params.b, (1, 0, 3, 2)),
        "hid2hid.weight": swapped(params.w_hh, (1, 0, 2)).T,
        "hid2hid.bias": torch.zeros(3 * hidden),
        "transform_z.weight": params.w_zy.T,
        "transform_z.bias": torch.zeros(hidden),
    }
    ys = []
    for x in xs:
        state = functional_call(cell, weights, (x, *state))
        ys.append(state[0])
    return state, torch.stack(ys)


def main():
    source = "the authors' LEMCell (github.com/tk-rusch/LEM, 833da6b) on torch 2.13"
    note = "torchrecurrent 0.2.5 deviates: its y moves by the old z"
    record("lem", About("lem", {"dt": DT}, SIZES, source, "library", note), lem, with_torch)


if __name__ == "__main__":
    main()
