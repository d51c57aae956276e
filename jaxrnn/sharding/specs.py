"""Where parameters and states lie on a mesh: units over "model", the batch over "data"."""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.core.types import Params, State
from jaxrnn.sharding.axes import (
    UnitAxis,
    first_that_divides,
    is_key,
    listed_axes,
    shape_of,
    unit_axes,
)
from jaxrnn.sharding.fitting import check_spec
from jaxrnn.sharding.mesh import check_mesh
from jaxrnn.sharding.overrides import path_name, read_overrides

__all__ = ["param_specs", "partition", "place_leaves", "state_specs", "without_idle"]


def partition(entries: list[str | None]) -> PartitionSpec:
    """Returns the `PartitionSpec` of one entry an axis, without None at its end."""
    while entries and entries[-1] is None:
        entries = entries[:-1]
    return PartitionSpec(*entries)


def without_idle(spec: PartitionSpec, mesh: Mesh) -> PartitionSpec:
    """Leaves out explicit axes of size 1: in an array's type they forbid what a split axis does."""
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))

    def idle(name):
        return mesh.shape[name] == 1 and kinds[name] == AxisType.Explicit

    return partition([None if name is None or idle(name) else name for name in spec])


def place_leaves(tree, mesh: Mesh, choose, overrides, *, by: str):
    """Returns a tree of `NamedSharding`: what the user says of a leaf, else what the rule says.

    Args:
      tree: arrays, or their shapes.
      mesh: the mesh.
      choose: ``(index, path, leaf) -> (spec, units)``, the rule; units as in `check_spec`.
      overrides: as in `read_overrides`.
      by: the function the user called, for the message.
    """
    check_mesh(mesh, by=by)
    leaves, structure = jax.tree.flatten_with_path(tree)
    given = read_overrides(overrides, [path for path, _ in leaves], mesh, by=by)
    placed = []
    for index, (path, leaf) in enumerate(leaves):
        what, remedy, units = path_name(path), "", None
        if path in given:
            spec = given[path]
        else:
            spec, units = choose(index, path, leaf)
            spec = without_idle(spec, mesh)
            name = jax.tree_util.keystr(path)
            whole = f"{{{name!r}: PartitionSpec()}}" if path else "PartitionSpec()"
            remedy = f"; or keep it whole with overrides={whole}"
        check_spec(shape_of(leaf), spec, mesh, what=what, by=by, units=units, remedy=remedy)
        placed.append(NamedSharding(mesh, spec))
    return jax.tree.unflatten(structure, placed)


def _over_model(rank: int, found: UnitAxis | None) -> tuple[PartitionSpec, int | None]:
    entries: list[str | None] = [None] * rank
    if found is None:
        return PartitionSpec(), None
    entries[found.axis] = "model"
    return partition(entries), found.units


def param_specs(mesh: Mesh, params: Params, *, overrides: Any = None) -> Params:
    """Says where parameters lie on a mesh: hidden and gate axes are split over "model".

    A matrix ``(in, out)`` is split along its units, ``out``, a vector of one number a unit along
    its only axis, and a readout along what it reads, ``in``. With n devices on the axis each holds
    1 / n of them. Which axis is made of units follows from the tree alone:

    - Hidden sizes are the rows of ``w_hh``, and of any square matrix where there is no ``w_hh``.
      Of the types of the library that have them elsewhere a table says where (`MinGRUParams`:
      half of ``b``).
    - The last axis whose size is a multiple of a hidden size is split. Hidden sizes of the same
      part of the tree count, or else of the smallest part around it that has any, so that a matrix
      that reads a cell's output is split along that cell's units.
    - An axis that is nothing of the kind stays whole: the bias of a readout, the memory of an LMU,
      the gates of mLSTM's heads, the output of state-space cells where it does not divide. So do
      integers, keys, and numbers without an axis.
    - A tree with no hidden size at all, of your own type, is split along last axes.

    On an explicit mesh JAX itself refuses a product whose summed axis is split, as a readout's is,
    unless the program says how its result lies; on an automatic one XLA finds out.

    Axes of size 1 are named too, but on an explicit mesh, where they would be part of an array's
    type. Numbers do not depend on any of this, time and memory do. Print the result, change it with
    `overrides` or by hand, and pass it to `shard`.

    Args:
      mesh: made by `mesh`.
      params: parameters of a cell, a layer, a stack, or any tree of arrays; or of their shapes, as
        `jax.eval_shape` makes them, so that nothing need be in memory.
      overrides: what the rule should not decide, as `jax.sharding.PartitionSpec`: a dict by path,
        such as ``{"[1].w_hh": PartitionSpec()}``, where a path may be that of a part, or the end of
        several (``".w_hh"``, of every layer); or a tree like the first levels of `params`, None
        where the rule decides. Later entries win.

    Returns:
      A tree of `jax.sharding.NamedSharding` like `params`.

    Raises:
      TypeError: `mesh` is no mesh, or an override no spec.
      ValueError: the mesh does not divide a hidden size; an override fits no leaf or not its shape.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(3, 8)), jaxrnn.readout(2))
      >>> params = net.init(jax.random.key(0))
      >>> specs = param_specs(jaxrnn.sharding.mesh(model=1), params)
      >>> for path, sharding in jax.tree.leaves_with_path(specs):
      ...     print(jax.tree_util.keystr(path), sharding.spec)
      [0].w_ih P(None, 'model')
      [0].w_hh P(None, 'model')
      [0].b P('model',)
      [0].b_hn P('model',)
      [1].w P('model',)
      [1].b P()

    Reference:
      M. Shoeybi et al., "Megatron-LM: training multi-billion parameter language models using model
      parallelism", 2019, section 3: first along the columns, then along the rows.
    """
    by = "param_specs"
    axes = unit_axes(params, check_mesh(mesh, by=by).shape["model"])

    def choose(index, path, leaf):
        del path
        return _over_model(len(shape_of(leaf)), axes[index])

    return place_leaves(params, mesh, choose, overrides, by=by)


def state_specs(mesh: Mesh, state: State, *, batch_ndim: int = 1, overrides: Any = None) -> State:
    """Says where a recurrent state lies on a mesh: the batch over "data", units over "model".

    The first axis of every array is the batch, its last one the units; of arrays ``(*batch,)``,
    such as counters and keys, there are no units. Of mLSTM's memory the heads are split, or the
    rows where the heads do not divide; the memory of an LMU stays whole.

    Args:
      mesh: made by `mesh`.
      state: the state of a cell, a layer, a stack, or any tree of arrays ``(*batch, ...)``; or of
        their shapes.
      batch_ndim: number of batch axes, of which the first is split; 0 for the state of one
        sequence. Arrays of fewer axes stay whole, such as the key of a dropout layer.
      overrides: as in `param_specs`.

    Returns:
      A tree of `jax.sharding.NamedSharding` like `state`.

    Raises:
      TypeError: `mesh` is no mesh, or an override no spec.
      ValueError: the mesh does not divide the batch or a hidden size; an override fits no leaf or
        not its shape.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> state = cell.initial_state(cell.init(jax.random.key(0)), (4,))
      >>> state_specs(jaxrnn.sharding.mesh(), state).c.spec
      P('data', 'model')
    """
    by = "state_specs"
    parts = check_mesh(mesh, by=by).shape["model"]

    def choose(index, path, leaf):
        del index
        shape = shape_of(leaf)
        entries: list[str | None] = [None] * len(shape)
        if len(shape) > batch_ndim and not is_key(leaf):
            listed = listed_axes(state, path)
            found = first_that_divides(shape, (-1,) if listed is None else listed, parts)
            if found is not None:
                entries[found.axis] = "model"
        if 0 < batch_ndim <= len(shape):
            entries[0] = "data"
        return partition(entries), None

    return place_leaves(state, mesh, choose, overrides, by=by)
