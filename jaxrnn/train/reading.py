"""Reads a checkpoint, in two steps: the files, then a tree of what they hold."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.train.checkpoint_files import Wanted, read_arrays, read_manifest
from jaxrnn.train.leaves import (
    boxes_of,
    describe,
    differences,
    named_leaves,
    plain_leaf,
    restore,
    stored_type,
)
from jaxrnn.train.manifest import CheckpointError, Manifest
from jaxrnn.train.pieces import Box, sizes
from jaxrnn.train.safetensors import DTYPES

__all__ = ["EXTRA", "Contents", "Files", "make_contents", "read_directory", "read_files"]

EXTRA = "extra:"
_LISTED = 20  # differences that a message shows


class Contents(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tree: of the structure that was asked for, or None.
      step: the step it was saved at.
      info: what the user saved with it.
      extra: arrays of NumPy beside the tree, by name.
      versions: of the packages that wrote it, by name.
    """

    tree: Any
    step: int
    info: dict[str, Any]
    extra: dict[str, np.ndarray]
    versions: dict[str, str]


class Files(NamedTuple):
    """What was read of a checkpoint's files.

    Attributes:
      manifest: what it says.
      stored: what this process needs of each array, by name and box.
      like: what each of these is to become, by name.
    """

    manifest: Manifest
    stored: dict[str, dict[Box, np.ndarray]]
    like: dict[str, Any]


def _check_like(path: Path, manifest: Manifest, like: Any, *, by: str) -> dict[str, Any]:
    """Returns the leaves of `like` by name, which are those of the checkpoint."""
    wanted = named_leaves(like, by=by)
    expected = {name: describe(name, leaf, by=by) for name, leaf in wanted.items()}
    lines = differences(manifest.leaves, expected)
    if lines:
        more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        listed = "\n  ".join(lines[:_LISTED] + more)
        msg = (
            f"{by}: got a checkpoint of another architecture, {path}; expected the structure of "
            f"`like`; make the network and the optimiser as they were saved:\n  {listed}"
        )
        raise ValueError(msg)
    return wanted


def _want(leaf: Any) -> Wanted:
    kind, shape, _ = stored_type(leaf)
    return Wanted(leaf, boxes_of(leaf), kind, shape)


def read_files(
    path: Path, like: Any = None, *, with_tree: bool = True, by: str = "load_checkpoint"
) -> Files:
    """Reads of a checkpoint's files what this process needs, without a word to other processes.

    Args:
      path: its directory.
      like: a tree of the structure, shapes, dtypes and shardings that are expected.
      with_tree: otherwise everything is checked, and nothing kept.
      by: the function the user called, for the messages.

    Returns:
      What `make_contents` makes a tree of.

    Raises:
      CheckpointError: it is broken; the message does not name the directory.
      ValueError: it holds another tree than `like`.
    """
    manifest = read_manifest(path)
    plain = {name: plain_leaf(leaf) for name, leaf in manifest.extra.items()}
    like = _check_like(path, manifest, like, by=by) if with_tree else {}
    if None in plain.values():
        msg = "got an array beside the tree of a dtype that is none; expected one of NumPy's"
        raise CheckpointError(msg)
    like = like | plain if with_tree else {}
    wanted = {name: _want(leaf) for name, leaf in like.items()}
    stored = read_arrays(path, manifest, wanted if with_tree else None)
    for name, one in wanted.items():
        if 0 in one.shape:  # nothing was read of it
            trailing = one.shape[len(getattr(one.like, "shape", ())) :]
            kind = DTYPES[one.kind]
            stored[name] = {box: np.empty(sizes(box) + trailing, kind) for box in one.boxes}
    return Files(manifest, stored, like)


def make_contents(files: Files, like: Any = None, *, with_tree: bool = True) -> Contents:
    """Makes the tree out of what was read; all processes that hold it together do so at once.

    Args:
      files: what `read_files` returned.
      like: as there.
      with_tree: as there.
    """
    manifest, stored, leaves = files
    made = {
        name: restore(leaf, manifest.leaves[name].weak_type, stored[name])
        for name, leaf in leaves.items()
        if name in manifest.leaves
    }
    structure = jax.tree.structure(like)
    tree = jax.tree.unflatten(structure, list(made.values())) if with_tree else None
    extra = {
        name.removeprefix(EXTRA): restore(leaf, False, stored[name])
        for name, leaf in leaves.items()
        if name not in manifest.leaves
    }
    return Contents(tree, manifest.step, manifest.info, extra, manifest.versions)


def read_directory(
    path: Path, like: Any = None, *, with_tree: bool = True, by: str = "load_checkpoint"
) -> Contents:
    """Reads a checkpoint.

    Args:
      path: its directory.
      like: a tree of the structure, shapes, dtypes and shardings that are expected.
      with_tree: make the tree; otherwise the files are checked and the tree is None.
      by: the function the user called, for the messages.

    Returns:
      What it holds.

    Raises:
      CheckpointError: it is broken; the message does not name the directory.
      ValueError: it holds another tree than `like`.
    """
    files = read_files(path, like, with_tree=with_tree, by=by)
    return make_contents(files, like, with_tree=with_tree)
