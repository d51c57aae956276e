"""Writes zoo/clockwork.npz and zoo/clockwork_periods.npz from a transcription of the paper.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_clockwork.py

rnn-jax 0.0.2, the one package with this cell, passes the state of a module that is not active
through the activation again, where the paper keeps it.
"""

import numpy as np

from golden.record import INPUT, About, record, with_numpy

NOTE = "rnn-jax 0.0.2 deviates: it applies tanh again to the modules that are not active"


def transcribed(periods, params, xs, state):
    """The paper's section 3: each module from itself and all slower ones."""
    modules, size = len(periods), len(params.b)
    units = size // modules
    ys, (h, step) = np.zeros((*xs.shape[:2], size), xs.dtype), state
    for t in range(len(xs)):
        new = h.copy()
        for n in range(xs.shape[1]):
            for i, period in enumerate(periods):
                if step[n] % period != 0:
                    continue
                mine = slice(i * units, (i + 1) * units)
                total = xs[t, n] @ params.w_ih[:, mine] + params.b[mine]
                for j in range(i, modules):
                    rows = slice((j - i) * units, (j - i + 1) * units)
                    total = total + h[n, j * units : (j + 1) * units] @ params.w_hh[i][rows]
                new[n, mine] = np.tanh(total)
        ys[t], h, step = new, new, step + 1
    return (h, step), ys


def main():
    """Writes the files."""
    source = "Koutnik et al. 2014, section 3, transcribed in NumPy"
    for name, hidden, options in (
        ("clockwork", 4, {}),
        ("clockwork_periods", 6, {"periods": (1, 2, 3)}),
    ):
        about = About("clockwork", options, (INPUT, hidden), source, "transcription", NOTE)
        periods = options.get("periods", (1, 2, 4, 8))
        record(name, about, lambda *args, p=periods: transcribed(p, *args), with_numpy)


if __name__ == "__main__":
    main()
