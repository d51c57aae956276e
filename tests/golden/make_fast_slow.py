"""Writes the golden files of `jaxrnn.cells.fast_slow`: the paper's equations in NumPy.

Run with ``PYTHONPATH=tests python tests/golden/make_fast_slow.py`` from the repository root.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES = (2, 3)
SOURCE = "Mujika et al. 2017, section 3, of LSTMs"


def sigma(a):
    return 1 / (1 + np.exp(-a))


def lstm(params, state, x=None):
    """One LSTM step, without an input if x is None."""
    h, c = state
    gates = h @ params.w_hh + params.b
    gates = gates if x is None else gates + x @ params.w_ih
    size = h.shape[1]
    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def fast_slow(params, xs, state):
    (fast, slow), ys = state, []
    for x in xs:
        fast = lstm(params.fast[0], fast, x)
        slow = lstm(params.slow, slow, fast[0])
        fast = lstm(params.fast[1], fast, slow[0])
        for later in params.fast[2:]:
            fast = lstm(later, fast)
        ys.append(fast[0])
    return (fast, slow), np.stack(ys)


def main():
    for name, options in {
        "fast_slow": {},
        "fast_slow_4": {"fast_cells": 4, "slow_size": 2},
    }.items():
        about = About("fast_slow", options, SIZES, SOURCE, "transcription")
        record(name, about, fast_slow, with_numpy)


if __name__ == "__main__":
    main()
