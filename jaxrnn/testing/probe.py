"""A cell with all that the laws run it on, and the comparison of trees."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.trees import batch_shape_of
from jaxrnn.core.types import Array, Input, Key, Params, State, UnrollFn
from jaxrnn.unrolls import unroll

__all__ = [
    "Flags",
    "Probe",
    "cast",
    "compare",
    "inexact",
    "inner",
    "make_flags",
    "make_probe",
    "merge",
    "plain",
    "quick_jit",
    "weights",
]

MIN_STEPS = 4


def quick_jit(function: Callable[..., Any], **options) -> Callable[..., Any]:
    """Jits what runs once or twice, so that compiling it is nearly all of the time."""
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=quick, **options)


class Flags(NamedTuple):
    """The keyword arguments of an unroll: ``run(cell, params, xs, state, **flags._asdict())``.

    Attributes:
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
    """

    mask: Array | None = None
    resets: Array | None = None


PLAIN = Flags()


class Probe(NamedTuple):
    """A cell with parameters and inputs to try it on, made by `make_probe`.

    Attributes:
      cell: the cell.
      params: its parameters.
      xs: inputs of two sequences or more.
      state: a state that the cell comes by: the one after the inputs in reverse order.
      key: for random directions.
      step: the step, jitted.
      run: ``(run, params, xs, state, flags) -> (state, ys)``, jitted.
      pull: ``(run, params, xs, state, flags) -> ((state, ys), gradients)``, jitted; the gradients
        are those of a fixed weighted sum of all outputs and the last state, a dict of trees.
      unrolls: unrolls that should agree with `jaxrnn.unroll`, beside the library's own.
    """

    cell: Cell
    params: Params
    xs: Input
    state: State
    key: Key
    step: Callable[..., Any]
    run: Callable[..., Any]
    pull: Callable[..., Any]
    unrolls: Mapping[str, UnrollFn]

    @property
    def num_steps(self) -> int:
        """T."""
        return jax.tree.leaves(self.xs)[0].shape[0]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The batch axes."""
        return batch_shape_of(self.x(0), self.cell.input_ndim)

    def x(self, t: int) -> Input:
        """The input of step t, in NumPy arrays: cut by JAX every shape would be compiled."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[t], self.xs)

    def double(self) -> "Probe":
        """This probe in double precision; call it under ``jax.enable_x64(True)``."""
        params, xs = cast((self.params, self.xs), jnp.float64)
        probe = self._replace(params=params, xs=xs)
        return probe._replace(state=_reachable(probe))


def make_probe(
    cell: Cell,
    xs: Input,
    *,
    key: Key | None = None,
    unrolls: Mapping[str, UnrollFn] | None = None,
) -> Probe:
    """Makes what the laws take.

    Args:
      cell: any cell.
      xs: ``(T, *batch, features)``, at least 4 steps; a single sequence is doubled by its reversal.
      key: of the parameters; ``jax.random.key(0)`` if not given.
      unrolls: unrolls that should agree with `jaxrnn.unroll`, by name.

    Returns:
      The probe.

    Raises:
      TypeError: `cell` is not a `Cell`.
      ValueError: `xs` has fewer than 4 steps.

    Example:
      >>> from jaxrnn.cells import elman
      >>> from jaxrnn.testing.laws import LAWS
      >>> probe = make_probe(elman(2, 3), jnp.ones((4, 2)))
      >>> LAWS["witness_is_the_step"](probe)
    """
    check_cell_type(cell, by="check_cell")
    xs = jax.tree.map(jnp.asarray, xs)
    lengths = [leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(xs)]
    if not lengths or min(lengths) < MIN_STEPS:
        msg = (
            f"check_cell: got xs of {min(lengths, default=0)} steps; expected {MIN_STEPS} or "
            "more, time-major (T, *batch, features); the laws cut the sequence into parts"
        )
        raise ValueError(msg)
    if np.prod(batch_shape_of(jax.tree.map(lambda leaf: leaf[0], xs), cell.input_ndim)) < 2:
        xs = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.flip(leaf, 0)], axis=1), xs)
    key = jax.random.key(0) if key is None else key

    def run(run, params, xs, state, flags=PLAIN):
        return run(cell, params, xs, state, **flags._asdict())

    def pull(run, params, xs, state, flags=PLAIN):
        primals = {"params": params, "xs": xs, "state": state}

        def outputs(floats):
            out = run(cell, **merge(floats, primals), **flags._asdict())
            return inexact(out), out

        floats, back, out = jax.vjp(outputs, inexact(primals), has_aux=True)
        return out, back(weights(floats))[0]

    return Probe(
        cell=cell,
        params=quick_jit(cell.init)(key),
        xs=xs,
        state=None,
        key=key,
        step=quick_jit(cell.step),
        run=quick_jit(run, static_argnums=0),
        pull=quick_jit(pull, static_argnums=0),
        unrolls={} if unrolls is None else unrolls,
    )


def _reachable(probe: Probe) -> State:
    back = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), probe.xs)
    return probe.run(unroll, probe.params, back, None)[0]


def make_flags(probe: Probe, kind: str) -> Flags:
    """Returns irregular flags: "plain" has none, "mask", "resets" and "both" what they say.

    Steps are masked here and there, and one is reset and masked at the same time. The last sequence
    has one reset, early, so that gradients do cross the boundaries of blocks and windows.
    """
    random = np.random.default_rng(1)
    shape = (probe.num_steps, *probe.batch_shape)
    mask, resets = random.random(shape) < 0.7, random.random(shape) < 0.3
    last = (slice(None), *(-1 for _ in probe.batch_shape))
    mask[last], resets[last] = True, False
    mask[last][-2], resets[last][1] = False, True
    middle = (probe.num_steps // 2, *(0 for _ in probe.batch_shape))
    mask[middle], resets[middle] = False, True
    return Flags(
        mask=jnp.asarray(mask) if kind in ("mask", "both") else None,
        resets=jnp.asarray(resets) if kind in ("resets", "both") else None,
    )


def _is_inexact(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def cast(tree, dtype):
    """Casts real and complex leaves to the precision of the real `dtype`."""

    def one(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            return leaf.astype(jnp.result_type(dtype, jnp.complex64))
        return leaf.astype(dtype) if _is_inexact(leaf) else leaf

    return jax.tree.map(one, tree)


def inexact(tree):
    """Returns the tree with None for every leaf that has no derivative (integers, keys)."""
    return jax.tree.map(lambda leaf: leaf if _is_inexact(leaf) else None, tree)


def merge(floats, tree):
    """Undoes `inexact`: takes from `tree` the leaves that `floats` lacks."""
    return jax.tree.map(
        lambda one, other: other if one is None else one, floats, tree, is_leaf=lambda x: x is None
    )


def weights(tree):
    """Returns fixed irregular numbers of the shapes and dtypes of `tree`, no two leaves alike."""
    leaves, treedef = jax.tree.flatten(tree)
    numbers = [
        jnp.cos(1.7 * jnp.arange(leaf.size) + k).reshape(leaf.shape).astype(leaf.dtype)
        for k, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(treedef, numbers)


def inner(one, other) -> Array:
    """Returns the real part of the inner product of two trees, without conjugation."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b).real, one, other)
    return sum(jax.tree.leaves(products), jnp.zeros(()))


def plain(leaf) -> np.ndarray:
    """Returns the numbers of an array, of a random key its data."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def compare(got, expected, what: str, cause: str, *, rtol: float = 1e-8) -> None:
    """Raises AssertionError unless two trees agree.

    Args:
      got: tree of arrays.
      expected: tree of arrays.
      what: what the trees are, for the message.
      cause: the probable cause of a difference, for the message.
      rtol: largest difference, relative to the largest number in `expected`; 0 for equality.
    """
    if jax.tree.structure(got) != jax.tree.structure(expected):
        structures = f"{jax.tree.structure(got)}; expected {jax.tree.structure(expected)}"
        raise AssertionError(f"got {what} of structure {structures}; probable cause: {cause}")  # noqa: EM102
    expected = jax.tree.leaves(jax.tree.map(plain, expected))
    scale = max((np.max(np.abs(leaf), initial=0) for leaf in expected), default=0)
    for (path, leaf), right in zip(jax.tree.leaves_with_path(got), expected, strict=True):
        leaf, name = plain(leaf), what + jax.tree_util.keystr(path)
        if leaf.shape != right.shape or leaf.dtype != right.dtype:
            msg = (
                f"got {name} {leaf.dtype}{list(leaf.shape)}; expected "
                f"{right.dtype}{list(right.shape)}; probable cause: {cause}"
            )
            raise AssertionError(msg)
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(leaf - right) <= rtol * scale) if rtol else leaf != right
        if np.any(wrong):
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            msg = (
                f"got {name}{list(index)} = {leaf[index]:.9g}; expected {right[index]:.9g}, up to "
                f"{rtol * scale:.1g}; probable cause: {cause}"
            )
            raise AssertionError(msg)
