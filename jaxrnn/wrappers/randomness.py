"""Randomness of a cell: keys in its parameters, put there for one run by `seed`."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.types import Array, Key, Params, State

__all__ = [
    "CountedState",
    "PerSequence",
    "PerUnroll",
    "RandomParams",
    "check_rate",
    "check_seed",
    "draw",
    "fold",
    "keep_mask",
    "seed",
]


class PerSequence(NamedTuple):
    """Where the parameters of a cell hold keys of which each sequence has its own.

    Attributes:
      key: keys ``(*batch,)``, or one key for all sequences, or None: nothing is random.
    """

    key: Key | None


class PerUnroll(NamedTuple):
    """Where the parameters of a cell hold the one key of a run.

    Attributes:
      key: a key, or None: nothing is random.
    """

    key: Key | None


class RandomParams(NamedTuple):
    """Parameters of a cell with something random.

    Attributes:
      cell: the parameters of the cell inside.
      random: the keys; without a key, as `init` makes it, the cell runs as in evaluation.
    """

    cell: Params
    random: PerSequence | PerUnroll


class CountedState(NamedTuple):
    """State of a cell that draws anew in every step.

    Attributes:
      cell: the state of the cell inside.
      step: int32 ``(*batch,)``, the steps since the last reset; None where nothing is drawn.
    """

    cell: State
    step: Array | None


def _is_place(node) -> bool:
    return isinstance(node, PerSequence | PerUnroll)


def seed(params: Params, key: Key, batch_shape: tuple[int, ...] = ()) -> Params:
    """Puts keys wherever parameters have a place for them: the next run draws at random.

    Parameters as `init` makes them have no keys, and a cell with them runs as in evaluation. Call
    this inside the loss function, with a new key for every training step, and take the gradient
    with respect to the parameters without keys. A state handed from call to call, as over a stream,
    is made from parameters with keys too: what is random has parts of its own there.

    Args:
      params: the parameters of a cell or of a network, however nested.
      key: every place gets a key of its own, derived from this one.
      batch_shape: the batch axes of the inputs: every sequence draws for itself. With ``()`` all
        sequences share what is drawn, as they must where a batch is taken sequence by sequence
        and the parameters are not (`jax.vmap`, `jaxrnn.analysis`).

    Returns:
      The parameters with keys; the other parts are unchanged.

    Raises:
      ValueError: there is nothing random in the parameters.

    Example:
      >>> import jax
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.wrappers.zoneout import zoneout
      >>> params = zoneout(lstm(3, 5), 0.1).init(jax.random.key(0))
      >>> seed(params, jax.random.key(1), (2,)).random.key.shape
      (2,)
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    found = [0]

    def put(node):
        if not _is_place(node):
            return node
        found[0] += 1
        own = jax.random.fold_in(key, found[0])
        if isinstance(node, PerSequence) and batch_shape:
            own = jax.random.split(own, batch_shape)
        return type(node)(own)

    params = jax.tree.map(put, params, is_leaf=_is_place)
    if not found[0]:
        msg = (
            "seed: got parameters without a place for a key; expected those of a cell with "
            "dropout, zoneout, drop_connect or noise; make them with cell.init(key)"
        )
        raise ValueError(msg)
    return params


def check_seed(random: PerSequence, batch_shape: tuple[int, ...], *, by: str) -> None:
    """Raises ValueError if the keys are those of another batch; `by` names the wrapper."""
    key, batch_shape = random.key, tuple(batch_shape)
    if key is not None and key.shape not in ((), batch_shape):
        msg = (
            f"{by}: got parameters seeded for a batch of shape {key.shape} and sequences of batch "
            f"shape {batch_shape}; expected the same; call seed(params, key, {batch_shape}), or "
            "seed(params, key) for what takes sequence by sequence (jax.vmap, jaxrnn.analysis), "
            "which then share what is drawn"
        )
        raise ValueError(msg)


def check_rate(name: str, rate: float, *, by: str) -> float:
    """Returns `rate` if it is a probability less than 1; `by` names the wrapper."""
    if not 0 <= rate < 1:
        msg = f"{by}: got {name}={rate}; expected a probability in [0, 1)"
        raise ValueError(msg)
    return rate


def draw(keys: Key, sample: Callable[[Key], Array]) -> Array:
    """Returns ``sample(key)`` for every key, side by side: ``(*keys.shape, ...)``."""
    for _ in keys.shape:
        sample = jax.vmap(sample)
    return sample(keys)


def fold(keys: Key, data: Array | int) -> Key:
    """Is `jax.random.fold_in` for every key: with one number, or with ``data[i]`` for key i.

    Args:
      keys: keys ``(*batch,)``, or one key for all data.
      data: integers ``(*batch,)``, or one.
    """
    if jnp.ndim(data) == 0:
        return draw(keys, lambda key: jax.random.fold_in(key, data))
    keys = jnp.broadcast_to(keys, data.shape)
    spec = jax.typeof(data).sharding.spec
    if any(axis is not None for axis in spec):  # on an explicit mesh, mapped axes must lie alike
        keys = jax.sharding.reshard(keys, spec)
    function = jax.random.fold_in
    for _ in data.shape:
        function = jax.vmap(function)
    return function(keys, data)


def keep_mask(keys: Key, rate: float, shape: tuple[int, ...]) -> Array:
    """Draws what dropout at `rate` keeps, alike in any precision: ``(*keys.shape, *shape)``."""
    bits = draw(keys, lambda key: jax.random.bits(key, shape, jnp.uint32))
    return bits >= jnp.uint32(min(int(rate * 2**32), 2**32 - 1))
