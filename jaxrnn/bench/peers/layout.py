"""Which cells have what others call by the same name."""

from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Unavailable

__all__ = ["pick_layer"]


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
