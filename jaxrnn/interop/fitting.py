"""Finds which names of a format a mapping has, and says everything that does not fit."""

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrnn.core.types import Array
from jaxrnn.interop.formats.base import Format, Layout, Parts, flatten
from jaxrnn.interop.network import describe

__all__ = ["Fit", "as_arrays", "complain", "find_fit", "is_bias", "problems"]


class Fit(NamedTuple):
    """The layout that fits best.

    Attributes:
      layout: the layout.
      prefix: what stands before each of its names.
      expected: the shapes by the layout's names, those of biases left out if there are none.
    """

    layout: Layout
    prefix: str
    expected: dict[str, tuple[int, ...]]


def is_bias(name: str) -> bool:
    """Whether a weight is a bias: all libraries begin the last part of such a name with a b."""
    return name.rpartition("/")[2].lower().startswith("b")


def as_arrays(weights: Mapping[str, Any], *, by: str) -> dict[str, Array]:
    """Turns entries into NumPy arrays, torch's tensors included.

    Raises:
      TypeError: an entry is no array of real floating-point numbers.
    """
    found = {}
    for name, value in weights.items():
        for method in ("detach", "cpu"):  # a tensor that is trained, on another device
            value = getattr(value, method)() if hasattr(value, method) else value
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # NumPy cannot read it as it is
            value = value.view(sys.modules["torch"].int16).numpy().view(jnp.bfloat16)
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            msg = (
                f"{by}: got {type(value).__name__} at {name!r}, which NumPy cannot read ({error}); "
                "expected an array; convert it first"
            )
            raise TypeError(msg) from error
        if not jnp.issubdtype(array.dtype, jnp.floating):
            msg = (
                f"{by}: got {type(value).__name__} with dtype {array.dtype} at {name!r}; expected "
                "an array of floating-point numbers; pass the weights alone"
            )
            raise TypeError(msg)
        found[name] = array
    return found


def _prefixes(weights: Mapping[str, Array], expected: Mapping[str, Any]) -> Iterator[str]:
    """What all names of the weights begin with, where an expected name follows it."""
    yield ""
    common = os.path.commonprefix(list(weights))
    ends = {
        name.removesuffix(wanted)
        for name in weights
        for wanted in expected
        if name.endswith(wanted)
    }
    yield from sorted(end for end in ends if end and common.startswith(end))


def find_fit(
    form: Format, parts: Parts, weights: Mapping[str, Array], *, prefix: str | None, bias: bool
) -> Fit:
    """Returns the layout, and the prefix if none is given, that most of the weights fit."""
    best, most = None, -1
    for layout in form.layouts(parts, None):
        shapes = {name: value.shape for name, value in layout.pack(parts).items()}
        if not bias:
            shapes = {name: shape for name, shape in shapes.items() if not is_bias(name)}
        for start in _prefixes(weights, shapes) if prefix is None else [prefix]:
            given = (weights.get(start + name) for name in shapes)
            named = [value is not None for value in given]
            right = sum(
                start + name in weights and weights[start + name].shape == shape
                for name, shape in shapes.items()
            )
            # All that is asked for and nothing else is best; then what fits in shape and name.
            score = 3 * right + sum(named) - len(shapes)
            if best is None or score > most:
                best, most = Fit(layout, start, shapes), score
    return best


def problems(fit: Fit, weights: Mapping[str, Array], *, strict: bool) -> list[str]:
    """Says which entries are missing, unknown or of another shape, one a line.

    Args:
      fit: what is expected.
      weights: what was given.
      strict: whether entries without the prefix count as unknown.
    """
    expected = {fit.prefix + name: shape for name, shape in fit.expected.items()}
    missing = [name for name in expected if name not in weights]
    unknown = [
        name for name in weights if name not in expected and (strict or name.startswith(fit.prefix))
    ]
    said = []
    for name in missing:
        said.append(f"missing: {name!r} {expected[name]}")
    for name in unknown:
        near = difflib.get_close_matches(name, missing, n=1, cutoff=0.6)
        if is_bias(name.removeprefix(fit.prefix)) and not any(map(is_bias, expected)):
            near = []  # it is known, but bias=False
        hint = f"; did you mean {near[0]!r}?" if near else ""
        said.append(f"unknown: {name!r} {weights[name].shape}{hint}")
    for name, shape in expected.items():
        got = weights[name].shape if name in weights else shape
        if got != shape:
            turned = " (it is transposed)" if got == shape[::-1] else ""
            said.append(f"wrong shape: {name!r} {got}{turned}; expected {shape}")
    return said


def _works(form: Format, parts: Parts, weights: Any, prefix: str | None, bias: bool) -> bool:
    try:
        given = as_arrays(form.read(weights, parts, bias, prefix), by="")
    except (TypeError, ValueError):
        return False
    fit = find_fit(form, parts, given, prefix=prefix, bias=bias)
    expected = {fit.prefix + name: shape for name, shape in fit.expected.items()}
    return {name: value.shape for name, value in given.items()} == expected


def _remedy(
    form: Format, parts: Parts, weights: Mapping[str, Any], prefix: str | None, bias: bool
) -> str:
    """Says which other `prefix` or `bias` all would fit with, if one does."""
    if _works(form, parts, weights, prefix, not bias):
        has = "has biases" if not bias else "has no biases"
        return f"pass bias={not bias}, because the source {has}"
    ends = [(name, end.end()) for name in weights for end in re.finditer("[./]", name)]
    starts = dict.fromkeys(name[:end] for name, end in ends)
    found = [start for start in starts if _works(form, parts, weights, start, bias)]
    found = [one for one in found if not one.startswith(tuple({*found} - {one}))]
    if found:
        return "pass " + " or ".join(f"prefix={start!r}" for start in found)
    return ""


def complain(
    form: Format,
    parts: Parts,
    said: list[str],
    given: Mapping[str, Array],
    weights: Any,
    *,
    prefix: Any,
    bias: bool,
    by: str,
) -> ValueError:
    """Makes the error that lists all that does not fit.

    Args:
      form: the format.
      parts: the cells of `like`.
      said: the problems.
      given: the arrays that were looked at.
      weights: as they were passed.
      prefix: as it was passed.
      bias: whether biases are expected.
      by: the function the user called.
    """
    hint = form.hint(given, parts)
    if not hint and isinstance(weights, Mapping) and (prefix is None or isinstance(prefix, str)):
        hint = _remedy(form, parts, flatten(weights), prefix, bias)
    if not hint:
        hint = "make `like` with the kind, sizes, layers and directions of the source"
        if all(line.startswith("unknown") for line in said):
            hint = f"pass the entries of these layers alone, or {hint}"
    lines = "\n  ".join(said)
    msg = (
        f"{by}: got weights that do not fit; expected those of {form.library} for "
        f"{describe(parts)}:\n  {lines}\n"
        f"{hint}"
    )
    return ValueError(msg)
