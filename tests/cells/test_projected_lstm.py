"""The projected LSTM: without a projection it is the LSTM; the sizes that it cannot have."""

import jax
import numpy as np
import pytest

from jaxrnn.cells.lstm import LSTMParams, LSTMState, lstm
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams, ProjectedLSTMState, projected_lstm


def test_with_the_identity_as_projection_it_is_the_lstm(key):
    cell, other = projected_lstm(3, 4, projection_size=4), lstm(3, 4)
    rng = np.random.default_rng(0)
    same = LSTMParams(*(rng.normal(size=(*rows, 16)) for rows in ((3,), (4,), ())))
    params = ProjectedLSTMParams(*same, w_hr=np.eye(4))
    state, x = ProjectedLSTMState(*rng.normal(size=(2, 2, 4))), rng.normal(size=(2, 3))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        tuple(jax.jit(cell.step)(params, state, x)[0]),
        tuple(jax.jit(other.step)(same, LSTMState(*state), x)[0]),
    )


@pytest.mark.parametrize(("hidden", "projection"), [(1, 1), (2, 1), (7, 3)])
def test_the_projection_is_half_as_large_if_not_given(hidden, projection, key):
    cell = projected_lstm(2, hidden)
    state = jax.eval_shape(lambda: cell.initial_state(cell.init(key)))
    assert (state.h.shape, state.c.shape) == ((projection,), (hidden,))


@pytest.mark.parametrize(
    ("size", "message"),
    [(5, "got projection_size=5; expected at most hidden_size=4"), (0, "projection_size=0")],
)
def test_sizes_that_it_cannot_have(size, message):
    with pytest.raises(ValueError, match=message):
        projected_lstm(3, 4, projection_size=size)
