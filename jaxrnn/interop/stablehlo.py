"""Networks as StableHLO programs, which JAX alone can read, run and differentiate."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Input, Params, UnrollFn
from jaxrnn.interop.inputs import as_layer, check_dimensions, check_inputs
from jaxrnn.layers import bidirectional, residual, reverse, stack
from jaxrnn.layers.layer import Layer, layer
from jaxrnn.layers.parts import (
    Bidirectional,
    Recurrent,
    Residual,
    Reverse,
    Stack,
    layer_parts,
)
from jaxrnn.unrolls.scan import unroll
from jaxrnn.unrolls.sequence import length_mask

__all__ = ["export_stablehlo", "plain"]

_BY = "export_stablehlo"
_FLAGS = ("mask", "resets")
_INPUTS = ("params", "state", "seq_lengths", *_FLAGS)
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def _is_named(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def plain(tree: Any) -> Any:
    """Returns a tree with a dict in place of every named tuple.

    An exported program takes and returns such trees, so that who runs it needs JAX alone.

    Args:
      tree: parameters, a state or inputs: named tuples, tuples, lists and dicts of arrays.

    Returns:
      The tree; arrays are handed on.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm(3, 5).init(jax.random.key(0))
      >>> sorted(plain(params))
      ['b', 'w_hh', 'w_ih']
      >>> jaxrnn.LSTMParams(**plain(params)) == params
      True
    """
    if _is_named(tree):
        return {name: plain(getattr(tree, name)) for name in tree._fields}
    if isinstance(tree, tuple | list):
        return type(tree)(plain(one) for one in tree)
    if isinstance(tree, dict):
        return {name: plain(one) for name, one in tree.items()}
    return tree


def _named_as(like: Any, tree: Any) -> Any:
    """Returns the tree that `plain` made `tree` of, with the named tuples of `like`."""
    if _is_named(like):
        return type(like)(**{n: _named_as(getattr(like, n), tree[n]) for n in like._fields})
    if isinstance(like, tuple | list):
        return type(like)(_named_as(*pair) for pair in zip(like, tree, strict=True))
    if isinstance(like, dict):
        return {name: _named_as(one, tree[name]) for name, one in like.items()}
    return tree


def _run_by(network: Layer, unroll_fn: UnrollFn) -> Layer:
    """Returns the network with `unroll_fn` wherever the library would choose an unroll."""
    parts = layer_parts(network)
    match parts:
        case Recurrent(unroll_fn=None):
            return layer(parts.cell, unroll_fn)
        case Stack():
            return stack(*(_run_by(one, unroll_fn) for one in parts.layers))
        case Reverse():
            return reverse(_run_by(parts.inner, unroll_fn))
        case Residual():
            return residual(_run_by(parts.inner, unroll_fn))
        case Bidirectional():
            both = (parts.forward, parts.backward)
            return bidirectional(*(_run_by(one, unroll_fn) for one in both))
    return network


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)


def _leading_shape(xs: Input, rank: int) -> tuple[int, ...]:
    """Returns the sizes of the first axes of the example."""
    leaves = jax.tree.leaves(xs)
    for leaf in leaves:
        least = rank + (not jnp.issubdtype(leaf.dtype, jnp.integer))
        if leaf.ndim < least:
            msg = (
                f"{_BY}: got xs of shape {leaf.shape} and {rank} dimensions; expected rank {least} "
                "or more, (*dimensions, features), or (*dimensions) of integer tokens; for a "
                'sequence without batch axes pass dimensions=("T",)'
            )
            raise ValueError(msg)
    if not leaves:
        msg = f"{_BY}: got xs without arrays; expected a tree of arrays (T, *batch, features)"
        raise ValueError(msg)
    return leaves[0].shape[:rank]


def export_stablehlo(
    network: Cell | Layer,
    params: Params,
    xs: Input,
    *,
    inputs: Sequence[str] = ("params",),
    dimensions: Sequence[int | str] = ("T", "B"),
    unroll_fn: UnrollFn = unroll,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> export.Exported:
    """Exports a network over time as a StableHLO program, for any number of steps and sequences.

    The program is ``network.apply``: ``call(params, xs, state=..., mask=..., resets=...)`` returns
    ``(state, ys)``, with the arguments that `inputs` names and no others. Its trees are those of
    `plain`: a dict for every named tuple. To keep it in a file, and to read it again (which needs
    JAX alone, and `jax.export`'s extra, ``pip install 'jaxrnn[export]'``)::

        blob = exported.serialize(vjp_order=1)  # with its derivative; 0 leaves that out
        program = jax.export.deserialize(blob)
        state, ys = program.call(jaxrnn.interop.plain(params), xs)

    JAX reads a program for six months after the version that wrote it, so a file of weights stays
    the archive, and the program is what is deployed.

    Cells are run by `unroll`, the plain scan, which leaves all sizes open. `chunked_unroll` does so
    too; `associative_unroll` needs the number of steps, as in ``dimensions=(100, "B")``, and
    `fused_unroll`, which cuts a known product of steps into blocks, all sizes, as in
    ``dimensions=(100, 8)``. They have to be asked for, by `unroll_fn` or in
    ``jaxrnn.layer(cell, unroll_fn)``.

    Args:
      network: a cell, or a layer of any kind.
      params: its parameters; shapes are enough where they are an input.
      xs: an example of the inputs, ``(T, *batch, features)``, or shapes: only the sizes behind
        the leading axes and the dtype are read.
      inputs: what the program takes besides `xs`: "params" (if left out, they are constants in the
        program), "state" (if left out, it starts from the initial state), "mask", "resets",
        "seq_lengths" (int32 ``(*batch,)``, for `length_mask`).
      dimensions: of the leading axes of `xs`, time first: a name leaves it open, a number fixes it.
        ``("T",)`` for a sequence without batch axes.
      unroll_fn: how cells are run whose layer does not say.
      platforms: where the program can run: "cpu", "cuda", "rocm", "tpu".

    Returns:
      The program. `jax.grad`, `jax.jit` and `jax.vmap` take its ``call`` as they take a function.

    Raises:
      TypeError: `network` is no cell or layer, `params` are shapes where values are needed, or an
        argument is no tuple.
      ValueError: an unknown name, too few axes of `xs`, both "mask" and "seq_lengths", or an
        unroll that needs sizes which are left open.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(3, 5)), jaxrnn.readout(2))
      >>> params = net.init(jax.random.key(0))
      >>> exported = export_stablehlo(net, params, jnp.ones((1, 1, 3)))
      >>> state, ys = exported.call(plain(params), jnp.ones((7, 4, 3)))
      >>> ys.shape, bool(jnp.allclose(ys, net.apply(params, jnp.ones((7, 4, 3)))[1], atol=1e-6))
      ((7, 4, 2), True)
    """
    network = as_layer(network, by=_BY)
    inputs = check_inputs(inputs, _INPUTS, by=_BY)
    dimensions = check_dimensions(dimensions, by=_BY)
    if isinstance(platforms, str):
        msg = f"{_BY}: got platforms={platforms!r}; expected a tuple, as in ({platforms!r},)"
        raise TypeError(msg)
    for platform in platforms:
        if platform not in _PLATFORMS:
            raise unknown_name("platform", platform, _PLATFORMS)
    if {"mask", "seq_lengths"} <= inputs:
        msg = f"{_BY}: got inputs 'mask' and 'seq_lengths'; expected one: lengths make a mask"
        raise ValueError(msg)
    if "params" not in inputs:
        _check_values(params)
    apply = _run_by(network, unroll_fn).apply
    shapes = _shapes(params)

    def run(*arguments, state=None, seq_lengths=None, **flags):
        *given, xs = arguments
        used = _named_as(shapes, given[0]) if given else params
        if state is not None:
            like = jax.eval_shape(lambda p: network.initial_state(p, ()), shapes)
            state = _named_as(like, state)
        if seq_lengths is not None:
            flags["mask"] = length_mask(seq_lengths, jax.tree.leaves(xs)[0].shape[0])
        return plain(apply(used, _named_as(example, xs), state, **flags))

    example = _shapes(xs)
    rank = len(dimensions)

    def specs(sizes):
        """The shapes of all arguments for some sizes of the leading axes."""

        def resized(leaf):
            return jax.ShapeDtypeStruct((*sizes, *leaf.shape[rank:]), leaf.dtype)

        named = {flag: jax.ShapeDtypeStruct(sizes, jnp.bool_) for flag in _FLAGS if flag in inputs}
        if "seq_lengths" in inputs:
            named["seq_lengths"] = jax.ShapeDtypeStruct(sizes[1:], jnp.int32)
        if "state" in inputs:
            state = jax.eval_shape(lambda p: network.initial_state(p, sizes[1:]), shapes)
            named["state"] = plain(state)
        first = [plain(shapes)] if "params" in inputs else []
        return (*first, plain(jax.tree.map(resized, example))), named

    arguments, named = specs(_leading_shape(example, rank))
    jax.eval_shape(run, *arguments, **named)  # errors of the network itself come from here
    symbols = export.symbolic_shape(", ".join(map(str, dimensions)))
    arguments, named = specs(symbols)
    try:
        return export.export(jax.jit(run), platforms=tuple(platforms))(*arguments, **named)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        msg = (
            f"{_BY}: got a network that runs on the example, but cannot be exported for "
            f"dimensions {dimensions} and platforms {tuple(platforms)} ({reason}); expected "
            "unrolls that leave sizes open, and operations that every platform has; give the "
            "layers unroll_fn=jaxrnn.unroll, or fix the sizes, as in dimensions=(100, 8)"
        )
        raise ValueError(msg) from error


def _check_values(params: Params) -> None:
    for leaf in jax.tree.leaves(params):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            msg = (
                f"{_BY}: got parameters that are shapes, {leaf}, to stand in the program; expected "
                'arrays; pass them, or make them an input, inputs=("params",)'
            )
            raise TypeError(msg)
