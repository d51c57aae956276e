"""Spectra: exact singular values of a long product, Lyapunov exponents, and theory.

A random tanh network with gain g > 1 is chaotic. Expect the largest Lyapunov exponent near the
mean-field value 1/2 log(g^2 E[tanh'^2]), and the Jacobian of T steps to have singular values that
differ from the usual estimate (T times the exponents of one forward QR sweep) by nats, at any T:
statements about a gradient over T steps that rest on it are off by a factor of up to ten.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import analysis


def random_network(size, gain, key):
    """Returns an Elman cell and parameters with h' = tanh(h W), W normal of variance gain^2 / N."""
    cell = jaxrnn.elman(1, size)
    params = cell.init(key)
    w_hh = gain * jax.random.normal(key, (size, size)) / size**0.5
    return cell, params._replace(w_hh=w_hh, w_ih=jnp.zeros((1, size)))


def main(size=100, gain=2.0, steps=3000, k=10, out=None):
    cell, params = random_network(size, gain, jax.random.key(0))
    state = 0.1 * jax.random.normal(jax.random.key(1), (size,))
    silence = jnp.zeros((steps, 1))
    spectrum = analysis.lyapunov_spectrum(cell, params, silence, state, k=k, warmup=steps // 6)
    theory = analysis.mean_field.lyapunov_exponents(gain).largest
    print(f"gain {gain}: largest exponent {spectrum.exponents[0]:.4f} +- {spectrum.stderr[0]:.4f}")
    print(f"mean field, infinite network: {theory:.4f} nats per step")

    # All lengths at once: a masked step is the identity, so each sequence ends where its mask does.
    lengths = np.unique(np.geomspace(10, steps // 6, 6).astype(int))
    xs, states = jnp.zeros((lengths[-1], len(lengths), 1)), jnp.tile(state, (len(lengths), 1))
    mask = jaxrnn.length_mask(lengths, lengths[-1])
    product = analysis.singular_spectrum(cell, params, xs, states, mask=mask, k=k)
    forward = analysis.lyapunov_spectrum(cell, params, xs[:, 0], state, k=k, qr_every=1)
    exact = np.asarray(product.log_singular_values)
    swept = np.asarray(lengths[:, None] * forward.history[lengths - 1])
    print("steps   log s_1 exact   one QR sweep   bias in nats")
    for length, one, other in zip(lengths, exact[:, 0], swept[:, 0], strict=True):
        print(f"{length:5d} {one:15.4f} {other:14.4f} {other - one:14.2f}")
    print(f"largest error bound: {np.max(product.error_bound):.1e} nats")
    if out is not None:
        draw(spectrum, float(theory), lengths, exact, swept, out)
    return spectrum, float(theory), exact, swept


def draw(spectrum, theory, lengths, exact, swept, out):
    from jaxrnn.plots import new_axes, plot_qr_bias, plot_spectrum

    figure, (left, right) = new_axes(2)
    plot_spectrum(spectrum.exponents, spectrum.stderr, axes=left)
    left.axhline(theory, color="black", linestyle=":", linewidth=1.2, label="mean field, largest")
    left.legend(frameon=False)
    plot_qr_bias(lengths, exact, swept, axes=right)
    directory = pathlib.Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / "spectra.png", dpi=150)
    print(f"wrote {directory / 'spectra.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gain", type=float, default=2.0, help="standard deviation times sqrt(N)")
    parser.add_argument("--out", help="directory for the picture; none is drawn if not given")
    options = parser.parse_args()
    main(gain=options.gain, out=options.out)
