"""Writes the golden file of `jaxrnn.cells.hyper_lstm`: values and gradients by labml-nn.

Run with ``PYTHONPATH=tests python tests/golden/make_hyper_lstm.py`` from the repository root, with
torch 2.13 and ``pip install --no-deps labml-nn==0.5.1``.
"""

from golden.record import About, record, with_torch

SIZES, HYPER, EMBEDDING = (3, 4), 3, 2
NOTE = (
    "the embeddings come from the small LSTM's new output, as in the authors' code and in the "
    "paper's text; the paper's equation 11 has the last output"
)


def normalisation(norm, prefix):
    """The names of one LSTM's layer normalisations: one a gate, and the memory cell's."""
    weights = {f"{prefix}layer_norm_c.weight": norm.g_c, f"{prefix}layer_norm_c.bias": norm.b_c}
    for k, (gain, bias) in enumerate(zip(norm.g.chunk(4), norm.b.chunk(4), strict=True)):
        weights[f"{prefix}layer_norm.{k}.weight"] = gain
        weights[f"{prefix}layer_norm.{k}.bias"] = bias
    return weights


def named(params):
    from torch import cat

    hyper = params.hyper
    z_h, z_x, z_b = params.w_z.T.chunk(3)
    b_h, b_x = params.b_z.chunk(2)
    weights = {
        "hyper.input_lin.weight": cat([hyper.w_mh, hyper.w_ih]).T,
        "hyper.hidden_lin.weight": hyper.w_hh.T,
        "hyper.hidden_lin.bias": hyper.b,
        "z_h.weight": z_h,
        "z_h.bias": b_h,
        "z_x.weight": z_x,
        "z_x.bias": b_x,
        "z_b.weight": z_b,
    }
    weights |= normalisation(params.norm, "") | normalisation(hyper.norm, "hyper.")
    for k in range(4):
        block = slice(k * SIZES[1], (k + 1) * SIZES[1])
        weights |= {
            f"d_h.{k}.weight": params.w_d[k].T,
            f"d_x.{k}.weight": params.w_d[4 + k].T,
            f"d_b.{k}.weight": params.w_d[8 + k].T,
            f"d_b.{k}.bias": params.b[block],
            f"w_h.{k}": params.w_hh[:, block].T,
            f"w_x.{k}": params.w_ih[:, block].T,
        }
    return weights


def main():
    import torch
    from labml_nn.hypernetworks.hyper_lstm import HyperLSTMCell
    from torch.func import functional_call

    torch.set_default_dtype(torch.float64)
    cell = HyperLSTMCell(*SIZES, HYPER, EMBEDDING)

    def run(params, xs, state):
        weights, hs = named(params), []
        for x in xs:
            state = functional_call(cell, weights, (x, *state))
            hs.append(state[0])
        return state, torch.stack(hs)

    options = {"hyper_size": HYPER, "embedding_size": EMBEDDING}
    source = "labml-nn 0.5.1 HyperLSTMCell"
    about = About("hyper_lstm", options, SIZES, source, "library", NOTE)
    record("hyper_lstm", about, run, with_torch)


if __name__ == "__main__":
    main()
