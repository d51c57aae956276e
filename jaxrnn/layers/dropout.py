"""Dropout between layers; its randomness is an explicit part of the state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import mask_zero
from jaxrnn.core.types import Key, State
from jaxrnn.layers.layer import Layer
from jaxrnn.layers.parts import Dropout
from jaxrnn.unrolls.sequence import check_flags

__all__ = ["DropoutState", "dropout", "seed_dropout"]


class DropoutState(NamedTuple):
    """State of `dropout`.

    Attributes:
      key: the key that the masks are drawn from, or None: nothing is dropped (evaluation).
    """

    key: Key | None


def dropout(rate: float, *, variational: bool = False) -> Layer:
    """Drops features at random, and scales the others up so that the mean stays.

    Whether anything is dropped depends on the state: the initial state has no key, and nothing is
    dropped (evaluation). `seed_dropout(state, key)` puts keys in (training).

    Args:
      rate: probability that a feature is dropped, in ``[0, 1)``.
      variational: whether one mask serves all time steps of a sequence (Gal & Ghahramani); by
        default every step has its own. Then the key moves on with each call, so that a stream cut
        into calls sees fresh masks; a variational mask stays until a new key is put in.

    Returns:
      The layer, without parameters; its state is a `DropoutState`. Masked steps put out zeros.

    Raises:
      ValueError: `rate` is outside ``[0, 1)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.layers import layer, stack
      >>> net = stack(layer(lstm(3, 8)), dropout(0.5), layer(lstm(8, 8)))
      >>> params = net.init(jax.random.key(0))
      >>> xs = jnp.ones((7, 2, 3))
      >>> _, evaluated = net.apply(params, xs)
      >>> state = seed_dropout(net.initial_state(params, (2,)), jax.random.key(1))
      >>> _, trained = net.apply(params, xs, state)
      >>> bool(jnp.all(evaluated == trained))
      False

    Reference:
      W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization", 2014 (between
      layers); Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent
      neural networks", 2016 (one mask a sequence).
    """
    if not 0 <= rate < 1:
        msg = f"dropout: got rate={rate}; expected a probability in [0, 1)"
        raise ValueError(msg)

    def init(key):
        del key
        return ()

    def initial_state(params, batch_shape=()):
        del params, batch_shape
        return DropoutState(None)

    def apply(params, xs, state=None, *, mask=None, resets=None):
        del params, resets
        mask = check_flags("mask", mask, xs.shape[:-1], by="dropout")
        xs = xs if mask is None else mask_zero(mask, xs)
        key = None if state is None else state.key
        if key is None or rate == 0:
            return DropoutState(key), xs
        shape = xs.shape[1:] if variational else xs.shape
        after, now = (key, key) if variational else jax.random.split(key)
        keep = jax.random.bernoulli(now, 1 - rate, shape)
        return DropoutState(after), jnp.where(keep, xs / (1 - rate), 0)

    return Layer(init, initial_state, apply, Dropout(apply))


def seed_dropout(state: State, key: Key) -> State:
    """Puts a key into every `DropoutState` of a state, so that the layers drop features.

    Args:
      state: the state of any layer, however nested.
      key: each dropout layer gets a key of its own, derived from this one.

    Returns:
      The state with keys; the other parts are unchanged.

    Raises:
      ValueError: there is no dropout in the state.

    Example:
      >>> import jax
      >>> seed_dropout((DropoutState(None), 1.0), jax.random.key(0))[0].key.shape
      ()
    """
    found = [0]

    def put(node):
        if not isinstance(node, DropoutState):
            return node
        found[0] += 1
        return DropoutState(jax.random.fold_in(key, found[0]))

    state = jax.tree.map(put, state, is_leaf=lambda node: isinstance(node, DropoutState))
    if not found[0]:
        msg = (
            "seed_dropout: got a state without a DropoutState; expected that of a network with "
            "dropout; make it with net.initial_state(params, batch_shape)"
        )
        raise ValueError(msg)
    return state
