"""What every contender is given: a cell, weights, inputs, and the weights of the loss."""

import contextlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bench.cases import Case
from jaxrnn.cells import CELLS
from jaxrnn.core.cell import Cell
from jaxrnn.core.checks import unknown_name
from jaxrnn.core.types import Array, Params

__all__ = ["PRECISIONS", "Precision", "Problem", "default_precision", "loss_of", "make_problem"]


class Precision(NamedTuple):
    """How exact products of float32 matrices are.

    Attributes:
      setting: for `jax.default_matmul_precision`.
      tolerance: by how much a result may be off, as a part of the largest value.
    """

    setting: str
    tolerance: float


PRECISIONS = {
    "fp32": Precision("highest", 1e-4),
    "tf32": Precision("tensorfloat32", 2e-2),
    "bf16": Precision("bfloat16", 1e-1),
}


def default_precision(platform: str) -> str:
    """Returns the precision in which a platform multiplies float32 unless told otherwise."""
    return {"cpu": "fp32", "tpu": "bf16"}.get(platform, "tf32")


class Problem(NamedTuple):
    """One cell on one case.

    Attributes:
      kind: the cell's name in CELLS.
      case: the sizes.
      precision: a name of PRECISIONS.
      platform: of the device, as JAX calls it.
      cell: the cell.
      params: its parameters; the vectors among them are random.
      xs: ``(T, B, D)``.
      weight: ``(T, B, H)``; the loss is ``mean(ys * weight)``.
    """

    kind: str
    case: Case
    precision: str
    platform: str
    cell: Cell
    params: Params
    xs: Array
    weight: Array

    @property
    def label(self) -> str:
        """The cell and the sizes, in words."""
        return f"{self.kind} {self.case.label}"

    @property
    def gates(self) -> int:
        """Matrices of each kind, as if they stood side by side: 4 for an LSTM."""
        sizes = sum(leaf.size for leaf in jax.tree.leaves(self.params) if leaf.ndim == 2)
        return round(sizes / (self.case.hidden * (self.case.inputs + self.case.hidden)))

    def at_precision(self, precision: str | None = None) -> contextlib.AbstractContextManager[Any]:
        """Sets the precision of products in JAX; the device's own is left as users find it."""
        precision = precision or self.precision
        if precision == default_precision(self.platform):
            return contextlib.nullcontext()
        return jax.default_matmul_precision(PRECISIONS[precision].setting)


def loss_of(apply):
    """Returns ``(weights, xs, weight) -> (loss, outputs)``.

    The random weights keep XLA from using that all cotangents of a sum are equal.
    """

    def loss(weights, xs, weight):
        ys = apply(weights, xs)
        return jnp.mean(ys * weight), ys

    return loss


def make_problem(kind: str, case: Case, *, precision: str | None = None) -> Problem:
    """Makes a problem with the same random numbers every time.

    Args:
      kind: a name of CELLS.
      case: the sizes.
      precision: a name of PRECISIONS; the device's own if not given.

    Returns:
      The problem, its arrays on JAX's default device.

    Raises:
      ValueError: an unknown name, or a precision that the device does not have.
    """
    if kind not in CELLS:
        raise unknown_name("cell", kind, CELLS)
    platform = jax.devices()[0].platform
    precision = precision or default_precision(platform)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if platform == "cpu" and precision != "fp32":
        msg = f"got precision {precision} on a CPU, which has fp32 only; leave it out"
        raise ValueError(msg)
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    cell = CELLS[kind].make(case.inputs, case.hidden)
    # Biases start at zero, where an exchange of two of them would not be seen.
    params = jax.tree.map(
        lambda leaf: normal(*leaf.shape) / 2 if leaf.ndim == 1 else leaf,
        cell.init(jax.random.key(0)),
    )
    xs = normal(case.steps, case.batch, case.inputs)
    weight = normal(case.steps, case.batch, case.hidden)
    return Problem(kind, case, precision, platform, cell, params, xs, weight)
