"""Step-by-step inference: inputs come one at a time, and the state stays on the device."""

import functools

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.layers.layer import Layer
from jaxrnn.layers.one_step import Stepper, cell_stepper, layer_stepper

__all__ = ["stepper"]


def _own(leaf):
    """Returns an array in memory of its own, of a type that a step keeps (not a weak one)."""
    leaf = jnp.asarray(leaf)
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        leaf = leaf.astype(leaf.dtype)
    return jnp.copy(leaf)


def stepper(network: Cell | Layer) -> Stepper:
    """Makes a network ready for inputs that come one at a time: compiled steps, a donated state.

    ``prepare`` computes once what depends on parameters alone (a matrix exponential, normalised
    weights), and ``step`` is compiled once for each shape of input::

        stream = jaxrnn.stepper(network)
        prepared = stream.prepare(params)
        state = stream.initial_state(prepared, (num_streams,))
        while ...:
            state, y = stream.step(prepared, state, x)

    The batch axes hold independent streams. ``reset``, bool ``(*batch)``, begins some of them anew:
    their state returns to the initial one before `x` is read. ``mask``, bool ``(*batch)``, is False
    where a stream has no input at this step: its state is held, its output zeros, and what stands
    in `x` there reaches nothing. Leave a flag out where no stream ever needs it; a call with it is
    compiled anew, once.

    States and outputs are those of `jaxrnn.unroll` or of the layer's ``apply`` on the same inputs
    as one sequence, up to rounding: a sequence multiplies the inputs of all steps at once, whose
    sums may be taken in another order. How a layer's cell is unrolled (`newton_unroll`,
    `truncated`) does not matter, since all unrolls compute the same. Dropout is off, as its initial
    state is that of evaluation.

    **The state is donated:** the memory of the state that is passed to ``step`` is used for the new
    one, and the old arrays are deleted. Copy what you want to keep
    (``jax.tree.map(jnp.copy, state)``). The stepper's ``initial_state`` gives every array memory
    of its own, which donation needs; so does the state after a sequence. Parameters are never
    donated. After new parameters call ``prepare`` again. A step that `jax.grad` or another
    transformation traces donates nothing, as the old state may be needed.

    Args:
      network: a cell, or a layer: of one cell, a stack, a residual layer, a readout.

    Returns:
      A `Stepper`; its functions are compiled, and can also be called inside `jax.jit`.

    Raises:
      TypeError: `network` is neither, or a part of it reads the sequence from its end
        (`bidirectional`, `reverse`) or is a layer of your own; at a call, a flag is not bool,
        `batch_shape` is no tuple, or parameters were not prepared.
      ValueError: at a call, a shape does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.layer(jaxrnn.exp_rnn(3, 8)), jaxrnn.readout(2))
      >>> stream = stepper(net)
      >>> prepared = stream.prepare(net.init(jax.random.key(0)))  # the matrix exponential
      >>> state = stream.initial_state(prepared, (4,))  # four streams
      >>> state, y = stream.step(prepared, state, jnp.ones((4, 3)))
      >>> first_again = jnp.array([True, False, False, False])
      >>> state, y = stream.step(prepared, state, jnp.ones((4, 3)), first_again)
      >>> y.shape, bool(jnp.all(y[0] == y[1])), bool(jnp.all(y[1] == y[2]))
      ((4, 2), False, True)
    """
    if isinstance(network, Cell):
        plain = cell_stepper(network)
    elif isinstance(network, Layer):
        plain = layer_stepper(network)
    else:
        remedy = "pass the network alone; its parameters go to stepper(network).prepare(params)"
        if callable(network):
            name = getattr(network, "__name__", "lstm")
            remedy = f"call the factory first, as in {name}(input_size, hidden_size)"
        msg = (
            f"stepper: got {type(network).__name__} {' '.join(repr(network).split()):.60}; "
            f"expected a jaxrnn.Cell or a jaxrnn.Layer; {remedy}"
        )
        raise TypeError(msg)
    donating, keeping = jax.jit(plain.step, donate_argnums=1), jax.jit(plain.step)

    @functools.partial(jax.jit, static_argnames="batch_shape")
    def fresh(prepared, batch_shape):
        return jax.tree.map(_own, plain.initial_state(prepared, batch_shape))

    def initial_state(prepared, batch_shape=()):
        if not isinstance(batch_shape, tuple | list):
            msg = (
                f"stepper: got batch_shape={batch_shape!r} ({type(batch_shape).__name__}); "
                "expected a tuple, the sizes of the batch axes, as in (4,) for four streams"
            )
            raise TypeError(msg)
        return fresh(prepared, tuple(batch_shape))

    def step(prepared, state, x, reset=None, *, mask=None):
        leaves = jax.tree.leaves((prepared, state, x, reset, mask))
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return (keeping if traced else donating)(prepared, state, x, reset, mask=mask)

    return Stepper(jax.jit(plain.prepare), initial_state, step)
