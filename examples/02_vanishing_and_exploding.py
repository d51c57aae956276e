"""Vanishing and exploding: sweep the gain of a recurrent matrix through 1.

The recurrent matrix is `gain` times an orthogonal one. Expect three things. Gradients of a linear
network grow by exactly log(gain) nats per step. Those of a tanh network on a small input do the
same below gain 1; above it the state grows until tanh saturates, and the rate stays well below
log(gain). And clipping leaves a short gradient alone and cuts a long one to the threshold.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import analysis, train

STEPS, INPUT, HIDDEN, CLIP_NORM = 100, 4, 32, 1.0


def sweep(cell, params, gains, xs):
    """Returns, by gain: decay rate, norm of a loss's gradient, and length of a clipped update."""
    optimizer = optax.sgd(1.0)  # at learning rate 1 the update is the clipped gradient
    step = train.make_step(
        lambda p, xs: jnp.mean(jaxrnn.unroll(cell, p, xs)[0]), optimizer, clip_norm=CLIP_NORM
    )

    def one(gain):
        scaled = params._replace(w_hh=gain * params.w_hh)
        rate = analysis.gradient_decay(cell, scaled, xs).rate
        state, metrics = step(train.init(scaled, optimizer), xs)
        update = jax.tree.map(jnp.subtract, state.params, scaled)
        return rate, metrics.grad_norm, jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in update))

    return [np.asarray(column) for column in jax.jit(jax.vmap(one))(gains)]


def main(points=13, out=None):
    gains = np.exp(np.linspace(-0.3, 0.3, points))
    linear = jaxrnn.elman(INPUT, HIDDEN, activation=lambda a: a)
    tanh = jaxrnn.elman(INPUT, HIDDEN)  # w_hh is orthogonal by default
    params = tanh.init(jax.random.key(0))
    xs = 1e-3 * jax.random.normal(jax.random.key(1), (STEPS, INPUT))
    linear_rate, before, after = sweep(linear, params, gains, xs)
    tanh_rate, _, _ = sweep(tanh, params, gains, xs)
    print("  gain  log(gain)   linear     tanh   linear: gradient norm   after clipping")
    for row in zip(gains, np.log(gains), linear_rate, tanh_rate, before, after, strict=True):
        print("{:6.3f} {:10.4f} {:8.4f} {:8.4f} {:23.3g} {:16.3g}".format(*row))
    if out is not None:
        draw(gains, linear_rate, tanh_rate, before, after, out)
    return gains, linear_rate, tanh_rate, before, after


def draw(gains, linear_rate, tanh_rate, before, after, out):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(gains, np.log(gains), color="black", label="log(gain)")
    left.plot(gains, linear_rate, "o", color="#0072B2", ms=10, mfc="none", label="linear network")
    left.plot(gains, tanh_rate, "s", color="#D55E00", ms=5, label="tanh network")
    left.set(title=f"growth over {STEPS} steps", ylabel="gradient growth (nats per step)")
    right.semilogy(gains, before, "o-", color="#0072B2", ms=10, mfc="none", label="before clipping")
    right.semilogy(gains, after, "^-", color="#CC79A7", label=f"after clipping to {CLIP_NORM:g}")
    right.set(title="what an optimiser gets, linear network", ylabel="parameter gradient norm")
    for axes in (left, right):
        axes.axvline(1, color="grey", linestyle=":")
        axes.set_xlabel("gain of the recurrent matrix")
        axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "vanishing_and_exploding.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="folder for the picture")
    main(out=parser.parse_args().out)
