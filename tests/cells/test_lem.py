"""Long expressive memory: the order in which its states move, and their bound."""

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.lem import LEMParams, LEMState

HIDDEN = 4


def drawn(rng, scale=1.0):
    shapes = (2, 4 * HIDDEN), (HIDDEN, 3 * HIDDEN), (HIDDEN, HIDDEN), (4 * HIDDEN,)
    return LEMParams(*(scale * rng.normal(size=shape) for shape in shapes))


def test_y_moves_by_the_new_z(x64):
    """The paper's and the authors' order. torchrecurrent 0.2.5 takes the old z, zero at first."""
    cell, params = jaxrnn.lem(2, HIDDEN), drawn(np.random.default_rng(0))
    candidate_of_z = slice(2 * HIDDEN, 3 * HIDDEN)

    def first_y(b):
        state = cell.initial_state(params)
        return cell.step(params._replace(b=b), state, np.ones(2))[1]

    slopes = jax.jit(jax.jacobian(first_y))(params.b)[:, candidate_of_z]
    assert np.all(np.abs(slopes) > 0)


@pytest.mark.parametrize("dt", [0.3, 1])
def test_states_stay_between_minus_one_and_one(dt):
    rng = np.random.default_rng(0)
    cell = jaxrnn.lem(2, HIDDEN, dt=dt)
    states = jaxrnn.trajectory(cell, drawn(rng, 5), 5 * rng.normal(size=(50, 2)))
    assert all(np.max(np.abs(leaf)) <= 1 + 1e-6 for leaf in states)


def test_a_closed_step_holds_both_states():
    rng = np.random.default_rng(0)
    params = drawn(rng)
    params.b[: 2 * HIDDEN] = -60
    state = LEMState(*rng.normal(size=(2, HIDDEN)).astype(np.float32))
    after, _ = jaxrnn.lem(2, HIDDEN).step(params, state, np.ones(2))
    np.testing.assert_allclose(after, state, rtol=1e-6)


@pytest.mark.parametrize("dt", [0, -1, float("inf")])
def test_steps_that_it_cannot_have(dt):
    with pytest.raises(ValueError, match=r"lem: got dt=.*; expected a finite number above 0"):
        jaxrnn.lem(2, HIDDEN, dt=dt)
