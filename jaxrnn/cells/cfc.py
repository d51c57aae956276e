"""The closed-form continuous-time cell: time stands in the gate, so no solver is needed."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.irregular import features_and_dt
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size, unknown_name
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "CFC",
    "CFC_ENTRY",
    "CfCParams",
    "cfc",
    "cfc_default_heads",
    "cfc_init",
    "cfc_initial_state",
    "cfc_no_gate_heads",
    "cfc_project",
    "cfc_pure_heads",
    "cfc_recur",
    "cfc_step",
    "lecun_tanh",
]


class CfCParams(NamedTuple):
    """Parameters of `cfc`; U units in the backbone.

    Attributes:
      w_ih: ``(I, U)``.
      w_hh: ``(H, U)``.
      b: ``(U,)``.
      layers: a pair ``(U, U)``, ``(U,)`` for each layer of the backbone after the first.
      w_out: ``(U, 4 H)``, side by side g, k, f, f_0; ``(U, H)`` for "pure".
      b_out: ``(4 H,)``; ``(H,)`` for "pure".
      w_tau: ``(H,)``, the leak; None but for "pure".
      a: ``(H,)``, the rest; None but for "pure".
    """

    w_ih: Array
    w_hh: Array
    b: Array
    layers: tuple[tuple[Array, Array], ...]
    w_out: Array
    b_out: Array
    w_tau: Array | None
    a: Array | None


def cfc_init(
    key, input_size, hidden_size, *, mode, units, num_layers, init=None, dtype=None
) -> CfCParams:
    """Makes the parameters of `cfc`."""
    dtype = initializers.float_dtype(dtype)
    k_in, k_out, k_tau, *k_layers = jax.random.split(key, 2 + num_layers)
    heads = 1 if mode == "pure" else 4
    inner, outer = init or initializers.glorot_uniform(), init or initializers.glorot_uniform(heads)
    w = inner(k_in, (input_size + hidden_size, units), dtype)
    zeros = functools.partial(jnp.zeros, dtype=dtype)
    bound = (6 / (1 + hidden_size)) ** 0.5
    pure = mode == "pure"
    return CfCParams(
        w_ih=w[:input_size],
        w_hh=w[input_size:],
        b=zeros(units),
        layers=tuple((inner(k, (units, units), dtype), zeros(units)) for k in k_layers),
        w_out=outer(k_out, (units, heads * hidden_size), dtype),
        b_out=zeros(heads * hidden_size),
        w_tau=jax.random.uniform(k_tau, (hidden_size,), dtype, -bound, bound) if pure else None,
        a=jnp.ones(hidden_size, dtype) if pure else None,
    )


def cfc_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def cfc_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, U)``, and dt: 1 if x has none."""
    features, dt = features_and_dt(x, by="cfc")
    share = input_share(params.w_ih, params.b, features, by="cfc")
    return share, jnp.ones((), share.dtype) if dt is None else dt


def lecun_tanh(x):
    """Returns ``1.7159 tanh(0.666 x)``."""
    return 1.7159 * jnp.tanh(0.666 * x)


def _gate(heads, dt):
    g, k, f, f_0 = jnp.split(heads, 4, axis=-1)
    return jnp.tanh(g), jnp.tanh(k), jax.nn.sigmoid(f * dt + f_0)


def cfc_default_heads(params, heads, dt):
    """Goes from g to k as time passes: ``(1 - s) g + s k``, ``s = sigmoid(f dt + f_0)``."""
    del params
    g, k, s = _gate(heads, dt)
    return (1 - s) * g + s * k


def cfc_no_gate_heads(params, heads, dt):
    """Adds k as time passes: ``g + s k``, ``s = sigmoid(f dt + f_0)``."""
    del params
    g, k, s = _gate(heads, dt)
    return g + s * k


def cfc_pure_heads(params, f, dt):
    """Returns the approximate solution itself: ``A - A exp(-dt (|w_tau| + |f|)) f``."""
    return params.a - params.a * jnp.exp(-dt * (jnp.abs(params.w_tau) + jnp.abs(f))) * f


def cfc_recur(params, h, z, *, activation, heads):
    """Takes the state through the backbone, and the heads to the new state."""
    share, dt = z
    u = activation(share + h @ params.w_hh)
    for w, b in params.layers:
        u = activation(u @ w + b)
    h = heads(params, u @ params.w_out + params.b_out, dt)
    return h, h


_MODES = {"default": cfc_default_heads, "pure": cfc_pure_heads, "no_gate": cfc_no_gate_heads}
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "lecun_tanh": lecun_tanh,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
}


@functools.lru_cache(maxsize=256)
def _structure(mode: str, activation: str) -> Separable:
    """Returns one and the same witness for the same names, so that a jit cache can key on it."""
    functions = {"activation": _ACTIVATIONS[activation], "heads": _MODES[mode]}
    return Separable(cfc_project, functools.partial(cfc_recur, **functions))


CFC = _structure("default", "lecun_tanh")
cfc_step = CFC.step


def cfc(
    input_size: int,
    hidden_size: int,
    *,
    mode: str = "default",
    backbone_units: int = 128,
    backbone_layers: int = 1,
    activation: str = "lecun_tanh",
    init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the closed-form continuous-time cell (CfC).

    ::

        u  = activation(x w_ih + h w_hh + b)              the backbone, one layer or more
        g, k = tanh(u W + b_g), tanh(u W + b_k)
        s  = sigmoid(dt (u W + b_f) + (u W + b_0))        f and f_0
        h' = (1 - s) * g + s * k                          mode="default"
        h' = g + s * k                                    mode="no_gate"
        h' = A - A exp(-dt (|w_tau| + |f|)) f             mode="pure", with f = u W + b_f alone
        y  = h'

    The input is x, or a pair ``(x, dt)`` with the time since the last step, ``(*batch, 1)``; dt is
    1 for a plain x. The authors' code gives the gate the second head f_0, which the paper's
    equation has not; it is followed here.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      mode: "default", "no_gate" or "pure".
      backbone_units: U, the width of the backbone.
      backbone_layers: its number of layers.
      activation: in the backbone: "lecun_tanh", ``1.7159 tanh(0.666 u)``; "tanh", "relu", "silu" or
        "gelu".
      init: initializer of all matrices; Glorot uniform, x and h as one input, if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `CfCParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size is less than 1, or `mode` or `activation` is another name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = cfc(3, 5, backbone_units=8)
      >>> params = cell.init(jax.random.key(0))
      >>> x = jnp.ones((2, 3)), jnp.array([[0.5], [2.0]])
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), x)
      >>> y.shape
      (2, 5)

    Reference:
      R. Hasani, M. Lechner, A. Amini, L. Liebenwein, A. Ray, M. Tschaikowski, G. Teschl, D. Rus,
      "Closed-form continuous-time neural networks", 2022, equation 10 (the pure form: equation 2).
    """
    if mode not in _MODES:
        raise unknown_name("mode", mode, _MODES)
    if activation not in _ACTIVATIONS:
        raise unknown_name("activation", activation, _ACTIVATIONS)
    make = sized_init(
        cfc_init,
        input_size,
        hidden_size,
        by="cfc",
        dtype=dtype,
        mode=mode,
        units=check_size("backbone_units", backbone_units, by="cfc"),
        num_layers=check_size("backbone_layers", backbone_layers, by="cfc"),
        init=init,
    )
    return from_structure(make, cfc_initial_state, _structure(mode, activation))


CFC_ENTRY = CellEntry(
    make=cfc,
    paper="Hasani et al. 2022, Closed-form continuous-time neural networks",
    structure="Separable",
    state="h (H)",
    equations=(
        "u = lecun_tanh(x w_ih + h w_hh + b)\n"
        "g, k = tanh(u W + b)\n"
        "s = sigmoid(dt (u W_f + b_f) + u W_0 + b_0)\n"
        "h' = (1 - s) * g + s * k"
    ),
    parameters="128 (I + H + 1) + 4 H (128 + 1)",
    defaults="matrices Glorot uniform, biases 0; one backbone layer of 128 units; dt = 1",
    provenance="ncps 1.0.1 CfCCell on torch 2.13, values and gradients",
)
