"""Cells broken on purpose: each law catches what it is there for."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from cases import INPUT, independent, leaky, matrices, minimal, zeros
from jaxrnn.testing import LAWS, check_cell, make_probe
from laws import FLOW_LAWS

XS = jax.random.normal(jax.random.key(3), (6, 2, INPUT))
GOOD = leaky(INPUT, 3)
CALLS = []


def stepping(step):
    """The leaky cell with another step, `(params, h, x) -> h`."""

    def pair(params, h, x):
        h = step(params, h, x)
        return h, h

    return GOOD._replace(step=pair)


def good(params, h, x):
    return GOOD.step(params, h, x)[0]


@jax.custom_jvp
def wrong_tanh(x):
    return jnp.tanh(x)


@wrong_tanh.defjvp
def _(primals, tangents):
    y = jnp.tanh(primals[0])
    return y, 0.99 * (1 - y * y) * tangents[0]


@jax.custom_jvp
def lopsided(x):
    return jnp.tanh(x)


@lopsided.defjvp
def _(primals, tangents):
    y = jnp.tanh(primals[0])
    return y, jnp.abs((1 - y * y) * tangents[0])  # not linear, so it has no transpose


def impure_init(key):
    CALLS.append(0)
    return jax.tree.map(lambda leaf: leaf * len(CALLS), GOOD.init(key))


def impure_initial_state(params, batch_shape=()):
    CALLS.append(0)
    return jnp.full((*batch_shape, 3), float(len(CALLS)))


def impure_step(params, h, x):
    CALLS.append(0)
    return good(params, h, x) + 0.1 * len(CALLS)


def weak_state(params, batch_shape=()):
    return jnp.broadcast_to(0.0, (*batch_shape, 3))  # a Python number has a weak type


def with_initial_state(make):
    return GOOD._replace(initial_state=make)


def fixed_float32(params, h, x):
    return good(params, h, x).astype(jnp.float32)


def linear(**changes):
    cell = minimal(INPUT, 3)
    return jaxrnn.from_structure(cell.init, cell.initial_state, cell.structure._replace(**changes))


def wrong_order(first, then):
    (a1, b1), (a2, b2) = first, then
    return a2 * a1, a1 * b2 + b1


def not_associative(first, then):
    (a1, b1), (a2, b2) = first, then
    return a2 * a1, (a2 * b1 + b2) / 2


def disagreeing():
    cell = independent(INPUT, 3)

    def step(params, h, x):
        h, y = cell.step(params, h, x)
        return h, y + 1e-6

    return cell._replace(step=step)


def half_stopped(params, h, x):
    return good(params, jax.lax.stop_gradient(0.1 * h) + 0.9 * h, x)


def normalised(params, h, x):
    return good(params, h, x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True)))


def renamed_state(params, h, x):
    return {"h": good(params, h, x)}


def late_params():
    """Its prepare gives other numbers at every call, as one that counts steps would."""

    def prepare(params):
        CALLS.append(0)
        return jax.tree.map(lambda leaf: leaf * (1 + 0.1 * len(CALLS)), params)

    structure = jaxrnn.Separable(
        project=lambda p, x: x @ p["w"],
        recur=lambda p, h, z: (jnp.tanh(z + h @ p["u"]),) * 2,
        prepare=prepare,
    )
    return jaxrnn.from_structure(matrices(w=(INPUT, 3), u=(3, 3)), zeros(3), structure)


def mixing(pointwise):
    """A plain Gated cell with another pointwise part, `(h, a) -> h`."""
    structure = jaxrnn.Gated(
        project=lambda p, x: x @ p["w"],
        weights=lambda p: p["u"],
        pointwise=lambda _, h, a: (pointwise(h, a),) * 2,
    )
    return jaxrnn.from_structure(matrices(w=(INPUT, 3), u=(3, 3)), zeros(3), structure)


BROKEN = {
    "state_shifted": (
        "pointwise_keeps_units_apart",
        mixing(lambda h, a: jnp.tanh(a) + jnp.roll(h, 1, axis=-1) / 2),
    ),
    "softmax_over_units": (
        "pointwise_keeps_units_apart",
        mixing(lambda h, a: jax.nn.softmax(a, axis=-1)),
    ),
    "init_counts_its_calls": ("init_is_deterministic", GOOD._replace(init=impure_init)),
    "initial_state_counts": ("init_is_deterministic", with_initial_state(impure_initial_state)),
    "state_changes_dtype": (
        "step_keeps_the_state",
        stepping(lambda p, h, x: good(p, h, x).astype(jnp.bfloat16)),
    ),
    "state_changes_shape": (
        "step_keeps_the_state",
        stepping(lambda p, h, x: good(p, h, x)[..., :1]),
    ),
    "state_changes_structure": ("step_keeps_the_state", stepping(renamed_state)),
    "initial_state_without_batch": (
        "step_keeps_the_state",
        with_initial_state(lambda params, batch_shape=(): jnp.zeros(3)),
    ),
    "output_sums_the_batch": (
        "step_keeps_the_state",
        GOOD._replace(step=lambda p, h, x: (good(p, h, x), jnp.sum(h))),
    ),
    "written_float32": ("dtypes_flow_through", stepping(fixed_float32)),
    "mean_over_the_batch": (
        "batch_is_vmap",
        stepping(lambda p, h, x: good(p, h, x) - 0.01 * jnp.mean(h, axis=0)),
    ),
    "step_is_not_the_witness": ("witness_is_the_step", disagreeing()),
    "combine_is_not_associative": ("combine_is_associative", linear(combine=not_associative)),
    "combine_in_the_other_order": ("combine_is_associative", linear(combine=wrong_order)),
    "step_counts_its_calls": ("unroll_is_the_loop", stepping(impure_step)),
    "prepare_counts_its_calls": ("unroll_is_the_loop", late_params()),
    "derivative_off_by_a_percent": (
        "gradient_is_finite_difference",
        stepping(lambda p, h, x: wrong_tanh(x @ p["w"] + h @ p["u"])),
    ),
    "derivative_stopped": ("gradient_is_finite_difference", stepping(half_stopped)),
    "derivative_without_transpose": (
        "adjoint_identity",
        stepping(lambda p, h, x: lopsided(x @ p["w"] + h @ p["u"])),
    ),
    "jacobian_without_transpose": (
        "log_determinants_add_up",
        stepping(lambda p, h, x: lopsided(x @ p["w"] + h @ p["u"])),
    ),
    "infinite_at_zero_inputs": ("padding_never_matters", stepping(normalised)),
    "weak_type": ("no_retrace", with_initial_state(weak_state)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_law_catches(name):
    law, cell = BROKEN[name]
    with pytest.raises(AssertionError, match=f"^{law}: got .*; expected .*; probable cause: "):
        LAWS[law](make_probe(cell, XS))


@pytest.mark.parametrize(
    "law", ["init_is_deterministic", "step_keeps_the_state", "batch_is_vmap", "no_retrace",
            "dtypes_flow_through", "witness_is_the_step", "combine_is_associative",
            "pointwise_keeps_units_apart"]
)  # fmt: skip
def test_the_law_passes_the_cell_that_is_not_broken(law):
    LAWS[law](make_probe(GOOD, XS))
    LAWS[law](make_probe(mixing(lambda h, a: jnp.tanh(a) + h / 2), XS))


def remembering(cell, params, xs, state=None, *, mask=None, resets=None):
    """An unroll that forgets to reset."""
    return jaxrnn.unroll(cell, params, xs, state, mask=mask)


def outputs_in_padding(cell, params, xs, state=None, *, mask=None, resets=None):
    state, ys = jaxrnn.unroll(cell, params, xs, state, mask=mask, resets=resets)
    return state, ys + 1e-6


def no_gradient_of_the_state(cell, params, xs, state=None, *, mask=None, resets=None):
    state = jax.lax.stop_gradient(state)
    return jaxrnn.unroll(cell, params, xs, state, mask=mask, resets=resets)


@pytest.mark.parametrize(
    "wrong",
    [remembering, outputs_in_padding, no_gradient_of_the_state, jaxrnn.truncated(jaxrnn.unroll, 3)],
)
def test_a_wrong_unroll_is_caught(wrong, monkeypatch):
    monkeypatch.setattr("jaxrnn.testing.sequence_laws.library_unrolls", lambda *_: {})
    with pytest.raises(AssertionError, match="^unrolls_agree: got .* of wrong "):
        LAWS["unrolls_agree"](make_probe(GOOD, XS, unrolls={"wrong": wrong}))


@pytest.mark.parametrize(
    ("law", "name", "wrong"),
    [
        ("resets_separate", "unroll", remembering),
        ("padding_never_matters", "unroll", outputs_in_padding),
        ("unroll_is_the_loop", "unroll", outputs_in_padding),
        ("halves_make_the_whole", "unroll", lambda c, p, xs, s=None, **f: (
            jax.tree.map(lambda leaf: leaf * 1.001, jaxrnn.unroll(c, p, xs, s)[0]),
            jaxrnn.unroll(c, p, xs, s)[1])),
        ("trajectory_is_the_states", "trajectory", lambda c, p, xs, s=None, **f: (
            jnp.roll(jaxrnn.trajectory(c, p, xs, s, **f), 1, axis=0))),
    ],
)  # fmt: skip
def test_a_law_of_sequences_catches_a_library_that_is_wrong(law, name, wrong, monkeypatch):
    monkeypatch.setattr(f"jaxrnn.testing.sequence_laws.{name}", wrong)
    with pytest.raises(AssertionError, match=f"^{law}: got "):
        LAWS[law](make_probe(GOOD, XS))


def in_reverse_order(product):
    """A library that multiplies the steps in the wrong order, A_1 ... A_T."""

    def wrong(cell, params, xs, state, start=0, stop=None):
        steps = jaxrnn.analysis.jacobians(cell, params, xs, state)[start:stop]
        total = jnp.broadcast_to(jnp.eye(steps.shape[-1]), steps.shape[1:])
        for matrix in steps:
            total = total @ matrix
        return product(cell, params, xs, state)._replace(matrix=total, log_scale=jnp.zeros(2))

    return wrong


def too_fast(spectrum):
    def wrong(*args, **options):
        found = spectrum(*args, **options)
        return found._replace(exponents=found.exponents + 1e-9)

    return wrong


@pytest.mark.parametrize(
    ("law", "name", "change"),
    [
        ("jacobians_concatenate", "jacobian_product", in_reverse_order),
        ("log_determinants_add_up", "lyapunov_spectrum", too_fast),
    ],
)
def test_a_law_of_jacobians_catches_a_library_that_is_wrong(law, name, change, monkeypatch):
    wrong = change(getattr(jaxrnn.analysis, name))
    monkeypatch.setattr(f"jaxrnn.testing.flow_laws.{name}", wrong)
    with pytest.raises(AssertionError, match=f"(?s)^{law}: got .*; expected .*probable cause"):
        LAWS[law](make_probe(GOOD, XS))


def test_check_cell_reports_the_first_law_and_can_skip_it():
    cell = stepping(lambda p, h, x: good(p, h, x).astype(jnp.bfloat16))
    with pytest.raises(AssertionError, match="^step_keeps_the_state"):
        check_cell(cell, XS)
    with pytest.raises(AssertionError, match="^dtypes_flow_through"):
        check_cell(cell, XS, skip=["step_keeps_the_state"])


def test_check_cell_turns_an_error_in_the_cell_into_a_failure():
    def step(params, h, x):
        raise KeyError("nothing")

    with pytest.raises(AssertionError, match="^step_keeps_the_state: got KeyError: 'nothing'"):
        check_cell(GOOD._replace(step=step), XS)


def test_check_cell_checks_its_arguments():
    with pytest.raises(TypeError, match="check_cell: got .*; expected a jaxrnn.Cell"):
        check_cell(leaky, XS)
    with pytest.raises(ValueError, match="check_cell: got xs of 3 steps; expected 4"):
        check_cell(GOOD, XS[:3])
    with pytest.raises(ValueError, match="got unknown law 'adjoint'.*'adjoint_identity'"):
        check_cell(GOOD, XS, skip=["adjoint"])


@pytest.mark.slow
def test_check_cell_passes_a_user_cell_on_a_single_sequence():
    check_cell(GOOD, XS[:4, 0], key=jax.random.key(1), skip=FLOW_LAWS)
