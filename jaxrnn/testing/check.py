"""`check_cell`: every law on one cell."""

from collections.abc import Collection, Mapping

from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Input, Key, UnrollFn
from jaxrnn.testing.laws import LAWS
from jaxrnn.testing.probe import make_probe

__all__ = ["check_cell"]


def check_cell(
    cell: Cell,
    xs: Input,
    *,
    key: Key | None = None,
    unrolls: Mapping[str, UnrollFn] | None = None,
    skip: Collection[str] = (),
) -> None:
    """Checks a cell of any kind against the laws that the rest of the library relies on.

    The laws, in the order in which they are checked (the first that fails is reported; the
    functions of `jaxrnn.testing.LAWS` say what each is): `init_is_deterministic`,
    `step_keeps_the_state`, `dtypes_flow_through`, `witness_is_the_step`,
    `pointwise_keeps_units_apart`, `combine_is_associative`, `batch_is_vmap`, `unroll_is_the_loop`,
    `trajectory_is_the_states`, `halves_make_the_whole`, `unrolls_agree`, `padding_never_matters`,
    `resets_separate`, `no_retrace`,
    `gradient_is_finite_difference`, `adjoint_identity`, `jacobians_concatenate`,
    `log_determinants_add_up`. Nearly all are checked in double precision,
    where a difference is an error and not rounding. Most of the time, some ten seconds, is
    compilation, so small sizes and few steps serve best.

    Args:
      cell: any cell: any structure or none, any pytree as parameters and state.
      xs: inputs to try it on, ``(T, *batch, features)`` or a tree of such, integer leaves
        ``(T, *batch)``; at least 4 steps. A single sequence is doubled by its time reversal.
      key: for the parameters and for random directions; ``jax.random.key(0)`` if not given.
      unrolls: more unrolls, by name, that must agree with `jaxrnn.unroll` on this cell.
      skip: names of laws not to check, such as `gradient_is_finite_difference` for a cell that
        changes its derivative on purpose.

    Raises:
      AssertionError: a law fails; the message names it, what was got and expected, and what
        probably causes it.
      TypeError: `cell` is not a `Cell`.
      ValueError: `xs` has fewer than 4 steps, or `skip` names no law.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.core import Cell
      >>> def step(params, h, x):
      ...     h = jnp.tanh(x + h @ params - jnp.mean(h))
      ...     return h, h
      >>> cell = Cell(
      ...     lambda key: jax.random.normal(key, (3, 3)),
      ...     lambda params, batch_shape=(): jnp.zeros((*batch_shape, 3)),
      ...     step)
      >>> check_cell(cell, jax.random.normal(jax.random.key(0), (4, 2, 3)))
      Traceback (most recent call last):
      AssertionError: batch_is_vmap: got ... probable cause: the step mixes the sequences of a
      batch, ...
    """
    for name in skip:
        if name not in LAWS:
            raise unknown_name("law", name, LAWS)
    probe = make_probe(cell, xs, key=key, unrolls=unrolls)
    for name, law in LAWS.items():
        if name not in skip:
            law(probe)
