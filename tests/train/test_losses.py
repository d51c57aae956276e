"""The losses: closed forms, masks that nothing passes, and errors that say what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import train

T, B, CLASSES = 4, 3, 5


def numpy_log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture
def logits():
    return jnp.asarray(np.random.default_rng(0).normal(size=(T, B, CLASSES)), jnp.float32)


@pytest.fixture
def labels():
    return jnp.asarray(np.random.default_rng(1).integers(0, CLASSES, (T, B)))


@pytest.fixture
def mask():
    return jnp.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)


def picked(logits, labels):
    """Minus the log probability of each label, by NumPy."""
    logs = numpy_log_softmax(logits)
    return np.array([[-logs[t, b, labels[t, b]] for b in range(B)] for t in range(T)])


def test_cross_entropy_is_minus_the_mean_log_probability(logits, labels):
    expected = picked(logits, labels).mean()
    np.testing.assert_allclose(train.cross_entropy(logits, labels), expected, rtol=1e-6)


def test_cross_entropy_of_equal_logits_is_log_classes():
    loss = train.cross_entropy(jnp.full((2, 7), 3.0), jnp.array([0, 6]))
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-6)


def test_cross_entropy_of_one_position_has_no_axis_left():
    loss = train.cross_entropy(jnp.array([0.0, jnp.log(3.0)]), jnp.array(1))
    np.testing.assert_allclose(loss, np.log(4 / 3), rtol=1e-6)


def test_cross_entropy_counts_masked_positions_alone(logits, labels, mask):
    expected = picked(logits, labels)[np.asarray(mask)].mean()
    np.testing.assert_allclose(train.cross_entropy(logits, labels, mask), expected, rtol=1e-6)


def test_next_token_loss_predicts_the_token_to_the_right(logits, labels):
    logs = numpy_log_softmax(logits)
    terms = [-logs[t, b, labels[t + 1, b]] for t in range(T - 1) for b in range(B)]
    np.testing.assert_allclose(train.next_token_loss(logits, labels), np.mean(terms), rtol=1e-6)


def test_next_token_loss_is_zero_for_logits_that_know_the_future():
    tokens = jnp.array([2, 0, 1, 3])
    knows_next = 100.0 * jax.nn.one_hot(jnp.roll(tokens, -1), 4)
    knows_now = 100.0 * jax.nn.one_hot(tokens, 4)
    assert train.next_token_loss(knows_next, tokens) < 1e-6
    assert train.next_token_loss(knows_now, tokens) > 50


def test_next_token_loss_needs_both_steps_real(logits, labels):
    mask = jnp.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0]], bool)
    logs = numpy_log_softmax(logits)
    pairs = [(0, 0), (1, 1), (2, 1)]  # (t, b) with steps t and t + 1 real
    expected = np.mean([-logs[t, b, labels[t + 1, b]] for t, b in pairs])
    np.testing.assert_allclose(train.next_token_loss(logits, labels, mask), expected, rtol=1e-6)


def test_squared_error_is_the_mean_over_positions_and_features(mask):
    rng = np.random.default_rng(2)
    predictions, targets = rng.normal(size=(2, T, B, 2)).astype(np.float32)
    squares = (predictions.astype(np.float64) - targets) ** 2
    loss = train.squared_error(jnp.asarray(predictions), targets)
    np.testing.assert_allclose(loss, squares.mean(), rtol=1e-6)
    masked = train.squared_error(jnp.asarray(predictions), targets, mask)
    np.testing.assert_allclose(masked, squares[np.asarray(mask)].mean(), rtol=1e-6)


def losses(labels):
    """Every loss as a jitted function of an array (T, B, CLASSES) and a mask."""
    functions = {
        "cross_entropy": lambda a, mask: train.cross_entropy(a, labels, mask),
        "next_token_loss": lambda a, mask: train.next_token_loss(a, labels, mask),
        "squared_error": lambda a, mask: train.squared_error(a, jnp.ones_like(a), mask),
    }
    return {name: jax.jit(function) for name, function in functions.items()}


NAMES = ["cross_entropy", "next_token_loss", "squared_error"]


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_outside_the_mask_reaches_neither_loss_nor_gradient(name, logits, labels, mask):
    loss = jax.jit(jax.value_and_grad(losses(labels)[name]))
    for junk in (jnp.nan, jnp.inf, -jnp.inf):
        dirty = jnp.where(mask[..., None], logits, junk)
        clean = jnp.where(mask[..., None], logits, 0)
        value, grad = loss(dirty, mask)
        expected, expected_grad = loss(clean, mask)
        assert np.isfinite(value)
        assert value == expected
        np.testing.assert_array_equal(grad, expected_grad)
        np.testing.assert_array_equal(grad[~np.asarray(mask)], 0)
        assert np.any(grad != 0)


def test_targets_outside_the_mask_are_not_read(logits, labels, mask):
    strange = jnp.where(mask, labels, 10**6)
    loss = train.cross_entropy(logits, strange, mask)
    assert loss == train.cross_entropy(logits, labels, mask)
    targets = jnp.where(mask[..., None], logits + 1, jnp.nan)
    np.testing.assert_allclose(train.squared_error(logits, targets, mask), 1, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_counted_gives_zero_and_a_zero_gradient(name, logits, labels):
    loss = jax.jit(jax.value_and_grad(losses(labels)[name]))
    value, grad = loss(logits * jnp.nan, jnp.zeros((T, B), bool))
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_loss_has_the_dtype_of_what_is_scored(name, dtype, logits, labels, mask):
    value = losses(labels)[name](logits.astype(dtype), mask)
    assert value.dtype == dtype
    expected = losses(labels)[name](logits, mask)
    np.testing.assert_allclose(float(value), expected, rtol=0.05)


def test_float64_flows_through(x64, labels):
    value = losses(labels)["cross_entropy"](jnp.zeros((T, B, CLASSES)), None)
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, np.log(CLASSES), rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_losses_run_under_vmap(name, logits, labels, mask):
    loss = losses(labels)[name]
    many = jnp.stack([logits, 2 * logits])
    mapped = jax.vmap(loss, (0, None))(many, mask)
    np.testing.assert_allclose(mapped, [loss(one, mask) for one in many], rtol=1e-6)


def test_errors_say_what_was_got_and_what_was_expected(logits, labels, mask):
    with pytest.raises(TypeError, match="labels of dtype float32; expected integers"):
        train.cross_entropy(logits, labels.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"got labels of shape \(3, 4\); expected \(4, 3\)"):
        train.cross_entropy(logits, labels.T)
    with pytest.raises(ValueError, match=r"got tokens of shape \(3, 4\); expected \(4, 3\)"):
        train.next_token_loss(logits, labels.T)
    with pytest.raises(ValueError, match=r"got targets of shape \(4, 3\); expected \(4, 3, 5\)"):
        train.squared_error(logits, logits[..., 0])
    with pytest.raises(ValueError, match="got 1 step; expected at least 2"):
        train.next_token_loss(logits[:1], labels[:1])
    with pytest.raises(TypeError, match="of dtype float32; expected integers"):
        train.next_token_loss(logits, labels.astype(jnp.float32))


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_bool_and_of_the_shape_of_the_positions(name, logits, labels, mask):
    loss = losses(labels)[name]
    with pytest.raises(TypeError, match=f"{name}: got mask of dtype int32; expected bool; .*> 0"):
        loss(logits, mask.astype(jnp.int32))
    with pytest.raises(ValueError, match=rf"{name}: got mask of shape \(4,\); expected \(4, 3\)"):
        loss(logits, mask[:, 0])


@pytest.mark.parametrize("label", [-1, 3])
def test_an_unknown_label_that_counts_is_not_scored(label):
    labels = jnp.array([0, label])
    assert jnp.isnan(train.cross_entropy(jnp.zeros((2, 3)), labels))
    assert jnp.isfinite(train.cross_entropy(jnp.zeros((2, 3)), labels, jnp.array([True, False])))


def test_next_token_loss_names_itself():
    with pytest.raises(TypeError, match="next_token_loss: got tokens of dtype float32"):
        train.next_token_loss(jnp.zeros((3, 4)), jnp.zeros(3))
