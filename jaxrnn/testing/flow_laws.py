"""Laws of the Jacobians along a trajectory."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis import jacobian_product, jacobians, lyapunov_spectrum
from jaxrnn.testing.law import in_double, require

__all__ = ["jacobians_concatenate", "log_determinants_add_up"]


def _has_spectrum(probe) -> bool:
    """Says whether the whole state is real or complex numbers, so that it has a spectrum."""
    leaves = jax.tree.leaves(probe.state)
    return all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)


@in_double
def log_determinants_add_up(probe):
    """The Lyapunov exponents of all directions sum to the mean log determinant of the steps."""
    if not _has_spectrum(probe):
        return
    arguments = probe.cell, probe.params, probe.xs, probe.state
    exponents = np.asarray(lyapunov_spectrum(*arguments, qr_every=1).exponents)
    steps = np.asarray(jacobians(*arguments))
    signs, logs = np.linalg.slogdet(steps)
    # A singular step has no determinant to compare; rounding makes one up.
    condition = np.linalg.cond(steps)
    regular = np.all((signs != 0) & (condition < 1e12), axis=0)
    got, expected = exponents.sum(axis=-1)[regular], logs.mean(axis=0)[regular]
    size = steps.shape[-1]
    error = 1e-13 * size * np.max(condition, axis=0, initial=1)[regular] + 1e-12 * np.abs(expected)
    require(
        bool(np.all(np.abs(got - expected) <= error)),
        f"a sum of all Lyapunov exponents of {got}",
        f"{expected}, the mean of log|det A_t|",
        "a custom derivative (jax.custom_jvp, custom_vjp) has a forward and a reverse rule that "
        "disagree, or the step depends on more than its arguments",
    )


@in_double
def jacobians_concatenate(probe):
    """The Jacobian of a run is that of its second half times that of its first."""
    if not _has_spectrum(probe):
        return
    arguments, half = (probe.cell, probe.params, probe.xs, probe.state), probe.num_steps // 2

    def whole(**steps):
        product = jacobian_product(*arguments, **steps)
        return np.asarray(product.matrix) * np.exp(np.asarray(product.log_scale))[..., None, None]

    first, second, both = whole(stop=half), whole(start=half), whole()
    got = second @ first
    scale = np.max(np.abs(second), initial=0) * np.max(np.abs(first), initial=0) * got.shape[-1]
    require(
        bool(np.all(np.abs(got - both) <= 1e-12 * (scale + 1e-300))),
        f"J[half:] @ J[:half] =\n{got}",
        f"{both}, the Jacobian of all steps",
        "something besides the state passes from step to step, or the step depends on the time",
    )
