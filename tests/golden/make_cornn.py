"""Writes zoo/cornn.npz, from the authors' code, and zoo/cornn_implicit.npz, transcribed.

Run it from the repository root with torch 2.13 and a copy of the authors' repository:
git clone https://github.com/tk-rusch/coRNN ../coRNN   (commit afd8174)
PYTHONPATH=tests:../coRNN/adding python tests/golden/make_cornn.py
"""

import numpy as np

from golden.record import About, record, with_numpy, with_torch

SIZES = (3, 4)
NUMBERS = {"dt": 0.3, "gamma": 1.7, "epsilon": 0.9}


def explicit(params, xs, state):
    """The authors' cell, whose one matrix meets x, z, y in this order."""
    import torch
    from model import coRNNCell
    from torch.func import functional_call

    cell = coRNNCell(*SIZES, **NUMBERS)
    of_y, of_z = params.w_hh.chunk(2)
    weights = {"i2h.weight": torch.cat([params.w_ih, of_z, of_y]).T, "i2h.bias": params.b}
    ys = []
    for x in xs:
        state = functional_call(cell, weights, (x, *state))
        ys.append(state[0])
    return state, torch.stack(ys)


def implicit(params, xs, state):
    """Equation 3 with the damping at the new time, solved for the new z."""
    dt, gamma, epsilon = (np.longdouble(NUMBERS[name]) for name in ("dt", "gamma", "epsilon"))
    (y, z), n, ys = state, SIZES[1], []
    for u in xs:
        force = np.tanh(y @ params.w_hh[:n] + z @ params.w_hh[n:] + u @ params.w_ih + params.b)
        z = (z + dt * force - dt * gamma * y) / (1 + dt * epsilon)
        y = y + dt * z
        ys.append(y)
    return (y, z), np.stack(ys)


def main():
    source = "the authors' coRNNCell (github.com/tk-rusch/coRNN, afd8174) on torch 2.13"
    about = About("cornn", NUMBERS, SIZES, source, "library")
    record("cornn", about, explicit, with_torch)
    source = "Rusch & Mishra 2021, equation 3, transcribed in NumPy"
    options = NUMBERS | {"damping": "implicit"}
    note = "the authors' code has the explicit damping alone"
    about = About("cornn", options, SIZES, source, "transcription", note)
    record("cornn_implicit", about, implicit, with_numpy)


if __name__ == "__main__":
    main()
