"""A batch in groups, one for each part of a mesh's "data" axis: sums over it wait for the end.

The gradient of a matrix that all sequences share is a sum over the batch and over time. Where the
batch is split over devices, XLA adds up over the devices in every iteration of a loop over time.
Here every group has matrices of its own, all the same; a loop then adds up within a group, so on
one device, and after it stands one sum over the groups: one all-reduce, whatever the number of
steps. It also lets an unroll join steps and sequences of a group, which for a batch that is split
would mean to gather it.

It takes for granted what every cell of the library keeps: that sequences do not look at each other,
and that parameters are those of all sequences alike.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.types import Output, Params, State, UnrollFn
from jaxrnn.unrolls.associative import associative_unroll, chunked_unroll
from jaxrnn.unrolls.fused import fused_unroll
from jaxrnn.unrolls.scan import unroll
from jaxrnn.unrolls.sequence import read_sequence

__all__ = ["in_groups"]

_AXIS = "data"
_KNOWN = (unroll, fused_unroll, associative_unroll, chunked_unroll)
_ANY = PartitionSpec.UNCONSTRAINED


def _num_groups() -> int:
    """The size of the automatic axis "data" of the mesh around the trace; 1 where there is none.

    Also 1 inside `jax.shard_map` over other axes, where `jax.vmap` cannot name a further one.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AxisType.Manual in mesh.axis_types:
        return 1
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return mesh.shape[_AXIS] if kinds.get(_AXIS) == AxisType.Auto else 1


def _is_known(unroll_fn: UnrollFn) -> bool:
    """Whether it is an unroll of one device, or runs windows or blocks by one."""
    if isinstance(unroll_fn, functools.partial):
        unroll_fn = unroll_fn.func
    inner = getattr(unroll_fn, "inner_unroll", None)
    return any(unroll_fn is one for one in _KNOWN) if inner is None else _is_known(inner)


class _Group(NamedTuple):
    """The parameters of a group's cell, and the state in which its sequences begin."""

    params: Params
    initial: State


def _params_of(group: _Group) -> Params:
    return group.params


def _initial_of(group: _Group, batch_shape=()) -> State:
    del batch_shape  # it was made for this group
    return group.initial


def _cell_of_group(cell: Cell) -> Cell:
    """Returns the cell whose sequences return, at a reset, to states of the whole batch's."""
    structure = cell.parts.over(_params_of)
    return from_structure(cell.init, _initial_of, structure, input_ndim=cell.input_ndim)


def _can_split(params: Params, state: State | None, batch: tuple[int, ...], groups: int) -> bool:
    """Whether the batch goes into groups, each leaf of the state and no parameter with it."""
    if not batch or batch[0] % groups:
        return False
    # Keys in the parameters may be one for each sequence.
    kinds = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    keys = any(jnp.issubdtype(kind, jax.dtypes.extended) for kind in kinds)
    return not keys and all(jnp.shape(leaf)[:1] == batch[:1] for leaf in jax.tree.leaves(state))


def _on_axis(leaf: Any, axis: int) -> Any:
    """Spreads one axis of an array over the devices, and says nothing of the others."""
    spec = [_ANY] * leaf.ndim
    spec[axis] = _AXIS
    return jax.lax.with_sharding_constraint(leaf, PartitionSpec(*spec))


def in_groups(
    unroll_fn: UnrollFn, cell: Cell, params: Params, xs, state=None, *, mask=None, resets=None
) -> tuple[State, Output]:
    """Calls an unroll; where a mesh splits the batch, for each device's part of it.

    The mesh is that of `jax.sharding.use_abstract_mesh` or `jax.set_mesh` around the trace, which
    training over a mesh puts there. Without one, or where the unroll is none of the library's own
    that work on one device, or the batch cannot be split equally, it is the plain call.

    Args:
      unroll_fn: the unroll.
      cell: its arguments, and so all the others.
      params: the cell's parameters.
      xs: ``(T, *batch, features)``.
      state: the state to start from, or None.
      mask: bool ``(T, *batch)`` or None.
      resets: bool ``(T, *batch)`` or None.

    Returns:
      The state after the last step, and the outputs, as the plain call does.
    """
    groups = _num_groups()
    plain = functools.partial(unroll_fn, cell)
    if groups == 1 or not _is_known(unroll_fn):
        return plain(params, xs, state, mask=mask, resets=resets)
    sequence = read_sequence(cell, xs, mask, resets, by=getattr(unroll_fn, "__name__", "unroll"))
    batch = sequence.batch_shape(cell)
    # Of the whole batch: a group does not know which of its sequences it has.
    initial = jax.tree.map(jnp.asarray, cell.initial_state(params, batch))
    if not _can_split(params, (state, initial), batch, groups):
        return plain(params, xs, state, mask=mask, resets=resets)

    def split(tree, axis):
        def one(leaf):
            shape = leaf.shape
            leaf = leaf.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
            return _on_axis(leaf, axis)

        return jax.tree.map(one, jax.tree.map(jnp.asarray, tree))

    def join(tree, axis):
        def one(leaf):
            shape = leaf.shape
            return leaf.reshape(*shape[:axis], -1, *shape[axis + 2 :])

        return jax.tree.map(one, tree)

    def for_each(leaf):
        leaf = jnp.asarray(leaf)
        return _on_axis(jnp.broadcast_to(leaf, (groups, *leaf.shape)), 0)

    group_cell, group_params = cell, jax.tree.map(for_each, params)
    if resets is not None:
        group_cell, group_params = _cell_of_group(cell), _Group(group_params, split(initial, 0))

    def run(params, xs, state, mask, resets):
        return unroll_fn(group_cell, params, xs, state, mask=mask, resets=resets)

    run = jax.vmap(run, in_axes=(0, 1, 0, 1, 1), out_axes=(0, 1), spmd_axis_name=_AXIS)
    state_in = split(initial if state is None else state, 0)
    try:
        last, ys = run(group_params, split(xs, 1), state_in, split(mask, 1), split(resets, 1))
    except (TypeError, ValueError):
        # Parameters that hold something for each sequence; or a mistake, of which this tells.
        return plain(params, xs, state, mask=mask, resets=resets)
    return join(last, 0), join(ys, 1)
