"""Who is compared: the library's unrolls, what one writes without a library, other libraries."""

import functools
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from jaxrnn.bench.peers.cudnn import cudnn_layer
from jaxrnn.bench.peers.equinox import equinox_layer
from jaxrnn.bench.peers.flax import flax_layer
from jaxrnn.bench.peers.haiku import haiku_layer
from jaxrnn.bench.peers.keras import keras_layer
from jaxrnn.bench.peers.torch import torch_program
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Model, Program, Unavailable, compile_model
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.structure import Gated
from jaxrnn.unrolls import fused_unroll, unroll

__all__ = [
    "CONTENDERS",
    "OURS",
    "TEXTBOOK",
    "Contender",
    "choose_contenders",
    "not_installed",
    "textbook_scan",
    "unroll_contender",
]


class Contender(NamedTuple):
    """One way to run a layer.

    Attributes:
      name: as in tables.
      package: what has to be installed, by the name that is imported.
      make: makes it ready on a problem; raises `Unavailable` where it does not apply.
    """

    name: str
    package: str
    make: Callable[[Problem], Program]


def textbook_scan(cell, params, xs, *, unroll_factor: int = 1):
    """Runs a cell as one would without a library: `jax.lax.scan` over its step."""
    state = cell.initial_state(params, xs.shape[1:-1])
    step = functools.partial(cell.step, params)
    return jax.lax.scan(step, state, xs, unroll=unroll_factor)


def unroll_contender(
    name: str,
    run: Callable[..., Any],
    *,
    gated: bool = False,
    compiler_options: dict[str, Any] | None = None,
) -> Contender:
    """Makes a contender of a way to run the library's own cells.

    Args:
      name: as in tables.
      run: ``(cell, params, xs) -> (state, ys)``.
      gated: whether it takes `Gated` cells only.
      compiler_options: for `jax.jit`.

    Returns:
      The contender.
    """

    def make(problem: Problem) -> Program:
        cell = problem.cell
        if gated and not isinstance(cell.parts, Gated):
            msg = f"it takes Gated cells only, and {problem.kind} is none"
            raise Unavailable(msg)
        model = Model(lambda params: params, lambda params, xs: run(cell, params, xs)[1])
        return compile_model(problem, model, compiler_options=compiler_options)

    return Contender(name, "jaxrnn", make)


def _layer_contender(name: str, package: str, layer: Callable[[Problem], Model]) -> Contender:
    return Contender(name, package, lambda problem: compile_model(problem, layer(problem)))


OURS = "fused"  # what is compared with the others
TEXTBOOK = "textbook"

CONTENDERS = {
    contender.name: contender
    for contender in (
        unroll_contender(OURS, fused_unroll, gated=True),
        unroll_contender(
            "fused_outputs", functools.partial(fused_unroll, storage="outputs"), gated=True
        ),
        unroll_contender("unroll", unroll),
        unroll_contender(TEXTBOOK, textbook_scan),
        _layer_contender("flax", "flax", flax_layer),
        _layer_contender("haiku", "haiku", haiku_layer),
        _layer_contender("equinox", "equinox", equinox_layer),
        _layer_contender("keras", "keras", keras_layer),
        _layer_contender("jax_cudnn", "jax", cudnn_layer),
        Contender("torch", "torch", torch_program),
    )
}


def not_installed(contender: Contender) -> str | None:
    """Says how to install what a contender needs, or returns None if it is there."""
    if importlib.util.find_spec(contender.package) is not None:
        return None
    return f"{contender.package} is not installed; install it with: pip install 'jaxrnn[peers]'"


def choose_contenders(names: Iterable[str]) -> list[Contender]:
    """Returns rows of CONTENDERS by name.

    Raises:
      ValueError: an unknown name.
    """
    chosen = []
    for name in names:
        if name not in CONTENDERS:
            raise unknown_name("contender", name, CONTENDERS)
        chosen.append(CONTENDERS[name])
    return chosen
