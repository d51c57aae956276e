"""Bounds on how fast gradients can grow, to stand beside what is measured."""

from typing import NamedTuple

import jax
import jax.extend
import jax.numpy as jnp

from jaxrnn.analysis.flow import over_batch, read_flow
from jaxrnn.analysis.norms import spectral_norm
from jaxrnn.cells.elman import elman_relu_pointwise, elman_tanh_pointwise
from jaxrnn.core.cell import Cell
from jaxrnn.core.compiled import compiled_per_cell
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array, Input, Params, State

__all__ = ["Bounds", "bounds"]


class Bounds(NamedTuple):
    """Upper bounds on ``log || d s_T / d s_{T-lag} ||`` (spectral norm), in nats.

    Attributes:
      lags: ``(T,)``, 1 to T steps.
      data_dependent: ``(T, *batch)``, the product of the norms of the steps' Jacobians.
      pascanu: ``(T,)``, with a mask ``(T, *batch)``: ``lag * log(gamma * sigma_max(w_hh))``, masked
        steps not counted. None where the theorem does not speak of the cell (it needs a state that
        enters the step through the recurrent product alone, as in `jaxrnn.elman`; gated cells have
        a second path) or gamma is not known.
    """

    lags: Array
    data_dependent: Array
    pascanu: Array | None


_SLOPES = {elman_tanh_pointwise: 1.0, elman_relu_pointwise: 1.0}


def _known_slope(cell: Cell) -> float | None:
    """Returns the largest slope of the cell's activation, where the library knows it."""
    parts = cell.parts
    return _SLOPES.get(parts.pointwise) if isinstance(parts, Gated) else None


def _only_through_product(cell: Cell, params: Params, state: State, x: Input) -> bool:
    """Says whether the state reaches the new state through the recurrent product alone."""
    parts = cell.parts
    if not isinstance(parts, Gated) or len(jax.tree.leaves(state)) != 1:
        return False

    def mixed(params, state, x):
        share = parts.hidden(state) @ parts.weights(params)
        return parts.mix(parts.project(params, x), share)

    a = jax.eval_shape(mixed, params, state, x)
    vectors = jax.eval_shape(parts.vectors, params)
    jaxpr = jax.make_jaxpr(lambda s, a, v: parts.pointwise(v, s, a)[0])(state, a, vectors).jaxpr
    used = {
        var
        for eqn in jaxpr.eqns
        for var in eqn.invars
        if not isinstance(var, jax.extend.core.Literal)
    }
    used.update(v for v in jaxpr.outvars if not isinstance(v, jax.extend.core.Literal))
    return jaxpr.invars[0] not in used


@compiled_per_cell()
def bounds(
    cell: Cell,
    params: Params,
    xs: Input,
    state: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    gamma: float | None = None,
) -> Bounds:
    """Computes upper bounds on the norms that `gradient_decay` measures.

    Both follow from the norm of a product being at most the product of the norms; the
    data-dependent one takes each step's norm where the trajectory is, Pascanu's the largest that
    any trajectory allows.

    Args:
      cell: any cell.
      params: its parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from; ``cell.initial_state`` if not given.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      gamma: largest slope of the activation, such as 1/4 for the logistic function; known for the
        tanh and the ReLU of `jaxrnn.elman` (1), and to be given for any other, with a `mix` that
        adds.

    Returns:
      The bounds.

    Raises:
      TypeError: as `jaxrnn.unroll`.
      ValueError: as `jaxrnn.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import elman
      >>> cell = elman(3, 5)  # orthogonal recurrent matrix: sigma_max = 1
      >>> result = bounds(cell, cell.init(jax.random.key(0)), jnp.ones((9, 3)))
      >>> bool(jnp.allclose(result.pascanu, 0, atol=1e-5)), result.data_dependent.shape
      (True, (9,))

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, equations 6 and 7.
    """

    def one(xs, state, mask, resets):
        flow = read_flow(cell, params, xs, state, mask, resets, by="bounds")
        eye, steps = flow.eye(), jnp.arange(len(flow.states))
        norms = jax.lax.map(lambda index: spectral_norm(flow.pull(index, eye)), steps)
        return jnp.cumsum(jnp.log(norms[::-1]))

    measured = over_batch(one, cell, params, xs, state, mask, resets, out_axes=1, by="bounds")
    lags = jnp.arange(1, measured.shape[0] + 1)
    x = jax.tree.map(lambda leaf: leaf[0], xs)
    initial = cell.initial_state(params, measured.shape[1:])
    gamma = _known_slope(cell) if gamma is None else gamma
    pascanu = None
    if gamma is not None and _only_through_product(cell, params, initial, x):
        with jax.default_matmul_precision("highest"):
            largest = spectral_norm(cell.parts.weights(params))
        # A masked step changes nothing, so only the real ones count.
        real = lags if mask is None else jnp.cumsum(jnp.asarray(mask)[::-1], axis=0)
        pascanu = real * jnp.log(gamma * largest)
    return Bounds(lags, measured, pascanu)
