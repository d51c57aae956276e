"""Weights of other libraries to parameters and back, in NumPy, without loading the libraries."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Array, Params
from jaxrnn.interop.blocks import RESETS, join_params, shapes_only
from jaxrnn.interop.fitting import Fit, as_arrays, complain, find_fit, is_bias, problems
from jaxrnn.interop.formats import FORMATS, Format, Parts
from jaxrnn.interop.network import find_cells

__all__ = ["export_weights", "import_weights", "pack_weights"]


def _find_format(kind: str, name: str) -> Format:
    if name not in FORMATS:
        raise unknown_name(kind, name, FORMATS)
    return FORMATS[name]


def _check_kinds(form: Format, parts: Parts, by: str) -> None:
    for part in parts:
        if part.kind not in form.cells:
            reason = form.refusals.get(part.kind, f"{form.library} has no such cell")
            msg = (
                f"{by}: got {part.kind}; expected a cell that {form.library} has, one of "
                f"{', '.join(form.cells)}; {reason}"
            )
            raise ValueError(msg)


def _check_reset(form: Format, parts: Parts, reset: str | None, bias: bool) -> None:
    """Raises ValueError where a GRU of the source may reset at another place than ours."""
    by = "import_weights"
    if reset not in (None, "after", "before"):
        raise unknown_name("reset", reset, ("after", "before"))
    told = form.tells_reset == "always" or (form.tells_reset == "with bias" and bias)
    for part in parts:
        ours = RESETS.get(part.kind)
        if ours is None or reset == ours:
            continue
        if reset is not None:
            msg = (
                f"{by}: got reset={reset!r} for {part.kind}, which resets {ours} the product; "
                "expected the same, because the two are different functions; make the cell with "
                f"jaxrnn.gru(I, H, reset={reset!r})"
            )
            raise ValueError(msg)
        if not told:
            msg = (
                f"{by}: got weights of {form.library} that do not tell where the GRU resets; "
                f"expected reset='after' or 'before'; pass reset={ours!r} if the source does as "
                f"{part.kind} does (linear_before_reset=1 in ONNX, reset_after=True in Keras: "
                "'after')"
            )
            raise ValueError(msg)


def _check_bias(form: Format, parts: Parts, bias: bool) -> None:
    if not bias and not any(map(is_bias, form.layouts(parts, None)[0].pack(parts))):
        msg = (
            f"import_weights: got bias=False; expected True for weights of {form.library}, which "
            "always hold biases"
        )
        raise ValueError(msg)


def _shares(parts: Parts, prefix: Any, by: str) -> list[tuple[Parts, str | None]]:
    """Pairs parts of the network with their prefixes: all of it, or layer by layer."""
    if prefix is None or isinstance(prefix, str):
        return [(parts, prefix)]
    if not isinstance(prefix, Sequence):
        msg = (
            f"{by}: got prefix={prefix!r}; expected a string, or a sequence of strings, one a "
            "layer; pass what stands before the names, as in prefix='encoder.rnn.'"
        )
        raise TypeError(msg)
    layers = parts[0].layers
    if len(prefix) != layers or not all(isinstance(one, str) for one in prefix):
        msg = f"{by}: got prefix={prefix!r}; expected a string, or {layers}, one a layer"
        raise ValueError(msg)
    return [
        ([part._replace(layer=0, layers=1) for part in parts if part.layer == layer], one)
        for layer, one in enumerate(prefix)
    ]


def _check_weights(form: Format, weights: Any) -> None:
    if not isinstance(weights, Mapping | list | tuple) and not hasattr(weights, "shape"):
        msg = (
            f"import_weights: got {type(weights).__name__}; expected weights of {form.library}, "
            f"and not the object that holds them; pass {form.given}"
        )
        raise TypeError(msg)


def _with_zeros(fit: Fit, parts: Parts, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights by the layout's names; biases that the source does without are zeros."""
    found = {name: weights[fit.prefix + name] for name in fit.expected}
    for name, value in fit.layout.pack(parts).items():
        if name not in found:
            found[name] = np.zeros(value.shape, next(iter(found.values())).dtype)
    return found


def _to_numpy(cell: Params) -> Params:
    for leaf in jax.tree.leaves(cell):
        if not isinstance(leaf, np.ndarray | jax.Array):
            msg = (
                f"export_weights: got {type(leaf).__name__} in {type(cell).__name__}; expected "
                "arrays; pass parameters, as cell.init(key) makes them"
            )
            raise TypeError(msg)
    return jax.tree.map(np.asarray, cell)


def _to_jax(leaf: Array) -> Array:
    """A JAX array, unless JAX would narrow it."""
    narrowed = jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype
    return np.array(leaf) if narrowed else jnp.asarray(leaf)


def import_weights(
    source: str,
    weights: Mapping[str, Any] | Sequence[Any] | Array,
    like: Params,
    *,
    prefix: str | Sequence[str] | None = None,
    reset: str | None = None,
    bidirectional: bool | None = None,
    bias: bool = True,
) -> Params:
    """Makes parameters of another library's weights.

    Kind, sizes, layers and directions are those of `like`, so everything is checked. The values
    are kept, not the way a library trains: where it has two biases that are added, `b` is their
    sum, and gradient descent moves two biases of which each has `b`'s gradient twice as far as one.
    docs/interop.md says for each library which cells it has, and how exact each conversion is.

    Args:
      source: "torch", "keras", "linen", "nnx", "haiku", "equinox", "cudnn"
        (`jax.experimental.rnn`) or "onnx".
      weights: arrays by the library's own names: a torch ``state_dict()``; ``get_weights()`` of
        Keras layers, or a mapping by path; the nested mappings of flax and haiku; equinox'
        attributes by name; the one vector of `jax.experimental.rnn`; W, R, B and P of ONNX.
      like: the parameters of a cell, a layer, or a stack of (bidirectional) layers, or
        ``jax.eval_shape(net.init, key)``: elman, lstm, projected_lstm, gru, and for linen mgu, for
        ONNX peephole_lstm.
      prefix: what stands before the names, as in "encoder.rnn."; entries without it are left out,
        for Keras also layers with it that are not recurrent, so that a model's name will do.
        A sequence of them, one a layer, where each layer is an object of its own. If not given,
        what all the names begin with.
      reset: "after" or "before": where the source's GRU resets, if its weights do not tell (ONNX,
        and Keras without biases).
      bidirectional: whether two cells that might be either are one layer's directions.
      bias: False for a source without biases; ours are zeros then.

    Returns:
      Parameters with the structure of `like` and the dtypes of `weights`. The leaves are JAX
      arrays, or NumPy arrays where JAX would narrow them (float64 without x64).

    Raises:
      TypeError: `like` holds something else than these cells, `weights` is a module, or an entry
        is no array of floats.
      ValueError: an unknown source; a cell that the source does not have; entries that are missing,
        unknown, or of a wrong shape, all of them listed; a GRU that resets elsewhere, or may; two
        cells that may be layers or directions; layers of Keras in another order than their numbers.

    Example:
      >>> import jax, jaxrnn, numpy as np
      >>> from jaxrnn.interop import import_weights
      >>> cell = jaxrnn.lstm(3, 5)
      >>> like = jax.eval_shape(cell.init, jax.random.key(0))
      >>> weights = {  # or torch.nn.LSTM(3, 5).state_dict()
      ...     "weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5)),
      ...     "bias_ih_l0": np.ones(20), "bias_hh_l0": np.ones(20),
      ... }
      >>> params = import_weights("torch", weights, like)
      >>> params.w_ih.shape, float(params.b[0])
      ((3, 20), 2.0)
    """
    by = "import_weights"
    form = _find_format("source", source)
    network = find_cells(like, by=by, bidirectional=bidirectional, read=shapes_only)
    _check_kinds(form, network.parts, by)
    _check_reset(form, network.parts, reset, bias)
    _check_bias(form, network.parts, bias)
    _check_weights(form, weights)
    found, said = [], []
    for parts, start in _shares(network.parts, prefix, by):
        form.check(parts, by)
        given = as_arrays(form.read(weights, parts, bias, start), by=by)
        fit = find_fit(form, parts, given, prefix=start, bias=bias)
        found.append((parts, fit, given))
        said += problems(fit, given, strict=start is None)
    if said:
        given = {name: value for _, _, arrays in found for name, value in arrays.items()}
        raise complain(form, network.parts, said, given, weights, prefix=prefix, bias=bias, by=by)
    cells = [
        join_params(part.kind, blocks)
        for parts, fit, given in found
        for part, blocks in zip(
            parts, fit.layout.unpack(_with_zeros(fit, parts, given), parts), strict=True
        )
    ]
    return jax.tree.map(_to_jax, network.rebuild(cells))


def export_weights(
    target: str,
    params: Params,
    *,
    prefix: str | Sequence[str] = "",
    bidirectional: bool | None = None,
    variant: str | None = None,
    nested: bool = False,
) -> dict[str, Any]:
    """Makes another library's weights of parameters.

    The inverse of `import_weights`, with its words; where a library adds two biases, the second is
    zero but for a GRU's ``b_hn``.

    Args:
      target: the library, as `source` in `import_weights`.
      params: the parameters of a cell, a layer, or a stack of (bidirectional) layers.
      prefix: what to put before the names, or a sequence of that, one a layer.
      bidirectional: whether two cells that might be either are one layer's directions.
      variant: "LSTMCell" or "OptimizedLSTMCell" of nnx, which names them in different ways; the
        first if not given.
      nested: whether to return the nested mappings of flax, haiku and equinox and not flat names.

    Returns:
      NumPy arrays by the library's names, in its own order: for Keras ``list(found.values())`` is
      what ``set_weights`` takes, for `jax.experimental.rnn` ``found["weights"]`` is the vector.
      Paths have slashes. Dtypes are kept.

    Raises:
      TypeError: `params` holds something else than cells that can be converted.
      ValueError: an unknown target or variant; a cell, or a value, that the target cannot hold.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import export_weights
      >>> params = jaxrnn.gru(3, 5).init(jax.random.key(0))
      >>> for name, weight in export_weights("keras", params).items():
      ...     print(name, weight.shape)
      gru/gru_cell/kernel (3, 15)
      gru/gru_cell/recurrent_kernel (5, 15)
      gru/gru_cell/bias (2, 15)
      >>> sorted(export_weights("linen", params, nested=True))
      ['hn', 'hr', 'hz', 'in', 'ir', 'iz']
    """
    by = "export_weights"
    form = _find_format("target", target)
    if nested and form.nest is None:
        msg = f"{by}: got nested=True; expected False; the names of {form.library} are flat"
        raise ValueError(msg)
    if variant is not None and variant not in form.variants:
        raise unknown_name("variant", variant, form.variants or ("None",))
    network = find_cells(params, by=by, bidirectional=bidirectional, read=_to_numpy)
    _check_kinds(form, network.parts, by)
    found = {}
    for parts, start in _shares(network.parts, prefix, by):
        form.check(parts, by)
        packed = form.layouts(parts, variant)[0].pack(parts)
        found |= {start + name: np.array(weight, order="C") for name, weight in packed.items()}
    return form.nest(found) if nested else found


def pack_weights(
    target: str, params: Params, *, variant: str | None = None, nested: bool = False
) -> dict[str, Any]:
    """Makes another library's weights as `export_weights` does, inside transformations of JAX.

    Args:
      target: the library.
      params: the parameters.
      variant: as in `export_weights`.
      nested: whether to return the library's nested mappings.

    Returns:
      JAX arrays, which may be traced.
    """
    form = FORMATS[target]
    parts = find_cells(params, by="pack_weights").parts
    found = form.layouts(parts, variant)[0].pack(parts)
    return form.nest(found) if nested else found
