# ruff: noqa: E501  (tables of messages read best one a line)
"""What a user does wrong is said in three parts: got, expected, and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import leaky
from jaxrnn.unrolls import (
    checkpointed,
    fused_unroll,
    length_mask,
    newton_unroll,
    trajectory,
    truncated,
    unroll,
)

CELL = jaxrnn.lstm(3, 4)
PARAMS = CELL.init(jax.random.key(0))
XS = jnp.ones((5, 2, 3))
STATE = CELL.initial_state(PARAMS, (2,))
MASK = jnp.ones((5, 2), bool)
UNROLLS = {
    "unroll": unroll,
    "truncated": truncated(unroll, 2),
    "checkpointed": checkpointed(unroll),
    "trajectory": trajectory,
    "fused_unroll": fused_unroll,
    "newton_unroll": newton_unroll,
}
CALLS = {
    "factory": (TypeError, (jaxrnn.lstm, PARAMS, XS), {}, r"got function .*lstm.*; expected a jaxrnn.Cell; .*lstm\("),
    "rank": (ValueError, (CELL, PARAMS, XS[:, 0, 0]), {}, r"got xs of shape \(5,\); expected time-major"),
    "features": (ValueError, (CELL, PARAMS, XS[..., :2]), {}, r"got an input of shape \(2, 2\) \(2 features\); expected 3 features"),
    "no_steps": (ValueError, (CELL, PARAMS, XS[:0]), {}, r"got xs of 0 steps; expected at least 1; "),
    "unequal_steps": (ValueError, (CELL, PARAMS, (XS, XS[:4])), {}, r"got xs leaves of \[4, 5\] steps; expected one"),
    "no_arrays": (ValueError, (CELL, PARAMS, ()), {}, "got xs without arrays; expected"),
    "state_batch": (ValueError, (CELL, PARAMS, XS, CELL.initial_state(PARAMS, (3,))), {}, r"got a state LSTMState\(float32\[3, 4\].*; expected LSTMState\(float32\[2, 4\].*\(2,\)"),
    "state_hidden": (ValueError, (CELL, PARAMS, XS, jax.tree.map(lambda x: x[:, :3], STATE)), {}, r"got a state .*\[2, 3\].*; expected .*\[2, 4\]"),
    "state_structure": (TypeError, (CELL, PARAMS, XS, STATE.h), {}, r"got a state float32\[2, 4\]; expected LSTMState"),
    "state_tuple": (TypeError, (CELL, PARAMS, XS, tuple(STATE)), {}, r"got a state tuple\(.*; expected LSTMState"),
    "state_dtype": (TypeError, (CELL, PARAMS, XS, jax.tree.map(lambda x: x.astype(jnp.bfloat16), STATE)), {}, r"got a state .*bfloat16.*; expected .*; "),
    "mask_dtype": (TypeError, (CELL, PARAMS, XS), {"mask": MASK.astype(float)}, "got mask of dtype float32; expected bool; "),
    "mask_shape": (ValueError, (CELL, PARAMS, XS), {"mask": MASK.T}, r"got mask of shape \(2, 5\); expected .*\(5, 2\); "),
    "resets_dtype": (TypeError, (CELL, PARAMS, XS), {"resets": MASK.astype(int)}, "got resets of dtype int32; expected bool; "),
    "resets_shape": (ValueError, (CELL, PARAMS, XS), {"resets": MASK[:, :1]}, r"got resets of shape \(5, 1\); expected .*\(5, 2\)"),
}  # fmt: skip


@pytest.mark.parametrize("run", UNROLLS)
@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument(run, call):
    kind, arguments, flags, text = CALLS[call]
    by = "lstm" if call == "features" else run  # the cell knows its input's size
    with pytest.raises(kind, match=f"^{by}: {text}"):
        UNROLLS[run](*arguments, **flags)


def test_a_step_that_changes_the_dtype():
    cell = leaky(3, 4)
    narrow = cell._replace(
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, 4), jnp.bfloat16)
    )
    with pytest.raises(TypeError, match="unroll: got a state bfloat16.*float32.*; expected equal"):
        unroll(narrow, cell.init(jax.random.key(0)), XS)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: truncated(unroll, 0), ValueError, "truncated: got window=0; expected a positive"),
        (lambda: truncated(unroll, -3), ValueError, "truncated: got window=-3; expected"),
        (lambda: truncated(unroll, 2.0), TypeError, "truncated: got window=2.0 .*float.*; expected"),
        (lambda: truncated(unroll, True), TypeError, "truncated: got window=True .*; expected"),
        (lambda: truncated(unroll, 6, 0), ValueError, "truncated: got every=0; expected"),
        (lambda: truncated(unroll, 6, 4), ValueError, r"got every=4 for window=6; expected a divisor .*\[1, 2, 3, 6\]"),
        (lambda: checkpointed(unroll, 0), ValueError, "checkpointed: got every=0; expected"),
        (lambda: checkpointed(unroll, -1), ValueError, "checkpointed: got every=-1; expected"),
        (lambda: checkpointed(unroll, 1.5), TypeError, "checkpointed: got every=1.5 .*; expected"),
        (lambda: jaxrnn.elman(3, 4, activation="tahn"), ValueError, "got unknown activation 'tahn'; expected one of relu, tanh; did you mean 'tanh'"),
        (lambda: jaxrnn.elman(3, 4, activation=3), TypeError, "elman: got activation=3; expected"),
        (lambda: jaxrnn.gru(3, 4, reset="befor"), ValueError, "got unknown reset 'befor'; expected .*; did you mean 'before'"),
        (lambda: jaxrnn.layer(jaxrnn.gru), TypeError, r"layer: got function .*; expected a jaxrnn.Cell; call .* gru\("),
        (lambda: jaxrnn.learned_state(jaxrnn.gru), TypeError, "learned_state: got function .*; expected"),
        (lambda: jaxrnn.lstm(3, 4, dtype=jnp.int32), TypeError, "got dtype=.*int32.*; expected a floating"),
        (lambda: length_mask(jnp.array([1, 9]), 5), ValueError, "length_mask: got lengths from 1 to 9; expected 0 to 5; "),
        (lambda: length_mask(jnp.array([-1]), 5), ValueError, "got lengths from -1 to -1; expected"),
        (lambda: length_mask(jnp.array([1.0]), 5), TypeError, "got seq_lengths of dtype float32; expected"),
        (lambda: jaxrnn.initializers.chrono(2), ValueError, "chrono: got max_lag=2; expected"),
        (lambda: jaxrnn.initializers.orthogonal()(jax.random.key(0), (3, 4)), ValueError, r"orthogonal: got shape \(3, 4\); expected"),
    ],
)  # fmt: skip
def test_a_wrong_setting(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


@pytest.mark.parametrize("make", [jaxrnn.elman, jaxrnn.lstm, jaxrnn.gru])
@pytest.mark.parametrize(
    ("sizes", "kind", "text"),
    [
        ((3, 0), ValueError, "got hidden_size=0; expected a positive"),
        ((0, 3), ValueError, "got input_size=0; expected a positive"),
        ((3, -1), ValueError, "got hidden_size=-1; expected"),
        ((3, 2.5), TypeError, r"got hidden_size=2.5 \(float\); expected"),
    ],
)
def test_a_wrong_size(make, sizes, kind, text):
    with pytest.raises(kind, match=f"^{make.__name__}: {text}"):
        make(*sizes)


def test_errors_come_at_trace_time():
    with pytest.raises(ValueError, match="got mask of shape"):
        jax.eval_shape(lambda xs: unroll(CELL, PARAMS, xs, mask=MASK.T), XS)


def test_numpy_arguments_do():
    expected = unroll(CELL, PARAMS, XS, STATE, mask=MASK, resets=MASK)
    params, xs, state, mask = jax.tree.map(np.asarray, (PARAMS, XS, STATE, MASK))
    got = unroll(CELL, params, xs, state, mask=mask, resets=mask)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_length_mask():
    expected = np.arange(4)[:, None, None] < np.array([[0, 4], [1, 3]])
    np.testing.assert_array_equal(length_mask(jnp.array([[0, 4], [1, 3]]), 4), expected)
    np.testing.assert_array_equal(
        jax.jit(length_mask, static_argnums=1)(jnp.array(2), 3), [1, 1, 0]
    )
