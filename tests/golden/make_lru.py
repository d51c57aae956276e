"""Writes zoo/lru.npz: values and gradients by lru-pytorch.

Run with ``PYTHONPATH=tests python tests/golden/make_lru.py`` from the repository root, with torch
2.13 and ``pip install --no-deps lru-pytorch==0.1.3``.

The module takes one sequence and gives its outputs alone, so it runs a second time with a readout
of the state's real and imaginary parts for the last state.
"""

from golden.record import About, record, with_torch

SIZES, OUTPUT = (3, 4), 2
NOTE = "D is a matrix in the paper's equation and in the source, a diagonal in the authors' listing"


def main():
    """Writes the file."""
    import torch
    from LRU_pytorch import LRU
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    outer, states = LRU(SIZES[0], OUTPUT, SIZES[1]), LRU(SIZES[0], 2 * SIZES[1], SIZES[1])

    def both(parts):
        re, im = parts.chunk(2, dim=1)
        return torch.complex(re, im).T

    def run(params, xs, h):
        recurrence = {name: getattr(params, name) for name in ("nu_log", "theta_log", "gamma_log")}
        recurrence["B"] = both(params.w_ih)
        skip = torch.zeros(SIZES[0], 2 * SIZES[1])
        one = torch.eye(SIZES[1], dtype=torch.complex128)
        ys, last = [], []
        for x, start in zip(xs.unbind(1), h.unbind(0), strict=True):
            weights = recurrence | {"C": both(params.w_hy), "D": params.d.T}
            ys.append(functional_call(outer, weights, (x, start)))
            weights = recurrence | {"C": torch.cat([one, -1j * one]), "D": skip.T}
            re, im = functional_call(states, weights, (x, start))[-1].chunk(2)
            last.append(torch.complex(re, im))
        return torch.stack(last), torch.stack(ys, dim=1)

    source = "lru-pytorch 0.1.3 LRU"
    about = About("lru", {"output_size": OUTPUT}, SIZES, source, "library", NOTE)
    record("lru", about, run, with_torch)


if __name__ == "__main__":
    main()
