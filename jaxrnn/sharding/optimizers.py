"""Where an optimiser's state lies on a mesh: with the parameters that it mirrors."""

from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxrnn.core.types import Params
from jaxrnn.sharding.axes import shape_of
from jaxrnn.sharding.fitting import spec_of
from jaxrnn.sharding.overrides import path_name, specs_by_leaf
from jaxrnn.sharding.specs import check_mesh, partition, place_leaves

__all__ = ["optimizer_specs"]

_BY = "optimizer_specs"


def optimizer_specs(
    mesh: Mesh, opt_state: Any, params: Params, specs: Any, *, overrides: Any = None
) -> Any:
    """Says where an optimiser's state lies on a mesh: what mirrors a parameter lies as it does.

    A leaf mirrors a parameter if its path ends with the parameter's, as ``[0].mu.w_hh`` ends with
    ``.w_hh``, and its last axes have the parameter's shape; axes before them, such as the history
    of L-BFGS, are whole. All others are whole: counters, and the factors of Adafactor, which are
    smaller than the parameter.

    Args:
      mesh: made by `mesh`.
      opt_state: the state of any optax transformation, or its shapes, as
        ``jax.eval_shape(optimizer.init, params)``.
      params: the parameters, or their shapes.
      specs: where those lie, as `param_specs` says.
      overrides: as in `param_specs`.

    Returns:
      A tree of `jax.sharding.NamedSharding` like `opt_state`.

    Raises:
      TypeError: `mesh` is no mesh, or a spec is none.
      ValueError: `specs` does not fit `params`, or not the mesh; an override fits no leaf.

    Example:
      >>> import jax, jaxrnn, optax
      >>> mesh = jaxrnn.sharding.mesh()
      >>> params = jaxrnn.gru(3, 8).init(jax.random.key(0))
      >>> specs = jaxrnn.sharding.param_specs(mesh, params)
      >>> found = optimizer_specs(mesh, optax.adam(1e-3).init(params), params, specs)
      >>> found[0].mu.w_hh.spec, found[0].count.spec
      (P(None, 'model'), P())
    """
    check_mesh(mesh, by=_BY)
    leaves = jax.tree.leaves_with_path(params)
    paths = [path for path, _ in leaves]
    found = specs_by_leaf(specs, paths, by=_BY)
    mirrored = {
        path: (shape_of(leaf), spec_of(spec, mesh, what=path_name(path), by=_BY))
        for (path, leaf), spec in zip(leaves, found, strict=True)
    }

    def choose(index, path, leaf):
        del index
        shape = shape_of(leaf)
        for depth in range(len(path) + 1):  # the longest end first
            like, spec = mirrored.get(path[depth:], (None, None))
            if like is not None and shape[len(shape) - len(like) :] == like:
                return partition([*[None] * (len(shape) - len(like)), *spec]), None
        return PartitionSpec(), None

    return place_leaves(opt_state, mesh, choose, overrides, by=_BY)
