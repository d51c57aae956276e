"""Mean-field theory of the long short-term memory."""

import jax
import jax.numpy as jnp

from jaxrnn.analysis.mean_field.memory_cell import (
    sech_4,
    solve_input,
    solve_memory,
    solve_system,
    tanh_square,
)
from jaxrnn.analysis.mean_field.quadrature import as_floats, mean
from jaxrnn.analysis.mean_field.result import (
    MeanField,
    gate_mean,
    gate_slope,
    positive_root,
    time_scale,
)
from jaxrnn.analysis.mean_field.roots import falling_root

__all__ = ["lstm"]


@jax.jit
def lstm(sigma_w, sigma_b=0.0, *, mu_i=0.0, mu_f=0.0, mu_o=0.0, input_variance=0.0) -> MeanField:
    """Computes the mean field of the long short-term memory in the limit of infinite width.

    The equations are those of `jaxrnn.lstm`. With Q = E h^2::

        q_k = sigma_w,k^2 Q + sigma_b,k^2 + input_variance_k,   k = i, f, g, o
        Q = E o^2 E tanh(c)^2,   c' = f c + i g in law

    The law of c is solved for exactly (it is not Gaussian). A disturbance of mean squares H of h
    and N of c, with N known where c is large and where it is small, goes over into::

        N'(k) = E cos(k w) E f^2 N(f k) + H S(k),   N(k) = E[dc^2 cos(k c)],   w = i g
        H' = E o^2 E[sech(c')^4 dc'^2] + H sigma_w,o^2 E o'^2 E tanh(c)^2

    with S the share of the gates i, f, g, through their weights. `chi` is the factor by which its
    leading form grows at a step. Recurrent weights of gate k are drawn from N(0, sigma_w,k^2 / N),
    biases from N(mu_k, sigma_b,k^2). All are taken to be drawn anew at every step, as in the
    papers. In a real network, with one matrix and one bias for all steps, a unit's gates at one
    step resemble those at the next, and chi comes out too low: with gains of 1 and no bias by less
    than 1 % for an input of variance 4, by 20 % for one of variance 1; biases that differ from unit
    to unit add more. Measure a given network with `jaxrnn.analysis.gradient_decay`.

    Args:
      sigma_w: gains of the recurrent weights, ``()`` or ``(4,)`` for i, f, g, o. Derivatives need
        gains that are not all zero.
      sigma_b: deviations of the biases, ``()`` or ``(4,)``.
      mu_i: mean bias of the input gate, ``()``.
      mu_f: mean bias of the forget gate, ``()``; large keeps the cell. Averages are good to 1e-6 or
        better for ``E c^2`` up to about 100.
      mu_o: mean bias of the output gate, ``()``.
      input_variance: variances of the input's shares ``x @ w_ih``, ``()`` or ``(4,)``.

    Returns:
      The mean field; `q` is ``(4,)`` and `second_moment` ``(2,)``, E h^2 and E c^2. `c` is None,
      for it needs the joint law of two memory cells, and so is `isometry`, for blocks of h and c
      differ in size and the variance over both together says nothing of gradients.

    Example:
      >>> field = lstm(0.0, mu_f=2.0)  # nothing but the carry: chi = sigmoid(2)^2
      >>> print(f"{field.chi:.4f} {field.second_moment.max():.4f}")
      0.7758 0.0000

    Reference:
      D. Gilboa et al., "Dynamical isometry and a mean field theory of LSTMs and GRUs", 2019,
      section 4; T. Can, K. Krishnamurthy, D. Schwab, "Gating creates slow modes and controls
      phase-space complexity in GRUs and LSTMs", 2020.
    """
    sigma_w, sigma_b, mu_i, mu_f, mu_o, power = as_floats(
        sigma_w, sigma_b, mu_i, mu_f, mu_o, input_variance
    )
    gains = jnp.broadcast_to(sigma_w**2, (4,))
    rest = jnp.broadcast_to(sigma_b**2 + power, (4,))

    def solve(q_h):
        q_i, q_f, q_g, q_o = gains * q_h + rest
        inputs = solve_input(q_i, q_g, mu_i)
        return inputs, solve_memory(inputs, q_f, mu_f), gate_mean(2, 0, q_o, mu_o)

    def update(q_h):
        _, memory, opened = solve(q_h)
        return opened * tanh_square(memory)

    q_h = positive_root(update, jnp.full_like(mu_i, 1.01), 9)
    inputs, memory, opened = solve(q_h)
    q_c = memory.second[-1]
    squares = memory.f_weights * memory.f**2
    kept = jnp.sum(squares)
    phi = 1 - memory.k**2 * memory.over_f(squares, memory.rest)
    steep = memory.f_weights * memory.f_slope**2
    source = gains[1] * memory.phi * memory.over_f(steep, memory.second)
    source += phi * (gains[0] * inputs.i_path + gains[2] * inputs.g_path)
    output = mean(lambda x: gate_slope(x) ** 2, gains[3] * q_h + rest[3], mu_o)
    direct = gains[3] * output * tanh_square(memory)

    # The leading eigenvalue of (N, H) -> (N', H'), with N eliminated; it is at least E f^2.
    def balance(growth):
        eye = jnp.eye(len(phi), dtype=phi.dtype)
        carried = solve_system(growth * eye - memory.carry, source)
        return opened * sech_4(carried) + direct / growth - 1

    through = opened * sech_4(source)
    reach = 4 * (kept + through + direct) + 1
    steps = jnp.logspace(-9 if phi.dtype == jnp.float64 else -5, 0, 10, dtype=phi.dtype)
    chi = falling_root(
        balance, kept + reach * steps, below=kept, above=jnp.full_like(kept, jnp.nan)
    )

    fourth = memory.f_weights * memory.f**4
    carried = memory.phi * (kept - memory.k**2 * memory.over_f(fourth, memory.rest))
    blocks = kept + source[-1] + opened * sech_4(carried) + through + direct
    return MeanField(
        q=gains * q_h + rest,
        second_moment=jnp.stack([q_h, q_c]),
        c=None,
        chi=chi,
        mean_square=blocks / 2,
        xi=time_scale(chi),
        isometry=None,
    )
