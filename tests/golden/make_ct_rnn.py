"""Writes zoo/ct_rnn.npz and zoo/ct_rnn_irregular.npz from a transcription of the equation.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_ct_rnn.py
"""

import numpy as np

from golden.record import BATCH, STEPS, About, record, with_numpy

SIZES, TAU, DT = (3, 4), 2.5, 0.7


def euler(params, xs, h):
    """Unit by unit: tau dh_i/dt = -h_i + tanh(sum_j W_ij h_j + sum_k U_ik x_k + b_i)."""
    irregular = isinstance(xs, tuple)
    xs, dts = xs if irregular else (xs, None)
    ys = []
    for t, x in enumerate(xs):
        new = np.zeros_like(h)
        for n, i in np.ndindex(h.shape):
            tau = np.longdouble(TAU) if params.log_tau is None else np.exp(params.log_tau[i])
            dt = dts[t, n, 0] if irregular else np.longdouble(DT)
            drive = params.b[i] + sum(params.w_hh[:, i] * h[n]) + sum(params.w_ih[:, i] * x[n])
            new[n, i] = h[n, i] + dt * (-h[n, i] + np.tanh(drive)) / tau
        h = new
        ys.append(h)
    return h, np.stack(ys)


def timed(rng, input_size):
    """Inputs with irregular steps."""
    features = rng.normal(size=(STEPS, BATCH, input_size))
    return features, rng.uniform(0.3, 2, size=(STEPS, BATCH, 1))


def main():
    source = "Jaeger et al. 2007, leaky integrators by Euler's method, transcribed in NumPy"
    about = About("ct_rnn", {"tau": TAU, "dt": DT}, SIZES, source, "transcription")
    record("ct_rnn", about, euler, with_numpy)
    about = about._replace(options={"learn_tau": True})
    record("ct_rnn_irregular", about, euler, with_numpy, inputs=timed)


if __name__ == "__main__":
    main()
