"""Checks of what a user passes: the message says what was got, what was expected, what to do."""

import difflib
import operator
from collections.abc import Iterable

__all__ = ["check_size", "unknown_name"]


def check_size(name: str, value: int, *, by: str) -> int:
    """Returns `value` if it is a positive integer.

    Args:
      name: the argument's name, for the message.
      value: what the user passed.
      by: the function the user called, for the message.

    Raises:
      TypeError: `value` is not an integer (a bool is not one).
      ValueError: `value` is less than 1.
    """
    try:
        size = operator.index(value)
    except TypeError:
        size = None
    if size is None or isinstance(value, bool):
        msg = f"{by}: got {name}={value!r} ({type(value).__name__}); expected a positive integer"
        raise TypeError(msg)
    if size < 1:
        msg = f"{by}: got {name}={size}; expected a positive integer; pass {name}=1 or more"
        raise ValueError(msg)
    return size


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Makes the error for a `name` that is not among the `known` ones, with the nearest right one.

    Args:
      kind: what is named, such as "cell".
      name: what the user wrote.
      known: the names there are.

    Returns:
      The error, to be raised by the caller.

    Example:
      >>> str(unknown_name("cell", "lstn", ["gru", "lstm"]))
      "got unknown cell 'lstn'; expected one of gru, lstm; did you mean 'lstm'?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"got unknown {kind} {name!r}; expected one of {', '.join(known)}{hint}")
