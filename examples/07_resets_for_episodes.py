"""Resets for episodes: many episodes in one sequence, and no memory from one to the next.

Episodes of different lengths are packed end to end into one sequence, without padding; `resets` is
True at the first step of each. Expect the packed outputs to equal those of the separate episodes,
and the Jacobian of the state across a border to be exactly zero, where without resets it is not: so
no gradient leaks from an episode into the one before.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import analysis


def pack(episodes):
    """Returns the episodes end to end, (T, features), and where each begins, bool (T,)."""
    resets = [np.arange(len(one)) == 0 for one in episodes]
    return np.concatenate(episodes), np.concatenate(resets)


def main(lengths=(6, 9, 4)):
    generator = np.random.default_rng(0)
    episodes = [generator.normal(size=(n, 3)).astype(np.float32) for n in lengths]
    xs, resets = pack(episodes)
    cell = jaxrnn.gru(3, 8)
    params = cell.init(jax.random.key(0))

    _, packed = jaxrnn.unroll(cell, params, xs, resets=resets)
    separate = [jaxrnn.unroll(cell, params, one)[1] for one in episodes]
    error = float(jnp.max(jnp.abs(packed - jnp.concatenate(separate))))
    print(f"{len(episodes)} episodes in {len(xs)} steps, resets at {np.flatnonzero(resets)}")
    print(f"packed against separate outputs: they differ by at most {error:.1e}")

    border = lengths[0]  # the second episode begins at this step
    norms = {}
    for name, flags in {"with resets": resets, "without": None}.items():
        jacobian = analysis.jacobian_product(
            cell, params, xs, resets=flags, start=border - 1, stop=border + 1
        )
        size = jnp.linalg.norm(jacobian.matrix) * jnp.exp(jacobian.log_scale)
        norms[name] = float(size)
        print(f"|| d s_{border + 1} / d s_{border - 1} || across the border, {name}: {size:.3g}")

    def loss_of_last_episode(xs):
        _, ys = jaxrnn.unroll(cell, params, xs, resets=resets)
        return jnp.sum(ys[-lengths[-1] :] ** 2)

    grads = jnp.abs(jax.grad(loss_of_last_episode)(xs)).sum(axis=-1)
    before, within = float(grads[: -lengths[-1]].max()), float(grads[-lengths[-1] :].min())
    print("size of the gradient of the last episode's loss with respect to the inputs:")
    print(f"at most {before:.3g} in earlier episodes, at least {within:.3g} in its own")
    return {"error": error, "norms": norms, "before": before, "within": within}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    main()
