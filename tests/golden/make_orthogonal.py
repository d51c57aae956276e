"""Writes zoo/exp_rnn.npz, from the authors' code, and zoo/cayley_rnn.npz, from torch's own map.

Run it from the repository root with torch 2.13 and a copy of the authors' repository:
git clone https://github.com/Lezcano/expRNN ../expRNN   (commit 830ec83)
PYTHONPATH=tests:../expRNN python tests/golden/make_orthogonal.py
"""

from golden.record import About, record, with_torch

SIZES, NEGATIVE = (3, 5), 2


def exp_rnn(params, xs, h):
    """The authors' cell, with torch's matrix exponential in place of their own of float32."""
    import torch
    from orthogonal import OrthogonalRNN
    from torch.func import functional_call

    cell = OrthogonalRNN(*SIZES, torch.nn.init.zeros_, "static", torch.linalg.matrix_exp)
    weights = {
        "recurrent_kernel.A": params.w_hh - params.w_hh.T,  # of which it takes the upper half
        "input_kernel.weight": params.w_ih.T,
        "nonlinearity.b": params.b,
    }

    ys = []
    for x in xs:
        _, h = functional_call(cell, weights, (x, h))
        ys.append(h)
    return h, torch.stack(ys)


def cayley_rnn(params, xs, h):
    """W by torch, whose map is (I - A / 2)^-1 (I + A / 2), A from a lower half."""
    import torch
    from torch.nn.utils.parametrizations import orthogonal

    blank = torch.nn.Linear(SIZES[1], SIZES[1], bias=False)
    layer = orthogonal(blank, orthogonal_map="cayley", use_trivialization=False)
    matrix = layer.parametrizations.weight[0](-2 * (params.w_hh - params.w_hh.T))
    signs = torch.ones(SIZES[1])
    signs[SIZES[1] - NEGATIVE :] = -1
    ys = []
    for x in xs:
        a = x @ params.w_ih + h @ torch.diag(signs) @ matrix
        h = torch.sign(a) * torch.relu(torch.abs(a) + params.b)
        ys.append(h)
    return h, torch.stack(ys)


def main():
    source = "the authors' OrthogonalRNN (github.com/Lezcano/expRNN, 830ec83) on torch 2.13"
    record("exp_rnn", About("exp_rnn", {}, SIZES, source, "library"), exp_rnn, with_torch)
    source = "torch 2.13 nn.utils.parametrizations.orthogonal (cayley); D and modReLU transcribed"
    options = {"negative": NEGATIVE}
    about = About("cayley_rnn", options, SIZES, source, "library")
    record("cayley_rnn", about, cayley_rnn, with_torch)


if __name__ == "__main__":
    main()
