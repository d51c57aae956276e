"""The copy task: repeat a list of symbols after a long delay."""

import math

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxrnn.tasks._shared import positive_int, static
from jaxrnn.tasks.types import Batch, Task

__all__ = ["copy"]


def copy(*, length: int = 100, symbols: int = 8, memory: int = 10, batch_size: int = 32) -> Task:
    """Makes the copy task: repeat `memory` symbols, `length` steps after they ended.

    Tokens are 0 for a blank, 1 to `symbols` for the symbols, ``symbols + 1`` for the go marker::

        input    s_1 ... s_memory | length - 1 blanks | go | memory blanks
        target   memory + length blanks               | s_1 ... s_memory

    `length` is the delay, T in the paper, so a sequence has ``length + 2 * memory`` steps: with the
    paper's ten symbols, ``length=100`` gives 120 steps. The loss counts every step, as in the
    paper, so losses compare with published curves; the last `memory` steps alone are
    ``batch.targets > 0``.

    Args:
      length: the delay in steps, at least 1: from the last symbol to the go marker, inclusive.
      symbols: different symbols, at least 2.
      memory: symbols to remember in each sequence.
      batch_size: sequences B in a batch.

    Returns:
      A `Task` of kind ``"tokens"`` over ``symbols + 2`` tokens: xs and targets int32 ``(T, B)``
      with ``T = length + 2 * memory``, mask True everywhere. `stream` is None: sequences are
      independent. ``info["baseline_loss"]`` is ``memory * log(symbols) / T`` nats per position, the
      best that is possible without memory: blanks until the marker, then a guess.

    Raises:
      TypeError: a size is not an integer.
      ValueError: a size is too small.

    Example:
      >>> import jax
      >>> batch = copy(length=3, memory=2, batch_size=1).sample(jax.random.key(0))
      >>> batch.xs.shape, bool((batch.xs[:2] == batch.targets[-2:]).all())
      ((7, 1), True)

    Reference:
      M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", 2016, section
      4.1; S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997.
    """
    length = positive_int("length", length)
    symbols = positive_int("symbols", symbols, minimum=2)
    memory = positive_int("memory", memory)
    batch_size = positive_int("batch_size", batch_size)
    steps = length + 2 * memory
    info = {
        "source": "synthetic",
        "length": length,
        "sequence_length": steps,
        "batch_size": batch_size,
        "symbols": symbols,
        "memory": memory,
        "loss": "cross entropy, nats per position, over all positions",
        "baseline": "blanks until the marker, then a uniform guess among the symbols",
        "baseline_loss": memory * math.log(symbols) / steps,
    }
    sizes = {"length": length, "symbols": symbols, "memory": memory, "batch_size": batch_size}
    sample = Partial(static(_sample, **sizes))
    return Task("copy", "tokens", symbols + 2, symbols + 2, sample, None, info)


def _sample(key: jax.Array, *, length: int, symbols: int, memory: int, batch_size: int) -> Batch:
    payload = jax.random.randint(key, (memory, batch_size), 1, symbols + 1, dtype=jnp.int32)
    blanks = jnp.zeros((length + memory, batch_size), jnp.int32)
    go = jnp.full((1, batch_size), symbols + 1, jnp.int32)
    xs = jnp.concatenate([payload, blanks[: length - 1], go, blanks[:memory]])
    targets = jnp.concatenate([blanks, payload])
    return Batch(xs, targets, jnp.ones(xs.shape, dtype=bool))
