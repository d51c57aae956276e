"""A cell's parameters as a NumPy file: names are checked, nothing in it is ever run."""

import io
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxrnn.cli.errors import CommandError
from jaxrnn.core.cell import Cell
from jaxrnn.core.types import Params
from jaxrnn.layers import Layer

__all__ = ["fill_params", "find_hidden_size", "pack_params", "read_arrays"]

_LARGEST = 2**24
# What NumPy and zipfile raise for files that are cut short, no archives, encrypted or pickled.
_BROKEN = (ValueError, EOFError, KeyError, OSError, NotImplementedError, RuntimeError, SyntaxError)
_BROKEN += (zipfile.BadZipFile, zlib.error, MemoryError)


def _named(params: Params) -> dict[str, jax.Array]:
    """Returns the leaves by their path in the tree, as in ``w_hh`` or ``layer/0/b``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    name = jax.tree_util.keystr
    return {name(path, simple=True, separator="/") or "params": leaf for path, leaf in leaves}


def pack_params(params: Params) -> bytes:
    """Returns a .npz file of a tree of parameters.

    Args:
      params: the cell's.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.asarray(leaf) for name, leaf in _named(params).items()})
    return buffer.getvalue()


def read_arrays(path: str, *, option: str = "--params") -> dict[str, np.ndarray]:
    """Reads a .npz file.

    Args:
      path: of the file.
      option: the one that named it, for messages.

    Returns:
      Its arrays by name.

    Raises:
      CommandError: there is none, or it is broken, or holds something else than arrays of numbers.
    """
    remedy = "write it by --save, or by numpy.savez"
    try:
        data = pathlib.Path(path).read_bytes()
    except FileNotFoundError as error:
        msg = f"got {option} {path!r}: nothing exists there; expected a file; check the spelling"
        raise CommandError(msg) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"got {option} {path!r}: {reason}; expected a file that can be read; {remedy}"
        raise CommandError(msg) from error
    arrays = {}
    name = None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if not isinstance(archive, Mapping):
                msg = "one array"
                raise TypeError(msg)
            for name in archive.files:
                arrays[name] = archive[name]
    except TypeError as error:
        msg = f"got {option} {path!r}, one array; expected a .npz file of named arrays; {remedy}"
        raise CommandError(msg) from error
    except _BROKEN as error:
        where = "" if name is None else f", array {name!r}"
        kind = (
            "pickled objects" if "pickle" in str(error) and name else "no .npz file or a broken one"
        )
        msg = f"got {option} {path!r}{where}: {kind}; expected a .npz file of numbers; {remedy}"
        raise CommandError(msg) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            msg = f"got {option} {path!r} with {name!r}, no array; expected arrays; {remedy}"
            raise CommandError(msg)
    return arrays


def _shapes(make: Callable[[int, int], Cell], input_size: int, hidden_size: int):
    """Returns the tree of shapes and dtypes of a cell's parameters, without making any."""
    return jax.eval_shape(make(input_size, hidden_size).init, jax.random.key(0))


def find_hidden_size(
    make: Callable[[int, int], Cell], input_size: int, arrays: Mapping[str, np.ndarray]
) -> int:
    """Finds the hidden size that fits the shapes in a file.

    Args:
      make: ``(input_size, hidden_size) -> Cell``.
      input_size: of the task.
      arrays: by name.

    Returns:
      The hidden size, among the arrays' dimensions, at which most shapes are right.

    Raises:
      CommandError: none makes any shape right.
    """
    sizes = {size for array in arrays.values() for size in array.shape if 0 < size < _LARGEST}
    right = {}
    for size in sorted(sizes):
        try:
            named = _named(_shapes(make, input_size, size))
        except (ValueError, TypeError, OverflowError):
            continue  # a cell may refuse some sizes
        right[size] = sum(
            name in arrays and arrays[name].shape == leaf.shape for name, leaf in named.items()
        )
    best = max(right, key=right.get, default=None)
    if best is None or right[best] == 0:
        known = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items()))
        named = _named(_shapes(make, input_size, 1))
        msg = (
            f"got --params with {known or 'no array'}; expected {', '.join(named)} with the shapes "
            "of some hidden size; name the cell that the file was saved from"
        )
        raise CommandError(msg)
    return best


def fill_params(
    cell: Cell | Layer, arrays: Mapping[str, np.ndarray], *, what: str, option: str = "--params"
) -> Params:
    """Makes parameters of arrays.

    Args:
      cell: the cell, or the layers.
      arrays: by name.
      what: it and its sizes, for messages.
      option: the one that named the file, for messages.

    Returns:
      The parameters.

    Raises:
      CommandError: a name is missing or unknown; a shape or dtype is another; a number is not
        finite. All that is wrong is named.
    """
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    wanted = _named(shapes)
    wrong = []
    for name, leaf in wanted.items():
        if name not in arrays:
            wrong.append((f"no {name}", f"{name} {leaf.shape}"))
            continue
        array = arrays[name]
        if array.shape != leaf.shape:
            wrong.append((f"{name} of shape {array.shape}", f"{leaf.shape}"))
        elif array.dtype != leaf.dtype:
            wrong.append((f"{name} of dtype {array.dtype}", f"{leaf.dtype}"))
        elif not np.isfinite(array).all():
            wrong.append((f"{name} with NaN or infinity", "finite numbers"))
    wrong += [(f"unknown {name}", "no such name") for name in arrays if name not in wanted]
    if wrong:
        got, expected = (", ".join(part) for part in zip(*wrong, strict=True))
        msg = (
            f"got {option} with {got}; expected {expected} for {what}; name the cell, --hidden and "
            "the --task or --data of the network that the file was saved from"
        )
        raise CommandError(msg)
    leaves = [jax.numpy.asarray(arrays[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)
