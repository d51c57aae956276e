"""Writes zoo/ltc.npz and zoo/ltc_plain.npz: values and gradients by ncps.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_ltc.py
with torch 2.13 and ``pip install --no-deps ncps==1.0.1``.
"""

from golden.record import BATCH, STEPS, About, record, with_torch

SIZES = (3, 4)
OWN = {"g": "gleak", "v_leak": "vleak", "c": "cm"}
OWN |= {"input_scale": "input_w", "input_shift": "input_b"}
OWN |= {"output_scale": "output_w", "output_shift": "output_b"}
SYNAPSES = {"w": "w", "mu": "mu", "sigma": "sigma", "e": "erev"}


def make_run(unfolds):
    def run(params, xs, v):
        import torch
        from ncps.torch import LTCCell
        from ncps.wirings import FullyConnected

        xs, dts = xs if isinstance(xs, tuple) else (xs, torch.ones(len(xs), 1, 1))
        cell = LTCCell(
            FullyConnected(SIZES[1]),
            SIZES[0],
            ode_unfolds=unfolds,
            epsilon=0,
            implicit_param_constraints=True,
        )
        # The cell reads this dict, not its attributes. All masks are 1.
        cell._params |= {theirs: getattr(params, ours) for ours, theirs in OWN.items()}
        for ours, theirs in SYNAPSES.items():
            cell._params[theirs] = getattr(params.hh, ours)
            cell._params[f"sensory_{theirs}"] = getattr(params.ih, ours)
        ys = []
        for x, dt in zip(xs, dts, strict=True):
            y, v = cell(x, v, dt)
            ys.append(y)
        return v, torch.stack(ys)

    return run


def timed(rng, input_size):
    """Inputs with irregular steps."""
    features = rng.normal(size=(STEPS, BATCH, input_size))
    return features, rng.uniform(0.3, 2, size=(STEPS, BATCH, 1))


def main():
    source = "ncps 1.0.1 LTCCell on torch 2.13"
    note = "with the source's 1e-8 below the line set to 0, which the paper has not"
    about = About("ltc", {"unfolds": 3}, SIZES, source, "library", note)
    record("ltc", about, make_run(3), with_torch, inputs=timed)
    record("ltc_plain", about._replace(options={}), make_run(6), with_torch)


if __name__ == "__main__":
    main()
