"""One training step: gradients, clipping, the optimiser, and what to do with a non-finite one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxrnn.core.trees import global_norm
from jaxrnn.core.types import Array, Params, State
from jaxrnn.train.placement import read_placement

__all__ = ["Metrics", "TrainState", "init", "make_step"]


class TrainState(NamedTuple):
    """Everything that a training step changes.

    Attributes:
      params: the parameters.
      opt_state: the optimiser's state.
      carried: the recurrent state handed from batch to batch of a stream, or None.
      step: int32, the number of steps taken, skipped ones included.
      skipped: int32, the number of steps skipped because loss or gradient was not finite.
    """

    params: Params
    opt_state: Any
    carried: State | None
    step: Array
    skipped: Array


class Metrics(NamedTuple):
    """What one step reports; over many steps each is an array ``(steps,)``.

    Attributes:
      loss: the loss before the step.
      grad_norm: Euclidean norm of the whole gradient before clipping.
      clipped: bool, whether the norm was above the clipping threshold.
      skipped: bool, whether the step was skipped because loss or gradient was not finite.
    """

    loss: Array
    grad_norm: Array
    clipped: Array
    skipped: Array

    @property
    def clip_fraction(self) -> float:
        """The fraction of steps that were clipped."""
        return float(jnp.mean(self.clipped))


def init(
    params: Params,
    optimizer: optax.GradientTransformation,
    carried: State | None = None,
    *,
    mesh: Mesh | None = None,
    specs: Any = None,
) -> TrainState:
    """Makes the state that training starts from.

    Args:
      params: tree of parameters.
      optimizer: any optax transformation.
      carried: a recurrent state, to train over a stream: the loss then gets it and returns the
        next one.
      mesh: a mesh of `jaxrnn.sharding.mesh` to spread the state over, as `fit` does.
      specs: where `jaxrnn.sharding.param_specs` should not decide; see `fit`.

    Returns:
      The training state at step 0.

    Raises:
      TypeError: `mesh` is no mesh, or `specs` holds what is no spec.
      ValueError: `mesh` or `specs` does not fit the parameters or the carried state.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> init({"w": jnp.ones(3)}, optax.adam(1e-3)).step.item()
      0
    """
    place = read_placement(mesh, specs, None, by="init")
    params, carried = jax.tree.map(_strong, (params, carried))
    params = place.put_params(params)
    # Two arrays, not one twice: a buffer can be donated only once.
    step, skipped = (jnp.zeros((), jnp.int32) for _ in range(2))
    with place.around(params):
        opt_state = jax.tree.map(jnp.asarray, optimizer.init(params))  # some hold numbers of Python
    return place.put(TrainState(params, opt_state, carried, step, skipped))


def _strong(leaf: Any) -> Array:
    """Returns an array whose type a step keeps: a weak one would change, and compile again."""
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else leaf.astype(leaf.dtype)


def _check_loss(result: Any, carried: State | None) -> tuple[Array, State | None]:
    """Returns the loss and the state carried on, or raises where they are not what is expected."""
    expected = "a scalar" if carried is None else "(scalar, carried)"
    if carried is None:
        loss, after = result, None
    elif isinstance(result, tuple) and len(result) == 2:
        loss, after = result
    else:
        loss, after = result, None
    if getattr(loss, "shape", None) != () or (carried is not None and after is None):
        shape = jax.tree.map(jnp.shape, result)
        msg = (
            f"make_step: got a loss_fn that returns {type(result).__name__} of shape {shape}; "
            f"expected {expected}; take the mean over the batch, and return a state only where "
            "init was given one"
        )
        raise ValueError(msg)
    types = [
        jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)
        for tree in (after, carried)
    ]
    if types[0] != types[1]:
        msg = f"make_step: got a carried state of {types[0]} from loss_fn; expected {types[1]}"
        raise ValueError(msg)
    return loss, after


def make_step(
    loss_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    clip_norm: float | None = None,
    mesh: Mesh | None = None,
    specs: Any = None,
    batch_specs: Any = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Makes a pure training step, ready for `jax.jit`.

    A step whose loss or gradient norm is not finite is skipped: parameters, optimiser and carried
    state stay as they were, and it is counted.

    With a mesh the training state goes out with the shardings that `init` gives it, the batch is
    spread as `jaxrnn.sharding.batch_specs` says, and loss, norm, clipping and skipping are those of
    the whole batch. A batch read from files is put together from what each process read by
    `jaxrnn.sharding.from_processes`::

        state = train.init(params, optimizer, mesh=mesh)
        step = jax.jit(train.make_step(loss_fn, optimizer, mesh=mesh))
        for rows in reader(jax.process_index()):  # (T, B / processes, ...) each
            state, metrics = step(state, sharding.from_processes(mesh, rows))

    Args:
      loss_fn: ``(params, batch) -> loss``; where the training state carries a recurrent state,
        ``(params, batch, carried) -> (loss, carried)``. No gradient flows into the carried state of
        the step before.
      optimizer: any optax transformation; the one given to `init`.
      clip_norm: scale the gradient down to this Euclidean norm where it is longer, as
        `optax.clip_by_global_norm` does but for any gradient that is finite, however large; no
        clipping if not given.
      mesh: a mesh of `jaxrnn.sharding.mesh` to train over, or None; see `fit`.
      specs: what `init` got.
      batch_specs: where `jaxrnn.sharding.batch_specs` should not decide; see `fit`.

    Returns:
      ``(train_state, batch) -> (train_state, metrics)``.

    Raises:
      TypeError: `mesh` is no mesh.
      ValueError: `clip_norm` is not positive, or `mesh` lacks an axis; at the call, the loss is not
        a scalar, the state carried on is not of the kind that came in, or the mesh divides the
        batch, the hidden size or the number of steps with a remainder.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> optimizer = optax.sgd(0.1)
      >>> step = jax.jit(make_step(lambda w, x: jnp.sum((w - x) ** 2), optimizer, clip_norm=1.0))
      >>> state, metrics = step(init(jnp.zeros(2), optimizer), jnp.array([3.0, 4.0]))
      >>> metrics.grad_norm.item(), metrics.clipped.item()
      (10.0, True)

    Reference:
      R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
      2013, algorithm 1 (clipping the norm).
    """
    if clip_norm is not None and not clip_norm > 0:
        msg = f"make_step: got clip_norm={clip_norm}; expected a positive norm, or None"
        raise ValueError(msg)
    place = read_placement(mesh, specs, batch_specs, by="make_step")

    def checked_loss(params, batch, carried):
        given = () if carried is None else (carried,)
        return _check_loss(loss_fn(params, batch, *given), carried)

    def step(train_state, batch):
        params, opt_state, carried, count, skipped = train_state
        gradient = jax.value_and_grad(checked_loss, has_aux=True)
        (loss, after), grads = gradient(params, batch, carried)
        grad_norm = global_norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        clipped = jnp.zeros((), bool)
        if clip_norm is not None:
            clipped = finite & (grad_norm > clip_norm)
            shrink = jnp.where(clipped, clip_norm / grad_norm, 1)
            grads = jax.tree.map(lambda leaf: leaf * shrink.astype(leaf.dtype), grads)
        updates, new_opt_state = optimizer.update(grads, opt_state, params)
        new = (optax.apply_updates(params, updates), new_opt_state, after)
        kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, (params, opt_state, carried))
        train_state = TrainState(*kept, count + 1, skipped + ~finite)
        return train_state, Metrics(loss, grad_norm, clipped, ~finite)

    return place.make_step(step)
