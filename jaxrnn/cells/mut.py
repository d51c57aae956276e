"""The three best mutations of the gated recurrent unit that an evolutionary search found."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "MUT1",
    "MUT1_ENTRY",
    "MUT2",
    "MUT2_ENTRY",
    "MUT3",
    "MUT3_ENTRY",
    "MUTParams",
    "mut1",
    "mut1_project",
    "mut1_recur",
    "mut1_step",
    "mut2",
    "mut2_project",
    "mut2_recur",
    "mut2_step",
    "mut3",
    "mut3_project",
    "mut3_recur",
    "mut3_step",
    "mut_init",
    "mut_initial_state",
]


class MUTParams(NamedTuple):
    """Parameters of `mut1`, `mut2` and `mut3`; gates side by side in the order z, r, h.

    Attributes:
      w_ih: ``(I, 3 H)``.
      w_hh: ``(H, 3 H)``; ``(H, 2 H)`` for `mut1`, whose z does not see the state: r, h.
      b: ``(3 H,)``.
    """

    w_ih: Array
    w_hh: Array
    b: Array


def mut_init(
    key, input_size, hidden_size, *, gates, raw=None, init=None, input_init=None, dtype=None
) -> MUTParams:
    """Makes the parameters of a mutation.

    Args:
      key: the key.
      input_size: I.
      hidden_size: H.
      gates: number of blocks of `w_hh`.
      raw: the block of `w_ih` that stands before an x which the paper leaves as it is.
      init: of `w_hh`.
      input_init: of `w_ih`.
      dtype: of all.
    """
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh = jax.random.split(key)
    w_ih = (input_init or initializers.glorot_uniform(3))(
        k_ih, (input_size, 3 * hidden_size), dtype
    )
    if input_init is None and raw is not None and input_size == hidden_size:
        block = slice(raw * hidden_size, (raw + 1) * hidden_size)
        w_ih = w_ih.at[:, block].set(jnp.eye(hidden_size, dtype=dtype))
    w_hh = (init or initializers.orthogonal())(k_hh, (hidden_size, gates * hidden_size), dtype)
    return MUTParams(w_ih, w_hh, jnp.zeros(3 * hidden_size, dtype))


def mut_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def mut1_project(params, x):
    """Returns the shares of z, r and the candidate, ``tanh(x W_h) + b_h``, ``(*batch, 3 H)``."""
    share = input_share(params.w_ih, jnp.zeros((), params.w_ih.dtype), x, by="mut1")
    gates, h = jnp.split(share, [2 * params.w_hh.shape[0]], axis=-1)
    return jnp.concatenate([gates, jnp.tanh(h)], axis=-1) + params.b


def mut2_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return input_share(params.w_ih, params.b, x, by="mut2")


def mut3_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, 3 H)``."""
    return input_share(params.w_ih, params.b, x, by="mut3")


def _gates_and_candidate(params):
    hidden_size, width = params.w_hh.shape
    return jnp.split(params.w_hh, [width - hidden_size], axis=-1)


def _blocks(params):
    return jnp.split(params.w_hh, 3, axis=-1)


def _update(h, z, r, share, u_h):
    h = jnp.tanh((r * h) @ u_h + share) * z + h * (1 - z)
    return h, h


def mut1_recur(weights, h, share):
    """Takes the step of `mut1` from the input's `share`, ``(*batch, 3 H)``."""
    u_r, u_h = weights
    z, r, share = jnp.split(share, 3, axis=-1)
    return _update(h, jax.nn.sigmoid(z), jax.nn.sigmoid(r + h @ u_r), share, u_h)


def mut2_recur(weights, h, share):
    """Takes the step of `mut2` from the input's `share`, ``(*batch, 3 H)``."""
    u, u_h = weights
    gates, share = jnp.split(share, [u.shape[-1]], axis=-1)
    z, r = jnp.split(jax.nn.sigmoid(gates + h @ u), 2, axis=-1)
    return _update(h, z, r, share, u_h)


def mut3_recur(weights, h, share):
    """Takes the step of `mut3` from the input's `share`, ``(*batch, 3 H)``."""
    u_z, u_r, u_h = weights
    z, r, share = jnp.split(share, 3, axis=-1)
    z = jax.nn.sigmoid(z + jnp.tanh(h) @ u_z)
    return _update(h, z, jax.nn.sigmoid(r + h @ u_r), share, u_h)


MUT1 = Separable(mut1_project, mut1_recur, _gates_and_candidate)
MUT2 = Separable(mut2_project, mut2_recur, _gates_and_candidate)
MUT3 = Separable(mut3_project, mut3_recur, _blocks)
mut1_step, mut2_step, mut3_step = MUT1.step, MUT2.step, MUT3.step


def mut1(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the first mutation of the GRU: its update gate does not see the state.

    ::

        z = sigmoid(x W_z + b_z)
        r = sigmoid(x W_r + h U_r + b_r)
        h' = tanh((r * h) U_h + tanh(x W_h) + b_h) * z + h * (1 - z),  y = h'

    The paper writes tanh(x), which asks for inputs as large as the state. Here a matrix W_h stands
    before x; if I = H it begins as the identity, and the cell as published.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, 2 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; if not given Glorot uniform per block, but
        the identity for W_h where I = H.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `MUTParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = mut1(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent network
      architectures", 2015, MUT1.
    """
    options = {"gates": 2, "raw": 2, "init": init, "input_init": input_init}
    make = sized_init(mut_init, input_size, hidden_size, by="mut1", dtype=dtype, **options)
    return from_structure(make, mut_initial_state, MUT1)


def mut2(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the second mutation of the GRU: its reset gate adds the input as it is.

    ::

        z = sigmoid(x W_z + h U_z + b_z)
        r = sigmoid(x W_r + h U_r + b_r)
        h' = tanh((r * h) U_h + x W_h + b_h) * z + h * (1 - z),  y = h'

    The paper writes x in place of x W_r, which asks for inputs as large as the state. Here, if
    I = H, W_r begins as the identity, and the cell as published; with any other W_r it is
    ``gru(reset="before")`` with 1 - z for z.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, 3 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; if not given Glorot uniform per block, but
        the identity for W_r where I = H.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `MUTParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = mut2(3, 3)
      >>> params = cell.init(jax.random.key(0))
      >>> params.w_ih[:, 3:6].tolist()
      [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 3)

    Reference:
      R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent network
      architectures", 2015, MUT2.
    """
    options = {"gates": 3, "raw": 1, "init": init, "input_init": input_init}
    make = sized_init(mut_init, input_size, hidden_size, by="mut2", dtype=dtype, **options)
    return from_structure(make, mut_initial_state, MUT2)


def mut3(
    input_size: int,
    hidden_size: int,
    *,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the third mutation of the GRU: its update gate sees tanh of the state.

    ::

        z = sigmoid(x W_z + tanh(h) U_z + b_z)
        r = sigmoid(x W_r + h U_r + b_r)
        h' = tanh((r * h) U_h + x W_h + b_h) * z + h * (1 - z),  y = h'

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      init: initializer of `w_hh`, ``(H, 3 H)``; orthogonal per block if not given.
      input_init: initializer of `w_ih`, ``(I, 3 H)``; Glorot uniform per block if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `MUTParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = mut3(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 5)

    Reference:
      R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent network
      architectures", 2015, MUT3.
    """
    options = {"gates": 3, "init": init, "input_init": input_init}
    make = sized_init(mut_init, input_size, hidden_size, by="mut3", dtype=dtype, **options)
    return from_structure(make, mut_initial_state, MUT3)


def _entry(make: Callable, name: str, gates: str, candidate: str, size: int, first: str):
    number = name[-1]
    return CellEntry(
        make=make,
        paper=f"Jozefowicz et al. 2015, An empirical exploration of RNN architectures, {name}",
        structure="Separable",
        state="h (H)",
        equations=(
            f"{gates}\nr = sigmoid(x W_r + h U_r + b_r)\n"
            f"h' = tanh((r * h) U_h + {candidate} + b_h) * z + h * (1 - z)"
        ),
        parameters=f"H (3 I + {size} H + 3)",
        defaults=f"w_ih Glorot uniform per block{first}, w_hh orthogonal per block, b = 0",
        provenance=f"torchrecurrent 0.2.5 MUT{number}Cell, values and gradients",
    )


_FULL = "z = sigmoid(x W_z + h U_z + b_z)"
_IDENTITY = " ({} the identity if I = H)"
MUT1_ENTRY = _entry(
    mut1, "MUT1", "z = sigmoid(x W_z + b_z)", "tanh(x W_h)", 2, _IDENTITY.format("W_h")
)
MUT2_ENTRY = _entry(mut2, "MUT2", _FULL, "x W_h", 3, _IDENTITY.format("W_r"))
MUT3_ENTRY = _entry(mut3, "MUT3", _FULL.replace("h U_z", "tanh(h) U_z"), "x W_h", 3, "")
