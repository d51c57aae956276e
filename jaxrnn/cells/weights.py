"""How a cell's parameters are made, as far as cells have it in common."""

import functools
from collections.abc import Callable

import jax

from jaxrnn.core import initializers
from jaxrnn.core.checks import check_size
from jaxrnn.core.types import Array, InitFn, Key

__all__ = ["init_blocks", "init_weights", "sized_init"]


def init_blocks(
    key: Key,
    input_size: int,
    hidden_size: int,
    *,
    inputs: int,
    recurrent: int,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> tuple[Array, Array]:
    """Draws both matrices of a cell of which some parts see the input alone.

    Args:
      key: the key.
      input_size: I.
      hidden_size: H.
      inputs: G, the number of blocks of the input matrix.
      recurrent: R, the number of blocks of the recurrent matrix.
      init: of the recurrent matrix; orthogonal per block if not given.
      input_init: of the input matrix; Glorot uniform per block if not given.
      dtype: of both; JAX's default floating dtype if not given.

    Returns:
      ``(I, G * H)`` and ``(H, R * H)``.
    """
    init = initializers.orthogonal() if init is None else init
    input_init = initializers.glorot_uniform(inputs) if input_init is None else input_init
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh = jax.random.split(key)
    w_ih = input_init(k_ih, (input_size, inputs * hidden_size), dtype)
    return w_ih, init(k_hh, (hidden_size, recurrent * hidden_size), dtype)


def init_weights(
    key: Key, input_size: int, hidden_size: int, *, gates: int, **options
) -> tuple[Array, Array]:
    """Draws the input matrix and the recurrent matrix of a cell whose gates all see both.

    Args:
      key: the key.
      input_size: I.
      hidden_size: H.
      gates: G, the number of blocks side by side.
      **options: `init`, `input_init` and `dtype`, as of `init_blocks`.

    Returns:
      ``(I, G * H)`` and ``(H, G * H)``.
    """
    return init_blocks(key, input_size, hidden_size, inputs=gates, recurrent=gates, **options)


def sized_init(
    function: Callable, input_size: int, hidden_size: int, *, by: str, dtype=None, **options
) -> InitFn:
    """Makes a cell's ``init(key)`` from ``function(key, input_size, hidden_size, ...)``.

    Args:
      function: makes the parameters.
      input_size: I, checked here.
      hidden_size: H, checked here.
      by: the factory's name, for the messages.
      dtype: of the parameters, or None; checked here.
      **options: handed on to `function`.

    Returns:
      The ``init``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.
    """
    for name in ("init", "input_init"):
        value = options.get(name)
        if value is not None and not callable(value):
            msg = (
                f"{by}: got {name}={value!r}; expected a function (key, shape, dtype) -> array; "
                "jaxrnn.initializers has some, such as identity()"
            )
            raise TypeError(msg)
    options["input_size"] = check_size("input_size", input_size, by=by)
    options["hidden_size"] = check_size("hidden_size", hidden_size, by=by)
    options["dtype"] = None if dtype is None else initializers.float_dtype(dtype)
    try:
        return _bind(function, tuple(options.items()))
    except TypeError:  # an option that cannot be hashed, such as an array
        return functools.partial(function, **options)


@functools.lru_cache(maxsize=1024)
def _bind(function: Callable, options: tuple) -> InitFn:
    """Binds options; equal calls give one function, so that cells made alike are equal."""
    return functools.partial(function, **dict(options))
