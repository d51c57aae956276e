"""Cores written in haiku, as cells of this library."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import check_size
from jaxrnn.core.trees import batch_shape_of
from jaxrnn.core.types import InitialStateFn, Params
from jaxrnn.interop.foreign import init_of, load_framework, reader_of, wrong_model

__all__ = ["from_haiku"]

_MAKER = "a function that makes the core, as in lambda: hk.LSTM(16)"


def _missing(error: ValueError, params: Mapping) -> ValueError:
    found = re.search(r"for module '([^']+)'", str(error))
    missing = found[1] if found else "lstm/linear"
    name = next((name for name in params if name.endswith(f"/{missing}")), f"net/~/{missing}")
    msg = (
        f"from_haiku: got parameters of the modules {sorted(params)}; expected those of the core "
        f"made alone: {error}; rename the modules, as in {{{missing!r}: params[{name!r}]}}, or "
        "pass a transformed step of the model that they are of"
    )
    return ValueError(msg)


def _of_transformed(transformed: Any, initial_state: InitialStateFn | None):
    """Returns ``(params, x, state) -> (y, state)`` and the initial state of a transformed step."""
    takes = inspect.signature(transformed.init)  # that of apply shows no argument named state
    try:
        takes.bind("rng", "x", "state")
    except TypeError as error:
        arguments = ", ".join(list(takes.parameters)[1:])
        msg = (
            f"from_haiku: got a transformed function of ({arguments}); expected one step, of "
            "(x, state); transform the step, not what runs it over a sequence, as in "
            f"hk.transform(lambda x, state: hk.LSTM(16)(x, state)), or pass {_MAKER}"
        )
        raise TypeError(msg) from error
    if initial_state is None:
        msg = (
            "from_haiku: got a transformed step without initial_state; expected to know the state "
            "that it starts from; pass initial_state=lambda params, batch_shape=(): ... or, in "
            f"place of the step, {_MAKER}"
        )
        raise TypeError(msg)
    if "rng" not in inspect.signature(transformed.apply).parameters:
        return transformed.apply, initial_state
    return lambda params, x, state: transformed.apply(params, None, x, state), initial_state


def _of_maker(hk: Any, make_core: Callable[[], Any]):
    """Returns the same of a function that makes a core."""

    def core():
        made = make_core()
        if not (callable(made) and hasattr(made, "initial_state")):
            raise wrong_model(made, f"a haiku.RNNCore from {_MAKER}", by="from_haiku")
        return made

    stepped = hk.without_apply_rng(hk.transform(lambda x, state: core()(x, state)))
    started = hk.without_apply_rng(hk.transform(lambda size: core().initial_state(size)))

    def initial_state(params, batch_shape=()):
        state = started.apply(params, math.prod(batch_shape))
        return jax.tree.map(lambda leaf: leaf.reshape(*batch_shape, *leaf.shape[1:]), state)

    return stepped.apply, initial_state


def from_haiku(
    make_core: Callable[[], Any] | Any,
    params: Params,
    *,
    initial_state: InitialStateFn | None = None,
    input_ndim: int = 1,
) -> tuple[Cell, Params]:
    """Reads a haiku core with its parameters.

    Args:
      make_core: a function of no arguments that makes the ``haiku.RNNCore``, as in
        ``lambda: hk.LSTM(16)``; it is called inside ``haiku.transform``. Or a step that is
        transformed already, ``hk.transform(lambda x, state: ...)``, which returns ``(y, state)``
        and uses no random numbers: a step of a larger model, whose parameters keep their names.
      params: parameters by module and name, as ``init`` of a transformed function returns them.
        For `make_core` they have the names that the core has where it stands alone,
        ``{"lstm/linear": {"w": ..., "b": ...}}``: inside another module it has longer ones.
      initial_state: ``(params, batch_shape=()) -> state`` as in `Cell`; needed for a transformed
        step, that of the core if not given.
      input_ndim: number of feature axes of a float input, more than 1 for images.

    Returns:
      The cell, of `General` structure, and its parameters: `params`, with arrays as leaves. Its
      state is haiku's, for an LSTM ``LSTMState(hidden, cell)``; the initial one is that of the
      core, in JAX's default dtype as haiku makes it. The core always sees one batch axis, to
      which all batch axes are joined. Its ``init`` returns these parameters for every key.

    Raises:
      ImportError: haiku is not installed.
      TypeError: `make_core` makes no core or is no step, `params` is no mapping, or
        `initial_state` is missing.
      ValueError: the core asks for parameters that are not there (seen when the cell is run).

    Example:
      >>> import haiku as hk
      >>> import jaxrnn
      >>> def run(xs):
      ...     core = hk.LSTM(16)
      ...     return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
      >>> params = hk.transform(run).init(jax.random.key(0), jnp.ones((7, 2, 3)))
      >>> cell, params = from_haiku(lambda: hk.LSTM(16), params)
      >>> (hidden, memory), ys = jaxrnn.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 16)
    """
    hk = load_framework("haiku", by="from_haiku")
    if not isinstance(params, Mapping):
        msg = (
            f"from_haiku: got params of type {type(params).__name__}; expected a mapping from "
            "names of modules to parameters; pass what init of the transformed function returned"
        )
        raise TypeError(msg)
    check_size("input_ndim", input_ndim, by="from_haiku")
    if isinstance(make_core, hk.Transformed):
        apply, start = _of_transformed(make_core, initial_state)
    elif callable(make_core) and reader_of(make_core) is None:
        apply, start = _of_maker(hk, make_core)
        start = start if initial_state is None else initial_state
    else:
        raise wrong_model(make_core, _MAKER, by="from_haiku")
    params = jax.tree.map(jnp.asarray, params)

    def step(params, state, x):
        batch = batch_shape_of(x, input_ndim)
        size = math.prod(batch)
        state, x = jax.tree.map(
            lambda leaf: leaf.reshape(size, *leaf.shape[len(batch) :]), (state, x)
        )
        try:
            y, state = apply(params, x, state)
        except ValueError as error:
            if "Unable to retrieve parameter" not in str(error):
                raise
            raise _missing(error, params) from error
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), (state, y))

    jax.eval_shape(start, params)  # what is no core is seen here
    return Cell(init_of(params), start, step, input_ndim=input_ndim), params
