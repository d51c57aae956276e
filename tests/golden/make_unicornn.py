"""Writes zoo/unicornn.npz: values and gradients by torchrecurrent.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_unicornn.py
with torch 2.13 and ``pip install --no-deps torchrecurrent==0.2.5``.

The authors' code is a CUDA kernel; its lines are those of the source: sigma is tanh, sigma-hat the
logistic function.
"""

from golden.record import About, record, with_torch

SIZES = (3, 4)
NUMBERS = {"dt": 0.3, "alpha": 1.7}


def unicornn(params, xs, state):
    import torch
    from torch.func import functional_call
    from torchrecurrent import UnICORNNCell

    cell = UnICORNNCell(*SIZES, **NUMBERS)
    weights = {"weight_ih": params.w_ih.T, "weight_hh": params.w, "weight_ch": params.c}
    weights["bias_ih"] = params.b
    ys = []
    for x in xs:
        state = functional_call(cell, weights, (x, tuple(state)))
        ys.append(state[0])
    return state, torch.stack(ys)


def main():
    about = About("unicornn", NUMBERS, SIZES, "torchrecurrent 0.2.5 UnICORNNCell", "library")
    record("unicornn", about, unicornn, with_torch)


if __name__ == "__main__":
    main()
