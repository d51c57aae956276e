"""Writes zoo/unitary.npz from a transcription of the paper, in complex numbers of 80-bit floats.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_unitary.py

The one package on PyPI with this cell, rnn-jax 0.0.2, loses the state in its reflections (they
begin with 1 where h should stand) and its modReLU has no ReLU. The authors' code (Theano, Python 2)
is the paper up to signs of angles and of imaginary parts, and adds 1e-5 to |z| below the line.
"""

import numpy as np

from golden.record import About, record, with_numpy

SIZES, SEED = (3, 4), 7


def unitary(params, xs, state):
    """The paper's section 4, one factor after the other on one column of the batch at a time."""
    n, two_pi = SIZES[1], 8 * np.arctan(np.longdouble(1))
    i = np.clongdouble(1j)

    def paired(row):
        return row[:n] + i * row[n:]

    order = np.arange(n)
    fourier = np.exp(-i * two_pi * np.outer(order, order) / n) / np.sqrt(np.longdouble(n))
    permute = np.eye(n)[np.random.RandomState(SEED).permutation(n)]
    d1, d2, d3 = (np.diag(np.exp(i * angles)) for angles in params.theta)
    r1, r2 = (
        np.eye(n) - 2 * np.outer(v, v.conj()) / np.sum(v * v.conj())
        for v in (paired(row) for row in params.v)
    )
    w = d3 @ r2 @ fourier.conj().T @ d2 @ permute @ r1 @ fourier @ d1
    ys = np.zeros((*xs.shape[:2], 2 * n), xs.dtype)
    final = np.zeros_like(state)
    for k in range(xs.shape[1]):
        h = paired(state[k])
        for t in range(len(xs)):
            z = w @ h + paired(params.w_ih.T @ xs[t, k])
            modulus = np.sqrt(z.real**2 + z.imag**2)
            sigma = np.where(modulus + params.b >= 0, modulus + params.b, 0)
            h = sigma * z / modulus
            ys[t, k] = np.concatenate([h.real, h.imag])
        final[k] = ys[-1, k]
    return final, ys


def main():
    source = "Arjovsky et al. 2016, section 4, transcribed in NumPy"
    about = About("unitary", {"seed": SEED}, SIZES, source, "transcription")
    record("unitary", about, unitary, with_numpy)


if __name__ == "__main__":
    main()
