"""The continuous-time leaky network: a differential equation with a time constant, by Euler."""

import functools
import math
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.cells.constants import check_number
from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.gates import add_to_first, recurrent_matrix
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.irregular import features_and_dt
from jaxrnn.cells.weights import init_weights, sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.structure import Gated
from jaxrnn.core.types import Array

__all__ = [
    "CT_RNN",
    "CT_RNN_ENTRY",
    "CTRNNParams",
    "ct_rnn",
    "ct_rnn_init",
    "ct_rnn_initial_state",
    "ct_rnn_pointwise",
    "ct_rnn_project",
    "ct_rnn_step",
]


class CTRNNParams(NamedTuple):
    """Parameters of `ct_rnn`.

    Attributes:
      w_ih: ``(I, H)``.
      w_hh: ``(H, H)``.
      b: ``(H,)``.
      log_tau: ``(H,)``, the logarithm of each unit's time constant; None if tau is not learnt.
    """

    w_ih: Array
    w_hh: Array
    b: Array
    log_tau: Array | None


def ct_rnn_init(key, input_size, hidden_size, *, tau=5.0, learn_tau=False, **options):
    """Makes the parameters of `ct_rnn`; the other options are those of `init_weights`."""
    w_ih, w_hh = init_weights(key, input_size, hidden_size, gates=1, **options)
    zeros = jnp.zeros(hidden_size, w_hh.dtype)
    return CTRNNParams(w_ih, w_hh, zeros, zeros + math.log(tau) if learn_tau else None)


def ct_rnn_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, params.w_hh.shape[0]), params.w_hh.dtype)


def ct_rnn_project(params, x):
    """Returns ``x @ w_ih + b``, ``(*batch, H)``; for x with dt, dt for every unit stands behind."""
    features, dt = features_and_dt(x, by="ct_rnn")
    share = input_share(params.w_ih, params.b, features, by="ct_rnn")
    if dt is None:
        return share
    return jnp.concatenate([share, jnp.broadcast_to(dt, share.shape)], axis=-1)


def ct_rnn_pointwise(per_tau, h, a, *, dt):
    """Takes one Euler step; `a` is ``(*batch, H)``, or ``2 H`` with the time since the last."""
    a, given = jnp.split(a, [h.shape[-1]], axis=-1)
    step = given if given.shape[-1] else dt
    h = h + step * per_tau * (jnp.tanh(a) - h)
    return h, h


@functools.lru_cache(maxsize=256)
def _structure(tau: float, dt: float) -> Gated:
    """Returns one and the same witness for the same numbers, so that a jit cache can key on it."""

    def per_tau(params):
        return (
            jnp.full_like(params.b, 1 / tau) if params.log_tau is None else jnp.exp(-params.log_tau)
        )

    pointwise = functools.partial(ct_rnn_pointwise, dt=dt)
    # A dt behind the input's share stays behind.
    return Gated(ct_rnn_project, recurrent_matrix, pointwise, add_to_first, per_tau)


CT_RNN = _structure(5.0, 1.0)
ct_rnn_step = CT_RNN.step


def ct_rnn(
    input_size: int,
    hidden_size: int,
    *,
    tau: float = 5.0,
    dt: float = 1.0,
    learn_tau: bool = False,
    init: initializers.Initializer | None = None,
    input_init: initializers.Initializer | None = None,
    dtype=None,
) -> Cell:
    """Makes the continuous-time cell of leaky units.

    ::

        tau dh/dt = -h + tanh(h w_hh + x w_ih + b)

        h' = h + dt / tau * (tanh(h w_hh + x w_ih + b) - h),  y = h'       one step of Euler

    The input is x, or a pair ``(x, dt)`` with the time since the last step, ``(*batch, 1)``, where
    steps are irregular. Steps of more than tau overshoot, and steps of more than 2 tau explode.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H.
      tau: time constant, above 0, in the unit of dt.
      dt: time from step to step where the input brings none, above 0.
      learn_tau: whether each unit learns its own time constant, from tau on.
      init: initializer of `w_hh`, ``(H, H)``; orthogonal if not given.
      input_init: initializer of `w_ih`, ``(I, H)``; Glorot uniform if not given.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Gated` cell with `CTRNNParams`; its state is the array h, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, a number is none, or `dtype` is not floating.
      ValueError: a size is less than 1, or `tau` or `dt` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = ct_rnn(3, 5, tau=10)
      >>> params = cell.init(jax.random.key(0))
      >>> x = jnp.ones((2, 3)), jnp.array([[0.5], [2.0]])
      >>> h, y = cell.step(params, cell.initial_state(params, (2,)), x)
      >>> y.shape
      (2, 5)

    Reference:
      K. Funahashi, Y. Nakamura, "Approximation of dynamical systems by continuous time recurrent
      neural networks", 1993. H. Jaeger, M. Lukosevicius, D. Popovici, U. Siewert, "Optimization and
      applications of echo state networks with leaky-integrator neurons", 2007 (this form).
    """
    tau = check_number("tau", tau, by="ct_rnn", above=0)
    dt = check_number("dt", dt, by="ct_rnn", above=0)
    make = sized_init(
        ct_rnn_init,
        input_size,
        hidden_size,
        by="ct_rnn",
        dtype=dtype,
        tau=tau,
        learn_tau=bool(learn_tau),
        init=init,
        input_init=input_init,
    )
    return from_structure(make, ct_rnn_initial_state, _structure(tau, dt))


CT_RNN_ENTRY = CellEntry(
    make=ct_rnn,
    paper="Funahashi & Nakamura 1993; Jaeger et al. 2007 (leaky integrators)",
    structure="Gated",
    state="h (H)",
    equations="h' = h + dt / tau * (tanh(h w_hh + x w_ih + b) - h)",
    parameters="H (I + H + 1)",
    defaults="w_ih Glorot uniform, w_hh orthogonal, b = 0; tau = 5, dt = 1",
    provenance="NumPy 80-bit transcription of the equation",
)
