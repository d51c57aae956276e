"""Writes zoo/phased_lstm.npz, phased_lstm_steps.npz and phased_lstm_plain.npz.

Run it from the repository root with torch 2.13 and the authors' file plstm_cell.py of
github.com/dannyneil/pytorch_plstm at commit 96cc3b6 in FOLDER:

PYTHONPATH=tests:FOLDER python tests/golden/make_phased_lstm.py

The authors' code has no peepholes, so the first two files, with peepholes, come from a
transcription of the paper. Its shift has the opposite sign.
"""

import jax
import numpy as np

from golden.record import HIDDEN, INPUT, About, default_inputs, record, with_numpy, with_torch

PAPER = "Neil et al. 2016, equations 1 to 10, transcribed in NumPy"
ALPHA = 0.001


def draw(rng, shapes):
    """Draws parameters; the gate is seen opening, open and closed."""
    params = jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), shapes)
    tau = rng.uniform(2, 8, HIDDEN)
    s, r_on = tau * rng.uniform(-1, 0, HIDDEN), rng.uniform(0.3, 0.9, HIDDEN)
    return params._replace(tau=tau, s=s, r_on=r_on)


def timed(rng, input_size):
    """Draws features and times that pass irregularly."""
    x = default_inputs(rng, input_size)
    return x, np.cumsum(rng.exponential(1.5, (*x.shape[:-1], 1)), axis=0)


def sigma(a):
    """The logistic function."""
    return 1 / (1 + np.exp(-a))


def transcribed(params, xs, state):
    """The paper's equations, one sequence and one unit of the time gate after the other."""
    xs, ts = xs if isinstance(xs, tuple) else (xs, None)
    w_xi, w_xf, w_xc, w_xo = np.split(params.w_ih, 4, axis=1)
    w_hi, w_hf, w_hc, w_ho = np.split(params.w_hh, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(params.b, 4)
    count = np.array(state.step)
    ys, h, c = np.zeros((*xs.shape[:2], HIDDEN), xs.dtype), np.array(state.h), np.array(state.c)
    for j in range(len(xs)):
        for n in range(xs.shape[1]):
            x, h_old, c_old = xs[j, n], h[n].copy(), c[n].copy()
            t = ts[j, n, 0] if ts is not None else xs.dtype.type(count[n])
            k = np.zeros_like(h_old)
            for unit in range(HIDDEN):
                r_on = params.r_on[unit]
                cycles = (t - params.s[unit]) / params.tau[unit]
                phi = cycles - np.floor(cycles)
                if phi < r_on / 2:
                    k[unit] = 2 * phi / r_on
                elif phi < r_on:
                    k[unit] = 2 - 2 * phi / r_on
                else:
                    k[unit] = xs.dtype.type(ALPHA) * phi
            i = sigma(x @ w_xi + h_old @ w_hi + params.p_i * c_old + b_i)
            f = sigma(x @ w_xf + h_old @ w_hf + params.p_f * c_old + b_f)
            c_new = f * c_old + i * np.tanh(x @ w_xc + h_old @ w_hc + b_c)
            o = sigma(x @ w_xo + h_old @ w_ho + params.p_o * c_new + b_o)
            h_new = o * np.tanh(c_new)
            c[n] = k * c_new + (1 - k) * c_old
            h[n] = k * h_new + (1 - k) * h_old
            ys[j, n] = h[n]
        count = count + 1
    return (h, c, count), ys


def by_the_authors(params, xs, state):
    """The authors' module on our parameters; it takes (batch, time, features)."""
    import plstm_cell

    xs, ts = xs
    module = plstm_cell.PLSTM(INPUT, HIDDEN)
    new = {"W": params.w_ih, "U": params.w_hh, "bias": params.b}
    new |= {"Periods": params.tau, "Shifts": -params.s, "On_End": params.r_on}
    for name, value in new.items():  # in place of parameters, so that gradients reach ours
        delattr(module, name)
        setattr(module, name, value)
    ys, (h, c) = module(xs.transpose(0, 1), ts[..., 0].T, (state.h, state.c))
    return (h, c, state.step + len(xs)), ys.transpose(0, 1)


def main():
    """Writes the files."""
    sizes = (INPUT, HIDDEN)
    about = About("phased_lstm", {}, sizes, PAPER, "transcription")
    record("phased_lstm", about, transcribed, with_numpy, inputs=timed, params=draw)
    about = about._replace(note="x is no pair: the time is the number of steps")
    record("phased_lstm_steps", about, transcribed, with_numpy, seed=1, params=draw)
    about = About(
        "phased_lstm",
        {"peepholes": False},
        sizes,
        "the authors' PLSTM (pytorch_plstm, commit 96cc3b6), torch 2.13",
        "library",
        "the authors' shift is minus the paper's s",
    )
    record("phased_lstm_plain", about, by_the_authors, with_torch, inputs=timed, params=draw)


if __name__ == "__main__":
    main()
