"""Layers made of layers: stack, bidirectional, reverse, residual."""

import jax
import jax.numpy as jnp

from jaxrnn.core.trees import mask_zero
from jaxrnn.layers.layer import Layer, SizedInit, check_layers, init_layer, output_size
from jaxrnn.layers.parts import Bidirectional, Residual, Reverse, Stack

__all__ = ["bidirectional", "residual", "reverse", "stack"]


def _states(layers):
    """Returns the `initial_state` of layers side by side."""

    def initial_state(params, batch_shape=()):
        return tuple(
            one.initial_state(p, batch_shape) for one, p in zip(layers, params, strict=True)
        )

    return initial_state


def _split_state(state, layers, by):
    """Returns one state per layer; None for each where none was given."""
    if state is None:
        return (None,) * len(layers)
    if not isinstance(state, tuple) or len(state) != len(layers):
        size = f" of {len(state)}" if isinstance(state, tuple | list) else ""
        msg = (
            f"{by}: got a state that is a {type(state).__name__}{size}; expected a tuple of "
            f"{len(layers)} states, one a layer; make one with initial_state(params, batch_shape)"
        )
        raise ValueError(msg)
    return state


def stack(*layers: Layer) -> Layer:
    """Runs layers one on the other: each reads what the one before put out.

    Args:
      *layers: at least one layer, the lowest first.

    Returns:
      The layer; its parameters and its state are tuples, one entry a layer.

    Raises:
      TypeError: an argument is no `Layer`.
      ValueError: no layer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru, lstm
      >>> from jaxrnn.layers import layer, readout
      >>> net = stack(layer(lstm(3, 5)), layer(gru(5, 4)), readout(2))
      >>> state, ys = net.apply(net.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
      >>> ys.shape, len(state)
      ((7, 2, 2), 3)
    """
    if not layers:
        msg = "stack: got no layer; expected at least one, as in stack(layer(lstm(3, 5)))"
        raise ValueError(msg)
    check_layers(layers, by="stack")

    def init(key, input_size=None):
        params = []
        for one, k in zip(layers, jax.random.split(key, len(layers)), strict=True):
            params.append(init_layer(one, k, input_size))
            input_size = output_size(one, params[-1], input_size)
        return tuple(params)

    def apply(params, xs, state=None, *, mask=None, resets=None):
        after = []
        for one, p, s in zip(layers, params, _split_state(state, layers, "stack"), strict=True):
            s, xs = one.apply(p, xs, s, mask=mask, resets=resets)
            after.append(s)
        return tuple(after), xs

    return Layer(SizedInit(init), _states(layers), apply, Stack(apply, layers))


def reverse(inner: Layer) -> Layer:
    """Runs a layer backwards in time; outputs stay aligned with the inputs.

    Time is flipped, the layer applied, and its output flipped back, so any unroll works inside. The
    mask is flipped with the inputs: padding at the end comes first and holds the initial state. A
    reset before step t is, backwards, a reset before step t - 1.

    Args:
      inner: any layer.

    Returns:
      The layer; its final state is the one after the first time step.

    Raises:
      TypeError: `inner` is no `Layer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> from jaxrnn.layers import layer
      >>> net = reverse(layer(gru(3, 5)))
      >>> state, ys = net.apply(net.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
      >>> bool(jnp.all(ys[0] == state))
      True
    """
    check_layers((inner,), by="reverse")

    def flip(tree):
        return jax.tree.map(lambda leaf: jnp.flip(leaf, axis=0), tree)

    def apply(params, xs, state=None, *, mask=None, resets=None):
        if resets is not None:
            resets = jnp.asarray(resets)
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        mask = None if mask is None else jnp.asarray(mask)
        state, ys = inner.apply(params, flip(xs), state, mask=flip(mask), resets=flip(resets))
        return state, flip(ys)

    def init(key, input_size=None):
        return init_layer(inner, key, input_size)

    return Layer(SizedInit(init), inner.initial_state, apply, Reverse(apply, inner))


def bidirectional(forward: Layer, backward: Layer) -> Layer:
    """Runs one layer forwards, another backwards, and joins their outputs on the last axis.

    Args:
      forward: a layer.
      backward: a layer for the same inputs, written as if it ran forwards; it is reversed here.

    Returns:
      The layer; its parameters and state are pairs, forward first; so are the output features.

    Raises:
      TypeError: an argument is no `Layer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import lstm
      >>> from jaxrnn.layers import layer
      >>> net = bidirectional(layer(lstm(3, 5)), layer(lstm(3, 5)))
      >>> state, ys = net.apply(net.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 10)

    Reference:
      M. Schuster, K. Paliwal, "Bidirectional recurrent neural networks", 1997.
    """
    check_layers((forward, backward), by="bidirectional")
    both = (forward, reverse(backward))

    def init(key, input_size=None):
        keys = jax.random.split(key)
        return tuple(init_layer(one, k, input_size) for one, k in zip(both, keys, strict=True))

    def apply(params, xs, state=None, *, mask=None, resets=None):
        states = _split_state(state, both, "bidirectional")
        runs = [
            one.apply(p, xs, s, mask=mask, resets=resets)
            for one, p, s in zip(both, params, states, strict=True)
        ]
        (first, ys), (second, zs) = runs
        join = jax.tree.map(lambda y, z: jnp.concatenate([y, z], axis=-1), ys, zs)
        return (first, second), join

    parts = Bidirectional(apply, forward, backward)
    return Layer(SizedInit(init), _states(both), apply, parts)


def residual(inner: Layer) -> Layer:
    """Adds a layer's input to its output: ``ys = xs + inner(xs)``, zeros on masked steps.

    Args:
      inner: a layer whose outputs have the shape of its inputs.

    Returns:
      The layer; its parameters and state are those of `inner`.

    Raises:
      TypeError: `inner` is no `Layer`.
      ValueError: at the call, where the output's shape is not the input's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.cells import gru
      >>> from jaxrnn.layers import layer
      >>> net = residual(layer(gru(3, 3)))
      >>> net.apply(net.init(jax.random.key(0)), jnp.ones((7, 2, 3)))[1].shape
      (7, 2, 3)
    """
    check_layers((inner,), by="residual")

    def apply(params, xs, state=None, *, mask=None, resets=None):
        state, ys = inner.apply(params, xs, state, mask=mask, resets=resets)
        shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (xs, ys)]
        if shapes[0] != shapes[1]:
            msg = (
                f"residual: got inputs {shapes[0]} and outputs {shapes[1]}; expected equal shapes; "
                "give the layer as many outputs as inputs"
            )
            raise ValueError(msg)
        xs = xs if mask is None else mask_zero(jnp.asarray(mask), xs)
        return state, jax.tree.map(jnp.add, xs, ys)

    def init(key, input_size=None):
        return init_layer(inner, key, input_size)

    return Layer(SizedInit(init), inner.initial_state, apply, Residual(apply, inner))
