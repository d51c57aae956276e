"""Writes zoo/mlstm*.npz and zoo/slstm*.npz: values and gradients by the authors' package.

Run with ``PYTHONPATH=tests python tests/golden/make_xlstm.py`` from the repository root, with torch
2.13 and ``pip install --no-deps xlstm==2.0.6``.
"""

import math

from golden.record import HIDDEN, INPUT, About, record, with_torch

SIZES = (INPUT, HIDDEN)
MLSTM_NOTE = (
    "the source adds 1e-6 to the denominator, set to 0 here, and scales the keys with their bias; "
    "the projections are made outside of it"
)
SLSTM_NOTE = (
    "where n is 0 in a whole batch, the source sets m to log i; here each unit does, which is the "
    "same from a state of zeros"
)


def mlstm(params, xs, state):
    """The package's recurrent step; it holds the memory as keys by values."""
    import torch
    from xlstm.blocks.mlstm.backends import recurrent_step_stabilized_simple

    heads, batch = len(params.b_if) // 2, xs.shape[1]
    size = HIDDEN // heads
    (w_k, w_v, w_q, w_o), (b_k, b_v, b_q, b_o) = params.w_ih.chunk(4, dim=1), params.b.chunk(4)
    c, n, m = state
    state, ys = (c.transpose(-1, -2), n[..., None], m[..., None, None]), []

    def by_heads(part):
        return part.reshape(batch, heads, 1, -1)

    for x in xs:
        i, f = (x @ params.w_if + params.b_if).chunk(2, dim=1)
        h, state = recurrent_step_stabilized_simple(
            *state,
            q=by_heads(x @ w_q + b_q),
            k=by_heads(x @ w_k + math.sqrt(size) * b_k),
            v=by_heads(x @ w_v + b_v),
            igate_preact=by_heads(i),
            fgate_preact=by_heads(f),
            eps=0.0,
        )
        ys.append(torch.sigmoid(x @ w_o + b_o) * h.reshape(batch, HIDDEN))
    c, n, m = state
    return (c.transpose(-1, -2), n[..., 0], m[..., 0, 0]), torch.stack(ys)


def slstm(params, xs, state):
    """The package's vanilla backend; gates of all heads side by side."""
    import torch
    from xlstm.blocks.slstm.src.vanilla import slstm_forward, slstm_pointwise_function_registry

    heads, size = params.w_hh.shape[:2]
    kernel = params.w_hh.transpose(1, 2)  # (N, 4 d, d)
    states, last, _ = slstm_forward(
        xs @ params.w_ih,
        torch.stack(state),
        kernel,
        params.b,
        slstm_pointwise_function_registry["slstm"],
    )
    assert kernel.shape == (heads, 4 * size, size)
    return tuple(last), states[0, 1:]


def main():
    """Writes the files."""
    for run, note in ((mlstm, MLSTM_NOTE), (slstm, SLSTM_NOTE)):
        name = run.__name__
        source = f"xlstm 2.0.6 (the authors), {name}"
        for heads in (1, 2):
            about = About(name, {"heads": heads}, SIZES, source, "library", note)
            record(name if heads == 1 else f"{name}_heads", about, run, with_torch)


if __name__ == "__main__":
    main()
