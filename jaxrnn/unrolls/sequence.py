"""What every unroll does first: read the arguments, check them, make padding harmless."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type
from jaxrnn.core.trees import batch_shape_of, mask_zero, select, spread
from jaxrnn.core.types import Array, Input, Params, State

__all__ = [
    "Sequence",
    "check_flags",
    "length_mask",
    "on_mesh",
    "read_sequence",
    "read_state",
    "spread_over_mesh",
]


class Sequence(NamedTuple):
    """A checked sequence, ready to be scanned: time on axis 0 of every leaf, absent flags None.

    Attributes:
      xs: the inputs; zeros where `mask` is False.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
    """

    xs: Input
    mask: Array | None
    resets: Array | None

    @property
    def num_steps(self) -> int:
        """T."""
        return jax.tree.leaves(self.xs)[0].shape[0]

    def batch_shape(self, cell: Cell) -> tuple[int, ...]:
        """Returns the batch axes, which end where the cell's features begin."""
        return _batch_shape(self.xs, cell)


def _batch_shape(xs: Input, cell: Cell) -> tuple[int, ...]:
    """Returns the batch axes of inputs over time."""
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)
    return batch_shape_of(x, cell.input_ndim)


def length_mask(seq_lengths: Array, num_steps: int) -> Array:
    """Makes the mask of sequences that are padded at the end.

    Args:
      seq_lengths: integers ``(*batch,)`` in ``[0, num_steps]``: the number of real steps of each
        sequence. A length of 0 is a sequence of padding alone: its final state is the initial one.
      num_steps: T, the padded length.

    Returns:
      Bool ``(T, *batch)``, True where the step is real.

    Raises:
      TypeError: the lengths are not integers.
      ValueError: a length lies outside ``[0, num_steps]`` (seen only outside `jit`).

    Example:
      >>> length_mask(jnp.array([2, 0]), 3).astype(int).tolist()
      [[1, 0], [1, 0], [0, 0]]
    """
    seq_lengths = jnp.asarray(seq_lengths)
    if not jnp.issubdtype(seq_lengths.dtype, jnp.integer):
        msg = f"length_mask: got seq_lengths of dtype {seq_lengths.dtype}; expected integers"
        raise TypeError(msg)
    if not isinstance(seq_lengths, jax.core.Tracer) and seq_lengths.size:
        low, high = int(seq_lengths.min()), int(seq_lengths.max())
        if low < 0 or high > num_steps:
            msg = (
                f"length_mask: got lengths from {low} to {high}; expected 0 to {num_steps}; "
                "pad the sequences to at least the longest"
            )
            raise ValueError(msg)
    steps = jnp.arange(num_steps).reshape((-1,) + (1,) * seq_lengths.ndim)
    return steps < seq_lengths


def _check_leaves(cell: Cell, xs: Input, by: str) -> None:
    leaves = jax.tree.leaves(xs)
    if not leaves:
        msg = f"{by}: got xs without arrays; expected a tree of arrays (T, *batch, features)"
        raise ValueError(msg)
    for leaf in leaves:
        tokens = jnp.issubdtype(leaf.dtype, jnp.integer)
        if not tokens and 2 <= leaf.ndim <= cell.input_ndim:
            msg = (
                f"{by}: got xs of shape {leaf.shape}; expected time-major (T, *batch, *space, "
                f"channels) with {cell.input_ndim} feature axes; add axes of size 1, or make the "
                "cell for fewer axes of space"
            )
            raise ValueError(msg)
        if leaf.ndim < (1 if tokens else 2):
            msg = (
                f"{by}: got xs of shape {leaf.shape}; expected time-major (T, *batch, features), "
                "rank 2 or more (integer tokens: (T, *batch)); add the feature axis, "
                "as in xs[..., None]"
            )
            raise ValueError(msg)
    lengths = sorted({leaf.shape[0] for leaf in leaves})
    if len(lengths) > 1:
        msg = f"{by}: got xs leaves of {lengths} steps; expected one number of steps on axis 0"
        raise ValueError(msg)
    if lengths[0] == 0:
        msg = f"{by}: got xs of 0 steps; expected at least 1; skip the call for an empty sequence"
        raise ValueError(msg)
    batches = sorted({_batch_shape(leaf, cell) for leaf in leaves})
    if len(batches) > 1:
        msg = (
            f"{by}: got xs leaves with batch axes {batches}; expected the same in all; a float "
            "leaf ends with a feature axis, as in x[..., None], an integer leaf does not"
        )
        raise ValueError(msg)


def check_flags(name: str, flags, shape: tuple[int, ...], by: str) -> Array | None:
    """Returns a mask or resets as an array, or None; raises if it is not bool of that shape."""
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    if flags.dtype != jnp.bool_:
        remedy = "compare first, as in mask > 0" if name == "mask" else "use dtype=bool"
        msg = f"{by}: got {name} of dtype {flags.dtype}; expected bool; {remedy}"
        raise TypeError(msg)
    if flags.shape != shape:
        remedy = "jaxrnn.length_mask(seq_lengths, T) makes a mask from lengths"
        msg = f"{by}: got {name} of shape {flags.shape}; expected (T, *batch) = {shape}; {remedy}"
        raise ValueError(msg)
    return flags


def read_sequence(cell: Cell, xs: Input, mask=None, resets=None, *, by: str) -> Sequence:
    """Checks the arguments of an unroll and writes zeros over the padding.

    Args:
      cell: the cell.
      xs: tree of arrays ``(T, *batch, features)``, integer leaves ``(T, *batch)``.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.
      by: the function the user called, for the messages.

    Returns:
      The sequence. Padding is zeroed before the cell sees it, so that neither a value nor a
      gradient can meet a NaN in it (`where` after the fact would still multiply 0 by NaN).

    Raises:
      TypeError: `cell` is no `Cell`, or a flag is not bool.
      ValueError: a shape does not fit, or there is no step.
    """
    check_cell_type(cell, by=by)
    xs = jax.tree.map(jnp.asarray, xs)
    _check_leaves(cell, xs, by)
    sequence = Sequence(xs, None, None)
    shape = (sequence.num_steps, *sequence.batch_shape(cell))
    mask = check_flags("mask", mask, shape, by)
    resets = check_flags("resets", resets, shape, by)
    return Sequence(xs if mask is None else mask_zero(mask, xs), mask, resets)


def _describe(tree: Any) -> str:
    leaves = jax.tree.leaves(tree)
    shapes = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)
    return f"{type(tree).__name__}({shapes})" if len(leaves) != 1 else shapes


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def read_state(
    cell: Cell, params: Params, sequence: Sequence, state: State | None, *, by: str
) -> State:
    """Returns the state to start from, checked, and of the type that a step returns.

    Args:
      cell: the cell.
      params: its parameters.
      sequence: the checked sequence.
      state: the user's state, or None for the initial state.
      by: the function the user called, for the messages.

    Returns:
      The state. Where arrays carry a sharding or vary over a mesh axis (`shard_map`, an explicit
      mesh), a fresh state does not yet have the type that a step gives it, and `jax.lax.scan` would
      refuse it: such a state is added to zeros of the inputs' sharding, then of a step's result.

    Raises:
      TypeError: a step changes the state's dtypes or its structure.
      ValueError: the state's shapes do not fit the batch or the cell.
    """
    batch_shape = sequence.batch_shape(cell)

    def fresh(params):
        return jax.tree.map(jnp.asarray, cell.initial_state(params, batch_shape))

    initial = jax.eval_shape(fresh, params)
    if any(shape[: len(batch_shape)] != batch_shape for shape in _shapes(initial)):
        msg = (
            f"{by}: got a cell whose initial_state(params, {batch_shape}) is {_describe(initial)}; "
            f"expected every array to begin with the batch axes {batch_shape}; make each with "
            "shape (*batch_shape, ...)"
        )
        raise ValueError(msg)
    given = state is not None
    if not given:
        state = fresh(params)
    else:
        state = jax.tree.map(jnp.asarray, state)
        same = jax.tree.structure(state) == jax.tree.structure(initial)
        if same and _shapes(state) != _shapes(initial):
            raise ValueError(_misfit(by, state, initial, batch_shape))
    first = jax.tree.map(lambda leaf: leaf[0], sequence)
    state = spread_over_mesh(state, first.xs, cell)

    def advance(state, params, first):
        if first.resets is not None:
            initial = spread_over_mesh(fresh(params), first.xs, cell)
            state = select(first.resets, initial, state)
        new = cell.step(params, state, first.xs)[0]
        same = jax.tree.structure(new) == jax.tree.structure(state)
        return select(first.mask, new, state) if same and first.mask is not None else new

    # A second round is needed where one part of the state takes its type from another.
    for _ in range(len(jax.tree.leaves(state)) + 1):
        try:
            after = jax.eval_shape(advance, state, params, first)
        except (AttributeError, TypeError, ValueError) as error:
            if jax.tree.structure(state) == jax.tree.structure(initial):
                raise
            raise TypeError(_misfit(by, state, initial, batch_shape)) from error
        same = jax.tree.structure(after) == jax.tree.structure(state)
        if not same or _shapes(after) != _shapes(state):
            kind = ValueError if same else TypeError
            raise kind((_misfit if given else _changed)(by, state, after, batch_shape))
        if _dtypes(after) != _dtypes(state):
            msg = (
                f"{by}: got a state {_describe(state)} that a step turns into {_describe(after)}; "
                "expected equal dtypes; cast xs or the parameters so that they agree (under "
                "jax.enable_x64 both are float64 by default)"
            )
            raise TypeError(msg)
        aligned = jax.tree.map(_align, state, after)
        if _types(aligned) == _types(state):
            break
        state = aligned
    return state


def _misfit(by: str, state: State, expected: State, batch_shape: tuple[int, ...]) -> str:
    return (
        f"{by}: got a state {_describe(state)}; expected {_describe(expected)} for inputs with "
        f"batch shape {batch_shape}; make one with cell.initial_state(params, {batch_shape})"
    )


def _changed(by: str, state: State, after: State, batch_shape: tuple[int, ...]) -> str:
    del batch_shape
    return (
        f"{by}: got a cell whose step turns the state {_named(state)} into {_named(after)}; "
        "expected the same tree with the same shapes; return the state from step as it came, "
        "first of (state, y)"
    )


def _named(tree: Any) -> str:
    parts = [
        f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]
    return f"{type(tree).__name__}({', '.join(parts)})"


def _dtypes(tree: Any) -> list[Any]:
    return [leaf.dtype for leaf in jax.tree.leaves(tree)]


def _types(tree: Any) -> list[Any]:
    return [jax.typeof(leaf) for leaf in jax.tree.leaves(tree)]


def _add_zeros(leaf: Array, zeros: Array) -> Array:
    """Gives a number or a bool the type of `zeros`; other leaves (keys) stay as they are."""
    if leaf.dtype == jnp.bool_:
        return leaf | zeros.astype(bool)
    if not jnp.issubdtype(leaf.dtype, jnp.number):
        return leaf
    return leaf + zeros.astype(leaf.dtype)


def on_mesh(x: Input) -> bool:
    """Says whether arrays carry a sharding or vary over a mesh axis: `shard_map`, explicit mesh."""
    leaf = jax.tree.leaves(x)[0]
    return jax.eval_shape(lambda leaf: leaf, leaf).sharding is not None


def spread_over_mesh(state: State, x: Input, cell: Cell) -> State:
    """Gives the state's batch axes the sharding of the input's, where there is a mesh.

    Args:
      state: tree of arrays ``(*lead, ...)``.
      x: inputs ``(*lead, features)``, or a tree of such, the integer leaves ``(*lead,)``.
      cell: the cell whose inputs they are.

    Returns:
      The tree, its values unchanged.
    """
    if not on_mesh(x):
        return state
    leaf = jax.tree.leaves(x)[0]
    tokens = jnp.issubdtype(leaf.dtype, jnp.integer)
    zeros = jnp.zeros_like(leaf if tokens else leaf[(..., *(0,) * cell.input_ndim)])
    return jax.tree.map(lambda one: _add_zeros(one, spread(zeros, one)), state)


def _align(leaf: Array, spec: jax.ShapeDtypeStruct) -> Array:
    if spec.sharding is None or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return _add_zeros(leaf, jnp.zeros_like(spec))
