"""Where an optimiser's state lies: with the parameters that it mirrors."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

import jaxrnn
from jaxrnn import sharding
from sharding.shapes import HIDDEN, INPUT, LAST, MODEL, flat, made, mesh_of, zoo_params


def matrices_alone(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.constant_schedule(0.1))),
    "masked": optax.masked(optax.adam(1e-3), matrices_alone),
    "accumulated": optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2),
    "injected": optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.1),
    "lbfgs": optax.lbfgs(memory_size=3),
    "adafactor": optax.adafactor(1e-3, min_dim_size_to_factor=4),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers(name):
    mesh = mesh_of()
    params = made(jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(INPUT, HIDDEN)), jaxrnn.readout(3)))
    specs = sharding.param_specs(mesh, params)
    shapes = {
        jax.tree_util.keystr(path): (leaf.shape, spec.spec)
        for (path, leaf), spec in zip(
            jax.tree.leaves_with_path(params), jax.tree.leaves(specs), strict=True
        )
    }
    state = jax.eval_shape(OPTIMIZERS[name].init, params)
    found = sharding.optimizer_specs(mesh, state, params, specs)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    mirrors = 0
    for (path, leaf), spec in zip(
        jax.tree.leaves_with_path(state), jax.tree.leaves(found), strict=True
    ):
        ends = [key for key in shapes if jax.tree_util.keystr(path).endswith(key)]
        shape, like = shapes[ends[0]] if ends else ((), P())
        if ends and leaf.shape == shape:
            assert spec.spec == like
            mirrors += 1
        elif ends and leaf.shape == (3, *shape):  # the history of L-BFGS
            assert spec.spec == (P(None, *like) if len(like) else P())
            mirrors += 1
        else:
            assert spec.spec == P()
    assert mirrors >= 1 + 2 * (name != "adafactor")


def test_an_optimiser_of_parameters_with_like_names():
    params = {"a": {"w": jnp.ones((4, 4))}, "w": jnp.ones((4, 4)), "b": jnp.ones(3, int)}
    mesh, specs = mesh_of(), {"a": {"w": P("model")}, "w": P(None, "model"), "b": P()}
    state = {"count": jnp.ones(()), "mu": params, "far": {"w": jnp.ones(4), "b": params}}
    found = sharding.optimizer_specs(mesh, state, params, specs)
    assert flat(found["mu"]) == flat(found["far"]["b"])
    assert flat(found["mu"]) == {"['a']['w']": MODEL, "['b']": (), "['w']": LAST}
    assert found["far"]["w"].spec == P()


def test_optimiser_specs_that_do_not_fit():
    mesh, params = mesh_of(), zoo_params("lstm")
    specs = sharding.param_specs(mesh, params)
    state = jax.eval_shape(optax.adam(0.1).init, params)
    with pytest.raises(ValueError, match="^optimizer_specs: got specs with nothing for .b; "):
        sharding.optimizer_specs(mesh, state, params, specs._replace(b=None))
    with pytest.raises(
        ValueError, match="got a NamedSharding over .* for .w_ih; expected one over"
    ):
        sharding.optimizer_specs(mesh_of(data=4), state, params, specs)
    found = sharding.optimizer_specs(mesh, state, params, specs, overrides={"[0].nu": P()})
    assert (found[0].mu.w_hh.spec, found[0].nu.w_hh.spec) == (P(None, "model"), P())
