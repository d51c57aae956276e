"""States to start a search from, and their dtype."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrnn.analysis.eigen import widen
from jaxrnn.core.cell import Cell
from jaxrnn.core.trees import batch_shape_of
from jaxrnn.core.types import Array, Input, Params, State

__all__ = ["Layout", "cast", "computes_in", "draw_guesses", "read_guesses"]

NUM_GUESSES = 64


class Layout(NamedTuple):
    """How a state is ravelled: its floating leaves in their order, the others as they are."""

    state: State

    def _is_float(self) -> list[bool]:
        return [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(self.state)]

    def flatten(self, state: State) -> Array:
        pairs = zip(jax.tree.leaves(state), self._is_float(), strict=True)
        return ravel_pytree([leaf for leaf, is_float in pairs if is_float])[0]

    def join(self, flat: Array) -> State:
        leaves, tree = jax.tree.flatten(self.state)
        pairs = list(zip(leaves, self._is_float(), strict=True))
        _, unravel = ravel_pytree([leaf for leaf, is_float in pairs if is_float])
        floats = iter(unravel(flat))
        return tree.unflatten([next(floats) if is_float else leaf for leaf, is_float in pairs])


def cast(tree, dtype):
    """Casts the floating leaves of a tree."""

    def change(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(change, tree)


def computes_in(cell: Cell, params: Params, x: Input, dtype) -> bool:
    """Says whether the states of a cell are of a dtype once its parameters and inputs are."""
    params, x = cast(params, dtype), cast(x, dtype)
    batch_shape = batch_shape_of(x, cell.input_ndim)
    state = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    after = jax.eval_shape(cell.step, params, state, x)[0]
    dtypes = [leaf.dtype for leaf in jax.tree.leaves((state, after))]
    return all(one == dtype for one in dtypes if jnp.issubdtype(one, jnp.floating))


def read_guesses(cell: Cell, params: Params, guesses: State, *, by: str) -> State:
    """Returns guesses with one leading axis, checked against the cell's state."""
    state = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
    guesses = jax.tree.map(jnp.asarray, guesses)
    same = jax.tree.structure(guesses) == jax.tree.structure(state)
    leads = set()
    if same:
        for leaf, want in zip(jax.tree.leaves(guesses), jax.tree.leaves(state), strict=True):
            cut = leaf.ndim - len(want.shape)
            same &= cut >= 1 and leaf.shape[cut:] == want.shape
            leads.add(leaf.shape[: max(cut, 0)])
    if not same or len(leads) != 1 or 0 in next(iter(leads)):
        got = jax.tree.map(lambda leaf: leaf.shape, guesses)
        want = jax.tree.map(lambda leaf: ("n", *leaf.shape), state)
        msg = (
            f"{by}: got guesses of shapes {got}; expected at least one state, stacked on leading "
            f"axes: {want}; jaxrnn.trajectory makes such a tree"
        )
        raise ValueError(msg)

    def stack(leaf, want):
        return leaf.astype(want.dtype).reshape(-1, *want.shape)

    return jax.tree.map(stack, guesses, state)


def draw_guesses(layout: Layout, guesses, key, num_guesses, noise) -> Array:
    """Returns the guesses, ``(n, D)``."""
    if guesses is None:
        base, noise = layout.flatten(layout.state)[None], 1.0 if noise is None else noise
        num_guesses = NUM_GUESSES if num_guesses is None else num_guesses
    else:
        base, noise = jax.vmap(layout.flatten)(guesses), 0.0 if noise is None else noise
    if key is None:
        return base
    num_guesses = len(base) if num_guesses is None else num_guesses
    k_choice, k_noise = jax.random.split(key)
    chosen = jax.random.choice(k_choice, len(base), (num_guesses,), replace=num_guesses > len(base))
    normal = jax.random.normal(k_noise, (num_guesses, base.shape[1]), widen(base).dtype)
    return base[chosen] + (noise * normal).astype(base.dtype)
