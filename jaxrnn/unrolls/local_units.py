"""The cell of one device's hidden units: made of any cell whose units meet in one product alone."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell, check_cell_type, from_structure
from jaxrnn.core.structure import Elementwise, Gated, Linear
from jaxrnn.unrolls.plan import pick
from jaxrnn.unrolls.unit_blocks import UnitBlocks, is_number, keeps_units_apart

__all__ = ["LocalParams", "LocalUnits", "check_structure", "hidden_size", "local_units"]


class LocalParams(NamedTuple):
    """The parameters of the cell of one device's units.

    Attributes:
      read: leaves of the cell's parameters, those that are read for the input's share.
      weights: ``(H, G * H / n)``, or None.
      vectors: the vectors, or None.
      initial: the initial state of the batch that is run.
    """

    read: list[Any]
    weights: Any
    vectors: Any
    initial: Any


class LocalUnits(NamedTuple):
    """A cell of some units, and which of its arrays are split.

    Attributes:
      cell: the cell; its parameters are `LocalParams`.
      params: `LocalParams` of all units.
      split: for each leaf of `params`, whether a device has its own units of it alone.
      state: for each leaf of the state.
      y: the shapes of an output.
      split_y: for each leaf of an output.
    """

    cell: Cell
    params: LocalParams
    split: LocalParams
    state: Any
    y: Any
    split_y: Any


def check_structure(cell: Cell, *, by: str) -> None:
    """Raises TypeError if it is not known of a cell how its units meet."""
    check_cell_type(cell, by=by)
    if not isinstance(cell.parts, Gated | Elementwise | Linear):
        msg = (
            f"{by}: got a cell with {type(cell.parts).__name__} structure; expected Gated, "
            "Elementwise or Linear, of which it is known how units meet; write it as a "
            "jaxrnn.Gated with jaxrnn.from_structure, or use jaxrnn.unroll under jax.jit and let "
            "XLA split the products as the parameters lie"
        )
        raise TypeError(msg)


def hidden_size(cell: Cell, state, lead: int, *, by: str) -> int:
    """Returns H of a cell whose state has `lead` batch axes."""
    for leaf in jax.tree.leaves(state):
        if leaf.ndim > lead and jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf.shape[-1]
    raise _mixed(cell, "a state without an array (*batch, H) of floats", by)


def _mixed(cell: Cell, got: str, by: str) -> TypeError:
    kind = type(cell.parts).__name__
    remedy = "let no function close over H; an array of H units comes through `vectors`"
    if isinstance(cell.parts, Linear):
        remedy = "split time instead, with jaxrnn.time_sharded, or the batch"
    return TypeError(
        f"{by}: got a {kind} cell with {got}; expected functions that are elementwise along the "
        f"hidden axis, of arrays whose last axis is gates of H units side by side; {remedy}"
    )


class _Read(NamedTuple):
    """Parameters without the leaves that the input's share does not depend on.

    Attributes:
      leaves: the shapes of all leaves.
      tree: their structure.
      flags: for each leaf, whether it is read.
      blocks: how units lie.
    """

    leaves: list[Any]
    tree: Any
    flags: list[bool]
    blocks: UnitBlocks

    def fill(self, some, units: int):
        """Returns parameters of so many units, zeros in place of what is not read."""
        some, pairs = iter(some), zip(self.leaves, self.flags, strict=True)
        every = [next(some) if read else self.blocks.stand_in(leaf, units) for leaf, read in pairs]
        return self.tree.unflatten(every)


def _find_read(cell: Cell, params, x, blocks: UnitBlocks) -> _Read:
    leaves, tree = jax.tree.flatten(params)
    if isinstance(cell.parts, Linear):
        return _Read(leaves, tree, [True] * len(leaves), blocks)
    jaxpr = jax.make_jaxpr(cell.parts.project)(params, x).jaxpr
    used = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
    numbers = [is_number(leaf.dtype) for leaf in leaves]  # of others there are no zeros
    pairs = zip(jaxpr.invars, numbers, strict=False)
    return _Read(leaves, tree, [id(v) in used or not number for v, number in pairs], blocks)


def _check_recurrence(cell: Cell, params, state, x, blocks: UnitBlocks, lead: int, by: str) -> None:
    """Raises TypeError if a step of a `Gated` or `Elementwise` cell mixes units elsewhere."""
    parts, units = cell.parts, functools.partial(blocks.has_units, lead=lead)
    vectors, z = jax.eval_shape(lambda p, x: (parts.vectors(p), parts.project(p, x)), params, x)
    given = {"vectors": vectors, "state": state, "z": z}
    flags = {
        "vectors": jax.tree.map(blocks.has_units, vectors),
        "state": jax.tree.map(units, state),
        "z": jax.tree.map(units, z),
    }
    if not all(jax.tree.leaves(flags["z"])):
        shapes = ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(z))
        raise _mixed(cell, f"an input's share of shape {shapes} for H = {blocks.hidden}", by)
    if isinstance(parts, Gated):
        weights, h = jax.eval_shape(lambda p, s: (parts.weights(p), parts.hidden(s)), params, state)
        if weights.shape[-1] % blocks.hidden or not units(h):
            got = f"weights of shape {weights.shape} and hidden(state) of shape {h.shape}"
            raise _mixed(cell, got, by)
        given["r"] = jax.ShapeDtypeStruct((*h.shape[:-1], weights.shape[-1]), h.dtype)
        flags["r"] = True

    def recur(given, units):
        del units
        if not isinstance(parts, Gated):
            return parts.pointwise(given["vectors"], given["state"], given["z"])
        a = parts.mix(given["z"], given["r"])
        return parts.pointwise(given["vectors"], given["state"], a), parts.hidden(given["state"])

    if not keeps_units_apart(recur, given, flags, blocks):
        raise _mixed(cell, "a mix or pointwise function that does not run on some units alone", by)


def _check_linear(cell: Cell, read: _Read, state, x, lead: int, by: str) -> None:
    """Raises TypeError if a step of a `Linear` cell mixes units."""
    parts, blocks = cell.parts, read.blocks

    def step(given, units):
        leaves, state, x = given
        params = read.fill(leaves, units)
        element = parts.coefficients(params, x)
        h = parts.apply(parts.combine(element, element), state)
        return h, parts.readout(params, h, x)

    flags = (
        list(map(blocks.has_units, read.leaves)),
        jax.tree.map(lambda leaf: blocks.has_units(leaf, lead), state),
        jax.tree.map(lambda _: False, x),
    )
    if not keeps_units_apart(step, (read.leaves, state, x), flags, blocks):
        raise _mixed(cell, "coefficients or a readout that do not run on some units alone", by)


def _reads_apart(cell: Cell, read: _Read, x) -> bool:
    """Says whether the input's share of some units is made of their parameters alone."""
    if isinstance(cell.parts, Linear):
        return True  # or it was refused

    def project(given, units):
        leaves, x = given
        return cell.parts.project(read.fill(leaves, units), x)

    leaves = pick(read.leaves, read.flags)
    flags = list(map(read.blocks.has_units, leaves)), jax.tree.map(lambda _: False, x)
    return keeps_units_apart(project, (leaves, x), flags, read.blocks)


def local_units(cell: Cell, params, state, x, blocks: UnitBlocks, batch_shape, *, by) -> LocalUnits:
    """Makes the cell of one device's units, for use inside `jax.shard_map`.

    It gathers the part of the state that is multiplied, and that alone, from all devices. The
    input's share is made of the parameters of these units where it can be; else every device
    computes that of all units and takes its own.

    Args:
      cell: a cell that passes `check_structure`.
      params: its parameters.
      state: a state.
      x: one step's input, or its shapes.
      blocks: how the units lie.
      batch_shape: the batch axes.
      by: the function the user called, for the messages.

    Returns:
      The cell and what goes with it.

    Raises:
      TypeError: the cell's functions mix units elsewhere than in its product.
    """
    parts, lead = cell.parts, len(batch_shape)
    p_shapes, s_shapes, x = jax.eval_shape(lambda *trees: trees, params, state, x)
    read = _find_read(cell, p_shapes, x, blocks)
    if isinstance(parts, Linear):
        _check_linear(cell, read, s_shapes, x, lead, by)
    else:
        _check_recurrence(cell, p_shapes, s_shapes, x, blocks, lead, by)
    apart = _reads_apart(cell, read, x)
    units = blocks.local if apart else blocks.hidden

    def project(local, x):
        z = parts.project(read.fill(local.read, units), x)
        return z if apart else jax.tree.map(blocks.own, z)

    def hidden(state):
        h = parts.hidden(state)
        return jax.lax.all_gather(h, blocks.axis, axis=h.ndim - 1, tiled=True)

    vectors = weights = None
    if isinstance(parts, Linear):
        structure = parts.over(lambda local: read.fill(local.read, units))
    else:
        vectors = parts.vectors(params)
        structure = parts._replace(project=project, vectors=lambda local: local.vectors)
    if isinstance(parts, Gated):
        weights = blocks.in_order_gathered(parts.weights(params))
        structure = structure._replace(weights=lambda local: local.weights, hidden=hidden)

    def initial_state(local, batch_shape=()):
        del batch_shape  # it was made for the batch that is run
        return local.initial

    initial = jax.tree.map(jnp.asarray, cell.initial_state(params, batch_shape))
    has_units = functools.partial(blocks.has_units, lead=lead)
    leaves = pick(jax.tree.leaves(params), read.flags)
    of_state = jax.tree.map(has_units, state)
    y = jax.eval_shape(cell.step, params, state, x)[1]
    return LocalUnits(
        from_structure(cell.init, initial_state, structure, input_ndim=cell.input_ndim),
        LocalParams(leaves, weights, vectors, initial),
        LocalParams(
            [apart and blocks.has_units(leaf) for leaf in leaves],
            jax.tree.map(lambda _: True, weights),
            jax.tree.map(blocks.has_units, vectors),
            of_state,
        ),
        of_state,
        y,
        jax.tree.map(has_units, y),
    )
