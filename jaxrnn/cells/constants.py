"""Checks of the numbers in a cell's equations that are chosen and not learnt: steps, dampings."""

import math

__all__ = ["check_number"]


def check_number(
    name: str,
    value: float,
    *,
    by: str,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """Returns `value` as a float if it lies where the equations allow.

    Args:
      name: the argument's name, for the message.
      value: what the user passed.
      by: the function the user called, for the message.
      above: the value has to be greater than this.
      least: the value has to be this or greater.
      most: the value has to be this or less.

    Returns:
      The number.

    Raises:
      TypeError: `value` is not a real number.
      ValueError: `value` is not finite, or lies outside.

    Example:
      >>> check_number("dt", 0, by="cornn", above=0)
      Traceback (most recent call last):
      ValueError: cornn: got dt=0; expected a finite number above 0
    """
    bounds = {"above": above, "at least": least, "at most": most}
    rule = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    expected = f"expected a finite number {rule}".rstrip()
    try:
        number = None if isinstance(value, bool | str) else float(value)
    except TypeError:
        number = None
    if number is None:
        msg = f"{by}: got {name}={value!r} ({type(value).__name__}); {expected}"
        raise TypeError(msg)
    inside = (
        (above is None or number > above)
        and (least is None or number >= least)
        and (most is None or number <= most)
    )
    if not (math.isfinite(number) and inside):
        msg = f"{by}: got {name}={value}; {expected}"
        raise ValueError(msg)
    return number
