"""Writes zoo/conv_lstm.npz, conv_lstm_1d.npz, conv_lstm_3d.npz, conv_gru.npz and conv_gru_1d.npz.

Run it from the repository root with flax 0.12.8 and keras 3.15.1:
KERAS_BACKEND=jax PYTHONPATH=tests python tests/golden/make_conv.py

flax and Keras have no peepholes, so the first file comes from a transcription of the paper.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from golden.record import BATCH, STEPS, About, record, with_jax, with_numpy

SIZES, IMAGE, LINE, CUBE = (2, 3), (3, 2), (5,), (2, 2, 2)


def on(space):
    """Makes the function that draws inputs on a grid."""
    return lambda rng, channels: rng.normal(size=(STEPS, BATCH, *space, channels))


# ------------------------------------------------------------------------- from the papers
def sigma(a):
    """The logistic function."""
    return 1 / (1 + np.exp(-a))


def convolved(x, kernel):
    """One image, ``(*space, I)``, with an odd kernel: every position by itself, zeros around."""
    space, taps = x.shape[:-1], kernel.shape[:-2]
    out = np.zeros((*space, kernel.shape[-1]), x.dtype)
    for place in itertools.product(*map(range, space)):
        for tap in itertools.product(*map(range, taps)):
            seen = tuple(p + k - n // 2 for p, k, n in zip(place, tap, taps, strict=True))
            if all(0 <= p < n for p, n in zip(seen, space, strict=True)):
                out[place] += x[seen] @ kernel[tap]
    return out


def shi(params, xs, state):
    """Equation 3 of Shi et al., one image after the other."""
    w_xi, w_xf, w_xc, w_xo = np.split(params.w_ih, 4, axis=-1)
    w_hi, w_hf, w_hc, w_ho = np.split(params.w_hh, 4, axis=-1)
    b_i, b_f, b_c, b_o = np.split(params.b, 4)
    ys, hs, cs = np.zeros((STEPS, *state.h.shape), xs.dtype), state.h.copy(), state.c.copy()
    for t in range(STEPS):
        for n in range(BATCH):
            x, h, c = xs[t, n], hs[n].copy(), cs[n].copy()
            i = sigma(convolved(x, w_xi) + convolved(h, w_hi) + params.p_i * c + b_i)
            f = sigma(convolved(x, w_xf) + convolved(h, w_hf) + params.p_f * c + b_f)
            cs[n] = f * c + i * np.tanh(convolved(x, w_xc) + convolved(h, w_hc) + b_c)
            o = sigma(convolved(x, w_xo) + convolved(h, w_ho) + params.p_o * cs[n] + b_o)
            hs[n] = o * np.tanh(cs[n])
        ys[t] = hs
    return (hs, cs), ys


def ballas(params, xs, state):
    """The GRU-RCN of Ballas et al., with their z, which is 1 - z of ours: minus its weights."""
    w_r, w_z, w = np.split(params.w_ih, 3, axis=-1)
    u_r, u_z, u = np.split(params.w_hh, 3, axis=-1)
    b_r, b_z, b = np.split(params.b, 3)
    w_z, u_z, b_z = -w_z, -u_z, -b_z
    ys, hs = np.zeros((STEPS, *state.shape), xs.dtype), state.copy()
    for t in range(STEPS):
        for n in range(BATCH):
            x, h = xs[t, n], hs[n].copy()
            z = sigma(convolved(x, w_z) + convolved(h, u_z) + b_z)
            r = sigma(convolved(x, w_r) + convolved(h, u_r) + b_r)
            candidate = np.tanh(convolved(x, w) + convolved(r * h, u) + b)
            hs[n] = (1 - z) * h + z * candidate
        ys[t] = hs
    return hs, ys


# ------------------------------------------------------------------------- by libraries
def by_flax(params, xs, state):
    """`flax.linen.ConvLSTMCell`: gates i, g, f, o, 1 added to f, state (c, h)."""
    import flax.linen as nn

    def reordered(leaf):
        i, f, g, o = jnp.split(leaf, 4, axis=-1)
        return jnp.concatenate([i, g, f, o], axis=-1)

    one = jnp.zeros((4, SIZES[1])).at[2].set(1).ravel()
    kernels = {"ih": params.w_ih, "hh": params.w_hh}
    biases = {"ih": reordered(params.b) - one, "hh": jnp.zeros_like(one)}
    weights = {k: {"kernel": reordered(kernels[k]), "bias": biases[k]} for k in kernels}
    cell = nn.ConvLSTMCell(SIZES[1], params.w_ih.shape[:-2], param_dtype=jnp.float64)
    carry, ys = (state.c, state.h), []
    for x in xs:
        carry, y = cell.apply({"params": weights}, carry, x)
        ys.append(y)
    c, h = carry
    return (h, c), jnp.stack(ys)


def by_keras(params, xs, state):
    """`keras.layers.ConvLSTM3D`: (batch, time, ...), gates i, f, c, o, as ours."""
    import keras

    keras.config.set_dtype_policy("float64")
    layer = keras.layers.ConvLSTM3D(
        SIZES[1],
        params.w_ih.shape[:-2],
        padding="same",
        activation=jnp.tanh,  # Keras' own computes in float32
        return_sequences=True,
        return_state=True,
        unroll=True,
    )
    xs = jnp.moveaxis(xs, 0, 1)
    layer.build(xs.shape)
    weights = [params.w_ih, params.w_hh, params.b]
    rest = [variable.value for variable in layer.non_trainable_variables]
    (ys, h, c), _ = layer.stateless_call(weights, rest, xs, initial_state=[state.h, state.c])
    return (h, c), jnp.moveaxis(ys, 1, 0)


def main():
    """Writes the files."""

    def about(factory, space, source, kind, note="", **options):
        options = {"spatial_shape": space} | options
        return About(factory, options, SIZES, source, kind, note)

    paper = "Shi et al. 2015, equation 3, transcribed in NumPy"
    record(
        "conv_lstm", about("conv_lstm", IMAGE, paper, "transcription"), shi, with_numpy,
        inputs=on(IMAGE),
    )  # fmt: skip
    paper = "Ballas et al. 2016, section 3, transcribed in NumPy"
    note = "the paper's z is 1 - z, as in gru; its equations have no biases"
    for name, space, kernel in (("conv_gru", IMAGE, 3), ("conv_gru_1d", LINE, (5,))):
        record(
            name, about("conv_gru", space, paper, "transcription", note, kernel_size=kernel),
            ballas, with_numpy, inputs=on(space),
        )  # fmt: skip
    note = "no peepholes"
    with jax.enable_x64(True):
        record(
            "conv_lstm_1d",
            about("conv_lstm", LINE, "flax 0.12.8 linen.ConvLSTMCell", "library",
                  note + ", 1 is added to the forget gate's bias", peepholes=False,
                  kernel_size=(4,)),
            by_flax, with_jax, inputs=on(LINE),
        )  # fmt: skip
        record(
            "conv_lstm_3d",
            about("conv_lstm", CUBE, "keras 3.15.1 ConvLSTM3D on jax 0.10.2", "library", note,
                  peepholes=False, kernel_size=(2, 3, 1)),
            by_keras, with_jax, inputs=on(CUBE),
        )  # fmt: skip


if __name__ == "__main__":
    main()
