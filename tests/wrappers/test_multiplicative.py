"""`multiplicative`: torchrecurrent's cell, the equations around others, and every law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from golden import record
from golden.make_multiplicative import NAME, Wrapped
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.multiplicative import multiplicative
from laws import every_law
from reference import error


def test_it_is_torchrecurrents_multiplicative_lstm(x64):
    about, arrays = record.load(NAME)
    cell = Wrapped(*about).make()
    blank = jax.eval_shape(cell.init, jax.random.key(0))
    parts = {part: list(map(jnp.asarray, record.leaves(arrays, part)))
             for part in ("params", "state", "d_final")}  # fmt: skip
    params = jax.tree.structure(blank).unflatten(parts["params"])
    treedef = jax.tree.structure(jax.eval_shape(cell.initial_state, blank))
    state, d_final = treedef.unflatten(parts["state"]), treedef.unflatten(parts["d_final"])
    xs = jnp.asarray(arrays["xs.0"])

    @jax.jit
    def run(params, xs, state):
        return jaxrnn.unroll(cell, params, xs, state)

    (final, ys), back = jax.vjp(run, params, xs, state)
    slopes = back((d_final, jnp.asarray(arrays["d_ys.0"])))
    found = {"final": final, "ys": ys}
    found |= {f"grad.{part}": slope for part, slope in zip(record.PARTS, slopes, strict=True)}
    for part, tree in found.items():
        assert error(tuple(jax.tree.leaves(tree)), tuple(record.leaves(arrays, part))) < 1e-10, part


def test_around_elman_it_is_the_multiplicative_rnn(key):
    cell = multiplicative(jaxrnn.elman(2, 3), 2)
    assert isinstance(cell.parts, jaxrnn.Separable)
    params, x, h = cell.init(key), jnp.array([0.5, -2.0]), jnp.array([0.1, 0.2, -0.3])
    inner = params.cell
    m = (x @ params.w_mx) * (h @ params.w_mh)
    expected = jnp.tanh(x @ inner.w_ih + m @ inner.w_hh + inner.b)
    np.testing.assert_allclose(cell.step(params, h, x)[1], expected, rtol=1e-6)


def test_the_gru_keeps_its_state_with_its_own_gate(key):
    """m stands in the product alone: z near 1 still keeps h."""
    cell = multiplicative(jaxrnn.gru(2, 3, update_bias=50.0), 2)
    h = jnp.array([0.1, 0.2, -0.3])
    np.testing.assert_allclose(cell.step(cell.init(key), h, jnp.ones(2))[0], h, rtol=1e-6)


def test_tokens_learned_states_and_initial_values(key):
    cell = multiplicative(jaxrnn.learned_state(jaxrnn.lstm(5, 3, dtype=jnp.bfloat16)), 5)
    params = cell.init(key)
    assert params.w_mx.dtype == params.w_mh.dtype == jnp.bfloat16
    _, ys = jaxrnn.unroll(cell, params, jnp.array([[0, 4], [3, 2]]))
    assert ys.shape == (2, 2, 3)
    w_mh = multiplicative(jaxrnn.gru(2, 4), 2).init(key).w_mh
    np.testing.assert_allclose(w_mh.T @ w_mh, np.eye(4), atol=1e-6)


def test_messages(key):
    with pytest.raises(TypeError, match="^multiplicative: got .*Separable.*expected Gated"):
        multiplicative(jaxrnn.gru(2, 3, reset="before"), 2)
    with pytest.raises(TypeError, match="^multiplicative: got function"):
        multiplicative(jaxrnn.lstm, 2)
    with pytest.raises(ValueError, match="^multiplicative: got input_size=0; expected a positive"):
        multiplicative(jaxrnn.lstm(2, 3), 0)
    cell = multiplicative(jaxrnn.lstm(2, 3), 4)
    with pytest.raises(ValueError, match="^multiplicative: .*expected 4 features"):
        jaxrnn.unroll(cell, cell.init(key), jnp.ones((5, 1, 2)))


@every_law
def test_every_law(skip):
    cell = multiplicative(jaxrnn.lstm(2, 3), 2)
    check_cell(cell, jax.random.normal(jax.random.key(0), (4, 2, 2)), skip=skip)
