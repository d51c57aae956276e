"""Mean-field theory of the minimalRNN."""

import jax
import jax.numpy as jnp

from jaxrnn.analysis.mean_field.quadrature import as_floats, mean
from jaxrnn.analysis.mean_field.result import (
    MeanField,
    correlation,
    gate_mean,
    gate_pair_mean,
    gate_slope,
    moments,
    positive_root,
    relative_variance,
    time_scale,
)

__all__ = ["minimal_rnn"]


@jax.jit
def minimal_rnn(
    sigma_w,
    sigma_v=0.0,
    *,
    sigma_b=0.0,
    mu_b=0.0,
    input_variance=1.0,
    input_correlation=1.0,
) -> MeanField:
    """Computes the mean field of the minimalRNN in the limit of infinite width.

    ::

        h' = u * h + (1 - u) * z,   u = sigmoid(h W + z V + b)
        Q = R E(1 - u)^2 / (1 - E u^2)
        q = sigma_w^2 Q + sigma_v^2 R + sigma_b^2
        chi = E u^2 + sigma_w^2 (Q + R) E sigmoid'^2

    with W from N(0, sigma_w^2 / N), V from N(0, sigma_v^2 / N), b from N(mu_b, sigma_b^2), and z,
    the embedded input, of zero mean and variance R. The term E u^2 is the gradient that the gate
    lets pass. As in the paper, weights are taken to be drawn anew at every step. Where there are
    several stable Q (a large `mu_b` and `sigma_w`), this is the one that a small state grows to.
    For `isometry` inputs are Gaussian; Gaussian matrices add
    ``(sigma_w^2 (Q + R) E sigmoid'^2 / chi)^2`` to it.

    Args:
      sigma_w: gain of the recurrent weights of the gate, ``()``.
      sigma_v: gain of its input weights, ``()``.
      sigma_b: deviation of its biases, ``()``.
      mu_b: their mean, ``()``.
      input_variance: R, ``()``.
      input_correlation: of the inputs of two sequences, from 0 to 1.

    Returns:
      The mean field; `q` is the variance of the gate's pre-activation, `second_moment` is Q, and
      `c` the correlation of the states h.

    Example:
      >>> field = minimal_rnn(6.88, 1.39, input_variance=0.46)
      >>> print(f"{field.chi:.3f} {field.q:.2f}")
      0.999 15.94

    Reference:
      M. Chen, J. Pennington, S. Schoenholz, "Dynamical isometry and a mean field theory of RNNs:
      gating enables signal propagation in recurrent neural networks", 2018, sections 3 and 4.
    """
    sigma_w, sigma_v, sigma_b, mu_b, power, input_correlation = as_floats(
        sigma_w, sigma_v, sigma_b, mu_b, input_variance, input_correlation
    )

    def variance(second_moment, power):
        return sigma_w**2 * second_moment + sigma_v**2 * power + sigma_b**2

    def step(second_moment):
        q = variance(second_moment, power)
        return power * gate_mean(0, 2, q, mu_b) / (1 - gate_mean(2, 0, q, mu_b))

    # (1 - u)^2 <= 1 - u^2, so Q <= R.
    q_h = positive_root(step, 1.01 * power)
    q = variance(q_h, power)

    def update(covariance):
        shared = variance(covariance, input_correlation * power)
        kept = gate_pair_mean(1, q, shared, mu_b)
        return input_correlation * power * gate_pair_mean(-1, q, shared, mu_b) / (1 - kept)

    def gate(carry, derivative):
        return mean(lambda x: jax.nn.sigmoid(x) ** carry * gate_slope(x) ** derivative, q, mu_b)

    # The Jacobian is diag(u) + diag((h - z) sigmoid') W; fourth moments by the same recursion as Q.
    h_4 = 6 * gate_mean(2, 2, q, mu_b) * q_h * power + 3 * gate_mean(0, 4, q, mu_b) * power**2
    h_4 = h_4 / (1 - gate(4, 0))
    reach_2, reach_4 = q_h + power, h_4 + 6 * q_h * power + 3 * power**2
    mixed = gate(2, 2) * reach_2
    chi, second = moments(
        jnp.stack([jnp.ones_like(sigma_w), sigma_w**2]),
        jnp.stack([gate(2, 0), gate(0, 2) * reach_2]),
        jnp.array([[gate(4, 0), mixed], [mixed, gate(0, 4) * reach_4]]),
    )
    return MeanField(
        q=q,
        second_moment=q_h,
        c=correlation(update, q_h),
        chi=chi,
        mean_square=chi,
        xi=time_scale(chi),
        isometry=relative_variance(chi, second),
    )
