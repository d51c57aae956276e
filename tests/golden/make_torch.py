"""Writes torch_rnn.npz, torch_lstm.npz and torch_gru.npz: torch's values and gradients in float64.

Run it from the repository root with torch 2.13: python tests/golden/make_torch.py

Each case is two layers, bidirectional, with a nonzero initial state and packed lengths from 1 to T.
The loss is <d_ys, ys> + <d_h_n, h_n> (+ <d_c_n, c_n>) with stored weights, so its gradients stand
beside everything that they depend on. Names are torch's, after the case's name and a dot; "grad."
stands before the gradients'.
"""

from pathlib import Path

import numpy as np
import torch

INPUT, HIDDEN, LENGTHS = 5, 4, (1, 6, 4)  # torch takes no length 0
CASES = {  # case: (file, seed, class, options)
    "tanh": ("rnn", 0, torch.nn.RNN, {"nonlinearity": "tanh"}),
    "relu": ("rnn", 1, torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": ("lstm", 2, torch.nn.LSTM, {}),
    "gru": ("gru", 3, torch.nn.GRU, {}),
}


def draw(case, seed, input_size, hidden_size, lengths, dtype):
    """Draws a module and, by name, what it is given: xs, the initial state, the loss's weights."""
    _, _, make, options = CASES[case]
    torch.manual_seed(seed)
    module = make(input_size, hidden_size, 2, bidirectional=True, dtype=dtype, **options)
    with torch.no_grad():  # wider than torch draws, not so wide that rounding errors grow
        for parameter in module.parameters():
            parameter.normal_(std=0.5 * hidden_size**-0.5)
    outer = (max(lengths), len(lengths))
    state = (4, len(lengths), hidden_size)
    shapes = {"xs": (*outer, input_size), "h_0": state, "c_0": state}
    shapes |= {"d_ys": (*outer, 2 * hidden_size), "d_h_n": state, "d_c_n": state}
    if make is not torch.nn.LSTM:
        del shapes["c_0"], shapes["d_c_n"]
    return module, {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}


def arrays(case, seed, input_size, hidden_size, lengths, dtype=torch.float64):
    """Returns all that a case holds: what the module was given, what it gave, and the gradients."""
    module, given = draw(case, seed, input_size, hidden_size, lengths, dtype)
    leaves = {name: given[name].requires_grad_() for name in ("xs", "h_0", "c_0") if name in given}
    leaves |= dict(module.named_parameters())
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        given["xs"], torch.tensor(lengths), enforce_sorted=False
    )
    if "c_0" in given:
        packed, (h_n, c_n) = module(packed, (given["h_0"], given["c_0"]))
        final = {"h_n": h_n, "c_n": c_n}
    else:
        packed, h_n = module(packed, given["h_0"])
        final = {"h_n": h_n}
    results = {"ys": torch.nn.utils.rnn.pad_packed_sequence(packed)[0], **final}
    loss = sum((given[f"d_{name}"] * result).sum() for name, result in results.items())
    slopes = torch.autograd.grad(loss, list(leaves.values()))
    every = given | leaves | results
    every |= {f"grad.{name}": slope for name, slope in zip(leaves, slopes, strict=True)}
    found = {name: value.detach().numpy() for name, value in every.items()}
    return found | {"lengths": np.array(lengths)}


def golden(case):
    """Returns what the golden file holds of one case."""
    return arrays(case, CASES[case][1], INPUT, HIDDEN, LENGTHS)


def main():
    """Writes the files."""
    for kind in dict.fromkeys(file for file, *_ in CASES.values()):
        path = Path(__file__).parent / f"torch_{kind}.npz"
        found = {
            f"{case}.{name}": value
            for case, (file, *_) in CASES.items()
            if file == kind
            for name, value in golden(case).items()
        }
        np.savez_compressed(path, allow_pickle=False, **found)
        print(f"{path.name}: {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
