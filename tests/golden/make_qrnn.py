"""Writes zoo/qrnn.npz and zoo/qrnn_window.npz from a transcription of the paper.

Run with ``PYTHONPATH=tests python tests/golden/make_qrnn.py`` from the repository root.
"""

import numpy as np

from golden.record import HIDDEN, INPUT, About, record, with_numpy

SOURCE = "Bradbury et al. 2017, equations 1, 2 and 4, transcribed in NumPy"
NOTE = (
    "salesforce/pytorch-qrnn deviates: its f takes the candidate, c = f z + (1 - f) c, where the "
    "paper's keeps the memory"
)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def pool(convolved, c):
    """Equation 4, from the pre-activations of all steps."""
    hs = np.zeros((*convolved.shape[:2], HIDDEN), convolved.dtype)
    for t, a in enumerate(convolved):
        z, f, o = np.tanh(a[:, :HIDDEN]), sigma(a[:, HIDDEN : 2 * HIDDEN]), sigma(a[:, -HIDDEN:])
        c = f * c + (1 - f) * z
        hs[t] = o * c
    return c, hs


def narrow(params, xs, c):
    """A filter of width 1."""
    return pool(xs @ params.w_ih + params.b, c)


def wide(params, xs, state):
    """A filter of width 3: W1 on the input two steps ago, W2 on the last, W3 on the present."""
    w3, w2, w1 = np.split(params.w_ih, 3, axis=1)
    convolved = np.zeros((len(xs), xs.shape[1], 3 * HIDDEN), xs.dtype)
    for t in range(len(xs)):
        convolved[t] = xs[t] @ w3 + params.b
        if t >= 1:
            convolved[t] += xs[t - 1] @ w2
        if t >= 2:
            convolved[t] += xs[t - 2] @ w1
    convolved[0] += state.pending[:, 0]  # of inputs before the first
    convolved[1] += state.pending[:, 1]
    c, hs = pool(convolved, state.c)
    next_one, next_two = xs[-1] @ w2 + xs[-2] @ w1, xs[-1] @ w1
    return (c, np.stack([next_one, next_two], axis=1)), hs


def main():
    """Writes the files."""
    for name, options, run in (("qrnn", {}, narrow), ("qrnn_window", {"window": 3}, wide)):
        about = About("qrnn", options, (INPUT, HIDDEN), SOURCE, "transcription", NOTE)
        record(name, about, run, with_numpy)


if __name__ == "__main__":
    main()
