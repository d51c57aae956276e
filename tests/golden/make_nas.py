"""Writes the golden file of `jaxrnn.cells.nas`: the found tree in NumPy.

Run with ``PYTHONPATH=tests python tests/golden/make_nas.py`` from the repository root.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES = (3, 4)
SOURCE = "Zoph & Le 2017, appendix A, as in the first author's TensorFlow NASCell"
NOTE = "torchrecurrent 0.2.5 NASCell deviates: it adds the two shares of the fourth leaf"
TREE = (  # of each leaf how the two shares meet, and the activation
    ("add", "sigmoid"),
    ("add", "relu"),
    ("add", "sigmoid"),
    ("multiply", "relu"),
    ("add", "tanh"),
    ("add", "sigmoid"),
    ("add", "tanh"),
    ("add", "sigmoid"),
)
ACTIVATIONS = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.where(a > 0, a, 0 * a),
    "tanh": np.tanh,
}


def nas(params, xs, state):
    (h, c), hidden, hs = state, SIZES[1], []
    for x in xs:
        leaves = []
        for k, (join, activation) in enumerate(TREE):
            block = slice(k * hidden, (k + 1) * hidden)
            of_x, of_h = x @ params.w_ih[:, block], h @ params.w_hh[:, block] + params.b[block]
            leaves.append(ACTIVATIONS[activation](getattr(np, join)(of_x, of_h)))
        one = np.tanh(leaves[0] * leaves[1])
        two = np.tanh(leaves[2] + leaves[3])
        three = np.tanh(leaves[4] * leaves[5])
        four = ACTIVATIONS["sigmoid"](leaves[6] + leaves[7])
        c = np.tanh(one + c) * two
        h = np.tanh(c * np.tanh(three + four))
        hs.append(h)
    return (h, c), np.stack(hs)


def main():
    about = About("nas", {}, SIZES, SOURCE, "transcription", NOTE)
    record("nas", about, nas, with_numpy)


if __name__ == "__main__":
    main()
