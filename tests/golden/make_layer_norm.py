"""Writes the golden files of `jaxrnn.cells.layer_norm`: the paper's equations in NumPy.

Run with ``PYTHONPATH=tests python tests/golden/make_layer_norm.py`` from the repository root.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES = (3, 4)
NOTE = "the 1e-5 under the root, which the paper leaves out, is that of the authors' code"


def sigma(a):
    return 1 / (1 + np.exp(-a))


def ln(z, alpha, beta=0):
    """Equations 15 and 16: one sequence after the other."""
    rows = []
    for row in z:
        mu = sum(row) / len(row)
        variance = sum((number - mu) ** 2 for number in row) / len(row)
        rows.append((row - mu) / np.sqrt(variance + row.dtype.type(1) / 100_000) * alpha + beta)
    return np.stack(rows)


def lstm(params, xs, state):
    """Equations 20 to 22, with beta_1 = beta_2 = 0."""
    (h, c), hidden, hs = state, len(params.g_c), []
    for x in xs:
        gates = ln(h @ params.w_hh, params.g_hh) + ln(x @ params.w_ih, params.g_ih) + params.b
        i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(ln(c, params.g_c, params.b_c))
        hs.append(h)
    return (h, c), np.stack(hs)


def gru(params, xs, h):
    """The supplement's equations: its z is the share of the new state, ours that of the old."""
    hidden, hs = len(params.b_hn), []
    cut = slice(0, 2 * hidden), slice(2 * hidden, None)
    (w, w_n), (u, u_n) = ([m[:, s] for s in cut] for m in (params.w_ih, params.w_hh))
    (alpha_2, alpha_3), (alpha_1, alpha_4), (beta, beta_3) = (
        [vector[s] for s in cut] for vector in (params.g_ih, params.g_hh, params.b)
    )
    sign = np.repeat([1, -1], hidden)  # minus z's gains and bias, which gives 1 - sigma(z)
    for x in xs:
        gates = ln(h @ u, sign * alpha_1) + ln(x @ w, sign * alpha_2, sign * beta)
        r, z = gates[:, :hidden], gates[:, hidden:]
        recurrent = ln(h @ u_n, alpha_4, params.b_hn)
        new = np.tanh(ln(x @ w_n, alpha_3, beta_3) + sigma(r) * recurrent)
        h = (1 - sigma(z)) * h + sigma(z) * new
        hs.append(h)
    return h, np.stack(hs)


def main():
    source = "Ba et al. 2016, equations {}"
    for name, run, equations in (
        ("layer_norm_lstm", lstm, "20 to 22"),
        ("layer_norm_gru", gru, "of the supplement"),
    ):
        about = About(name, {}, SIZES, source.format(equations), "transcription", NOTE)
        record(name, about, run, with_numpy)


if __name__ == "__main__":
    main()
