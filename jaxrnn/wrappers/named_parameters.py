"""Parameters of a cell by name, and cells that read others in their place."""

from collections.abc import Callable, Collection
from typing import Any

import jax

from jaxrnn.core.structure import General, Separable, Structure
from jaxrnn.core.types import Array, Params

__all__ = ["find_named", "map_named", "read_other_parameters"]


def _name(path) -> str:
    return jax.tree_util.keystr(path[-1:], simple=True) if path else ""


def find_named(params: Params, names: Collection[str], *, by: str) -> dict[str, Array]:
    """Returns the parameters of these names, at any depth, by their paths such as "cell.w_hh".

    Args:
      params: a tree of parameters.
      names: names of fields or keys.
      by: the function the user called, for the message.

    Raises:
      ValueError: a name is that of no parameter.
    """
    leaves = jax.tree.leaves_with_path(params)
    known = {_name(path) for path, _ in leaves}
    missing = [name for name in names if name not in known]
    if missing or not names:
        msg = f"{by}: got names={tuple(names)}; expected some of {', '.join(sorted(known))}"
        raise ValueError(msg)
    return {_path(path): leaf for path, leaf in leaves if _name(path) in names}


def _path(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def map_named(
    params: Params, names: Collection[str], function: Callable[[str, Array], Array]
) -> Params:
    """Replaces the parameters of these names by ``function(path, leaf)``."""

    def replaced(path, leaf):
        return function(_path(path), leaf) if _name(path) in names else leaf

    return jax.tree.map_with_path(replaced, params)


def read_other_parameters(parts: Structure, get: Callable[[Any], Params]) -> Structure:
    """Returns the witness reading ``get(params)``, which is computed outside the loop over time.

    `General` cells become `Separable`, whose `prepare` it is; of a `Linear` cell the readout reads
    it in every step.
    """
    if isinstance(parts, General):
        return Separable(parts.project, parts.step, get)
    return parts.over(get)
