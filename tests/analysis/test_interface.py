"""What all measurements have in common: jit, dtypes, messages, precision of their products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank
from cases import first_of
from jaxrnn import analysis
from jaxrnn.analysis.flow import over_batch

CELL = jaxrnn.gru(2, 3)
MEASURES = {
    "jacobians": analysis.jacobians,
    "input_jacobians": analysis.input_jacobians,
    "jacobian_product": analysis.jacobian_product,
    "gradient_decay": analysis.gradient_decay,
    "loss_gradient_profile": lambda *args, **flags: analysis.loss_gradient_profile(
        lambda ys: jnp.sum(ys**2), *args, **flags
    ),
}
every_measure = pytest.mark.parametrize("name", MEASURES)


def arguments(*batch):
    params = CELL.init(jax.random.key(0))
    return params, jax.random.normal(jax.random.key(1), (5, *batch, 2))


@every_measure
def test_jit_and_no_second_trace(name):
    traces = []

    def step(params, h, x):
        traces.append(1)
        return CELL.step(params, h, x)

    cell = CELL._replace(step=step, structure=None)
    params, xs = arguments(2)
    run = jax.jit(lambda params, xs: MEASURES[name](cell, params, xs))
    first = run(params, xs)
    count = len(traces)
    assert count > 0
    second = run(jax.tree.map(lambda leaf: 2 * leaf, params), 1 - xs)
    assert len(traces) == count
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    assert any(np.any(a != b) for a, b in leaves)
    if name == "jacobian_product":  # outside jit, where each call compiles anew
        plain = MEASURES[name](CELL, params, xs)
        same = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-5, atol=1e-6), first, plain)
        assert all(same)


@every_measure
def test_dtypes_follow_the_state(name, x64):
    for dtype in ("float32", "float64"):
        cell = jaxrnn.gru(2, 3, dtype=dtype)
        params = jax.eval_shape(cell.init, jax.random.key(0))
        xs = jax.ShapeDtypeStruct((5, 2), dtype)
        found = jax.eval_shape(lambda *args, cell=cell: MEASURES[name](cell, *args), params, xs)
        floats = [leaf.dtype for leaf in jax.tree.leaves(found) if leaf.dtype.kind == "f"]
        assert floats == [dtype] * len(floats)
        assert floats


@every_measure
def test_shapes(name):
    params, xs = arguments(2, 4)
    found = jax.eval_shape(lambda *args: MEASURES[name](CELL, *args), params, xs)
    want = {
        "jacobians": [(5, 2, 4, 3, 3)],
        "input_jacobians": [(5, 2, 4, 3, 2)],
        "jacobian_product": [(2, 4, 3, 3), (2, 4)],
        "gradient_decay": [(5,), (5, 2, 4), (2, 4), (2, 4)],
        "loss_gradient_profile": [(6,), (6, 2, 4)],
    }[name]
    assert [leaf.shape for leaf in jax.tree.leaves(found)] == want


def products_in(jaxpr):
    """All dot_general equations of a jaxpr, at any depth."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            found.append(eqn)
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found += products_in(inner)
    return found


@every_measure
@pytest.mark.parametrize("cell_name", first_of(["gru", "lstm", "gru_reset_before"]))
def test_matrix_products_are_precise(name, cell_name):
    cell = jaxrnn.CELLS[cell_name].make(2, 3)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((5, 2, 2), jnp.float32)
    jaxpr = jax.make_jaxpr(lambda *args: MEASURES[name](cell, *args))(params, xs)
    products = products_in(jaxpr.jaxpr)
    assert len(products) >= 3
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert [eqn.params["precision"] for eqn in products] == [highest] * len(products)
    assert jax.config.jax_default_matmul_precision is None


def test_the_jaxpr_of_a_plain_unroll_says_nothing_of_precision():
    """What the test above looks for is not there by itself."""
    params, xs = arguments()
    jaxpr = jax.make_jaxpr(lambda *args: jaxrnn.unroll(CELL, *args))(params, xs)
    assert {eqn.params["precision"] for eqn in products_in(jaxpr.jaxpr)} == {None}


def test_what_is_computed_over_a_batch_is_precise():
    params, xs = arguments(2)

    def one(xs, state, mask, resets):
        assert mask is resets is None
        return xs @ xs.T + jnp.sum(state)

    def run(xs):
        return over_batch(one, CELL, params, xs, None, None, None, out_axes=2, by="here")

    (product,) = [
        eqn for eqn in products_in(jax.make_jaxpr(run)(xs).jaxpr) if eqn.invars[0].aval.ndim == 3
    ]
    assert product.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2
    assert run(xs).shape == (5, 5, 2)


def test_differentiable():
    """A measurement can stand in a loss: the rate of s' = w s is log |w|, with slope 1 / w."""
    rate = jax.jit(jax.grad(lambda w: analysis.gradient_decay(LINEAR, w, blank(4)).rate))
    slope = rate(jnp.full((1, 1), 0.4))
    np.testing.assert_allclose(slope, [[2.5]], rtol=1e-5)


def test_messages():
    params, xs = arguments()
    decay, product = analysis.gradient_decay, analysis.jacobian_product
    with pytest.raises(ValueError, match=r"got unknown norm 'spectra'; expected .* 'spectral'\?"):
        decay(CELL, params, xs, norm="spectra")
    for start, stop in [(-1, None), (3, 2), (0, 6), (6, None)]:
        with pytest.raises(
            ValueError, match=rf"jacobian_product: got start={start}.*expected 0 <= .*5"
        ):
            product(CELL, params, xs, start=start, stop=stop)
    with pytest.raises(TypeError):
        product(CELL, params, xs, start=1.5)
    with pytest.raises(
        ValueError, match=r"gradient_decay: got num_probes=4.*no key; expected .*key"
    ):
        decay(CELL, params, xs, norm="frobenius", num_probes=4)
    with pytest.raises(ValueError, match=r"(?s)norm='spectral'.*expected norm='frobenius'"):
        decay(CELL, params, xs, num_probes=4, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"gradient_decay: got num_probes=0; expected"):
        decay(CELL, params, xs, norm="frobenius", num_probes=0, key=jax.random.key(0))


@every_measure
def test_messages_name_the_function(name):
    params, xs = arguments(2)
    measure = MEASURES[name]
    with pytest.raises(TypeError, match=rf"^{name}: got function .*expected a jaxrnn.Cell"):
        measure(jaxrnn.gru, params, xs)
    with pytest.raises(ValueError, match=rf"^{name}: got xs of 0 steps; expected"):
        measure(CELL, params, xs[:0])
    with pytest.raises(ValueError, match=rf"^{name}: got mask of shape \(5,\); expected"):
        measure(CELL, params, xs, mask=jnp.ones(5, bool))
    with pytest.raises(TypeError, match=rf"^{name}: got resets of dtype float32; expected bool"):
        measure(CELL, params, xs, resets=jnp.ones((5, 2)))
    with pytest.raises(ValueError, match=rf"^{name}: got a state .*expected"):
        measure(CELL, params, xs, jnp.zeros((3, 3)))


def test_a_state_that_cannot_be_differentiated():
    cell = jaxrnn.Cell(
        lambda key: (),
        lambda params, batch=(): jnp.zeros(batch, jnp.int32),
        lambda params, n, x: (n + 1, x),
    )
    for name, measure in MEASURES.items():
        with pytest.raises(
            TypeError, match=rf"{name}: got a state with leaves state: int32; expected floating"
        ):
            measure(cell, (), jnp.ones((3, 1)))


def test_a_complex_number_is_two_real_ones(x64):
    """Its real part and its imaginary part are directions of the state like any other."""

    def step(params, state, x):
        state = {"a": 0.5j * state["a"] + state["b"], "b": 2 * state["b"]}
        return state, x

    def initial_state(params, batch=()):
        return {"a": jnp.zeros((*batch, 2), complex), "b": jnp.zeros((*batch, 1))}

    cell = jaxrnn.Cell(lambda key: (), initial_state, step)
    real, imaginary, other = np.eye(5)[:2], np.eye(5)[2:4], np.eye(5)[4]
    expected = [*(-0.5 * imaginary + other), *(0.5 * real), 2 * other]
    found = analysis.jacobians(cell, (), jnp.ones((3, 1)))
    np.testing.assert_allclose(found, np.broadcast_to(expected, (3, 5, 5)), rtol=1e-15)
    exponents = analysis.lyapunov_spectrum(
        cell, (), jnp.ones((40, 1)), warmup=20, qr_every=1
    ).exponents
    np.testing.assert_allclose(exponents, np.log([2, 0.5, 0.5, 0.5, 0.5]), atol=1e-9)
    profile = analysis.loss_gradient_profile(lambda ys: jnp.sum(ys), cell, (), jnp.ones((3, 1)))
    assert set(profile.parts) == {"a", "b"}


def test_lru_decays_as_its_largest_eigenvalue(x64):
    cell = jaxrnn.lru(2, 4)
    params = cell.init(jax.random.key(0))
    decay = analysis.gradient_decay(cell, params, jnp.ones((30, 2)))
    np.testing.assert_allclose(decay.rate, np.max(-np.exp(params.nu_log)), rtol=1e-9)
