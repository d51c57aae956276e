"""Specs that the user gives for some leaves, by path or as a tree, and specs for all of them."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxrnn.sharding.fitting import is_spec, spec_of

__all__ = ["Path", "path_name", "read_overrides", "specs_by_leaf"]

Path = tuple[Any, ...]
_SHOWN = 12


def path_name(path: Path) -> str:
    """Returns the path of a leaf as the user reads and writes it: ``[0].w_hh``."""
    return jax.tree_util.keystr(path) or "the array"


def _spellings(path: Path) -> set[str]:
    keystr = jax.tree_util.keystr
    return {keystr(path), keystr(path, simple=True, separator=".")}


def _listed(paths: list[Path]) -> str:
    names = [path_name(path) for path in paths]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _by_path(overrides: Mapping[str, Any], paths: list[Path], by: str) -> dict[Path, Any]:
    found = {}
    for name, spec in overrides.items():
        if not isinstance(name, str):
            msg = (
                f"{by}: got an override for {name!r} ({type(name).__name__}); expected the path of "
                f"a leaf as text, one of {_listed(paths)}"
            )
            raise TypeError(msg)
        fits = [
            path
            for path in paths
            if any(name in _spellings(path[:depth]) for depth in range(1, len(path) + 1))
        ] or [
            path
            for path in paths
            if any(name in _spellings(path[depth:]) for depth in range(len(path)))
        ]
        if not fits:
            msg = (
                f"{by}: got an override for {name!r}, which fits no leaf; expected a path among "
                f"{_listed(paths)}; or its beginning, or its end"
            )
            raise ValueError(msg)
        found |= dict.fromkeys(fits, spec)
    return found


def _by_tree(specs: Any, paths: list[Path], by: str, what: str) -> dict[Path, Any]:
    """Gives every leaf the spec that stands at its path or above it, where there is one."""
    given = dict(jax.tree.leaves_with_path(specs, is_leaf=is_spec))
    used, found = set(), {}
    for path in paths:
        for depth in range(len(path) + 1):
            if path[:depth] in given:
                found[path] = given[path[:depth]]
                used.add(path[:depth])
                break
    odd = [path for path in given if path not in used]
    if odd:
        msg = (
            f"{by}: got {what} at {path_name(odd[0])}, where the tree has no leaf; expected the "
            f"tree's structure, whose leaves are {_listed(paths)}"
        )
        raise ValueError(msg)
    return found


def read_overrides(
    overrides: Any, paths: list[Path], mesh: Mesh, *, by: str
) -> dict[Path, PartitionSpec]:
    """Returns what the user says of some leaves.

    Args:
      overrides: None; a dict from paths to specs, where a path is that of a leaf, or its beginning,
        or, where no leaf begins so, its end; or a tree of specs like the first levels of the tree.
      paths: those of all leaves.
      mesh: the mesh.
      by: the function the user called, for the message.

    Raises:
      TypeError: a path is no text, or a spec is none.
      ValueError: an override fits no leaf, or is of another mesh.
    """
    if overrides is None:
        return {}
    read = _by_path if isinstance(overrides, Mapping) else _by_tree
    more = () if read is _by_path else ("an override",)
    return {
        path: spec_of(spec, mesh, what=f"the override of {path_name(path)}", by=by)
        for path, spec in read(overrides, paths, by, *more).items()
    }


def specs_by_leaf(specs: Any, paths: list[Path], *, by: str) -> list[Any]:
    """Returns the spec of each leaf, from a tree like the leaves' or like its first levels.

    Args:
      specs: tree of `NamedSharding` or `PartitionSpec`.
      paths: those of all leaves.
      by: the function the user called, for the message.

    Raises:
      ValueError: the trees differ; the message names the first path where they do.
    """
    found = _by_tree(specs, paths, by, "specs")
    for path in paths:
        if path not in found:
            msg = (
                f"{by}: got specs with nothing for {path_name(path)}; expected one for every leaf "
                "of the tree, or above it; PartitionSpec() keeps an array whole"
            )
            raise ValueError(msg)
    return [found[path] for path in paths]
