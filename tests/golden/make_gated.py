"""Writes the golden files of the small gated cells, `jaxrnn.cells.peephole_lstm` to `li_gru`.

Run with ``PYTHONPATH=tests python tests/golden/make_gated.py`` from the repository root, with
``pip install --no-deps torchrecurrent==0.2.5`` and torch 2.13, flax 0.12.8.
"""

import jax
import numpy as np

from golden.record import About, record, with_jax, with_numpy, with_torch

SIZES = (3, 4)
LIBRARY = "torchrecurrent 0.2.5 "


def reordered(array, order):
    """Cuts an array of torch into ``len(set(order))`` blocks and puts them in another order."""
    import torch

    blocks = array.chunk(len(set(order)), -1)
    return torch.cat([blocks[k] for k in order], -1)


def single(cell, weights, *, double=False):
    """Returns a `run` for a cell with one array of state; `double`: the cell wants it twice."""
    from torch import stack
    from torch.func import functional_call

    def run(params, xs, h):
        ys = []
        for x in xs:
            state = (h, h) if double else h
            h = functional_call(cell, weights(params), (x, state))
            h = h[0] if double else h
            ys.append(h)
        return h, stack(ys)

    return run


def pair(cell, weights):
    """Returns a `run` for a cell with the state ``(h, c)``."""
    from torch import stack
    from torch.func import functional_call

    def run(params, xs, state):
        ys = []
        for x in xs:
            state = functional_call(cell, weights(params), (x, tuple(state)))
            ys.append(state[0])
        return tuple(state), stack(ys)

    return run


def in_order(*order, **more):
    """Returns the usual conversion: transposed matrices, one bias, blocks in another order."""

    def weights(params):
        bias = reordered(params.b, order)
        return {
            "weight_ih": reordered(params.w_ih, order).T,
            "weight_hh": reordered(params.w_hh, order).T,
            "bias_ih": bias,
            "bias_hh": 0 * bias,
        } | {name: get(params) for name, get in more.items()}

    return weights


def coupled(params):
    """Four gates from three: f = 1 - i has minus the pre-activation of i."""
    import torch

    def four(array):
        i, g, o = array.chunk(3, -1)
        return torch.cat([i, -i, g, o], -1)

    bias = four(params.b)
    weights = {
        "weight_ih": four(params.w_ih).T,
        "weight_hh": four(params.w_hh).T,
        "bias_ih": bias,
        "bias_hh": 0 * bias,
    }
    if params.p_i is not None:
        weights["weight_ph"] = torch.cat([params.p_i, -params.p_i, params.p_o])
    return weights


def contentless(params, w_ih, b_ih):
    """A conversion where the last block of `w_ih` has no recurrent part and no bias."""
    return {
        "weight_ih": w_ih.T,
        "weight_hh": params.w_hh.T,
        "bias_ih": b_ih,
        "bias_hh": 0 * params.b,
    }


def minimal(params):
    return {
        "weight_ih": params.w_ih.T,
        "weight_hh": params.w_hh.T,
        "weight_mm": params.w_zh.T,
        "bias_ih": params.b_z,
        "bias_hh": params.b,
    }


def star(params):
    b_k, b_z = params.b.chunk(2)
    return {
        "weight_ih": reordered(params.w_ih, (1, 0)).T,
        "weight_hh": params.w_hh.T,
        "bias_ih": reordered(params.b, (1, 0)),
        "bias_hh": 0 * b_k,
    }


def ran_run(cell):
    """The memory c alone is our state: h = tanh(c)."""
    import torch
    from torch.func import functional_call

    def run(params, xs, c):
        weights = contentless(params, reordered(params.w_ih, (2, 0, 1)), params.b)
        ys, h = [], torch.tanh(c)
        for x in xs:
            h, c = functional_call(cell, weights, (x, (h, c)))
            ys.append(h)
        return c, torch.stack(ys)

    return run


def cfn(params):
    import torch

    no_bias = torch.zeros(SIZES[1])
    return contentless(params, params.w_ih, torch.cat([params.b, no_bias]))


def flax_mgu(params, xs, h):
    from flax import linen

    cell = linen.MGUCell(SIZES[1], param_dtype=np.float64)
    (w_if, w_in), (w_hf, w_hn) = np.split(params.w_ih, 2, -1), np.split(params.w_hh, 2, -1)
    b_f, b_n = np.split(params.b, 2)
    variables = {
        "params": {
            "if": {"kernel": w_if, "bias": b_f},
            "in": {"kernel": w_in, "bias": b_n},
            "hf": {"kernel": w_hf},
            "hn": {"kernel": w_hn, "bias": params.b_hn},
        }
    }
    return jax.lax.scan(lambda h, x: cell.apply(variables, h, x), h, xs)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def ran_identity(params, xs, c):
    """Equation 1 of Lee et al. 2017 with g the identity."""
    w_ix, w_fx, w_cx = np.split(params.w_ih, 3, axis=1)
    w_ih, w_fh = np.split(params.w_hh, 2, axis=1)
    b_i, b_f = np.split(params.b, 2)
    hs, h = [], c
    for x in xs:
        content = x @ w_cx
        i = sigmoid(h @ w_ih + x @ w_ix + b_i)
        f = sigmoid(h @ w_fh + x @ w_fx + b_f)
        c = i * content + f * c
        h = c
        hs.append(h)
    return c, np.stack(hs)


def main():
    import torch
    import torchrecurrent as tr

    torch.set_default_dtype(torch.float64)

    def library(name, cell, run, *, factory=None, note="", source=None, **options):
        source = source or LIBRARY + type(cell).__name__
        about = About(factory or name, options, SIZES, source, "library", note)
        record(name, about, run, with_torch)

    cell = tr.PeepholeLSTMCell(*SIZES)

    def peepholes(params):
        return torch.cat([params.p_i, params.p_f, params.p_o])

    library("peephole_lstm", cell, pair(cell, in_order(0, 1, 2, 3, weight_ph=peepholes)))
    note = "the forget gate is 1 - i by its weights, minus those of the input gate"
    library("coupled_lstm", cell, pair(cell, coupled), note=note)

    cell = torch.nn.LSTMCell(*SIZES)
    name, source = "coupled_lstm_without_peepholes", "torch 2.13 nn.LSTMCell"
    options = {"factory": "coupled_lstm", "source": source, "note": note, "peepholes": False}
    library(name, cell, pair(cell, coupled), **options)

    note = "beta is a trained parameter there, a constant in the paper and here"
    for name, beta in {"janet": 1.0, "janet_beta": -0.4}.items():
        cell = tr.JANETCell(*SIZES, beta=beta)
        run = single(cell, in_order(0, 1), double=True)
        options = {} if beta == 1 else {"beta": beta}
        library(name, cell, run, factory="janet", note=note, **options)

    cell = tr.UGRNNCell(*SIZES)
    library("ugrnn", cell, single(cell, in_order(1, 0)))

    cell = tr.LiGRUCell(*SIZES)
    note = "neither has the paper's batch normalisation"
    library("li_gru", cell, single(cell, in_order(0, 1)), note=note)

    cell = tr.MGUCell(*SIZES)
    library("mgu", cell, single(cell, in_order(0, 1)))
    about = About("mgu", {"reset": "after"}, SIZES, "flax 0.12.8 linen.MGUCell", "library")
    note = "flax's definition is not the paper's: another product, and f keeps"
    with jax.enable_x64(True):
        record("mgu_reset_after", about._replace(note=note), flax_mgu, with_jax)

    cell = tr.MinimalRNNCell(*SIZES)
    library("minimal_rnn", cell, single(cell, minimal))

    cell = tr.RANCell(*SIZES)
    library("ran", cell, ran_run(cell))
    source = "Lee et al. 2017, equation 1 with the identity as g"
    about = About("ran", {"activation": "identity"}, SIZES, source, "transcription")
    record("ran_identity", about, ran_identity, with_numpy)

    cell = tr.CFNCell(*SIZES)
    note = "its bias of the content x W is set to zero: the paper has none"
    library("cfn", cell, single(cell, cfn), note=note)

    cell = tr.STARCell(*SIZES)
    note = "the authors' code shifts the gate of z by 1 against the paper and this source"
    library("star", cell, single(cell, star), note=note)


if __name__ == "__main__":
    main()
