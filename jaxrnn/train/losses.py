"""Losses over sequences, with masks."""

import jax.numpy as jnp
import optax

from jaxrnn.core.trees import mask_zero
from jaxrnn.core.types import Array

__all__ = ["cross_entropy", "next_token_loss", "squared_error"]


def _check(name: str, got: tuple[int, ...], expected: tuple[int, ...], by: str) -> None:
    if got != expected:
        msg = f"{by}: got {name} of shape {got}; expected {expected}"
        raise ValueError(msg)


def _counted(mask, shape: tuple[int, ...], by: str) -> Array:
    """Returns the mask as an array, all True where there is none."""
    if mask is None:
        return jnp.ones(shape, bool)
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        msg = f"{by}: got mask of dtype {mask.dtype}; expected bool; compare first, as in mask > 0"
        raise TypeError(msg)
    _check("mask", mask.shape, shape, by)
    return mask


def _mean(losses: Array, mask: Array) -> Array:
    total = jnp.sum(jnp.where(mask, losses, 0))
    return total / jnp.maximum(jnp.sum(mask), 1).astype(losses.dtype)


def _check_labels(name: str, labels: Array, by: str) -> Array:
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        msg = f"{by}: got {name} of dtype {labels.dtype}; expected integers"
        raise TypeError(msg)
    return labels


def cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """Returns the mean cross entropy of classes, in nats per counted position.

    Args:
      logits: ``(..., classes)``.
      labels: integers ``(...)`` in ``[0, classes)``; any other label that counts makes the loss
        NaN (leave positions out with `mask`, not with a label such as -1).
      mask: bool ``(...)``, True where a position counts; all count if not given. What stands
        elsewhere, NaN included, reaches neither the loss nor its gradient. With no position
        counted the loss is 0.

    Returns:
      A scalar.

    Raises:
      TypeError: the labels are not integers, or the mask is not bool.
      ValueError: shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(cross_entropy(jnp.zeros((5, 2, 10)), jnp.zeros((5, 2), int))), 4)
      2.3026
    """
    labels = _check_labels("labels", labels, "cross_entropy")
    _check("labels", labels.shape, logits.shape[:-1], "cross_entropy")
    mask = _counted(mask, labels.shape, "cross_entropy")
    logits, labels = mask_zero(mask, (logits, labels))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    known = (labels >= 0) & (labels < logits.shape[-1])
    return _mean(jnp.where(known, losses, jnp.nan), mask)


def next_token_loss(logits: Array, tokens: Array, mask: Array | None = None) -> Array:
    """Returns the mean cross entropy of predicting each token from those before it.

    The logits at step t predict the token at step t + 1; the last logits predict nothing.

    Args:
      logits: ``(T, *batch, vocabulary)``, T at least 2.
      tokens: integers ``(T, *batch)``, the inputs that the logits were computed from.
      mask: bool ``(T, *batch)``, True where the step is real: a pair counts where both steps are.

    Returns:
      A scalar, in nats per counted token.

    Raises:
      TypeError: the tokens are not integers, or the mask is not bool.
      ValueError: shapes do not fit, or there is only one step.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(next_token_loss(jnp.zeros((5, 2, 10)), jnp.zeros((5, 2), int))), 4)
      2.3026
    """
    by = "next_token_loss"
    tokens = _check_labels("tokens", tokens, by)
    _check("tokens", tokens.shape, logits.shape[:-1], by)
    if tokens.shape[0] < 2:
        msg = (
            f"{by}: got {tokens.shape[0]} step; expected at least 2, one to predict from the other"
        )
        raise ValueError(msg)
    mask = _counted(mask, tokens.shape, by)
    return cross_entropy(logits[:-1], tokens[1:], mask[:-1] & mask[1:])


def squared_error(predictions: Array, targets: Array, mask: Array | None = None) -> Array:
    """Returns the mean squared error per counted position and feature.

    Args:
      predictions: ``(..., features)``.
      targets: ``(..., features)``.
      mask: bool ``(...)``, True where a position counts; all count if not given. What stands
        elsewhere, NaN included, reaches neither the loss nor its gradient. With no position
        counted the loss is 0.

    Returns:
      A scalar.

    Raises:
      TypeError: the mask is not bool.
      ValueError: shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.ones((5, 2, 1)), jnp.zeros((5, 2, 1))))
      1.0
    """
    targets = jnp.asarray(targets)
    _check("targets", targets.shape, predictions.shape, "squared_error")
    mask = _counted(mask, predictions.shape[:-1], "squared_error")
    predictions, targets = mask_zero(mask, (predictions, targets))
    return _mean(jnp.mean(jnp.square(predictions - targets), axis=-1), mask)
