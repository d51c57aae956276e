"""Derivatives of tanh and the logistic function that stay right where the functions saturate.

JAX differentiates tanh as ``1 - y**2`` and the logistic function as ``y * (1 - y)``. In float32 the
first is 1 % off at x = 6 and exactly 0 from x = 8 on (true: 4.5e-7), the second exactly 0 from
x = 17 on: just where a gradient's decay is measured. `accurate` traces a function and evaluates it
with the same values but with derivatives that keep their relative precision, so it works on any
cell, a user's own included.
"""

from collections.abc import Callable

import jax
import jax.extend

__all__ = ["accurate"]


@jax.custom_jvp
def _tanh(x):
    return jax.lax.tanh(x)


@_tanh.defjvp
def _tanh_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    slope = 4 * jax.lax.logistic(2 * x) * jax.lax.logistic(-2 * x)
    return _tanh(x), slope * dx


@jax.custom_jvp
def _logistic(x):
    return jax.lax.logistic(x)


@_logistic.defjvp
def _logistic_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _logistic(x), _logistic(x) * _logistic(-x) * dx


_RULES = {"tanh": _tanh, "logistic": _logistic}
_INLINED = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"}
_REBUILT = {"scan", "while", "cond"}
_ALIKE = "prefetched_scan"  # of `unroll`: its rule is the derivative of what it computes


def _closed(jaxpr):
    """Returns a closed jaxpr for a jaxpr of either kind."""
    if isinstance(jaxpr, jax.extend.core.ClosedJaxpr):
        return jaxpr
    return jax.extend.core.ClosedJaxpr(jaxpr, ())


def _inner(value) -> list:
    """Returns the jaxprs in one parameter of an equation."""
    values = value if isinstance(value, tuple | list) else [value]
    kinds = (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)
    return [_closed(one) for one in values if isinstance(one, kinds)]


def _is_inlined(eqn) -> bool:
    """Says whether an equation calls a function that can be evaluated in its place."""
    if eqn.primitive.name == "custom_jvp_call":
        return eqn.params["call_jaxpr"].jaxpr.debug_info.func_name == _ALIKE
    return eqn.primitive.name in _INLINED


def _saturates(jaxpr) -> bool:
    """Says whether a jaxpr holds a primitive that `accurate` replaces, at any depth it reaches."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name in _RULES:
            return True
        if (_is_inlined(eqn) or name in _REBUILT) and any(
            _saturates(inner.jaxpr) for value in eqn.params.values() for inner in _inner(value)
        ):
            return True
    return False


def _rebuild(value):
    """Rewrites the jaxprs in one parameter of a loop or branch; leaves other parameters alone."""
    if isinstance(value, tuple | list):
        return type(value)(_rebuild(one) for one in value)
    if not isinstance(value, jax.extend.core.ClosedJaxpr):
        return value
    specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in value.in_avals]
    return jax.make_jaxpr(lambda *args: _evaluate(value.jaxpr, value.consts, args))(*specs)


def _evaluate(jaxpr, consts, args):
    """Evaluates a jaxpr with the accurate functions in place of the primitives."""
    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(var):
        return var.val if isinstance(var, jax.extend.core.Literal) else env[var]

    for eqn in jaxpr.eqns:
        values = [read(var) for var in eqn.invars]
        name = eqn.primitive.name
        if name in _RULES:
            results = [_RULES[name](*values)]
        elif _is_inlined(eqn):
            (inner,) = [one for value in eqn.params.values() for one in _inner(value)]
            results = _evaluate(inner.jaxpr, inner.consts, values)
        else:
            params = eqn.params
            if name in _REBUILT:
                params = {key: _rebuild(value) for key, value in params.items()}
            results = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(params))
            results = results if eqn.primitive.multiple_results else [results]
        env.update(zip(eqn.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


def accurate(function: Callable) -> Callable:
    """Returns `function` with the same values and with accurate derivatives of tanh and logistic.

    What lies inside a function with a derivative rule of its own (`jax.custom_jvp`,
    `jax.custom_vjp`, so `fused_unroll`) keeps that rule.

    Args:
      function: any traceable function of arrays (positional arguments, pytrees).

    Returns:
      The function; relative error of both derivatives about 2e-7 in float32 until the derivative
      itself leaves the dtype's range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> slope = jax.grad(accurate(jnp.tanh))(jnp.float32(12))
      >>> f"{slope:.4e}, {jax.grad(jnp.tanh)(jnp.float32(12)):.1f}"
      '1.5101e-10, 0.0'
    """

    def evaluate(*args):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        if not _saturates(closed.jaxpr):
            return function(*args)
        results = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return evaluate
