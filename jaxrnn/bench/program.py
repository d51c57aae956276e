"""A contender made ready on one problem: compiled, and able to show what it computes."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.bench.problem import Problem, loss_of
from jaxrnn.core.types import Array, Params

__all__ = ["Model", "Program", "Results", "Unavailable", "compile_model", "mapped_back"]


class Unavailable(Exception):
    """Says why a contender does not take part in a problem."""


class Results(NamedTuple):
    """What is compared before anything is timed; NumPy arrays.

    Attributes:
      outputs: ``(T, B, H)``.
      inputs: gradient of the inputs, ``(T, B, D)``.
      parameters: gradients of the parameters, in the layout of the library's own cell.
    """

    outputs: np.ndarray
    inputs: np.ndarray
    parameters: Any


class Model(NamedTuple):
    """A layer of some JAX library.

    Attributes:
      pack: from the library's own parameters to this layer's weights; affine, in JAX.
      apply: ``(weights, xs) -> ys``, both ``(T, B, ...)``, or ``(B, T, ...)`` where `batch_first`.
      batch_first: what the layer takes and returns; the arrays are turned outside of its program.
    """

    pack: Callable[[Params], Any]
    apply: Callable[[Any, Array], Array]
    batch_first: bool = False


class Program(NamedTuple):
    """A contender ready to run.

    Attributes:
      train: computes the outputs and the gradients of parameters and inputs, and waits for them.
      infer: computes the outputs, and waits for them; the first call may compile.
      results: the values of a training step.
      facts: ``compile_s`` and ``temporary_mb`` of the training step, where they are known.
    """

    train: Callable[[], Any]
    infer: Callable[[], Any]
    results: Callable[[], Results]
    facts: dict[str, float]


def mapped_back(pack: Callable[[Params], Any], params: Params, gradients: Any) -> Any:
    """Returns gradients of packed weights as gradients of the parameters: the chain rule."""
    weights, pull = jax.vjp(pack, params)
    leaves = zip(jax.tree.leaves(weights), jax.tree.leaves(gradients), strict=True)
    given = [jax.numpy.asarray(got, weight.dtype) for weight, got in leaves]
    return jax.tree.map(np.asarray, pull(jax.tree.structure(weights).unflatten(given))[0])


def compile_model(
    problem: Problem,
    model: Model,
    *,
    precision: str | None = None,
    compiler_options: dict[str, Any] | None = None,
) -> Program:
    """Compiles a layer's training step and its outputs.

    Args:
      problem: what it runs on.
      model: the layer.
      precision: another one than the problem's.
      compiler_options: for `jax.jit`.

    Returns:
      The program. Its compile time is that of the training step, tracing included.
    """
    pack, apply, batch_first = model

    def turned(array):
        return jax.numpy.swapaxes(array, 0, 1) if batch_first else array

    xs, weight = turned(problem.xs), turned(problem.weight)
    weights = jax.tree.map(jax.numpy.asarray, pack(problem.params))
    with problem.at_precision(precision):
        step = jax.jit(
            jax.grad(loss_of(apply), argnums=(0, 1), has_aux=True),
            compiler_options=compiler_options,
        )
        start = time.perf_counter()
        step = step.lower(weights, xs, weight).compile()
        seconds = time.perf_counter() - start
    memory = step.memory_analysis()
    facts = {"compile_s": seconds}
    if memory is not None:
        facts["temporary_mb"] = memory.temp_size_in_bytes / 1e6

    @functools.cache
    def outputs():
        with problem.at_precision(precision):
            return jax.jit(apply, compiler_options=compiler_options).lower(weights, xs).compile()

    def results():
        (d_weights, d_xs), ys = step(weights, xs, weight)
        parameters = mapped_back(pack, problem.params, d_weights)
        return Results(np.asarray(turned(ys)), np.asarray(turned(d_xs)), parameters)

    return Program(
        lambda: jax.block_until_ready(step(weights, xs, weight)),
        lambda: jax.block_until_ready(outputs()(weights, xs)),
        results,
        facts,
    )
