"""The recurrent highway network: its carry gates, its depth."""

import jax
import numpy as np
import pytest

from jaxrnn.cells.rhn import RHNParams, rhn


def test_a_carry_gate_of_its_own_can_be_the_coupled_one(key):
    free, coupled = rhn(3, 4, depth=2, coupled=False), rhn(3, 4, depth=2)
    rng = np.random.default_rng(0)
    params = RHNParams(*(rng.normal(size=(*rows, 8)) for rows in ((3,), (2, 4), (2,))))

    def with_carry(array):
        return np.concatenate([array, -array[..., 4:]], axis=-1)

    s, x = rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        jax.jit(free.step)(jax.tree.map(with_carry, params), s, x)[0],
        jax.jit(coupled.step)(params, s, x)[0],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("coupled", [True, False])
def test_closed_gates_carry_the_state_through_all_layers(coupled, key):
    cell = rhn(3, 4, depth=5, coupled=coupled, transform_bias=-30.0)
    s = np.array([0.3, -2, 1, 0.1], np.float32)
    after, _ = jax.jit(cell.step)(jax.jit(cell.init)(key), s, np.ones(3))
    np.testing.assert_allclose(after, s, rtol=1e-5)


def test_only_the_first_layer_sees_the_input(key):
    rng = np.random.default_rng(0)
    params = RHNParams(*(rng.normal(size=(*rows, 8)) for rows in ((3,), (3, 4), (3,))))
    params.b[1:, 4:] = -50.0  # the later layers only carry
    first = params._replace(w_hh=params.w_hh[:1], b=params.b[:1])
    s, x = rng.normal(size=4), rng.normal(size=3)
    np.testing.assert_allclose(
        jax.jit(rhn(3, 4, depth=3).step)(params, s, x)[0],
        jax.jit(rhn(3, 4, depth=1).step)(first, s, x)[0],
        rtol=1e-5,
    )


@pytest.mark.parametrize(("depth", "error"), [(0, ValueError), (2.5, TypeError)])
def test_depths_that_it_cannot_have(depth, error):
    with pytest.raises(error, match="got depth="):
        rhn(3, 4, depth=depth)
