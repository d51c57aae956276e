"""Writes the golden files of `jaxrnn.cells.rhn`: the paper's equations in NumPy.

Run with ``PYTHONPATH=tests python tests/golden/make_rhn.py`` from the repository root.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES = (3, 4)
SOURCE = "Zilly et al. 2017, equations 6 to 9"
NOTE = "torchrecurrent 0.2.5 has an RHNCell as well, but its module cannot be imported"


def sigma(a):
    return 1 / (1 + np.exp(-a))


def rhn(params, xs, s):
    depth, hidden = params.w_hh.shape[:2]
    gates = [slice(k * hidden, (k + 1) * hidden) for k in range(params.b.shape[1] // hidden)]

    def pre_activation(gate, layer, x, s):
        indicator = 1 if layer == 0 else 0
        linear = s @ params.w_hh[layer][:, gate] + params.b[layer, gate]
        return indicator * (x @ params.w_ih[:, gate]) + linear

    states = []
    for x in xs:
        for layer in range(depth):
            h, t, *c = (pre_activation(gate, layer, x, s) for gate in gates)
            h, t = np.tanh(h), sigma(t)
            c = sigma(c[0]) if c else 1 - t
            s = h * t + s * c
        states.append(s)
    return s, np.stack(states)


def main():
    for name, options in {
        "rhn": {"depth": 3},
        "rhn_not_coupled": {"depth": 2, "coupled": False},
    }.items():
        record(name, About("rhn", options, SIZES, SOURCE, "transcription", NOTE), rhn, with_numpy)


if __name__ == "__main__":
    main()
