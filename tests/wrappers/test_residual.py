"""`residual`: what it adds, the structure it keeps, and that every law holds for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import antisymmetric, independent, leaky, rotating, separable, zeros
from jaxrnn.cells.conv_gru import conv_gru
from jaxrnn.testing import check_cell
from jaxrnn.wrappers.residual import residual
from laws import every_law


def picked(inner, size):
    """A Gated cell of which only the first units are put out."""

    def pointwise(vectors, state, a):
        state, y = inner.structure.pointwise(vectors, state, a)
        return state, y[..., :size]

    structure = inner.structure._replace(pointwise=pointwise)
    return jaxrnn.from_structure(inner.init, inner.initial_state, structure)


@pytest.mark.parametrize(
    "make", [leaky, antisymmetric, independent, rotating, separable, jaxrnn.gru, jaxrnn.lstm]
)
def test_it_adds_the_input_and_keeps_the_structure(make, key):
    inner = make(3, 3)
    cell = residual(inner)
    assert type(cell.parts) is type(inner.parts)
    params, xs = cell.init(key), jax.random.normal(key, (5, 2, 3))
    jax.tree.map(np.testing.assert_array_equal, params, inner.init(key))
    state, ys = jaxrnn.unroll(cell, params, xs)
    expected, zs = jaxrnn.unroll(inner, params, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state, expected)
    np.testing.assert_allclose(ys, zs + xs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_gated_cell_keeps_the_fast_path(key, x64):
    cell = residual(jaxrnn.gru(3, 3))
    params, xs = cell.init(key), jax.random.normal(key, (5, 2, 3))

    def slope(run):
        return jax.grad(lambda p, xs: jnp.sum(jnp.sin(run(cell, p, xs)[1])), (0, 1))(params, xs)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
        slope(jaxrnn.fused_unroll), slope(jaxrnn.unroll),
    )  # fmt: skip


def test_sizes_that_are_not_the_hidden_size(key):
    """A Gated cell whose input and output have another size than its state is still added to."""
    inner = picked(jaxrnn.elman(2, 4), 2)
    cell = residual(inner)
    assert isinstance(cell.parts, jaxrnn.Separable)
    params, x = cell.init(key), jnp.ones(2)
    np.testing.assert_array_equal(
        cell.step(params, jnp.zeros(4), x)[1], inner.step(params, jnp.zeros(4), x)[1] + x
    )


def test_images(key):
    cell = residual(conv_gru(2, 2, spatial_shape=(3, 4)))
    assert cell.input_ndim == 3
    xs = jax.random.normal(key, (4, 2, 3, 4, 2))
    assert jaxrnn.unroll(cell, cell.init(key), xs)[1].shape == xs.shape


@pytest.mark.parametrize("inner", [jaxrnn.lstm(2, 3), leaky(2, 3), independent(2, 3)])
def test_sizes_must_agree(inner, key):
    cell = residual(inner)
    with pytest.raises(ValueError, match=r"^residual: got an input of shape \(1, 2\) and an output "
                       r"of shape \(1, 3\); expected the same"):  # fmt: skip
        jaxrnn.unroll(cell, cell.init(key), jnp.ones((4, 1, 2)))


def test_other_messages(key):
    with pytest.raises(TypeError, match="^residual: got function .*expected a jaxrnn.Cell"):
        residual(jaxrnn.lstm)
    cell = residual(jaxrnn.elman(5, 5))
    with pytest.raises(ValueError, match=r"input of shape \(2,\) and an output of shape \(2, 5\)"):
        jaxrnn.unroll(cell, cell.init(key), jnp.zeros((4, 2), int))
    pair = jaxrnn.Cell(lambda key: (), zeros(2), lambda p, h, x: (h, x[0]))
    with pytest.raises(ValueError, match=r"input of shape \(\(2,\), \(2,\)\) and an output of"):
        residual(pair).step((), jnp.zeros(2), (jnp.ones(2), jnp.ones(2)))


@every_law
def test_every_law(skip):
    check_cell(
        residual(jaxrnn.lstm(3, 3)),
        jax.random.normal(jax.random.key(0), (4, 2, 3)),
        skip=skip,
    )
