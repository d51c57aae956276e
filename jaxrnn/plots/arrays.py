"""What a plot takes: real arrays of the shape that it says."""

import numpy as np

__all__ = ["real_array", "real_pair"]


def real_array(name: str, values, shape: tuple[int | None, ...], *, by: str) -> np.ndarray:
    """Returns `values` in float64 if they are real and of this shape.

    Args:
      name: the argument's name, for the message.
      values: what the user passed.
      shape: the sizes expected, None where any will do.
      by: the function the user called, for the message.

    Raises:
      TypeError: complex numbers.
      ValueError: another shape.
    """
    array = np.asarray(values)
    if np.iscomplexobj(array):
        msg = (
            f"{by}: got complex numbers for {name}; expected real ones; "
            "pass their absolute value or their real part"
        )
        raise TypeError(msg)
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        sizes = ["any" if size is None else str(size) for size in shape]
        wanted = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        msg = (
            f"{by}: got {name} of shape {array.shape}; expected {wanted}; "
            "pass arrays whose lengths agree"
        )
        raise ValueError(msg)
    return array.astype(np.float64)


def real_pair(name: str, values, *, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a pair of real arrays ``(n,)``: the points of a curve.

    Args:
      name: the argument's name, for the message.
      values: what the user passed.
      by: the function the user called, for the message.

    Raises:
      TypeError: complex numbers.
      ValueError: not two arrays of one length.
    """
    try:
        first, second = values
    except (TypeError, ValueError):
        kind = type(values).__name__
        msg = f"{by}: got {name} of type {kind}; expected a pair of arrays; pass {name}=(x, y)"
        raise ValueError(msg) from None
    first = real_array(f"{name}[0]", first, (None,), by=by)
    return first, real_array(f"{name}[1]", second, first.shape, by=by)
