"""What turns a function of a `Probe` into a law: its name in the message, its precision."""

import functools
from collections.abc import Callable

import jax

from jaxrnn.testing.probe import Probe

__all__ = ["as_given", "in_double", "require", "types"]


def _named(law: Callable[[Probe], None], *, double: bool) -> Callable[[Probe], None]:
    """Puts the law's name before its message, turns errors into failures, sets the precision."""

    @functools.wraps(law)
    def check(probe):
        try:
            if not double:
                return law(probe)
            with jax.enable_x64(True):
                return law(probe.double())
        except AssertionError as error:
            msg = f"{law.__name__}: {error}"
            raise AssertionError(msg) from error
        except Exception as error:
            precision = " in double precision" if double else ""
            msg = (
                f"{law.__name__}: got {type(error).__name__}: {error}; expected no error"
                f"{precision}; probable cause: the cell's functions do not take each other's "
                "results, or do something that JAX cannot trace or differentiate"
            )
            raise AssertionError(msg) from error

    return check


in_double = functools.partial(_named, double=True)
as_given = functools.partial(_named, double=False)


def require(condition: bool, got: str, expected: str, cause: str) -> None:
    """Raises AssertionError with all three parts unless the condition holds."""
    if not condition:
        msg = f"got {got}; expected {expected}; probable cause: {cause}"
        raise AssertionError(msg)


def types(tree) -> str:
    """Describes the dtypes and shapes of a tree."""
    leaves = jax.tree.leaves_with_path(tree)
    parts = [f"{jax.tree_util.keystr(p)}: {x.dtype}{list(x.shape)}" for p, x in leaves]
    return "{" + ", ".join(parts) + "}"
