"""Writes zoo/lipschitz.npz and zoo/lipschitz_midpoint.npz from the authors' code.

Run it from the repository root with torch 2.13, ``pip install --no-deps torchdiffeq==0.2.5`` and a
copy of the authors' repository:
git clone https://github.com/erichson/LipschitzRNN ../LipschitzRNN   (commit df6552e)
PYTHONPATH=tests:../LipschitzRNN python tests/golden/make_lipschitz.py

rnn-jax 0.0.2 deviates: it takes the number gamma from every unit, where the paper takes gamma h.
"""

import sys
import types

from golden.record import About, record, with_torch

SIZES = (3, 4)
EPSILON, BETA, GAMMA = 0.4, 0.8, 0.3


def make_run(solver):
    """The authors' differential equation and solver; their code has one beta and one gamma."""

    def run(params, xs, h):
        import torch
        from torch.func import functional_call

        tools = types.ModuleType("tools")  # theirs loads images; the equation asks for these
        tools.get_device, tools.gaussian_init_ = lambda: "cpu", lambda n, std: torch.zeros(n, n)
        sys.modules["tools"] = tools
        from models import LipschitzRNN_ODE, odeint

        slope = LipschitzRNN_ODE(SIZES[1], BETA, GAMMA, 1)
        m_a, m_w = params.w_hh.chunk(2, dim=-1)
        times, ys = torch.tensor([0, EPSILON]), []
        for x in xs:
            slope.z = x @ params.w_ih + params.b

            def at(t, h):
                return functional_call(slope, {"B": m_a, "C": m_w}, (t, h))

            h = odeint(at, h, times, method=solver)[-1]
            ys.append(h)
        return h, torch.stack(ys)

    return run


def main():
    source = "the authors' LipschitzRNN_ODE (github.com/erichson/LipschitzRNN, df6552e), torch 2.13"
    options = {"epsilon": EPSILON, "beta_a": BETA, "beta_w": BETA, "gamma_a": GAMMA}
    options |= {"gamma_w": GAMMA}
    for name, solver in (("lipschitz", "euler"), ("lipschitz_midpoint", "midpoint")):
        about = About("lipschitz", options | {"solver": solver}, SIZES, source, "library")
        record(name, about, make_run(solver), with_torch)


if __name__ == "__main__":
    main()
