"""What the readers of all frameworks share: loading it, naming a wrong model, the initial carry."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.types import InitFn, Input, Output, Params, State

__all__ = [
    "MissingParametersError",
    "cell_of_carry",
    "init_of",
    "load_framework",
    "parameter_dtype",
    "reader_of",
    "wrong_model",
]

# From the module that a class is defined in to the function that reads its instances.
_READERS = {
    "flax.linen": "from_flax",
    "flax.nnx": "from_nnx",
    "haiku": "from_haiku",
    "equinox": "from_equinox",
    "torch": "from_torch",
}
_PACKAGES = {"flax": "flax", "haiku": "dm-haiku", "equinox": "equinox"}


class MissingParametersError(ValueError):
    """A model asks for parameters that are not there, whatever the size of its inputs."""


def load_framework(module: str, *, by: str):
    """Imports a module of another framework.

    Args:
      module: such as ``flax.linen``.
      by: the function the user called, for the message.

    Returns:
      The module.

    Raises:
      ImportError: the framework is not installed.
    """
    name = module.partition(".")[0]
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # the framework is there, and something that it needs is not
        package = _PACKAGES[name]
        msg = f"{by}: got no {name}; expected it to be installed; use pip install {package}"
        raise ImportError(msg) from error
    return importlib.import_module(module)


def reader_of(model: Any) -> tuple[str, str] | None:
    """Returns the framework's module that a model is of, and the name of its reader; or None."""
    for base in type(model).__mro__:
        for module, reader in _READERS.items():
            if f"{base.__module__}.".startswith(f"{module}."):
                return module, reader
    return None


def wrong_model(got: Any, expected: str, *, by: str) -> TypeError:
    """Makes the error for a model of a wrong type; it names the function that reads that type.

    Args:
      got: what the user passed.
      expected: what the function reads.
      by: the function the user called.

    Returns:
      The error, to be raised by the caller.

    Example:
      >>> wrong_model(3, "an instance of flax.linen.RNNCellBase", by="from_flax")
      TypeError('from_flax: got int 3; expected an instance of flax.linen.RNNCellBase')
    """
    if isinstance(got, type):
        what, hint = f"the class {got.__name__}", f"; make one first, as in {got.__name__}(...)"
    else:
        what, hint = f"{type(got).__name__} {' '.join(repr(got).split()):.60}", ""
    if isinstance(got, Cell):
        hint = "; a jaxrnn.Cell needs no reader"
    found = reader_of(got)
    if found is not None and found[1] != by:
        hint = f"; jaxrnn.interop.{found[1]} reads modules of {found[0]}"
    return TypeError(f"{by}: got {what}; expected {expected}{hint}")


def parameter_dtype(params: Params):
    """Returns the dtype that the floating leaves of `params` promote to."""
    floats = [leaf.dtype for leaf in jax.tree.leaves(params) if _is_float(leaf)]
    return jnp.result_type(*floats) if floats else jnp.result_type(float)


def init_of(params: Params) -> InitFn:
    """Returns the `init` of a model that exists: it gives these parameters for every key."""

    def init(key):
        del key
        return params

    return init


def _is_float(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _types(tree) -> list[Any]:
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def _shapes(tree) -> list[Any]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def _settle(step, params: Params, carry: State, x: Any) -> State:
    """Gives a carry the floating dtypes that a step gives it; unchanged where there are none."""
    first = carry
    for _ in range(len(jax.tree.leaves(carry)) + 1):
        after = jax.eval_shape(step, params, carry, x)[0]
        if jax.tree.structure(after) != jax.tree.structure(carry) or (
            _shapes(after) != _shapes(carry)
        ):
            return first  # an unroll says what is wrong with it
        if _types(after) == _types(carry):
            return carry
        carry = jax.tree.map(
            lambda leaf, new: leaf.astype(new.dtype) if _is_float(leaf) else leaf, carry, after
        )
    return first


def _listed(sizes: Iterable[int], word: str) -> str:
    return f" {word} of ".join(map(str, sorted(sizes)))


def _find_features(runs: Callable[[int], None], params: Params, *, by: str) -> int:
    """Returns the one number of input features that a cell runs on.

    It is a size in `params`, or the difference of two: the input may stand beside the state.
    """
    sizes = {size for leaf in jax.tree.leaves(params) for size in leaf.shape}
    candidates = sizes | {one - other for one in sizes for other in sizes if one > other}
    fits, last = [], None
    for size in sorted(candidates):
        try:
            runs(size)
        except MissingParametersError:
            raise
        except Exception as error:  # frameworks raise errors of their own kinds
            last = error
        else:
            fits.append(size)
    if len(fits) == 1:
        return fits[0]
    if fits:
        found = f"a cell that runs on inputs of {_listed(fits, 'and')} features"
        remedy = f"pass the right one, as in input_shape=({fits[0]},)"
    else:
        found = f"a cell that does not run on inputs of {_listed(candidates, 'or')} features"
        remedy = (
            "if the error above does not say what is wrong, pass the shape of one input without "
            "batch axes, as in input_shape=(3,)"
        )
    msg = f"{by}: got {found}; expected one size of inputs to fit; {remedy}"
    raise ValueError(msg) from last


def cell_of_carry(
    step: Callable[[Params, State, Input], tuple[State, Output]],
    make_carry: Callable[[Params, tuple[int, ...]], State],
    params: Params,
    *,
    input_shape: tuple[int, ...] | None,
    input_ndim: int,
    by: str,
) -> Cell:
    """Makes a cell of a step and of a function that makes the carry for inputs of some shape.

    Args:
      step: ``(params, carry, x) -> (carry, y)``, pure, for any batch axes.
      make_carry: ``(params, shape) -> carry``; the shape is that of one input, ``(*batch, F)``.
      params: what ``cell.init`` returns, whatever the key.
      input_shape: shape of one input without batch axes. If None it is found: of all sizes in
        `params`, and differences of two, the one number of features that the step runs on.
      input_ndim: number of feature axes, where `input_shape` is None.
      by: the function the user called, for the messages.

    Returns:
      A cell without structure. Its initial state is the carry, in the dtypes that a step on inputs
      of the parameters' dtype returns: cast parameters give a cast carry.

    Raises:
      TypeError: `input_shape` is no tuple.
      ValueError: no size fits, or several do, or there is more than one feature axis.

    Example:
      >>> def step(params, h, x):
      ...     h = jnp.tanh(x @ params["w"] + h @ params["u"])
      ...     return h, h
      >>> def make_carry(params, shape):
      ...     return jnp.zeros((*shape[:-1], 4))
      >>> params = {"w": jnp.ones((3, 4)), "u": jnp.ones((4, 4))}
      >>> cell = cell_of_carry(
      ...     step, make_carry, params, input_shape=None, input_ndim=1, by="example")
      >>> cell.initial_state(params, (2, 5)).shape
      (2, 5, 4)
    """

    def example(params, batch_shape, features) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*batch_shape, *features), parameter_dtype(params))

    def start(params, batch_shape, features):
        x = example(params, batch_shape, features)
        carry = jax.tree.map(jnp.asarray, make_carry(params, x.shape))
        return _settle(step, params, carry, x)

    def runs(size: int) -> None:
        jax.eval_shape(
            lambda params, x: step(params, start(params, (), (size,)), x),
            params,
            example(params, (), (size,)),
        )

    if input_shape is None:
        if input_ndim != 1:
            msg = (
                f"{by}: got a cell with {input_ndim} feature axes and no input_shape; expected the "
                "shape of one input without batch axes; pass it, as in input_shape=(8, 8, 3)"
            )
            raise ValueError(msg)
        input_shape = (_find_features(runs, params, by=by),)
    if not isinstance(input_shape, tuple):
        msg = (
            f"{by}: got input_shape={input_shape!r} ({type(input_shape).__name__}); expected a "
            "tuple, the shape of one input without batch axes, as in input_shape=(3,)"
        )
        raise TypeError(msg)

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return start(params, tuple(batch_shape), input_shape)

    return Cell(init_of(params), initial_state, step, input_ndim=len(input_shape))
