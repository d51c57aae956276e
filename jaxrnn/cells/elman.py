"""The plain recurrent network of Elman (1990), and the IRNN of Le et al. (2015)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "ELMAN",
    "ELMAN_ENTRY",
    "ELMAN_RELU",
    "IRNN_ENTRY",
    "ElmanParams",
    "elman",
    "elman_init",
    "elman_initial_state",
    "elman_project",
    "elman_relu_pointwise",
    "elman_step",
    "elman_tanh_pointwise",
]


class ElmanParams(NamedTuple):
    """Parameters of `elman`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(H, H)``.
      b: ``(H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def elman_init(key, input_size, hidden_size, **options) -> ElmanParams:
    """Makes the parameters of `elman`; the options are those of `init_weights`."""
    w_ih, w_hh = init_weights(key, input_size, hidden_size, gates=1, **options)
    return ElmanParams(w_ih, w_hh, jnp.zeros(hidden_size, w_hh.dtype))


def elman_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def elman_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``."""
    return input_share(params.w_ih, params.b, x, by="elman")


def _elman_weights(params):
    return params.w_hh


def elman_tanh_pointwise(vectors, state, a):
    """Returns ``h' = tanh(a)`` as state and output."""
    del vectors, state
    h = jnp.tanh(a)
    return h, h


def elman_relu_pointwise(vectors, state, a):
    """Returns ``h' = max(a, 0)`` as state and output."""
    del vectors, state
    h = jax.nn.relu(a)
    return h, h


@functools.lru_cache(maxsize=256)
def _structure(activation: Callable[[Array], Array]) -> Gated:
    """Returns one and the same witness for one activation, so that a jit cache can key on it."""

    def elman_pointwise(vectors, state, a):
        del vectors, state
        h = activation(a)
        return h, h

    return Gated(elman_project, _elman_weights, elman_pointwise)


ELMAN = Gated(elman_project, _elman_weights, elman_tanh_pointwise)
ELMAN_RELU = Gated(elman_project, _elman_weights, elman_relu_pointwise)
_ACTIVATIONS = {"tanh": ELMAN, "relu": ELMAN_RELU}
elman_step = ELMAN.step


def elman(
    input_size: int,
    hidden_size: int,
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the plain recurrent cell.

    ``h' = activation(x @ w_ih + h @ w_hh + b)``, ``y = h'``.

    The IRNN of Le et al. is ``elman(I, H, activation="relu", init=initializers.identity(),
    input_init=initializers.normal(0.001))``.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      activation: "tanh", "relu", or an elementwise function of one array.
      init: initializer of `w_hh`, ``(H, H)``; orthogonal if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `ElmanParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, `activation` is neither a name nor a function, or `dtype`
        is not floating.
      ValueError: a size is less than 1, or `activation` is an unknown name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = elman(3, 5, activation="relu")
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      J. Elman, "Finding structure in time", 1990. Q. Le, N. Jaitly, G. Hinton, "A simple way to
      initialize recurrent networks of rectified linear units", 2015.
    """
    if callable(activation):
        structure = _structure(activation)
    elif not isinstance(activation, str):
        msg = f"elman: got activation={activation!r}; expected 'tanh', 'relu' or a function"
        raise TypeError(msg)
    elif activation not in _ACTIVATIONS:
        raise unknown_name("activation", activation, _ACTIVATIONS)
    else:
        structure = _ACTIVATIONS[activation]
    make = sized_init(
        elman_init,
        input_size,
        hidden_size,
        by="elman",
        dtype=dtype,
        init=init,
        input_init=input_init,
    )
    return from_structure(make, elman_initial_state, structure)


def _irnn(input_size: int, hidden_size: int) -> Cell:
    return elman(
        input_size,
        hidden_size,
        activation="relu",
        init=initializers.identity(),
        input_init=initializers.normal(0.001),
    )


ELMAN_ENTRY = CellEntry(
    make=elman,
    paper="Elman 1990, Finding structure in time",
    structure="Gated",
    state="h (H)",
    equations="h' = tanh(x w_ih + h w_hh + b)",
    parameters="H (I + H + 1)",
    defaults="w_ih Glorot uniform, w_hh orthogonal, b = 0",
    provenance="NumPy float64 transcription; torch 2.13 nn.RNN (tanh, relu), values and gradients",
)
IRNN_ENTRY = CellEntry(
    make=_irnn,
    paper="Le et al. 2015, A simple way to initialize recurrent networks of ReLUs",
    structure="Gated",
    state="h (H)",
    equations="h' = max(0, x w_ih + h w_hh + b)",
    parameters="H (I + H + 1)",
    defaults="w_ih normal with std 0.001, w_hh identity, b = 0",
    provenance="NumPy float64 transcription; torch 2.13 nn.RNN (relu), values and gradients",
)
