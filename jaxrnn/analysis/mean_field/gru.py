"""Mean-field theory of the gated recurrent unit."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.analysis.accurate import accurate
from jaxrnn.analysis.mean_field.quadrature import (
    as_floats,
    deviation,
    mean,
    nodes,
    pair_mean,
    ratio,
    slope,
)
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
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Array

__all__ = ["gru"]

_RESETS = ("after", "before")
_tanh_slope = slope(accurate(jnp.tanh))


class _Candidate(NamedTuple):
    """Nodes of an average over what the candidate ``n = tanh(s)`` depends on.

    Attributes:
      weights: they sum to 1.
      s: its pre-activation.
      r: the reset gate, and its derivative.
      r_slope: see r.
      share_2: mean of the second power of the recurrent share that r multiplies, given s and r.
      share_4: mean of its fourth power.
    """

    weights: Array
    s: Array
    r: Array
    r_slope: Array
    share_2: Array
    share_4: Array


def _after(recurrent: Array, rest: Array, q_r: Array, mu_r: Array) -> _Candidate:
    """Nodes for ``s = y + r v``, v of variance `recurrent` and y of variance `rest`."""
    z, weights = nodes(recurrent.dtype, 160, 8.0)
    a = (mu_r + deviation(q_r) * z)[:, None]
    r = jax.nn.sigmoid(a)
    variance = rest + r**2 * recurrent
    s = deviation(variance) * z
    # v given s is Gaussian.
    centre = ratio(r * recurrent, variance) * s
    spread = ratio(recurrent * rest, variance)
    return _Candidate(
        weights[:, None] * weights,
        s,
        r,
        gate_slope(a),
        centre**2 + spread,
        centre**4 + 6 * centre**2 * spread + 3 * spread**2,
    )


def _shared_after(candidate_2, q_r, pair_r, mu_r):
    """Returns ``E n m`` of two sequences; pairs are (recurrent, rest, shared recurrent, shared)."""
    recurrent, rest, shared_recurrent, shared_rest = candidate_2
    z, weights = nodes(recurrent.dtype, 16, 6.0)
    share = ratio(pair_r, q_r, 1.0)
    first = mu_r + deviation(q_r) * z[:, None]
    second = mu_r + deviation(q_r) * (share * z[:, None] + deviation(1 - share**2) * z)
    r_1, r_2 = (jax.nn.sigmoid(a)[..., None, None] for a in (first, second))
    variances = [rest + r**2 * recurrent for r in (r_1, r_2)]
    together = deviation(variances[0]) * deviation(variances[1])
    c = ratio(shared_rest + r_1 * r_2 * shared_recurrent, together, 1.0)
    y, y_weights = nodes(recurrent.dtype, 40, 7.0)
    n_1 = jnp.tanh(deviation(variances[0]) * y[:, None])
    n_2 = jnp.tanh(deviation(variances[1]) * (c * y[:, None] + deviation(1 - c**2) * y))
    pair = jnp.sum(y_weights[:, None] * y_weights * n_1 * n_2, axis=(-2, -1))
    return jnp.sum(weights[:, None] * weights * pair)


@functools.partial(jax.jit, static_argnames="reset")
def gru(
    sigma_w,
    sigma_b=0.0,
    *,
    mu_r=0.0,
    mu_z=0.0,
    input_variance=0.0,
    input_correlation=1.0,
    reset: str = "after",
) -> MeanField:
    """Computes the mean field of the gated recurrent unit in the limit of infinite width.

    The equations are those of `jaxrnn.gru`, ``h' = (1 - z) * n + z * h``. With Q = E h^2::

        q_k = sigma_w,k^2 Q + sigma_b,k^2 + input_variance_k,   k = r, z
        Q = E(1 - z)^2 E n^2 / (1 - E z^2)
        chi = E z^2 + sigma_w,z^2 (Q + E n^2) E z'^2 + E(1 - z)^2 X
        X = sigma_w,n^2 E[n'^2 r^2] + sigma_w,r^2 E[n'^2 r'^2 v^2]                reset="after"
        X = sigma_w,n^2 E[n'^2] (E r^2 + sigma_w,r^2 Q E r'^2)                    reset="before"

    where n = tanh(s), v = h U_n, and s is Gaussian with the variance of the candidate's input and
    bias plus ``r^2 sigma_w,n^2 Q`` (after, for each r) or ``E r^2 sigma_w,n^2 Q`` (before).
    Recurrent weights of gate k are drawn from N(0, sigma_w,k^2 / N), biases from
    N(mu_k, sigma_b,k^2). All are taken to be drawn anew at every step, as in the papers. In a real
    network, with one matrix and one bias for all steps, a unit's gates at one step resemble those
    at the next: some units keep their state, and gradients live longest there, so chi comes out too
    low. With gains of 1 and no bias, an input of variance 4 leaves a difference of 2 % of chi, one
    of variance 1 of 20 %; biases that differ from unit to unit add more. Measure a given network
    with `jaxrnn.analysis.gradient_decay`.

    Args:
      sigma_w: gains of the recurrent weights, ``()`` or ``(3,)`` for r, z, n.
      sigma_b: deviations of the biases, ``()`` or ``(3,)``; the bias `b_hn` is zero.
      mu_r: mean bias of the reset gate, ``()``.
      mu_z: mean bias of the update gate, ``()``; large keeps the state.
      input_variance: variances of the input's shares ``x @ w_ih``, ``()`` or ``(3,)``.
      input_correlation: of the inputs of two sequences, from 0 to 1.
      reset: "after" or "before", as in `jaxrnn.gru`.

    Returns:
      The mean field; `q` is ``(3,)``, variances of the pre-activations of r, z and n (for "after"
      the mean over r), and `c` the correlation of the states h.

    Raises:
      ValueError: `reset` is another name.

    Example:
      >>> field = gru(1.0, input_variance=1.0)
      >>> print(f"{field.chi:.4f}", field.q.shape)
      0.3644 (3,)

    Reference:
      D. Gilboa et al., "Dynamical isometry and a mean field theory of LSTMs and GRUs", 2019,
      section 4; T. Can, K. Krishnamurthy, D. Schwab, "Gating creates slow modes and controls
      phase-space complexity in GRUs and LSTMs", 2020.
    """
    if reset not in _RESETS:
        raise unknown_name("reset", reset, _RESETS)
    after = reset == "after"
    sigma_w, sigma_b, mu_r, mu_z, power, input_correlation = as_floats(
        sigma_w, sigma_b, mu_r, mu_z, input_variance, input_correlation
    )
    gains = jnp.broadcast_to(sigma_w**2, (3,))
    biases = jnp.broadcast_to(sigma_b**2, (3,))
    power = jnp.broadcast_to(power, (3,))
    rest, shared_rest = biases + power, biases + input_correlation * power

    def candidate(q_h):
        q_r = gains[0] * q_h + rest[0]
        if after:
            return _after(gains[2] * q_h, rest[2], q_r, mu_r)
        z, weights = nodes(q_h.dtype)
        variance = gains[2] * q_h * gate_mean(2, 0, q_r, mu_r) + rest[2]
        one = jnp.ones_like(z)
        return _Candidate(weights, deviation(variance) * z, one, 0 * one, one, one)

    def update(q_h):
        weights, s = candidate(q_h)[:2]
        q_z = gains[1] * q_h + rest[1]
        kept = gate_mean(2, 0, q_z, mu_z)
        return gate_mean(0, 2, q_z, mu_z) * jnp.sum(weights * jnp.tanh(s) ** 2) / (1 - kept)

    q_h = positive_root(update, jnp.full_like(mu_r, 1.01), 24)
    q_r, q_z, _ = gains * q_h + rest
    nodes_n = candidate(q_h)
    n, n_slope = jnp.tanh(nodes_n.s), _tanh_slope(nodes_n.s)

    def over_n(values):
        return jnp.sum(nodes_n.weights * values)

    def over_r(keep, derivative):
        return mean(lambda x: jax.nn.sigmoid(x) ** keep * gate_slope(x) ** derivative, q_r, mu_r)

    def over_z(keep, close, derivative):
        def power(x):
            gate = jax.nn.sigmoid(x) ** keep * jax.nn.sigmoid(-x) ** close
            return gate * gate_slope(x) ** derivative

        return mean(power, q_z, mu_z)

    # The Jacobian is diag(z) + diag((h - n) z') U_z + diag((1 - z) n') (what n's input does).
    n_2, n_4 = over_n(n**2), over_n(n**4)
    h_4 = 6 * over_z(2, 2, 0) * q_h * n_2 + over_z(0, 4, 0) * n_4
    h_4 = h_4 / (1 - over_z(4, 0, 0))
    if after:
        shares = [nodes_n.r**2, nodes_n.r_slope**2 * nodes_n.share_2]
        squares = [shares[0] ** 2, nodes_n.r_slope**4 * nodes_n.share_4]
        inner = jnp.stack([gains[2], gains[0]])
        excess = jnp.zeros_like(q_h)
    else:
        # One path, U_n X with X = diag(r) + diag(h r') U_r.
        mixed = over_r(2, 2) * q_h
        x_1, x_2 = moments(
            jnp.stack([jnp.ones_like(q_h), gains[0]]),
            jnp.stack([over_r(2, 0), over_r(0, 2) * q_h]),
            jnp.array([[over_r(4, 0), mixed], [mixed, over_r(0, 4) * h_4]]),
        )
        shares, squares = [jnp.ones_like(n)], [jnp.ones_like(n)]
        inner = gains[2:] * x_1
        excess = (gains[2] * over_z(0, 2, 0) * over_n(n_slope**2)) ** 2 * (x_2 - x_1**2)

    size = 2 + len(shares)
    first = [over_z(2, 0, 0), over_z(0, 0, 2) * (q_h + n_2)]
    second = [[jnp.zeros_like(q_h)] * size for _ in range(size)]
    second[0][0] = over_z(4, 0, 0)
    second[0][1] = second[1][0] = over_z(2, 0, 2) * (q_h + n_2)
    second[1][1] = over_z(0, 0, 4) * (h_4 + 6 * q_h * n_2 + n_4)
    for k, share in enumerate(shares):
        path = n_slope**2 * share
        first.append(over_z(0, 2, 0) * over_n(path))
        second[0][2 + k] = second[2 + k][0] = over_z(2, 2, 0) * over_n(path)
        reach = over_z(0, 2, 2) * over_n((q_h + n**2) * path)
        second[1][2 + k] = second[2 + k][1] = reach
        second[2 + k][2 + k] = over_z(0, 4, 0) * over_n(n_slope**4 * squares[k])
    if after:
        both = over_z(0, 4, 0) * over_n(n_slope**4 * shares[0] * shares[1])
        second[2][3] = second[3][2] = both
    outer = jnp.stack([jnp.ones_like(q_h), gains[1]])
    chi, mu_2 = moments(jnp.concatenate([outer, inner]), jnp.stack(first), jnp.array(second))

    def shared(covariance):
        pair_r, pair_z, _ = gains * covariance + shared_rest
        if after:
            pairs = gains[2] * q_h, rest[2], gains[2] * covariance, shared_rest[2]
            n_pair = _shared_after(pairs, q_r, pair_r, mu_r)
        else:
            resets = gate_pair_mean(1, q_r, pair_r, mu_r)
            variance = gains[2] * q_h * over_r(2, 0) + rest[2]
            joint = gains[2] * covariance * resets + shared_rest[2]
            n_pair = pair_mean(jnp.tanh, variance, joint)
        closed = gate_pair_mean(-1, q_z, pair_z, mu_z)
        return closed * n_pair / (1 - gate_pair_mean(1, q_z, pair_z, mu_z))

    return MeanField(
        q=jnp.stack([q_r, q_z, over_n(nodes_n.s**2)]),
        second_moment=q_h,
        c=correlation(shared, q_h),
        chi=chi,
        mean_square=chi,
        xi=time_scale(chi),
        isometry=relative_variance(chi, mu_2 + excess),
    )
