"""Writes multiplicative_lstm.npz, beside the zoo's files, which are of cells and not of wrappers.

Run it from the repository root with torch 2.13 and torchrecurrent 0.2.5:
PYTHONPATH=tests python tests/golden/make_multiplicative.py
"""

from golden.record import HIDDEN, INPUT, About, record, with_torch
from jaxrnn.wrappers.multiplicative import multiplicative

NAME = "../multiplicative_lstm"


class Wrapped(About):
    """Makes the cell of an `About` multiplicative."""

    def make(self):
        """Makes the cell."""
        return multiplicative(super().make(), self.sizes[0])


def by_torchrecurrent(params, xs, state):
    """`MultiplicativeLSTMCell`: rows of m, i, f, g, o; it adds biases to both factors of m."""
    import torch
    from torchrecurrent import MultiplicativeLSTMCell

    inner, size = params.cell, params.w_mh.shape[0]
    cell, zeros = MultiplicativeLSTMCell(INPUT, HIDDEN), torch.zeros(size)
    new = {
        "weight_ih": torch.cat([params.w_mx, inner.w_ih], dim=1).T,
        "weight_hh": params.w_mh.T,
        "weight_mh": inner.w_hh.T,
        "bias_ih": torch.cat([zeros, inner.b]),
        "bias_hh": zeros,
        "bias_mh": torch.zeros(4 * size),
    }
    for name, value in new.items():  # in place of parameters, so that gradients reach ours
        delattr(cell, name)
        setattr(cell, name, value)
    state, ys = tuple(state), []
    for x in xs:
        state = cell(x, state)
        ys.append(state[0])
    return state, torch.stack(ys)


def main():
    """Writes the file."""
    note = "the paper has no biases in m; torchrecurrent's are 0 here"
    about = Wrapped(
        "lstm",
        {},
        (INPUT, HIDDEN),
        "torchrecurrent 0.2.5 MultiplicativeLSTMCell on torch 2.13",
        "library",
        note,
    )
    record(NAME, about, by_torchrecurrent, with_torch)


if __name__ == "__main__":
    main()
