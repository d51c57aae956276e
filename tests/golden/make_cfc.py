"""Writes zoo/cfc.npz, cfc_no_gate.npz, cfc_pure.npz, cfc_plain.npz: values and gradients by ncps.

Run it from the repository root: PYTHONPATH=tests python tests/golden/make_cfc.py
with torch 2.13 and ``pip install --no-deps ncps==1.0.1``.
"""

from golden.record import BATCH, STEPS, About, record, with_torch

SIZES, UNITS = (3, 4), 5
MODES = {"cfc": "default", "cfc_no_gate": "no_gate", "cfc_pure": "pure"}


def make_run(mode, layers):
    def run(params, xs, h):
        import torch
        from ncps.torch import CfCCell
        from torch.func import functional_call

        xs, dts = xs if isinstance(xs, tuple) else (xs, torch.ones(len(xs), 1, 1))
        cell = CfCCell(*SIZES, mode=mode, backbone_units=UNITS, backbone_layers=layers)
        backbone = [(torch.cat([params.w_ih, params.w_hh]), params.b), *params.layers]
        heads = ("ff1",) if mode == "pure" else ("ff1", "ff2", "time_a", "time_b")
        columns = (part.chunk(len(heads), dim=-1) for part in (params.w_out, params.b_out))
        named = {f"backbone.{2 * k}": pair for k, pair in enumerate(backbone)}
        named |= dict(zip(heads, zip(*columns, strict=True), strict=True))
        weights = {f"{name}.weight": w.T for name, (w, _) in named.items()}
        weights |= {f"{name}.bias": b for name, (_, b) in named.items()}
        if mode == "pure":
            weights |= {"w_tau": params.w_tau[None], "A": params.a[None]}
        ys = []
        for x, dt in zip(xs, dts, strict=True):
            h, _ = functional_call(cell, weights, (x, h, dt))
            ys.append(h)
        return h, torch.stack(ys)

    return run


def timed(rng, input_size):
    """Inputs with irregular steps."""
    features = rng.normal(size=(STEPS, BATCH, input_size))
    return features, rng.uniform(0.3, 2, size=(STEPS, BATCH, 1))


def main():
    source = "ncps 1.0.1 CfCCell on torch 2.13"
    note = "the authors' gate has two heads, f and f_0, where the paper's equation has f alone"
    for name, mode in MODES.items():
        options = {"mode": mode, "backbone_units": UNITS, "backbone_layers": 2}
        about = About("cfc", options, SIZES, source, "library", "" if mode == "pure" else note)
        record(name, about, make_run(mode, 2), with_torch, inputs=timed)
    options = {"backbone_units": UNITS}
    about = About("cfc", options, SIZES, source, "library", note)
    record("cfc_plain", about, make_run("default", 1), with_torch)


if __name__ == "__main__":
    main()
