"""The adding problem: remember two marked numbers over a long sequence and add them."""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxrnn.tasks._shared import positive_int, static
from jaxrnn.tasks.types import Batch, Task

__all__ = ["adding"]


def adding(*, length: int = 100, batch_size: int = 32) -> Task:
    """Makes the adding problem: the sum of the two numbers that carry a marker.

    Feature 0 of the input holds numbers from U(0, 1). Feature 1 is one at two steps, one drawn from
    the first ``length // 2`` steps and one from the rest, and zero elsewhere. The target is the sum
    of the two marked numbers, at the last step; the other targets are zero and do not count. This
    is the form used since Arjovsky et al.; the first paper drew from U(-1, 1) and put the first
    marker among the first ten steps.

    Args:
      length: steps T of a sequence, at least 2.
      batch_size: sequences B in a batch.

    Returns:
      A `Task` of kind ``"regression"``: xs float ``(T, B, 2)``, targets float ``(T, B, 1)``, mask
      True at the last step. `stream` is None: sequences are independent. ``info["baseline_loss"]``
      is 1/6, the mean squared error of always answering 1.

    Raises:
      TypeError: `length` or `batch_size` is not an integer.
      ValueError: `length` is below 2 or `batch_size` below 1.

    Example:
      >>> import jax
      >>> batch = adding(length=10, batch_size=4).sample(jax.random.key(0))
      >>> batch.xs.shape, int(batch.xs[:, 0, 1].sum()), int(batch.mask.sum())
      ((10, 4, 2), 2, 4)

    Reference:
      S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, section 5.4; M. Arjovsky,
      A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", 2016, section 4.2.
    """
    length = positive_int("length", length, minimum=2)
    batch_size = positive_int("batch_size", batch_size)
    info = {
        "source": "synthetic",
        "length": length,
        "sequence_length": length,
        "batch_size": batch_size,
        "loss": "mean squared error of the last step",
        "baseline": "always answering 1, the mean of the target",
        "baseline_loss": 1.0 / 6.0,
    }
    sample = Partial(static(_sample, length=length, batch_size=batch_size))
    return Task("adding", "regression", 2, 1, sample, None, info)


def _sample(key: jax.Array, *, length: int, batch_size: int) -> Batch:
    number_key, first_key, second_key = jax.random.split(key, 3)
    half = length // 2
    numbers = jax.random.uniform(number_key, (length, batch_size))
    first = jax.random.randint(first_key, (batch_size,), 0, half)
    second = jax.random.randint(second_key, (batch_size,), half, length)
    steps = jnp.arange(length)[:, None]
    marked = (steps == first) | (steps == second)
    total = jnp.sum(jnp.where(marked, numbers, 0), axis=0)
    last = jnp.broadcast_to(steps == length - 1, (length, batch_size))
    xs = jnp.stack([numbers, marked.astype(numbers.dtype)], axis=-1)
    targets = jnp.where(last, total, 0)[..., None]
    return Batch(xs, targets, last)
