"""Weights gate by gate, and which cells have what others call by the same name."""

import jax.numpy as jnp

from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Unavailable
from jaxrnn.core.types import Array, Params

__all__ = ["GATES", "joined", "pick_layer", "second_bias", "split_gates"]

GATES = {"lstm": 4, "gru": 3, "elman": 1}


def pick_layer(problem: Problem, layers: dict[str, str], *, owner: object):
    """Returns another library's class for the problem's cell.

    Args:
      problem: the problem.
      layers: from names of CELLS to names of the class.
      owner: the module that holds the classes.

    Returns:
      The class.

    Raises:
      Unavailable: there is none.
    """
    if problem.kind not in layers:
        msg = f"it has no {problem.kind} with these equations"
        raise Unavailable(msg)
    return getattr(owner, layers[problem.kind])


def split_gates(kind: str, params: Params) -> list[list[Array]]:
    """Returns ``w_ih``, ``w_hh`` and ``b``, each as a list of its gates."""
    return [jnp.split(leaf, GATES[kind], axis=-1) for leaf in params[:3]]


def joined(parts: list[Array], order) -> Array:
    """Puts gates side by side in another order."""
    return jnp.concatenate([parts[index] for index in order], axis=-1)


def second_bias(kind: str, params: Params) -> Array:
    """Returns the bias that some libraries add to the recurrent share; only a GRU needs one."""
    zeros = jnp.zeros_like(params.b)
    if kind != "gru":
        return zeros
    return zeros.at[-len(params.b_hn) :].set(params.b_hn)
