"""Linear recurrences with block-diagonal matrices, solved for all steps at once."""

import jax.numpy as jnp

from jaxrnn.core.trees import spread
from jaxrnn.core.types import Array
from jaxrnn.unrolls.linear_scan import Action, Time

__all__ = ["from_units", "solve_backward", "solve_damped", "solve_forward", "to_units"]

_UNROLLED = 4  # up to this size a product of blocks is written out: XLA's is slow for tiny ones


def to_units(vectors: Array, n: int, k: int) -> Array:
    """Turns vectors ``(..., D)`` into the parts that n blocks of k x k meet, ``(..., n, k)``."""
    return jnp.swapaxes(vectors.reshape(*vectors.shape[:-1], k, n), -1, -2)


def from_units(parts: Array) -> Array:
    """Is the inverse of `to_units`."""
    return jnp.swapaxes(parts, -1, -2).reshape(*parts.shape[:-2], -1)


def _product(a: Array, b: Array) -> Array:
    """Multiplies blocks ``(..., k, k)``, in full precision."""
    if a.shape[-1] == 1:
        return a * b
    if a.shape[-1] <= _UNROLLED:
        return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)
    return jnp.matmul(a, b, precision="highest")


def _apply(a: Array, v: Array) -> Array:
    """Applies blocks ``(..., k, k)`` to ``(..., k)``."""
    if a.shape[-1] == 1:
        return a[..., 0] * v
    if a.shape[-1] <= _UNROLLED:
        return jnp.sum(a * v[..., None, :], axis=-1)
    return jnp.einsum("...ij,...j->...i", a, v, precision="highest")


def _transposed(a: Array) -> Array:
    return jnp.swapaxes(a, -1, -2)


def _compose(first, then):
    (a1, b1), (a2, b2) = first, then
    return _product(a2, a1), _apply(a2, b1) + b2


def _move(_, element, d):
    a, b = element
    return _apply(a, d) + b


_AFFINE = Action(_compose, _move, lambda element: element[1])  # maps d -> a d + b


def _solve(time: Time, a: Array, b: Array, *, reverse: bool = False) -> Array:
    """Solves from d = 0."""
    return time.scan(_AFFINE, None, (a, b), jnp.zeros_like(b[0]), reverse=reverse)


def _add_at(index: int, more: Array, b: Array) -> Array:
    """Adds to one step; on a mesh that splits time this moves nothing but `more`."""
    here = spread(jnp.arange(len(b)) == index % len(b), b)
    return jnp.where(here, b + more[None], b)


def solve_forward(time: Time, a: Array, b: Array, first: Array) -> Array:
    """Solves ``d_t = a_t d_{t-1} + b_t``.

    Args:
      time: how to go along time.
      a: ``(S, *batch, n, k, k)``.
      b: ``(S, *batch, D)``.
      first: ``(*batch, D)``, d before the first step.

    Returns:
      ``(S, *batch, D)``.
    """
    n, k = a.shape[-3:-1]
    b, first = to_units(b, n, k), to_units(first, n, k)
    return from_units(_solve(time, a, _add_at(0, _apply(a[0], first), b)))


def solve_backward(time: Time, a: Array, b: Array, last: Array) -> tuple[Array, Array]:
    """Solves ``l_t = a_{t+1}^T l_{t+1} + b_t``, the transpose of `solve_forward`.

    Args:
      time: how to go along time.
      a: ``(S, *batch, n, k, k)``.
      b: ``(S, *batch, D)``.
      last: ``(*batch, D)``, what comes back from the steps behind these, added to the last `b`.

    Returns:
      l, ``(S, *batch, D)``, and ``a_1^T l_1``, what goes back to the steps before these.
    """
    n, k = a.shape[-3:-1]
    back = _transposed(a)
    following = time.earlier(back, jnp.zeros_like(back[0]))
    b = to_units(_add_at(-1, last, b), n, k)
    l = _solve(time, following, b, reverse=True)  # noqa: E741
    return from_units(l), from_units(_apply(back[0], l[0]))


def _inverse(a: Array) -> Array:
    return 1 / a if a.shape[-1] == 1 else jnp.linalg.inv(a)


def _filter_combine(first, then):
    """Composes two steps of a Kalman filter (Sarkka & Garcia-Fernandez 2021, lemma 8)."""
    a1, b1, c1, eta1, j1 = first
    a2, b2, c2, eta2, j2 = then
    eye = jnp.eye(a1.shape[-1], dtype=a1.dtype)
    middle = _inverse(eye + _product(c1, j2))
    forth, back = _product(a2, middle), _transposed(_product(middle, a1))
    return (
        _product(forth, a1),
        _apply(forth, b1 + _apply(c1, eta2)) + b2,
        _product(_product(forth, c1), _transposed(a2)) + c2,
        _apply(back, eta2 - _apply(j2, b1)) + eta1,
        _product(_product(back, j2), a1) + j1,
    )


def _filter_move(_, element, state):
    mean, variance = state
    zero = jnp.zeros_like
    before = (zero(variance), mean, variance, zero(mean), zero(variance))
    _, mean, variance, _, _ = _filter_combine(before, element)
    return mean, variance


_FILTER = Action(_filter_combine, _filter_move, lambda element: element[1:3])


def solve_damped(time: Time, a: Array, r: Array, weight: Array) -> Array:
    """Minimises ``sum_t |d_t - a_t d_{t-1} - r_t|^2 + w |d_t|^2`` with d = 0 before the first step.

    The Kalman smoother of a random walk with dynamics a, inputs r and noise of variance 1, of which
    zeros are observed with precision w: a filter forwards, a linear recurrence backwards, both
    associative.

    Args:
      time: how to go along time.
      a: ``(S, *batch, n, k, k)``.
      r: ``(S, *batch, D)``.
      weight: w, ``(*batch,)``, at least 0; with 0 it is ``solve_forward``.

    Returns:
      d, ``(S, *batch, D)``.
    """
    n, k = a.shape[-3:-1]
    r = to_units(r, n, k)
    eye = jnp.broadcast_to(jnp.eye(k, dtype=a.dtype), a.shape)
    w = weight[..., None, None]
    kept = (1 / (1 + w)).astype(a.dtype)
    heard = (w / (1 + w)).astype(a.dtype)
    inner = spread(jnp.arange(len(a)) > 0, a)
    a = jnp.where(inner, a, 0)  # nothing comes before the first step
    back = heard[..., None] * _transposed(a)
    elements = (
        kept[..., None] * a,
        kept * r,
        kept[..., None] * eye,
        -_apply(back, r),
        _product(back, a),
    )
    # The first step forgets what came before it, so it may begin with zeros.
    mean, variance = time.scan(
        _FILTER, None, elements, (jnp.zeros_like(r[0]), jnp.zeros_like(a[0]))
    )
    # The smoother: d_t = mean_t + gain_t (d_{t+1} - a_{t+1} mean_t - r_{t+1}). Behind the last step
    # zeros make the gain zero and the offset the mean.
    following = time.earlier(a, jnp.zeros_like(a[0]))
    spread_on = _product(variance, _transposed(following))
    gain = _product(spread_on, _inverse(_product(following, spread_on) + eye))
    offset = mean - _apply(gain, _apply(following, mean) + time.earlier(r, jnp.zeros_like(r[0])))
    return from_units(_solve(time, gain, offset, reverse=True))
