"""Laws of one step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.structure import Gated, Linear
from jaxrnn.testing.law import as_given, in_double, require, types
from jaxrnn.testing.probe import cast, compare, inexact, merge, quick_jit
from jaxrnn.unrolls import unroll

__all__ = [
    "combine_is_associative",
    "dtypes_flow_through",
    "init_is_deterministic",
    "pointwise_keeps_units_apart",
    "step_keeps_the_state",
    "witness_is_the_step",
]


@as_given
def init_is_deterministic(probe):
    """The same key gives the same parameters and the same first state."""
    cell = probe.cell
    impure = "init or initial_state reads something besides its arguments, such as a global"
    again = quick_jit(lambda key: cell.init(key))(probe.key)  # a new function is traced anew
    compare(again, probe.params, "parameters", impure, rtol=0)
    first, again = (cell.initial_state(probe.params, probe.batch_shape) for _ in range(2))
    compare(again, first, "initial_state", impure, rtol=0)


@as_given
def step_keeps_the_state(probe):
    """A step returns a state of the structure, shapes and dtypes it was given, for any batch."""
    for batch in (probe.batch_shape, ()):
        state = jax.eval_shape(lambda p, b=batch: probe.cell.initial_state(p, b), probe.params)
        for leaf in jax.tree.leaves(state):
            require(
                leaf.shape[: len(batch)] == batch,
                f"an initial state of shape {leaf.shape} for batch_shape={batch}",
                f"{batch} in front",
                "initial_state ignores its batch_shape",
            )
        drop = len(probe.batch_shape) - len(batch)
        x = jax.tree.map(lambda leaf, n=drop: leaf[(0,) * n], probe.x(0))
        after, y = jax.eval_shape(probe.cell.step, probe.params, state, x)
        require(
            jax.tree.structure(after) == jax.tree.structure(state),
            f"a state of structure {jax.tree.structure(after)} after a step",
            str(jax.tree.structure(state)),
            "step returns its results in another order or container; it returns (state, y)",
        )
        require(
            types(after) == types(state),
            f"a state {types(after)} after a step",
            types(state),
            "a constant or a cast in the step changes the dtype, or a broadcast the shape",
        )
        for leaf in jax.tree.leaves(y):
            require(
                leaf.shape[: len(batch)] == batch,
                f"an output of shape {leaf.shape} for batch_shape={batch}",
                f"{batch} in front",
                "the step puts another axis before the batch, or sums over it",
            )


@as_given
def dtypes_flow_through(probe):
    """The cell runs in bfloat16 and in float64, and float64 stays float64."""
    cause = "a dtype is written into init, initial_state or step"
    for dtype in (jnp.bfloat16, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            try:
                out = jax.eval_shape(
                    lambda params, xs: unroll(probe.cell, params, xs),
                    *jax.eval_shape(lambda tree, d=dtype: cast(tree, d), (probe.params, probe.xs)),
                )
            except (TypeError, ValueError) as error:
                text = f"{type(error).__name__} with parameters and inputs in {dtype.__name__}: "
                require(False, text + str(error), "no error", cause)
            lost = [
                leaf
                for leaf in jax.tree.leaves(inexact(out))
                if dtype == jnp.float64 and leaf.dtype not in (jnp.float64, jnp.complex128)
            ]
            require(not lost, f"{types(lost)} from float64", "float64", cause)


@in_double
def witness_is_the_step(probe):
    """``step == recur(prepare, state, project)`` of the witness."""
    parts = probe.cell.parts

    @quick_jit
    def recur(params, state, x):
        return parts.recur(parts.prepare(params), state, parts.project(params, x))

    compare(
        recur(probe.params, probe.state, probe.x(0)),
        probe.step(probe.params, probe.state, probe.x(0)),
        "(state, y) of recur(prepare(params), state, project(params, x))",
        "step and structure are written apart; make the cell with jaxrnn.from_structure",
    )


def _reached(slope: jax.Array) -> np.ndarray:
    """Says which units of an output a number of an input reaches: ``(units, numbers)``."""
    return np.any(np.asarray(slope).reshape(-1, *slope.shape[-2:]) != 0, axis=0)


@in_double
def pointwise_keeps_units_apart(probe):
    """The pointwise part of a `Gated` cell is elementwise along the hidden axis."""
    parts = probe.cell.parts
    if not isinstance(parts, Gated):
        return

    @quick_jit
    def slopes(params, state, x):
        first = (0,) * len(probe.batch_shape)
        state, x = jax.tree.map(lambda leaf: leaf[first], (state, x))
        weights, vectors = parts.prepare(params)
        a = parts.mix(parts.project(params, x), parts.hidden(state) @ weights)
        size = jax.tree.leaves(inexact(state))[0].shape[-1]

        def outputs(floats):
            found = inexact(parts.pointwise(vectors, *merge(floats, (state, a))))
            return [leaf for leaf in jax.tree.leaves(found) if leaf.shape[-1:] == (size,)]

        return jax.jacrev(outputs)(inexact((state, a)))

    for of_state, of_a in slopes(probe.params, probe.state, probe.x(0)):
        size = jax.tree.leaves(of_state)[0].shape[-1]
        of_units = [s for s in jax.tree.leaves(of_state) if s.shape[-2:] == (size, size)]
        apart = [not np.any(_reached(slope) & ~np.eye(size, dtype=bool)) for slope in of_units]
        apart += [np.all(np.sum(_reached(s), axis=0) <= 1) for s in jax.tree.leaves(of_a)]
        require(
            all(apart),
            "a pointwise function in which one number reaches several units",
            "one that is elementwise along the hidden axis",
            "it sums, shifts or sorts along the last axis; make the cell Separable or General",
        )


@in_double
def combine_is_associative(probe):
    """A `Linear` cell's maps compose: in any grouping, and as applying one after the other."""
    parts = probe.cell.parts
    if not isinstance(parts, Linear):
        return

    @quick_jit
    def both_ways(params, state, xs):
        a, b, c = (parts.coefficients(params, x) for x in xs)
        combine, apply = parts.combine, parts.apply
        maps = combine(combine(a, b), c), combine(a, combine(b, c))
        return maps, (apply(combine(a, b), state), apply(b, apply(a, state)))

    xs = [probe.x(t) for t in range(3)]
    maps, states = both_ways(probe.params, probe.state, xs)
    cause = "combine takes its arguments in the other order: the first map is applied first"
    compare(
        *maps,
        "combine(combine(a, b), c)",
        "combine is not associative; " + cause,
    )
    compare(
        *states,
        "apply(combine(a, b), h)",
        cause,
    )
