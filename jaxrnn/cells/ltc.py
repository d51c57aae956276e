"""The liquid time-constant cell: neurons whose synapses change how fast they forget."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.entry import CellEntry
from jaxrnn.cells.input_share import input_share
from jaxrnn.cells.irregular import features_and_dt
from jaxrnn.cells.weights import sized_init
from jaxrnn.core import initializers
from jaxrnn.core.cell import Cell, from_structure
from jaxrnn.core.checks import check_size
from jaxrnn.core.structure import Separable
from jaxrnn.core.types import Array

__all__ = [
    "LTC",
    "LTC_ENTRY",
    "LTCParams",
    "LTCSynapses",
    "ltc",
    "ltc_currents",
    "ltc_init",
    "ltc_initial_state",
    "ltc_prepare",
    "ltc_project",
    "ltc_recur",
    "ltc_step",
]


class LTCSynapses(NamedTuple):
    """Synapses from N sources to H neurons.

    Attributes:
      w: ``(N, H)``, whose softplus is the largest conductance.
      mu: ``(N, H)``, the source's potential at which half of that is open.
      sigma: ``(N, H)``, how steeply they open.
      e: ``(N, H)``, the reversal potential: above the neuron's it excites, below it inhibits.
    """

    w: Array
    mu: Array
    sigma: Array
    e: Array


class LTCParams(NamedTuple):
    """Parameters of `ltc`.

    Attributes:
      ih: synapses from the I inputs.
      hh: synapses from the H neurons.
      g: ``(H,)``, whose softplus is the conductance of the leak.
      v_leak: ``(H,)``, the potential at rest.
      c: ``(H,)``, whose softplus is the capacitance of the membrane.
      input_scale: ``(I,)``.
      input_shift: ``(I,)``.
      output_scale: ``(H,)``.
      output_shift: ``(H,)``.
    """

    ih: LTCSynapses
    hh: LTCSynapses
    g: Array
    v_leak: Array
    c: Array
    input_scale: Array
    input_shift: Array
    output_scale: Array
    output_shift: Array


def _synapses(key, sources, neurons, dtype) -> LTCSynapses:
    shape, keys = (sources, neurons), jax.random.split(key, 4)
    return LTCSynapses(
        w=jax.random.uniform(keys[0], shape, dtype, 0.001, 1),
        mu=jax.random.uniform(keys[1], shape, dtype, 0.3, 0.8),
        sigma=jax.random.uniform(keys[2], shape, dtype, 3, 8),
        e=jnp.where(jax.random.bernoulli(keys[3], 2 / 3, shape), 1, -1).astype(dtype),
    )


def ltc_init(key, input_size, hidden_size, *, dtype=None) -> LTCParams:
    """Makes the parameters of `ltc`."""
    dtype = initializers.float_dtype(dtype)
    k_ih, k_hh, k_g, k_v, k_c = jax.random.split(key, 5)
    return LTCParams(
        ih=_synapses(k_ih, input_size, hidden_size, dtype),
        hh=_synapses(k_hh, hidden_size, hidden_size, dtype),
        g=jax.random.uniform(k_g, (hidden_size,), dtype, 0.001, 1),
        v_leak=jax.random.uniform(k_v, (hidden_size,), dtype, -0.2, 0.2),
        c=jax.random.uniform(k_c, (hidden_size,), dtype, 0.4, 0.6),
        input_scale=jnp.ones(input_size, dtype),
        input_shift=jnp.zeros(input_size, dtype),
        output_scale=jnp.ones(hidden_size, dtype),
        output_shift=jnp.zeros(hidden_size, dtype),
    )


def ltc_initial_state(params, batch_shape=()) -> Array:
    """Returns zeros, ``(*batch, H)``."""
    return jnp.zeros((*batch_shape, *params.c.shape), params.c.dtype)


def ltc_currents(synapses, v):
    """Sums the open conductances that reach each neuron, weighted by their potential and not.

    Args:
      synapses: with the conductances themselves in `w`.
      v: ``(*batch, N)``, the sources' potentials.

    Returns:
      Two arrays ``(*batch, H)``.
    """
    opened = synapses.w * jax.nn.sigmoid(synapses.sigma * (v[..., None] - synapses.mu))
    return jnp.sum(opened * synapses.e, axis=-2), jnp.sum(opened, axis=-2)


def _positive(synapses):
    return synapses._replace(w=jax.nn.softplus(synapses.w))


def ltc_prepare(params):
    """Makes conductances and capacitances of the numbers that are learnt."""
    softplus = jax.nn.softplus
    return params._replace(hh=_positive(params.hh), g=softplus(params.g), c=softplus(params.c))


def ltc_project(params, x):
    """Returns the currents of the inputs, ``(*batch, H)`` twice, and dt: 1 if x has none."""
    features, dt = features_and_dt(x, by="ltc")
    scale = jnp.diag(params.input_scale)  # of a token, the row
    v = input_share(scale, params.input_shift, features, by="ltc")
    dt = jnp.ones((), v.dtype) if dt is None else dt
    return *ltc_currents(_positive(params.ih), v), dt


def ltc_recur(prepared, v, z, *, unfolds):
    """Takes the fused steps of the solver, implicit in the potential that leaks."""
    p = prepared
    driven, opened, dt = z
    dt = dt / unfolds
    for _ in range(unfolds):
        from_neurons, opened_by_neurons = ltc_currents(p.hh, v)
        towards = p.g * p.v_leak + driven + from_neurons
        v = (p.c * v + dt * towards) / (p.c + dt * (p.g + opened + opened_by_neurons))
    return v, p.output_scale * v + p.output_shift


@functools.lru_cache(maxsize=256)
def _structure(unfolds: int) -> Separable:
    """Returns one and the same witness for one number, so that a jit cache can key on it."""
    return Separable(ltc_project, functools.partial(ltc_recur, unfolds=unfolds), ltc_prepare)


LTC = _structure(6)
ltc_step = LTC.step


def ltc(input_size: int, hidden_size: int, *, unfolds: int = 6, dtype=None) -> Cell:
    """Makes the liquid time-constant cell (LTC), every neuron wired to every other.

    ::

        c dv/dt = g (v_leak - v) + sum over synapses of  w sigmoid(sigma (u - mu)) (e - v)

        v <- (c v + d (g v_leak + sum w sigmoid() e)) / (c + d (g + sum w sigmoid())),  d = dt / N
        y  = output_scale v + output_shift

    The second line, the fused step, is taken N times; u is the potential of the synapse's source, a
    neuron or an input ``input_scale x + input_shift``. The input is x, or a pair ``(x, dt)`` with
    the time since the last step, ``(*batch, 1)``; dt is 1 for a plain x. c, g and every w are
    positive as the softplus of what is learnt, where the paper clips them after each update.

    A step forms an array ``(*batch, H, H)`` N times: the cell is made for tens of neurons.

    Args:
      input_size: I, the number of input features, or of tokens for integer inputs ``(*batch,)``.
      hidden_size: H, the number of neurons.
      unfolds: N, the steps of the solver for each step of the network.
      dtype: of the parameters; JAX's default floating dtype if not given.

    Returns:
      A `Separable` cell with `LTCParams`; its state is the array v, ``(*batch, H)``.

    Raises:
      TypeError: a size is not an integer, or `dtype` is not floating.
      ValueError: a size or `unfolds` is less than 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> cell = ltc(3, 5)
      >>> params = cell.init(jax.random.key(0))
      >>> x = jnp.ones((2, 3)), jnp.array([[0.5], [2.0]])
      >>> v, y = cell.step(params, cell.initial_state(params, (2,)), x)
      >>> y.shape
      (2, 5)

    Reference:
      R. Hasani, M. Lechner, A. Amini, D. Rus, R. Grosu, "Liquid time-constant networks", 2021,
      equations 1 to 3 and algorithm 1, with the synapses of M. Lechner et al., "Neural circuit
      policies enabling auditable autonomy", 2020.
    """
    make = sized_init(ltc_init, input_size, hidden_size, by="ltc", dtype=dtype)
    unfolds = check_size("unfolds", unfolds, by="ltc")
    return from_structure(make, ltc_initial_state, _structure(unfolds))


LTC_ENTRY = CellEntry(
    make=ltc,
    paper="Hasani et al. 2021, Liquid time-constant networks",
    structure="Separable",
    state="v (H)",
    equations=(
        "s = w sigmoid(sigma (u - mu)) for every synapse\n"
        "v <- (c v + d (g v_leak + sum s e)) / (c + d (g + sum s)), 6 times, d = dt / 6\n"
        "y = output_scale v + output_shift"
    ),
    parameters="4 H (I + H) + 5 H + 2 I",
    defaults=(
        "w, g U(0.001, 1), mu U(0.3, 0.8), sigma U(3, 8), c U(0.4, 0.6) before softplus, "
        "v_leak U(-0.2, 0.2), e +-1 (2 of 3 excite); dt = 1"
    ),
    provenance="ncps 1.0.1 LTCCell on torch 2.13, values and gradients",
)
