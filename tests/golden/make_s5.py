"""Writes zoo/s5.npz and zoo/s5_irregular.npz: values and gradients by s5-pytorch.

Run with ``PYTHONPATH=tests python tests/golden/make_s5.py`` from the repository root, with torch
2.13 and ``pip install --no-deps s5-pytorch==0.2.1``.
"""

from golden.record import BATCH, HIDDEN, INPUT, STEPS, About, record, with_torch

NOTE = (
    "the source stores both of two conjugates, so 2 C is passed for one; its diagonal D is zero "
    "and D x is added outside, since D is a matrix here"
)


def main():
    """Writes the files."""
    import torch
    from s5.s5_model import apply_ssm, discretize_zoh

    def both(parts):
        re, im = parts.chunk(2, dim=1)
        return torch.complex(re, im).T

    def sequence(params, xs, scales, start):
        """One sequence, with the step size of each of its steps."""
        rate = torch.complex(params.lambda_re, params.lambda_im)
        each = [
            discretize_zoh(rate, both(params.w_ih), scale * torch.exp(params.log_step))
            for scale in scales
        ]
        decays, inputs = (torch.stack(part) for part in zip(*each, strict=True))
        no_skip = torch.zeros(INPUT)
        ys, last = apply_ssm(decays, inputs, 2 * both(params.w_hy), no_skip, xs, state=start)
        return ys + xs @ params.d, last

    def run(params, xs, h):
        xs, dt = xs if isinstance(xs, tuple) else (xs, torch.ones(STEPS, BATCH, 1))
        each = [sequence(params, xs[:, k], dt[:, k], h[k]) for k in range(BATCH)]
        return torch.stack([last for _, last in each]), torch.stack([ys for ys, _ in each], dim=1)

    def irregular(rng, size):
        return rng.normal(size=(STEPS, BATCH, size)), rng.uniform(0.2, 2, (STEPS, BATCH, 1))

    source = "s5-pytorch 0.2.1 discretize_zoh, apply_ssm"
    about = About("s5", {"output_size": INPUT}, (INPUT, HIDDEN), source, "library", NOTE)
    record("s5", about, run, with_torch)
    record("s5_irregular", about, run, with_torch, inputs=irregular)


if __name__ == "__main__":
    main()
