"""The stationary law of the LSTM's memory cell, ``c' = f c + w``, by its Fourier transform.

The law is not Gaussian, but its transform obeys ``phi(k) = E cos(k w) E phi(f k)``: a linear
equation, here solved by collocation. Since the transforms of sech^2 and sech^4 fall off
exponentially, only k up to 24 matters. All functions are even, held at Chebyshev points of x in
[0, 1] with ``k = 24 sinh(6 x) / sinh(6)``, which crowd at 0 where a long memory needs them.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.analysis.mean_field.quadrature import deviation, nodes
from jaxrnn.analysis.mean_field.result import gate_slope
from jaxrnn.core.types import Array

__all__ = [
    "Input",
    "MemoryCell",
    "sech_4",
    "solve_input",
    "solve_memory",
    "solve_system",
    "tanh_square",
]

_DEGREE = 64
_REACH = 24.0
_STRETCH = 6.0
_ANGLES = np.arange(_DEGREE + 1) * np.pi / (2 * _DEGREE)
_X = np.cos(_ANGLES)
_K = _REACH * np.sinh(_STRETCH * _X) / np.sinh(_STRETCH)
# From values at the points to coefficients of even Chebyshev polynomials, and to integrals over k.
_ORDERS = np.arange(_DEGREE + 1)
_TO_COEFFICIENTS = np.linalg.inv(np.cos(2 * np.outer(_ANGLES, _ORDERS)))
_SPEED = _REACH * _STRETCH * np.cosh(_STRETCH * _X) / np.sinh(_STRETCH)
_WEIGHTS = (1 / (1 - 4 * _ORDERS**2.0)) @ _TO_COEFFICIENTS * _SPEED
_SAFE = np.where(_K > 1e-9, _K, 1)
_OVER_SINH = np.where(_K > 1e-9, _SAFE / np.sinh(np.pi * _SAFE / 2), 2 / np.pi)
# E sech(c)^2 = SECH_2 . phi, E sech(c)^4 = SECH_4 . phi
_SECH_2 = _WEIGHTS * _OVER_SINH
_SECH_4 = _SECH_2 * (_K**2 + 4) / 6


class Input(NamedTuple):
    """Averages over what a step adds, ``w = i g``, at every k: each ``(n,)``.

    Attributes:
      phi: E cos(k w).
      rest: E (1 - cos(k w)) / k^2.
      first: E w sin(k w) / k.
      second: E w^2 cos(k w).
      i_path: E g^2 i'^2 cos(k w).
      g_path: E i^2 g'^2 cos(k w).
    """

    phi: Array
    rest: Array
    first: Array
    second: Array
    i_path: Array
    g_path: Array


class MemoryCell(NamedTuple):
    """The law of c, and the operator that carries ``E d^2 cos(k c)`` on if ``d' = f d``.

    Attributes:
      k: ``(n,)``.
      phi: E cos(k w), ``(n,)``.
      carry: ``(n, n)``, ``N -> E cos(k w) E f^2 N(f k)``.
      rest: E (1 - cos(k c)) / k^2, ``(n,)``.
      second: E c^2 cos(k c), ``(n,)``.
      over_f: ``(weights, values) -> (n,)``, the sum over the nodes of f of weights and values(f k).
      f: nodes, ``(m,)``.
      f_slope: f' there.
      f_weights: they sum to 1.
    """

    k: Array
    phi: Array
    carry: Array
    rest: Array
    second: Array
    over_f: object
    f: Array
    f_slope: Array
    f_weights: Array


@jax.custom_batching.sequential_vmap
def _solve(matrix: Array, right: Array) -> Array:
    return jnp.linalg.solve(matrix, right)


def solve_system(matrix: Array, right: Array) -> Array:
    """Solves ``matrix x = right`` for a vector; a batch is solved one after the other.

    XLA on CPU hands the systems of a batch to its pool of threads and blocks a thread of the pool
    until they are solved: as many batches at a time as there are threads wait for ever (seen on
    jaxlib 0.10.2 with two cores).
    """
    return jax.lax.custom_linear_solve(
        lambda x: jnp.matmul(matrix, x, precision="highest"),
        right,
        lambda _, b: _solve(matrix, b),
        lambda _, b: _solve(matrix.T, b),
    )


def _sinc(x: Array) -> Array:
    return jnp.sinc(x / np.pi)


def solve_input(q_i: Array, q_g: Array, mu_i: Array) -> Input:
    """Averages over ``w = sigmoid(a) tanh(b)`` for Gaussian a and b; b has no mean."""
    z, weights = nodes(q_i.dtype, 64, 9.0)
    y, y_weights = nodes(q_i.dtype, 128, 9.0)
    y, y_weights = y[64:], 2 * y_weights[64:]  # everything is even in b
    a, b = (mu_i + deviation(q_i) * z)[:, None], deviation(q_g) * y
    i, g = jax.nn.sigmoid(a), jnp.tanh(b)
    w = i * g
    g_slope = 4 * gate_slope(2 * b)
    weights = weights[:, None] * y_weights

    def at(k):
        cos = jnp.cos(k * w)
        parts = (
            cos,
            w**2 * _sinc(k * w / 2) ** 2 / 2,
            w**2 * _sinc(k * w),
            w**2 * cos,
            g**2 * gate_slope(a) ** 2 * cos,
            i**2 * g_slope**2 * cos,
        )
        return jnp.stack([jnp.sum(weights * part) for part in parts])

    return Input(*jax.vmap(at, out_axes=1)(jnp.asarray(_K, q_i.dtype)))


def solve_memory(inputs: Input, q_f: Array, mu_f: Array) -> MemoryCell:
    """Solves for the law of ``c' = f c + w`` with ``f = sigmoid(a)``, a Gaussian."""
    dtype = q_f.dtype
    k, to_coefficients = jnp.asarray(_K, dtype), jnp.asarray(_TO_COEFFICIENTS, dtype)
    z, f_weights = nodes(dtype, 80, 9.0)
    a = mu_f + deviation(q_f) * z
    f, f_slope = jax.nn.sigmoid(a), gate_slope(a)
    x = jnp.arcsinh(k[:, None] * f * (math.sinh(_STRETCH) / _REACH)) / _STRETCH
    argument = 2 * x**2 - 1

    def next_order(carry, _):
        before, now = carry
        return (now, 2 * argument * now - before), before

    start = (jnp.ones_like(argument), argument)
    _, basis = jax.lax.scan(next_order, start, length=_DEGREE + 1)  # T_l(2 x^2 - 1) = T_2l(x)

    def operator(weights):
        by_order = jnp.sum(basis * weights, axis=-1)  # (orders, n)
        return jnp.matmul(by_order.T, to_coefficients, precision="highest")

    def over_f(weights, values):
        return jnp.matmul(operator(weights), values, precision="highest")

    squares = f_weights * f**2
    carry = inputs.phi[:, None] * operator(squares)
    system = jnp.eye(len(k), dtype=dtype) - carry
    rest = solve_system(system, inputs.rest)
    phi = 1 - k**2 * over_f(squares, rest)  # E cos(k f c)
    first = solve_system(system, phi * inputs.first)  # E c sin(k c) / k
    both = 2 * k**2 * over_f(squares, first) * inputs.first
    second = solve_system(system, phi * inputs.second - both)
    return MemoryCell(k, inputs.phi, carry, rest, second, over_f, f, f_slope, f_weights)


def tanh_square(memory: MemoryCell) -> Array:
    """Returns ``E tanh(c)^2``, a scalar."""
    return jnp.sum(jnp.asarray(_SECH_2, memory.k.dtype) * memory.k**2 * memory.rest)


def sech_4(values: Array) -> Array:
    """Returns ``E sech(c)^4 d^2`` from ``E d^2 cos(k c)`` at every k, ``(n,)``, a scalar."""
    return jnp.sum(jnp.asarray(_SECH_4, values.dtype) * values)
