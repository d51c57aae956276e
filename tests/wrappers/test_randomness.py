"""`seed`: where keys go, that they differ, what is drawn with them, and its messages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from cases import first_of
from jaxrnn.wrappers.drop_connect import drop_connect
from jaxrnn.wrappers.dropout import dropout
from jaxrnn.wrappers.noise import noise
from jaxrnn.wrappers.randomness import keep_mask, seed
from jaxrnn.wrappers.zoneout import zoneout
from wrappers.wrapped import BATCH, CELLS, assert_close, inputs

LSTM = CELLS["lstm"]


def keys_of(params):
    leaves = jax.tree.leaves(params)
    keys = [a for a in leaves if jnp.issubdtype(a.dtype, jax.dtypes.prng_key)]
    return [np.asarray(jax.random.key_data(a)) for a in keys]


def test_every_place_of_a_network_gets_keys_of_its_own(key):
    cell = dropout(zoneout(drop_connect(LSTM, 0.5), 0.1), 0.5)
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.layer(noise(jaxrnn.gru(3, 3), 0.1)))
    params = net.init(key)
    assert keys_of(params) == []
    keys = keys_of(seed(params, key, (BATCH,)))
    assert sorted(k.shape[:-1] for k in keys) == [(), (BATCH,), (BATCH,), (BATCH,)]
    flat = np.concatenate([k.reshape(-1, k.shape[-1]) for k in keys])
    assert len(np.unique(flat, axis=0)) == 1 + 3 * BATCH
    assert [k.shape[:-1] for k in keys_of(seed(params, key))] == [(), (), (), ()]
    again = keys_of(seed(seed(params, key, (7,)), key, (BATCH,)))  # replaced, not added
    for one, other in zip(keys, again, strict=True):
        np.testing.assert_array_equal(one, other)
    same = seed(params, key)[0].cell.cell.cell, params[0].cell.cell.cell
    jax.tree.map(np.testing.assert_array_equal, *same)


def test_old_keys(key):
    params = zoneout(LSTM, 0.5).init(key)
    one, other = (keys_of(seed(params, k, (2, 3))) for k in (key, jax.random.key_data(key)))
    assert one[0].shape == (2, 3, 2)
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_parameters_without_keys_are_trained(key):
    """They hold numbers alone: an optimiser takes them, and the gradient of the loss."""
    cell = dropout(zoneout(drop_connect(LSTM, 0.2), 0.1), 0.2)
    params, xs = cell.init(key), inputs(5, BATCH)
    optimizer = optax.adam(0.01)

    def of(params, k):
        state, ys = jaxrnn.fused_unroll(cell, seed(params, k, (BATCH,)), xs)
        return jnp.mean(ys**2)

    step = jax.jit(jaxrnn.train.make_step(of, optimizer))
    state = jaxrnn.train.init(params, optimizer)
    losses = []
    for k in jax.random.split(key, 30):
        state, metrics = step(state, k)
        losses.append(float(metrics.loss))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert len(set(losses)) == 30
    _, evaluated = jaxrnn.unroll(cell, state.params, xs)
    assert bool(jnp.isfinite(evaluated).all())


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999])
def test_a_mask_keeps_at_its_rate(rate, key):
    keep = np.asarray(keep_mask(jax.random.split(key, (4, 5)), rate, (100, 50)))
    assert keep.shape == (4, 5, 100, 50)
    bound = 5 * np.sqrt(rate * (1 - rate) / keep.size) + 1e-9
    assert abs(keep.mean() - (1 - rate)) <= bound
    rows = keep.reshape(20, -1)
    if rate == 0.5:
        assert np.abs(np.corrcoef(rows) - np.eye(20)).max() < 6 / np.sqrt(5000)


def test_masks_are_the_same_in_any_precision(key):
    plain = keep_mask(key, 0.3, (50,))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(plain, keep_mask(key, 0.3, (50,)))


WRAPPERS = {
    "dropout": lambda cell: dropout(cell, 0.3),
    "zoneout": lambda cell: zoneout(cell, 0.3),
    "noise": lambda cell: noise(cell, 0.3),
    "drop_connect": lambda cell: drop_connect(cell, 0.3),
}


@pytest.mark.parametrize("name", first_of([name for name in WRAPPERS if name != "drop_connect"]))
def test_a_batch_is_each_sequence_with_its_key(name, key, x64):
    cell = WRAPPERS[name](jaxrnn.elman(2, 10))
    params, xs = seed(cell.init(key), key, (2, 3)), inputs(5, 2, 3)
    run = jax.jit(lambda params, xs: jaxrnn.unroll(cell, params, xs)[1])
    axes = jax.tree.map(lambda a: None, params)._replace(random=params.random._replace(key=0))
    each = jax.jit(jax.vmap(jax.vmap(run, (axes, 1), 1), (axes, 1), 1))
    assert_close(each(params, xs), run(params, xs))
    alike = jnp.broadcast_to(xs[:, :1, :1], xs.shape)
    rows = np.asarray(run(params, alike)[-1]).reshape(6, 10)
    assert len(np.unique(rows, axis=0)) == 6
    ys = run(seed(cell.init(key), key), alike)[-1]
    np.testing.assert_array_equal(ys, jnp.broadcast_to(ys[0, 0], ys.shape))


@pytest.mark.parametrize("name", first_of(WRAPPERS))
def test_another_key_draws_something_else(name, key):
    cell, xs = WRAPPERS[name](LSTM), inputs(5, BATCH)
    params = cell.init(key)
    run = jax.jit(lambda key: jaxrnn.unroll(cell, seed(params, key, (BATCH,)), xs)[1])
    one, other, again = (run(jax.random.key(k)) for k in (1, 2, 1))
    assert np.abs(one - jaxrnn.unroll(cell, params, xs)[1]).max() > 0.01
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(one, again)


def test_messages(key):
    with pytest.raises(ValueError, match="^seed: got parameters without a place for a key; exp"):
        seed(LSTM.init(key), key)
    for name in ("dropout", "zoneout", "noise"):
        cell = WRAPPERS[name](LSTM)
        params = seed(cell.init(key), key, (3,))
        with pytest.raises(ValueError, match=rf"^{name}: got .* \(3,\) .* \(4,\); .* seed\("):
            jaxrnn.unroll(cell, params, inputs(5, 4))
    with pytest.raises(ValueError, match=r"seed\(params, key\) for what takes sequence by"):
        jax.vmap(lambda xs: jaxrnn.unroll(cell, params, xs), 1)(inputs(5, 3))
