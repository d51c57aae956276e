"""Processes that hold arrays together: which they are, and how they come to agree."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax

from jaxrnn.sharding.agreement import gather_texts

__all__ = ["ALONE", "Processes", "all_succeed", "processes_of"]

Result = TypeVar("Result")


class Processes(NamedTuple):
    """The processes that hold the arrays of a tree together, and which of them this one is.

    Attributes:
      index: of this process; process 0 alone makes, renames and removes directories.
      count: how many there are; 1 where this process holds everything itself.
      exchange: gives one's own text, returns those of all by index. All have to call it the
        same number of times, from the thread that runs the computations.
      owner: the index of the process that a device belongs to.
    """

    index: int
    count: int
    exchange: Callable[[str], list[str]]
    owner: Callable[[Any], int]


ALONE = Processes(0, 1, lambda word: [word], lambda _: 0)
"""One process, whatever others run beside it."""


def processes_of(tree: Any, *, by: str) -> Processes:
    """Returns the processes that hold the arrays of a tree: all where one lies over several.

    Args:
      tree: any tree, of arrays or of shapes with shardings.
      by: the function the user called, for the message.

    Raises:
      ValueError: an array lies over some of several processes, but not over all.

    Example:
      >>> import jax.numpy as jnp
      >>> processes_of({"w": jnp.zeros(3)}, by="save_checkpoint").count
      1
    """
    shardings = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree)]
    far = {
        one
        for one in shardings
        if isinstance(one, jax.sharding.Sharding) and not one.is_fully_addressable
    }
    for one in far:
        span = {device.process_index for device in one.device_set}
        if len(span) != jax.process_count():
            msg = (
                f"{by}: got an array that lies over the processes {sorted(span)} of "
                f"{jax.process_count()}; expected one over all, or over this one alone; make the "
                "mesh of the devices of all processes"
            )
            raise ValueError(msg)
    if not far:
        return ALONE
    return Processes(
        jax.process_index(), jax.process_count(), gather_texts, lambda device: device.process_index
    )


def all_succeed(processes: Processes, run: Callable[[], Result], *, by: str) -> Result:
    """Runs a function in every process, and raises in all of them where it raises in one.

    Args:
      processes: which.
      run: the function; it exchanges nothing.
      by: the function the user called, for the message.

    Returns:
      What this process's run returned.

    Raises:
      Exception: what this process's run raised.
      RuntimeError: this one succeeded, and another process did not; the message says which, and
        what it said.

    Example:
      >>> all_succeed(ALONE, lambda: 3, by="fit")
      3
    """
    if processes.count == 1:
        return run()
    result, error = None, None
    try:
        result = run()
    except Exception as raised:
        error = raised
    word = "" if error is None else f"{type(error).__name__}: {error}"
    words = processes.exchange(word)
    if error is not None:
        raise error
    failed = {k: word for k, word in enumerate(words) if word}
    if failed:
        listed = "; ".join(f"process {k}: {word}" for k, word in failed.items())
        msg = f"{by}: stopped since another process did; {listed}"
        raise RuntimeError(msg)
    return result
