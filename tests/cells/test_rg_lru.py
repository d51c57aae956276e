"""RG-LRU: the range of its decays, gates that hold and let go, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import unroll
from jaxrnn.cells.rg_lru import rg_lru


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_decays_start_in_their_range(dtype, key):
    """Section 2.4: a**c, the decay of a step whose gate is wide open, is uniform in the range."""
    params = rg_lru(2, 2000, dtype=dtype).init(key)
    decay = np.asarray(jax.nn.sigmoid(params.a_logit.astype(jnp.float32))) ** 8
    tolerance = 0.003
    assert 0.9 - tolerance < decay.min() < 0.9 + tolerance
    assert 0.999 - tolerance < decay.max() < 0.999 + tolerance
    np.testing.assert_allclose(np.median(decay), 0.9495, atol=0.005)


def test_a_closed_recurrence_gate_holds_the_state(key):
    """With r = 0 the state stays and the input is ignored, and nothing is NaN."""
    cell = rg_lru(2, 3)
    params, h_0 = cell.init(key), jnp.array([1.0, -2.0, 3.0])
    params = params._replace(b=params.b.at[:3].set(-1e4))

    def total(params, xs):
        h, ys = unroll(cell, params, xs, h_0)
        return jnp.sum(ys), h

    xs = jax.random.normal(key, (5, 2))
    (_, h), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, xs)
    np.testing.assert_array_equal(h, h_0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_the_root_keeps_the_variance(key):
    """White inputs of variance 1 keep the state at variance 1, whatever the decay."""
    cell = rg_lru(50, 50, decay_min=0.5, decay_max=0.5)
    params = cell.init(key)
    gates = jnp.repeat(jnp.array([0.0, 1e4]), 50)  # r at 1/2, i at 1
    params = params._replace(w_ih=jnp.zeros_like(params.w_ih), b=gates)
    h, _ = unroll(cell, params, jax.random.normal(key, (50, 200, 50)))
    assert np.asarray(h).var() == pytest.approx(1, rel=0.05)


def test_the_input_matrix_stands_before_the_unit(key, x64):
    cell, square = rg_lru(2, 4), rg_lru(4, 4)
    params, xs = cell.init(key), jax.random.normal(key, (5, 3, 2))
    assert square.init(key).w_in is None
    expected = unroll(square, params._replace(w_in=None), xs @ params.w_in)
    jax.tree.map(np.testing.assert_array_equal, unroll(cell, params, xs), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay_min": 0}, "decay_min=0; expected a finite number above 0"),
        ({"decay_max": 1}, "decay_max=1; expected a finite number at least 0.9"),
        ({"decay_min": 0.9995}, "decay_max=0.999; expected a finite number at least 0.9995"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=f"rg_lru: got {message}"):
        rg_lru(2, 3, **options)
