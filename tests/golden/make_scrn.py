"""Writes the golden files of `jaxrnn.cells.scrn`: the paper's equations in NumPy.

Run with ``PYTHONPATH=tests python tests/golden/make_scrn.py`` from the repository root.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES, CONTEXT = (3, 4), 2
NOTE = (
    "torchrecurrent 0.2.5 SCRNCell deviates: it feeds its output layer's result back as h, and has "
    "one trained alpha for all units; its biases are not in the paper"
)


def scrn(params, xs, state):
    """The equations of section 3; the paper's prediction f(U h + V s) is a readout of both."""
    (h, s), hidden, ys = state, SIZES[1], []
    a, b = params.w_ih[:, :hidden], params.w_ih[:, hidden:]
    alpha = s.dtype.type(95) / 100
    if params.beta is not None:  # adaptive context features: Q = diag(alpha)
        alpha = 1 / (1 + np.exp(-params.beta))
    for x in xs:
        s = (1 - alpha) * (x @ b) + alpha * s
        h = 1 / (1 + np.exp(-(s @ params.w_ch + x @ a + h @ params.w_hh)))
        ys.append(np.concatenate([h, s], axis=1))
    return (h, s), np.stack(ys)


def main():
    for name, more in {"scrn": {}, "scrn_adaptive": {"adaptive": True}}.items():
        options = {"context_size": CONTEXT, **more}
        source = "Mikolov et al. 2015, section 3"
        about = About("scrn", options, SIZES, source, "transcription", NOTE)
        record(name, about, scrn, with_numpy)


if __name__ == "__main__":
    main()
