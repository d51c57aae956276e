"""Gradient flow: Jacobians, their products, and how gradients decay through time.

Everything here takes ``(cell, params, xs, state=None, ...)`` with any cell and any pytree state,
batched by leading axes, runs under `jax.jit`, returns NamedTuples, works in nats (per step), and
computes matrix products in full precision and derivatives of saturated gates accurately.
"""

from jaxrnn.analysis.accurate import accurate as accurate
from jaxrnn.analysis.bounds import Bounds as Bounds
from jaxrnn.analysis.bounds import bounds as bounds
from jaxrnn.analysis.decay import GradientDecay as GradientDecay
from jaxrnn.analysis.decay import fit_rate as fit_rate
from jaxrnn.analysis.decay import gradient_decay as gradient_decay
from jaxrnn.analysis.jacobians import JacobianProduct as JacobianProduct
from jaxrnn.analysis.jacobians import input_jacobians as input_jacobians
from jaxrnn.analysis.jacobians import jacobian_product as jacobian_product
from jaxrnn.analysis.jacobians import jacobians as jacobians
from jaxrnn.analysis.profile import LossGradientProfile as LossGradientProfile
from jaxrnn.analysis.profile import loss_gradient_profile as loss_gradient_profile

__all__ = [
    "Bounds",
    "GradientDecay",
    "JacobianProduct",
    "LossGradientProfile",
    "accurate",
    "bounds",
    "fit_rate",
    "gradient_decay",
    "input_jacobians",
    "jacobian_product",
    "jacobians",
    "loss_gradient_profile",
]
