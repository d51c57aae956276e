"""Products of Jacobians: step by step, and in logarithmic depth over time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.analysis.flow import Flow
from jaxrnn.analysis.frames import householder_qr
from jaxrnn.analysis.graded import DEAD
from jaxrnn.analysis.scaled import Scaled, rescale, scaled
from jaxrnn.core.types import Array

__all__ = ["product_tree", "scanned_product", "step_matrices", "tree_product", "udt_product"]

_CAP = 40
# A tree of this many elements or fewer is a loop: each level of a tree is compiled anew.
_SERIAL = 16


def step_matrices(flow: Flow, start: int, length: int) -> Array:
    """Returns the Jacobians of `length` steps, ``(length, D, D)``, the earliest first."""
    eye = flow.eye()
    return jax.vmap(lambda index: flow.pull(index, eye))(jnp.arange(start, start + length))


def tree_product(combine: Callable[[Any, Any], Any], elements: Any) -> Any:
    """Combines elements along axis 0 in a tree of logarithmic depth, down to a few.

    Args:
      combine: ``(earlier, later) -> element``, associative, on elements with a leading axis.
      elements: tree of arrays ``(length, ...)``, length at least 1.

    Returns:
      The one element left, without the axis.
    """
    count = len(jax.tree.leaves(elements)[0])
    while count > _SERIAL:
        even = count - count % 2
        earlier, later, rest = (
            jax.tree.map(lambda leaf, part=part: leaf[part], elements)
            for part in (slice(0, even, 2), slice(1, even, 2), slice(even, None))
        )
        joined = combine(earlier, later)
        elements = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), joined, rest)
        count = even // 2 + count % 2

    def one_more(product, element):
        grown = combine(*(jax.tree.map(lambda leaf: leaf[None], one) for one in (product, element)))
        return jax.tree.map(lambda leaf: leaf[0], grown), None

    first, rest = (
        jax.tree.map(lambda leaf, part=part: leaf[part], elements) for part in (0, slice(1, None))
    )
    return jax.lax.scan(one_more, first, rest)[0]


def scanned_product(flow: Flow, start: int, length: int) -> Scaled:
    """Returns the product of `length` steps as a `Scaled` matrix, one step after the other."""

    def back(product, index):
        return rescale(flow.pull(index, product.values), product.exponent), None

    indices = jnp.arange(start, start + length)
    return jax.lax.scan(back, scaled(flow.eye()), indices, reverse=True)[0]


def product_tree(flow: Flow, start: int, length: int) -> Scaled:
    """Returns the product of `length` steps as a `Scaled` matrix, by pairwise products."""

    def combine(earlier: Scaled, later: Scaled) -> Scaled:
        values = later.values @ earlier.values
        return jax.vmap(rescale)(values, earlier.exponent + later.exponent)

    matrices = step_matrices(flow, start, length)
    exponents = jnp.zeros(length, jnp.int32)
    return tree_product(combine, jax.vmap(rescale)(matrices, exponents))


def _triple(values: Array, row_logs: Array, column_logs: Array) -> tuple[Array, ...]:
    """Factors ``diag(exp(row_logs)) @ values @ diag(exp(column_logs))`` as U exp(d) T.

    The columns are sorted by size, so that no pivoting is needed; their logs never leave logs.
    """
    top = jnp.max(row_logs)
    values = jnp.exp(row_logs - top)[:, None] * values
    norms = jnp.linalg.norm(values, axis=0)
    sizes = jnp.where(norms == 0, DEAD, jnp.log(jnp.where(norms == 0, 1, norms))) + column_logs
    order = jnp.argsort(-sizes)
    logs = column_logs[order]
    u, factor = householder_qr(values[:, order])
    diagonal = jnp.diagonal(factor)
    dead = (diagonal == 0) | (logs <= DEAD / 2)
    safe = jnp.where(dead, 1, diagonal)
    ratio = jnp.where(dead[:, None] | dead, 0, factor / safe[:, None])
    zero = ratio == 0
    gap = jnp.where(zero, 0, logs - logs[:, None] + jnp.log(jnp.where(zero, 1, jnp.abs(ratio))))
    # The cap is never reached but where the dtype's range has ended.
    rows = jnp.where(zero, 0, jnp.sign(ratio) * jnp.exp(jnp.minimum(gap, _CAP)))
    d = jnp.where(dead, DEAD, jnp.log(safe) + logs + top)
    loss = jnp.where(dead, 0, norms[order] / safe)
    return u, d, rows, order, loss


def udt_product(flow: Flow, start: int, length: int) -> tuple[Array, Array, Array, Array]:
    """Returns the product of `length` steps as ``U diag(exp(d)) T``, U orthogonal.

    Args:
      flow: the linearised sequence.
      start: the first step.
      length: number of steps, at least 1.

    Returns:
      ``(U, d, T, loss)``: ``(D, D)``, ``(D,)`` in nats (``-1e30`` for zeros), ``(D, D)``, and
      ``(D,)``, by how much rounding errors are magnified in all.

    Reference:
      E. Loh et al., "Stable matrix-multiplication algorithms for low-temperature numerical
      simulations of fermions", 1989; Z. Bai, C. Lee, R. Li, S. Xu, "Stable solutions of linear
      systems involving long chain of matrix multiplications", 2011 (sorting in place of pivoting).
    """
    zeros = jnp.zeros_like(flow.states[0])

    def first(matrix):
        u, d, rows, order, loss = _triple(matrix, zeros, zeros)
        return u, d, rows[:, jnp.argsort(order)], loss

    def join(earlier, later):
        (u_a, d_a, t_a, loss_a), (u_b, d_b, t_b, loss_b) = earlier, later
        u, d, rows, order, _ = _triple(t_b @ u_a, d_b, d_a)
        # Graded rows are safe in a sorted factorisation, but where the leading directions of the
        # two parts are nearly orthogonal their product is smaller than its factors, and less exact.
        size = d_b + d_a[order] + jnp.log(jnp.linalg.norm(t_b, axis=1))
        lost = (d <= DEAD / 2) | (size <= DEAD / 2)
        loss = jnp.where(lost, 0, jnp.exp(jnp.clip(size - d, -_CAP, _CAP)))
        return u_b @ u, d, rows @ t_a[order], loss_a[order] + loss_b + loss

    matrices = step_matrices(flow, start, length)
    return tree_product(jax.vmap(join), jax.vmap(first)(matrices))
