"""The convolutional cells: what they are on one position, shifts of the grid, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells.conv_gru import conv_gru
from jaxrnn.cells.conv_lstm import conv_lstm
from jaxrnn.cells.convolution import convolve
from jaxrnn.cells.gru import GRUParams
from jaxrnn.cells.lstm import LSTMParams
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams, peephole_lstm

both = pytest.mark.parametrize("make", [conv_lstm, conv_gru])


def drawn(cell, key):
    """Parameters without a zero."""
    params = jax.eval_shape(cell.init, key)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    leaves = [jax.random.normal(k, one.shape) / 2 for k, one in zip(keys, leaves, strict=True)]
    return treedef.unflatten(leaves)


@pytest.mark.parametrize("ndim", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_one_position_is_the_cell_without_convolution(ndim, key):
    space = (1,) * ndim
    x = jax.random.normal(key, (2, 2))
    middle = (1,) * ndim  # of the kernel, the one weight that meets the position

    def check(cell, make, inner):
        params = drawn(cell, key)

        @jax.jit
        def both(params):
            inner_params = make(params)
            state = jax.tree.map(lambda s: s + 0.5, inner.initial_state(inner_params, (2,)))
            on_grid = jax.tree.map(lambda leaf: leaf.reshape(2, *space, 3), state)
            one = cell.step(params, on_grid, x.reshape(2, *space, 2))
            return one, inner.step(inner_params, state, x)

        one, other = map(jax.tree.leaves, both(params))
        for got, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(got.reshape(2, 3), expected, rtol=1e-4, atol=1e-6)

    def matrices(params):
        return params.w_ih[middle], params.w_hh[middle], params.b

    def peepholes(params):
        return [p.reshape(3) for p in (params.p_i, params.p_f, params.p_o)]

    check(
        conv_lstm(2, 3, spatial_shape=space, peepholes=False),
        lambda p: LSTMParams(*matrices(p)),
        jaxrnn.lstm(2, 3),
    )
    check(
        conv_lstm(2, 3, spatial_shape=space),
        lambda p: PeepholeLSTMParams(*matrices(p), *peepholes(p)),
        peephole_lstm(2, 3),
    )
    check(
        conv_gru(2, 3, spatial_shape=space),
        lambda p: GRUParams(*matrices(p), None),
        jaxrnn.gru(2, 3, reset="before"),
    )


@pytest.mark.parametrize("make", [conv_gru, lambda *a, **k: conv_lstm(*a, peepholes=False, **k)])
def test_a_shifted_image_gives_the_shifted_state(make, key):
    """Away from the borders: after 2 steps they are felt 4 positions inside."""
    cell = make(2, 3, spatial_shape=(14, 13))
    params = drawn(cell, key)
    xs = jax.random.normal(key, (2, 1, 14, 13, 2))
    shifted = jnp.roll(xs, (1, 2), axis=(2, 3))
    _, ys = jaxrnn.unroll(cell, params, xs)
    _, zs = jaxrnn.unroll(cell, params, shifted)
    inside = np.s_[:, :, 6:10, 6:9]
    np.testing.assert_allclose(
        jnp.roll(ys, (1, 2), (2, 3))[inside], zs[inside], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("size", [(3, 4), (2, 1), (5, 5)])
def test_convolve_takes_any_batch(size, key):
    x, kernel = jax.random.normal(key, (2, 3, 4, 5, 6)), jax.random.normal(key, (*size, 6, 7))
    y = convolve(x, kernel)
    assert y.shape == (2, 3, 4, 5, 7)
    np.testing.assert_allclose(y[1, 2], convolve(x[1, 2], kernel), rtol=1e-5, atol=1e-5)
    assert convolve(x.astype(jnp.bfloat16), kernel).dtype == jnp.float32
    assert convolve(x[:0], kernel).shape == (0, 3, 4, 5, 7)


@both
def test_batches_masks_and_resets_end_where_space_begins(make, key):
    cell = make(2, 3, spatial_shape=(3, 4))
    params = drawn(cell, key)
    xs = jax.random.normal(key, (5, 2, 3, 3, 4, 2))
    mask = jnp.arange(5)[:, None, None] < jnp.array([[5, 0, 2], [3, 1, 4]])
    state, ys = jaxrnn.unroll(cell, params, xs, mask=mask, resets=~mask)
    assert ys.shape == (5, 2, 3, 3, 4, 3)
    alone, zs = jaxrnn.unroll(cell, params, xs[:2, 0, 2])
    assert not jax.tree.leaves(state)[0][0, 1].any()
    np.testing.assert_allclose(ys[:2, 0, 2], zs, rtol=1e-5, atol=1e-6)
    assert alone[0].shape == ((3, 4, 3) if make is conv_lstm else (4, 3))


def test_initial_values(key):
    params = conv_lstm(16, 16, spatial_shape=(4, 4)).init(key)
    bound = (6 / (9 * 16 + 9 * 16)) ** 0.5
    for kernel in (params.w_ih, params.w_hh):
        assert 0.98 * bound < jnp.abs(kernel).max() <= bound
    np.testing.assert_array_equal(params.b.reshape(4, 16)[:, 0], [0, 1, 0, 0])
    assert params.p_i.shape == (4, 4, 16) and not any(p.any() for p in params[3:])
    without = conv_lstm(2, 3, peepholes=False).init(key)
    assert without.p_i is None
    assert not conv_gru(2, 3).init(key).b.any()
    assert conv_gru(2, 3, spatial_shape=[4, 4]) == conv_gru(2, 3, spatial_shape=(4, 4))


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_shape": (4, 0)}, "spatial_shape=0; expected a positive integer"),
        ({"spatial_shape": ()}, r"spatial_shape=\(\); expected 1 to 3 sizes"),
        ({"spatial_shape": (2, 2, 2, 2)}, r"spatial_shape=\(2, 2, 2, 2\); expected 1 to 3 sizes"),
        ({"kernel_size": 0}, "kernel_size=0; expected a positive integer"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size=\(3, 3, 3\) for spatial_shape=\(8, 8\)"),
    ],
)
def test_bad_sizes(make, options, message):
    with pytest.raises(ValueError, match=f"^{make.__name__}: got {message}"):
        make(2, 3, **options)


@both
def test_bad_inputs(make, key):
    cell = make(2, 3, spatial_shape=(4, 4))
    params = cell.init(key)
    for shape, message in (
        ((5, 1, 4, 4, 3), r"got an input of shape \(1, 4, 4, 3\); expected .*space, 2\)"),
        ((5, 1, 4, 5, 2), r"got an input of \(1, 4, 5\) positions .* state of \(1, 4, 4\)"),
        ((5, 1, 1, 1, 2), r"got an input of \(1, 1, 1\) positions"),
    ):
        with pytest.raises(ValueError, match=f"^{make.__name__}: {message}"):
            jaxrnn.unroll(cell, params, jnp.ones(shape))
    with pytest.raises(ValueError, match=r"expected time-major \(T, \*batch, \*space, channels\)"):
        jaxrnn.unroll(cell, params, jnp.ones((4, 4, 2)))
    with pytest.raises(TypeError, match=f"^{make.__name__}: got an input of dtype uint8"):
        jaxrnn.unroll(cell, params, jnp.ones((5, 4, 4, 2), jnp.uint8))
