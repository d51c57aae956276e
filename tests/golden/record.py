"""Records what an implementation by others computes for a cell, as an oracle in a file.

`make_*.py` beside this file call `record` once a cell. The foreign code is given as
``run(params, xs, state) -> (state, ys)`` on the arrays of its own framework, from parameters and
states in *our* layout: the conversion of the weights is a part of `run`, so the framework's own
derivative goes through it and gives gradients with respect to our parameters.

A file ``zoo/NAME.npz`` holds float64 (or float32) arrays alone: the leaves of ``params``, ``xs``,
``state``, the results ``ys`` and ``final``, the weights ``d_ys`` and ``d_final`` of the loss
<d_ys, ys> + <d_final, final>, and the gradients ``grad.params``, ``grad.xs``, ``grad.state``, each
name with ``.0``, ``.1``, ... in the order of the tree's leaves; and a JSON text ``about``. Integer
leaves (tokens, counters of steps) have no derivative: ``d_final`` and the gradients skip them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxrnn
from jaxrnn.testing.probe import inexact, merge

FOLDER = Path(__file__).parent / "zoo"
STEPS, BATCH, INPUT, HIDDEN = 5, 2, 3, 4
PARTS = ("params", "xs", "state")
Run = Callable[[Any, Any, Any], tuple[Any, Any]]


class About(NamedTuple):
    """What a file says of itself.

    Attributes:
      factory: the public name in `jaxrnn` that makes the cell.
      options: its keyword arguments.
      sizes: its input size and hidden size.
      source: the implementation, with its version, or the paper that was transcribed.
      kind: "library" (an implementation by others) or "transcription" (NumPy, from the paper).
      note: where the source deviates from the paper, and which is followed; may be empty.
    """

    factory: str
    options: dict
    sizes: tuple[int, int]
    source: str
    kind: str
    note: str = ""

    def make(self) -> jaxrnn.Cell:
        """Makes the cell."""
        return getattr(jaxrnn, self.factory)(*self.sizes, **self.options)


def default_inputs(rng: np.random.Generator, input_size: int) -> Any:
    """Draws inputs ``(T, B, I)``."""
    return rng.normal(size=(STEPS, BATCH, input_size))


def draw(about: About, seed: int, inputs=default_inputs, params=None, scale: float = 0.5):
    """Draws params, xs and a state in our layout, as trees of NumPy arrays without a zero.

    `params(rng, shapes)` may draw the parameters of a cell that only works for some.
    """
    rng, cell = np.random.default_rng(seed), about.make()

    def normal(leaf, size=1.0):
        if np.issubdtype(leaf.dtype, np.integer):  # a counter
            return rng.integers(0, 8, leaf.shape, leaf.dtype)
        value = size * rng.normal(size=leaf.shape)
        if np.issubdtype(leaf.dtype, np.complexfloating):
            value = value + 1j * size * rng.normal(size=leaf.shape)
        return np.asarray(value)

    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    drawn = (
        jax.tree.map(lambda leaf: normal(leaf, scale), shapes)
        if params is None
        else params(rng, shapes)
    )
    xs = inputs(rng, about.sizes[0])
    x = jax.tree.map(lambda leaf: leaf[0], xs)
    batch = jax.tree.leaves(x)[0].shape[: -cell.input_ndim]
    state = jax.eval_shape(lambda p: cell.initial_state(p, batch), shapes)
    return drawn, xs, jax.tree.map(normal, state)


# ------------------------------------------------------------------------- three engines
def with_torch(run: Run, primals, weights):
    """Values and gradients by torch: `run` gets and returns trees of torch tensors."""
    import torch

    torch.set_default_dtype(torch.float64)  # cells that make states of their own
    leaves, treedef = jax.tree.flatten(primals)
    tensors = [torch.tensor(leaf, requires_grad=not _is_integer(leaf)) for leaf in leaves]
    result = run(*jax.tree.unflatten(treedef, tensors))
    pairs = zip(jax.tree.leaves(weights(result)), _floating(result), strict=True)
    loss = sum((torch.as_tensor(w) * r).sum() for w, r in pairs)
    loss = loss.real if loss.is_complex() else loss
    slopes = iter(torch.autograd.grad(loss, _floating(tensors), allow_unused=True))

    def slope(leaf):
        slope = None if _is_integer(leaf) else next(slopes)
        if slope is None:
            return None if _is_integer(leaf) else np.zeros_like(leaf)
        return slope.numpy().conj()  # as JAX defines it

    slopes = treedef.unflatten([slope(leaf) for leaf in leaves])
    return jax.tree.map(lambda r: r.detach().numpy(), result), slopes


def with_jax(run: Run, primals, weights):
    """Values and gradients by JAX, for flax, haiku, keras on JAX: under `jax.enable_x64(True)`."""

    def outputs(floats):
        result = run(*merge(floats, primals))
        return inexact(result), result

    _, back, result = jax.vjp(outputs, inexact(primals), has_aux=True)
    return jax.tree.map(np.asarray, result), back(weights(result))[0]


def with_numpy(run: Run, primals, weights):
    """Values by NumPy and gradients by differences of fourth order, in 80-bit floats.

    `run` is a transcription of a paper in plain NumPy that keeps the dtype it is given
    (`numpy.longdouble`, `numpy.clongdouble`). Trees are mapped without JAX, which knows no such
    dtype: `params`, `xs` and `state` come as their own tuples and dicts.
    """
    leaves, treedef = jax.tree.flatten(primals)
    wide = [
        np.array(leaf, None if _is_integer(leaf) else _WIDE[np.iscomplexobj(leaf)])
        for leaf in leaves
    ]
    result = run(*treedef.unflatten(wide))
    factors = jax.tree.leaves(weights(result))

    def loss():
        flat = _floating(run(*treedef.unflatten(wide)))
        return sum(np.sum(w * r).real for w, r in zip(factors, flat, strict=True))

    def slope_along(leaf, index, direction):
        middle, values = leaf[index], {}
        for k in (-2, -1, 1, 2):
            leaf[index] = middle + k * _STEP * direction
            values[k] = loss()
        leaf[index] = middle
        return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * _STEP)

    def slope(leaf):
        if _is_integer(leaf):
            return None
        found = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            found[index] = slope_along(leaf, index, 1)
            if np.iscomplexobj(leaf):  # as JAX defines it
                found[index] -= 1j * slope_along(leaf, index, 1j)
        return _narrow(found)

    slopes = treedef.unflatten([slope(leaf) for leaf in wide])
    return jax.tree.map(_narrow, result), slopes


_WIDE, _STEP = (np.longdouble, np.clongdouble), np.longdouble(1e-4)


def _is_integer(leaf) -> bool:
    return "int" in str(leaf.dtype)  # of NumPy, JAX or torch


def _floating(tree) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if not _is_integer(leaf)]


def _narrow(leaf):
    if _is_integer(leaf):
        return leaf
    return np.asarray(leaf, np.complex128 if np.iscomplexobj(leaf) else np.float64)


# ------------------------------------------------------------------------- the file
def record(name: str, about: About, run: Run, engine, *, seed: int = 0, **drawing) -> None:
    """Writes ``zoo/NAME.npz``; `engine` is one of the three above, `drawing` goes to `draw`."""
    rng = np.random.default_rng(seed + 1000)
    primals = draw(about, seed, **drawing)

    chosen = []

    def weights(result):
        """Draws the loss's weights at the first call and returns them at every other."""
        if not chosen:
            _check_state(about, result)
            flat, treedef = jax.tree.flatten(result)
            drawn = [
                None if _is_integer(leaf) else rng.normal(size=tuple(leaf.shape)) for leaf in flat
            ]
            chosen.append(treedef.unflatten(drawn))
        return chosen[0]

    (final, ys), slopes = engine(run, primals, weights)
    trees = dict(zip(PARTS, primals, strict=True))
    trees |= {"final": final, "ys": ys, "d_final": chosen[0][0], "d_ys": chosen[0][1]}
    trees |= {f"grad.{part}": slope for part, slope in zip(PARTS, slopes, strict=True)}
    found = {
        f"{part}.{k}": np.asarray(leaf)
        for part, tree in trees.items()
        for k, leaf in enumerate(jax.tree.leaves(tree))
    }
    assert all(np.isfinite(leaf).all() for leaf in found.values()), name
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, about=json.dumps(about._asdict()), allow_pickle=False, **found)
    print(f"{path.name}: {path.stat().st_size} bytes, {about.source}")


def _check_state(about: About, result) -> None:
    """Raises unless `run` returned a state of as many arrays as ours."""
    cell = about.make()
    state = jax.eval_shape(lambda: cell.initial_state(cell.init(jax.random.key(0)), ()))
    want, got = len(jax.tree.leaves(state)), len(jax.tree.leaves(result[0]))
    assert want == got, f"run returned a state of {got} arrays; expected {want}"


def load(name: str) -> tuple[About, dict[str, np.ndarray]]:
    """Returns what a file says of itself, and its arrays."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        arrays = {key: file[key] for key in file.files if key != "about"}
    return About(**about | {"sizes": tuple(about["sizes"])}), arrays


def leaves(arrays: dict[str, np.ndarray], part: str) -> list[np.ndarray]:
    """Returns the leaves of one part, in order."""
    count = sum(key.rpartition(".")[0] == part for key in arrays)
    return [arrays[f"{part}.{k}"] for k in range(count)]
