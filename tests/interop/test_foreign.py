"""Cells of other libraries measure like ours with the same weights, and obey the laws."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import analysis, interop
from jaxrnn.interop.foreign import cell_of_carry, wrong_model
from jaxrnn.testing import check_cell

F, H, T = 3, 4, 12
HERE = pytest.mark.peer


def weights(kind, seed=0):
    """Parameters of our own cell, none of them zero."""
    params = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru}[kind](F, H).init(jax.random.key(seed))
    keys = jax.random.split(jax.random.key(seed + 1), len(params))
    return type(params)(
        *(0.6 * jax.random.normal(k, w.shape) for k, w in zip(keys, params, strict=True))
    )


def gates(array, number):
    return jnp.split(array, number, axis=-1)


def linen_variables(kind, p):
    w, u, b = (gates(leaf, 4 if kind == "lstm" else 3) for leaf in p[:3])
    if kind == "lstm":
        tree = {f"i{g}": {"kernel": x} for g, x in zip("ifgo", w, strict=True)}
        for g, x, y in zip("ifgo", u, b, strict=True):
            tree[f"h{g}"] = {"kernel": x, "bias": y}
        return {"params": tree}
    tree = {f"i{g}": {"kernel": x, "bias": y} for g, x, y in zip("rzn", w, b, strict=True)}
    tree |= {f"h{g}": {"kernel": x} for g, x in zip("rzn", u, strict=True)}
    tree["hn"]["bias"] = p.b_hn
    return {"params": tree}


def of_flax(p, name="OptimizedLSTMCell"):
    linen = pytest.importorskip("flax.linen")
    return interop.from_flax(getattr(linen, name)(H), linen_variables("lstm", p))


def of_nnx(p):
    nnx = pytest.importorskip("flax.nnx")
    lstm = nnx.OptimizedLSTMCell(F, H, rngs=nnx.Rngs(0))
    lstm.dense_i.kernel.set_value(p.w_ih)
    lstm.dense_h.kernel.set_value(p.w_hh)
    lstm.dense_h.bias.set_value(p.b)
    return interop.from_nnx(lstm)


def of_haiku(p):
    hk = pytest.importorskip("haiku")
    order = (0, 2, 1, 3)  # i, g, f, o
    both = jnp.concatenate([p.w_ih, p.w_hh])
    w = jnp.concatenate([gates(both, 4)[k] for k in order], axis=-1)
    b = gates(p.b, 4)
    b = jnp.concatenate([b[0], b[2], b[1] - 1, b[3]])  # it adds 1 to the forget gate
    return interop.from_haiku(lambda: hk.LSTM(H), {"lstm/linear": {"w": w, "b": b}})


def of_equinox(p):
    eqx = pytest.importorskip("equinox")
    lstm = eqx.nn.LSTMCell(F, H, key=jax.random.key(0))
    lstm = eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias), lstm, (p.w_ih.T, p.w_hh.T, p.b)
    )
    return interop.from_equinox(lstm)


def of_torch(p):
    torch = pytest.importorskip("torch")
    lstm = torch.nn.LSTM(F, H, dtype=torch.float64 if p.b.dtype == jnp.float64 else None)
    with torch.no_grad():
        for name, value in (
            ("weight_ih_l0", p.w_ih.T),
            ("weight_hh_l0", p.w_hh.T),
            ("bias_ih_l0", p.b),
            ("bias_hh_l0", jnp.zeros_like(p.b)),
        ):
            getattr(lstm, name).copy_(torch.from_numpy(np.array(value)))
    return interop.from_torch(lstm)


READERS = {
    "flax": of_flax,
    "nnx": of_nnx,
    "haiku": of_haiku,
    "equinox": of_equinox,
    "torch": of_torch,
}
MEMORY_FIRST = {"flax", "nnx"}


def ours(name):
    """Our LSTM with its state in the other library's order."""
    own = jaxrnn.lstm(F, H)

    def swap(state):
        return state[::-1] if name in MEMORY_FIRST else tuple(state)

    def step(params, state, x):
        state, y = own.step(params, jaxrnn.LSTMState(*swap(state)), x)
        return swap(tuple(state)), y

    return jaxrnn.Cell(own.init, lambda p, b=(): swap(tuple(own.initial_state(p, b))), step)


def inputs(*batch, seed=5):
    return jax.random.normal(jax.random.key(seed), (T, *batch, F))


def close(got, expected, rtol=1e-10):
    got, expected = np.asarray(got), np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.max(np.abs(expected)))


@HERE
@pytest.mark.parametrize("name", READERS)
def test_it_measures_as_our_own_cell_does(name, x64):
    params = weights("lstm")
    cell, theirs = READERS[name](params)
    assert isinstance(cell, jaxrnn.Cell)
    own, xs = ours(name), inputs(2)
    got, expected = (
        analysis.gradient_decay(one, p, xs) for one, p in ((cell, theirs), (own, params))
    )
    assert got.log_norms.dtype == jnp.float64
    close(got.log_norms, expected.log_norms)
    close(got.rate, expected.rate)
    got, expected = (
        analysis.lyapunov_spectrum(one, p, xs[:, 0]).exponents
        for one, p in ((cell, theirs), (own, params))
    )
    assert got.shape == (2 * H,)
    close(got, expected)


@HERE
@pytest.mark.parametrize("name", READERS)
def test_it_obeys_every_law(name):
    cell, params = READERS[name](weights("lstm"))
    if name == "torch":  # our own cell; its init draws new parameters
        cell = cell._replace(init=lambda key: params)
    check_cell(cell, inputs(2)[:4])


@HERE
@pytest.mark.parametrize("name", READERS)
def test_masks_resets_batch_axes_and_other_unrolls(name, x64):
    params = weights("lstm")
    cell, theirs = READERS[name](params)
    own, xs = ours(name), inputs(2, 3)
    mask = jaxrnn.length_mask(jnp.array([[T, 5, 0], [1, T, 7]]), T)
    resets = jnp.zeros(mask.shape, bool).at[4].set(True)
    flags = {"mask": mask, "resets": resets}
    state, ys = jaxrnn.unroll(cell, theirs, jnp.where(mask[..., None], xs, jnp.nan), **flags)
    expected_state, expected = jaxrnn.unroll(own, params, xs, **flags)
    close(ys, expected)
    for got, right in zip(jax.tree.leaves(state), jax.tree.leaves(expected_state), strict=True):
        close(got, right)
    _, alone = jaxrnn.unroll(cell, theirs, xs[:, 0, 0])
    close(alone, jaxrnn.unroll(own, params, xs)[1][:, 0, 0])
    _, parallel = jaxrnn.newton_unroll(cell, theirs, xs[:, 0])
    close(parallel, jaxrnn.unroll(own, params, xs)[1][:, 0], rtol=1e-7)
    for batch in ((), (5,), (2, 3)):
        start = cell.initial_state(theirs, batch)
        assert [leaf.shape for leaf in jax.tree.leaves(start)] == 2 * [(*batch, H)]


@HERE
@pytest.mark.parametrize("name", READERS)
def test_gradients_reach_the_parameters_through_a_layer(name, x64):
    params = weights("lstm")
    cell, theirs = READERS[name](params)
    own, xs = ours(name), inputs(2)

    def loss(cell, params):
        _, ys = jaxrnn.layer(cell).apply(params, xs)
        return jnp.mean(ys**2)

    got = jax.grad(lambda p: loss(cell, p))(theirs)
    expected = jax.grad(lambda p: loss(own, p))(params)
    assert jax.tree.structure(got) == jax.tree.structure(theirs)
    # Every library but torch holds the same numbers in another arrangement: so do gradients.
    squares = [
        sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree)) for tree in (got, expected)
    ]
    assert squares[0] == pytest.approx(squares[1], rel=1e-10)
    step = jax.tree.map(lambda p, g: p - 0.1 * g, theirs, got)
    assert loss(cell, step) < loss(cell, theirs)


@HERE
@pytest.mark.parametrize("name", READERS)
def test_a_stack_starts_from_the_model_that_was_read(name):
    cell, theirs = READERS[name](weights("lstm"))
    # haiku's weights are of (input, state) together, and do not show the size of the input alone.
    size = H if name == "haiku" else None
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.readout(2, input_size=size))
    params = net.init(jax.random.key(0))
    assert net.apply(params, inputs(2))[1].shape == (T, 2, 2)
    if name != "torch":  # a cell of ours, of which init draws new parameters
        for got, expected in zip(*map(jax.tree.leaves, (params[0], theirs)), strict=True):
            np.testing.assert_array_equal(got, expected)


@HERE
def test_the_dtype_of_the_parameters_is_that_of_the_state(x64):
    for name in ("flax", "nnx", "equinox"):
        single, double = (
            READERS[name](jax.tree.map(lambda leaf, d=dtype: leaf.astype(d), weights("lstm")))
            for dtype in (jnp.float32, jnp.float64)
        )
        for (cell, params), dtype in ((single, jnp.float32), (double, jnp.float64)):
            leaves = jax.tree.leaves(cell.initial_state(params))
            assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}


@HERE
def test_flax_gru_equals_ours(x64):
    linen = pytest.importorskip("flax.linen")
    params = weights("gru")
    cell, theirs = interop.from_flax(linen.GRUCell(H), linen_variables("gru", params))
    xs = inputs(2)
    own = jaxrnn.gru(F, H)
    close(jaxrnn.unroll(cell, theirs, xs)[1], jaxrnn.unroll(own, params, xs)[1])
    got, expected = (
        analysis.singular_spectrum(one, p, xs[:, 0]).log_singular_values
        for one, p in ((cell, theirs), (own, params))
    )
    close(got, expected)


@HERE
def test_equinox_gru_equals_ours(x64):
    eqx = pytest.importorskip("equinox")
    p = weights("gru")
    gru = eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n),
        eqx.nn.GRUCell(F, H, key=jax.random.key(0)),
        (p.w_ih.T, p.w_hh.T, p.b, p.b_hn),
    )
    cell, theirs = interop.from_equinox(gru)
    xs = inputs(2)
    close(jaxrnn.unroll(cell, theirs, xs)[1], jaxrnn.unroll(jaxrnn.gru(F, H), p, xs)[1])


@HERE
def test_haiku_gru_equals_ours_that_resets_before(x64):
    hk = pytest.importorskip("haiku")
    p = weights("gru")
    r_z_n = [gates(leaf, 3) for leaf in p[:3]]
    w_i, w_h, b = (jnp.concatenate([-z, r, n], axis=-1) for r, z, n in r_z_n)  # z the other way
    theirs = {"gru": {"w_i": w_i, "w_h": w_h, "b": b}}
    cell, theirs = interop.from_haiku(lambda: hk.GRU(H), theirs)
    own, xs = jaxrnn.gru(F, H, reset="before"), inputs(2)
    expected = jaxrnn.unroll(own, p._replace(b_hn=None), xs)[1]
    close(jaxrnn.unroll(cell, theirs, xs)[1], expected)


@HERE
@pytest.mark.parametrize("with_rng", [False, True])
def test_a_transformed_haiku_step_keeps_the_names_of_its_parameters(with_rng):
    hk = pytest.importorskip("haiku")

    class Net(hk.Module):
        def __call__(self, x, state):
            y, state = hk.GRU(H)(hk.Linear(5)(x), state)
            return hk.Linear(2)(y), state

    net = hk.transform(lambda x, state: Net()(x, state))
    xs, h = inputs(2), jnp.zeros((2, H))
    params = net.init(jax.random.key(0), xs[0], h)
    assert "net/gru" in params
    cell, theirs = interop.from_haiku(
        net if with_rng else hk.without_apply_rng(net),
        params,
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, H)),
    )
    assert set(theirs) == set(params)
    expected = []
    for x in xs:
        y, h = net.apply(params, None, x, h)
        expected.append(y)
    state, ys = jaxrnn.unroll(cell, theirs, xs)
    close(ys, jnp.stack(expected), rtol=1e-6)
    close(state, h, rtol=1e-6)


@HERE
def test_a_flax_rnn_is_read_for_its_cell():
    linen = pytest.importorskip("flax.linen")
    nnx = pytest.importorskip("flax.nnx")
    rnn, xs = linen.RNN(linen.LSTMCell(H), time_major=True), inputs(2)
    variables = rnn.init(jax.random.key(0), xs)
    cell, params = interop.from_flax(rnn, variables)
    close(jaxrnn.unroll(cell, params, xs)[1], rnn.apply(variables, xs), rtol=1e-6)
    rnn = nnx.RNN(nnx.GRUCell(F, H, rngs=nnx.Rngs(0)), time_major=True)
    cell, params = interop.from_nnx(rnn)
    close(jaxrnn.unroll(cell, params, xs)[1], rnn(xs), rtol=1e-6)


@HERE
def test_images_go_through_a_convolutional_flax_cell():
    linen = pytest.importorskip("flax.linen")
    conv = linen.ConvLSTMCell(2, kernel_size=(3, 3))
    xs = jax.random.normal(jax.random.key(0), (3, 2, 5, 6, 1))
    rnn = linen.RNN(conv, time_major=True)
    variables = rnn.init(jax.random.key(1), xs)
    with pytest.raises(ValueError, match=r"3 feature axes and no input_shape; expected .*8, 8, 3"):
        interop.from_flax(rnn, variables)
    cell, params = interop.from_flax(rnn, variables, input_shape=(5, 6, 1))
    assert cell.input_ndim == 3
    close(jaxrnn.unroll(cell, params, xs)[1], rnn.apply(variables, xs), rtol=1e-6)
    assert jaxrnn.unroll(cell, params, xs[:, 0])[1].shape == (3, 5, 6, 2)


@HERE
def test_a_carry_that_is_a_parameter_gets_gradients():
    linen = pytest.importorskip("flax.linen")

    class Learned(linen.RNNCellBase):
        def setup(self):
            self.first = self.param("first", linen.initializers.ones, (H,))
            self.dense = linen.Dense(H)

        def __call__(self, carry, x):
            carry = jnp.tanh(self.dense(jnp.concatenate([carry, x], axis=-1)))
            return carry, carry

        def initialize_carry(self, rng, input_shape):
            return jnp.broadcast_to(self.first, (*input_shape[:-1], H))

        num_feature_axes = 1

    module = Learned()
    variables = module.init(jax.random.key(0), jnp.zeros(H), jnp.zeros(F))
    cell, params = interop.from_flax(module, variables)
    close(cell.initial_state(params, (2,)), jnp.ones((2, H)))
    grads = jax.grad(lambda p: jnp.sum(jaxrnn.unroll(cell, p, inputs(2))[1]))(params)
    assert np.all(np.asarray(grads["params"]["first"]) != 0)


@HERE
def test_an_equinox_module_of_ones_own():
    eqx = pytest.importorskip("equinox")

    class Leaky(eqx.Module):
        w: jax.Array
        leak: float = 0.3

        def __call__(self, x, h):
            return (1 - self.leak) * h + self.leak * jnp.tanh(self.w @ jnp.concatenate([x, h]))

    module = Leaky(jax.random.normal(jax.random.key(0), (H, F + H)))
    with pytest.raises(TypeError, match="got a module Leaky without initial_state; expected"):
        interop.from_equinox(module)
    cell, params = interop.from_equinox(
        module,
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, H)),
        output=lambda h: h[:2],
    )
    xs = inputs(2)
    h, expected = jnp.zeros((2, H)), []
    for x in xs:
        h = jax.vmap(module)(x, h)
        expected.append(h[:, :2])
    state, ys = jaxrnn.unroll(cell, params, xs)
    close(ys, jnp.stack(expected), rtol=1e-6)
    close(state, h, rtol=1e-6)
    assert eqx.combine(params, module).leak == 0.3


@HERE
def test_variables_beside_the_parameters_stay_as_they_are(x64):
    nnx = pytest.importorskip("flax.nnx")

    class Scaled(nnx.RNNCellBase):
        def __init__(self, rngs):
            self.dense = nnx.Linear(F + H, H, rngs=rngs)
            self.scale = nnx.BatchStat(jnp.float32(0.5))
            self.calls = nnx.Variable(jnp.int32(0))

        def __call__(self, carry, x):
            self.calls[...] += 1
            inputs = jnp.concatenate([carry, x], axis=-1)
            carry = jnp.tanh(self.scale[...] * self.dense(inputs))
            return carry, carry

        def initialize_carry(self, input_shape, rngs=None, carry_init=None):
            return jnp.zeros((*input_shape[:-1], H))

        @property
        def num_feature_axes(self):
            return 1

    module = Scaled(nnx.Rngs(0))
    cell, params = interop.from_nnx(module, input_shape=(F,))
    assert len(jax.tree.leaves(params)) == 2
    first, second = (jaxrnn.unroll(cell, params, inputs())[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert int(module.calls[...]) == 0


@HERE
def test_params_go_back_into_the_model_they_came_from():
    nnx = pytest.importorskip("flax.nnx")
    eqx = pytest.importorskip("equinox")
    xs = inputs()
    lstm = nnx.LSTMCell(F, H, rngs=nnx.Rngs(0))
    cell, params = interop.from_nnx(lstm)
    half = jax.tree.map(lambda leaf: leaf / 2, params)
    nnx.update(lstm, half)
    _, y = lstm(cell.initial_state(half), xs[0])
    close(y, cell.step(half, cell.initial_state(half), xs[0])[1], rtol=1e-6)
    lstm = eqx.nn.LSTMCell(F, H, key=jax.random.key(0))
    cell, params = interop.from_equinox(lstm)
    half = jax.tree.map(lambda leaf: leaf / 2, params)
    h, _ = eqx.combine(half, lstm)(xs[0], cell.initial_state(half))
    close(h, cell.step(half, cell.initial_state(half), xs[0])[1], rtol=1e-6)


@HERE
def test_wrong_models_get_the_name_of_the_right_reader():
    linen = pytest.importorskip("flax.linen")
    nnx = pytest.importorskip("flax.nnx")
    hk = pytest.importorskip("haiku")
    eqx = pytest.importorskip("equinox")
    torch = pytest.importorskip("torch")
    in_linen = linen.LSTMCell(H)
    in_nnx = nnx.LSTMCell(F, H, rngs=nnx.Rngs(0))
    in_equinox = eqx.nn.LSTMCell(F, H, key=jax.random.key(0))
    variables = linen_variables("lstm", weights("lstm"))
    for call, message in (
        (
            lambda: interop.from_flax(in_nnx, variables),
            "got LSTMCell.*jaxrnn.interop.from_nnx reads",
        ),
        (
            lambda: interop.from_flax(linen.LSTMCell, variables),
            r"class LSTMCell; .*LSTMCell\(\.\.\.\)",
        ),
        (
            lambda: interop.from_flax(linen.Dense(3), variables),
            "got Dense .*flax.linen.RNNCellBase$",
        ),
        (lambda: interop.from_flax(in_linen, variables["params"]), r"\{'params': params\}"),
        (lambda: interop.from_flax(in_linen, 3), "got variables as int; expected"),
        (lambda: interop.from_flax(jaxrnn.lstm(F, H), variables), "jaxrnn.Cell needs no reader"),
        (
            lambda: interop.from_flax(linen.Bidirectional(*2 * [linen.RNN(in_linen)]), variables),
            r"got a Bidirectional; .*from_flax\(module.forward_rnn, .*jaxrnn.bidirectional$",
        ),
        (
            lambda: interop.from_nnx(nnx.Bidirectional(*2 * [nnx.RNN(in_nnx)], rngs=nnx.Rngs(0))),
            r"got a Bidirectional; .*from_nnx\(module.forward_rnn\)",
        ),
        (
            lambda: interop.from_nnx(in_linen),
            "jaxrnn.interop.from_flax reads modules of flax.linen",
        ),
        (lambda: interop.from_nnx(torch.nn.LSTM(F, H)), "jaxrnn.interop.from_torch"),
        (lambda: interop.from_haiku(in_equinox, {}), "jaxrnn.interop.from_equinox"),
        (
            lambda: interop.from_haiku(hk.transform(lambda x, state: (x, state)), {}),
            "without initial_state; .*hk.LSTM",
        ),
        (
            lambda: interop.from_haiku(hk.transform(lambda xs: xs), {}, initial_state=zeros),
            r"transformed function of \(xs\); expected one step, of \(x, state\); .*hk.LSTM",
        ),
        (
            lambda: interop.from_haiku(hk.without_apply_rng(hk.transform(lambda xs: xs)), {}),
            r"transformed function of \(xs\); expected",
        ),
        (lambda: interop.from_haiku("LSTM", {}), "got str 'LSTM'; expected a function that makes"),
        (lambda: interop.from_haiku(lambda: 3, {}), "got int 3; expected a haiku.RNNCore"),
        (lambda: interop.from_haiku(lambda: hk.LSTM(H), [1]), "got params of type list"),
        (lambda: interop.from_equinox(in_nnx), "jaxrnn.interop.from_nnx"),
        (lambda: interop.from_torch(in_linen), "jaxrnn.interop.from_flax"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


@HERE
def test_parameters_that_do_not_fit_are_named():
    linen = pytest.importorskip("flax.linen")
    hk = pytest.importorskip("haiku")
    variables = linen_variables("lstm", weights("lstm"))
    with pytest.raises(
        ValueError, match="does not run on inputs of 1 or of 3 or of 4 features; expected"
    ):
        interop.from_flax(linen.LSTMCell(H + 1), variables)
    cell, params = interop.from_flax(linen.LSTMCell(H), variables)
    with pytest.raises(
        ValueError, match=r"input of shape \(2, 5\), on which flax does not run .*ii"
    ):
        jaxrnn.unroll(cell, params, jnp.ones((T, 2, 5)))
    model = {"params": {"Dense_0": {}, "LSTMCell_0": variables["params"]}}
    for options in ({}, {"input_shape": (F,)}):
        with pytest.raises(
            ValueError,
            match=r"keys \['Dense_0', 'LSTMCell_0'\]; .*variables\['params'\]\['LSTMCell_0'\]\}",
        ):
            jaxrnn.unroll(*interop.from_flax(linen.LSTMCell(H), model, **options), inputs())
    with pytest.raises(ValueError, match=r"have no 'cell' but \['hf',"):
        interop.from_flax(linen.RNN(linen.LSTMCell(H)), variables)
    with pytest.raises(TypeError, match=r"got input_shape=3 \(int\); expected a tuple"):
        interop.from_flax(linen.LSTMCell(H), variables, input_shape=3)
    cell, params = of_equinox(weights("lstm"))
    with pytest.raises(ValueError, match=r"shape \(2, 5\); expected 3 features .*input_size; make"):
        jaxrnn.unroll(cell, params, jnp.ones((T, 2, 5)))
    inner = {
        "net/linear": {"w": jnp.ones((H, 2)), "b": jnp.zeros(2)},
        "net/~/lstm/linear": {"w": jnp.ones((F + H, 4 * H)), "b": jnp.zeros(4 * H)},
    }
    cell, params = interop.from_haiku(lambda: hk.LSTM(H), inner)
    with pytest.raises(ValueError, match=r"\{'lstm/linear': params\['net/~/lstm/linear'\]\}"):
        jaxrnn.unroll(cell, params, inputs())


# Without any framework


@pytest.mark.parametrize(
    ("call", "name", "package"),
    [
        (lambda: interop.from_flax(None, {}), "flax", "flax"),
        (lambda: interop.from_nnx(None), "flax", "flax"),
        (lambda: interop.from_haiku(None, {}), "haiku", "dm-haiku"),
        (lambda: interop.from_equinox(None), "equinox", "equinox"),
    ],
)
def test_a_missing_framework_says_what_to_install(monkeypatch, call, name, package):
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"from_.*: got no {name}; .*pip install {package}$"):
        call()


def affine(params, h, x):
    h = x @ params["w"] + h @ params["u"]
    return h, h


def zeros(params, shape):
    return jnp.zeros((*shape[:-1], 4), jnp.float32)


def test_the_size_of_inputs_is_found_from_the_parameters():
    params = {"w": jnp.ones((3, 4)), "u": jnp.ones((4, 4))}
    options = {"input_ndim": 1, "by": "here"}
    cell = cell_of_carry(affine, zeros, params, input_shape=None, **options)
    assert cell.init(jax.random.key(7)) is params
    assert cell.initial_state(params, (2, 5)).shape == (2, 5, 4)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    assert cell.initial_state(half).dtype == jnp.float32  # what the step returns from float32
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        assert cell.initial_state(double).dtype == jnp.float64

    def anything(params, h, x):
        return h, jnp.sum(x, axis=-1)

    with pytest.raises(
        ValueError, match="inputs of 1 and of 3 and of 4 features; expected one size"
    ):
        cell_of_carry(anything, zeros, params, input_shape=None, **options)
    cell_of_carry(anything, zeros, params, input_shape=(9,), **options)
    with pytest.raises(ValueError, match="does not run on inputs of 5 features") as caught:
        cell_of_carry(
            affine,
            zeros,
            {"w": jnp.ones((5, 5)), "u": jnp.ones((5, 5))},
            input_shape=None,
            **options,
        )
    assert caught.value.__cause__ is not None


def test_a_wrong_model_is_described():
    assert str(wrong_model(jaxrnn.lstm(2, 3), "a core", by="from_x")).endswith(
        "expected a core; a jaxrnn.Cell needs no reader"
    )
    assert "got the class Cell; expected a core; make one first, as in Cell(...)" in str(
        wrong_model(jaxrnn.Cell, "a core", by="from_x")
    )


def torch_weights(gates, inputs, outputs, suffix="", bias=True, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih": (gates * outputs, inputs), "weight_hh": (gates * outputs, outputs)}
    if bias:
        shapes |= {"bias_ih": (gates * outputs,), "bias_hh": (gates * outputs,)}
    draw = {name + suffix: rng.normal(size=shape) for name, shape in shapes.items()}
    return {name: value.astype(np.float32) for name, value in draw.items()}


def test_state_dicts_are_read_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    weights = torch_weights(1, F, H, "_l0")
    cell, params = interop.from_torch(weights, nonlinearity="relu")
    h, x = np.linspace(-1, 1, H), np.linspace(0, 2, F)
    expected = np.maximum(
        weights["weight_ih_l0"] @ x
        + weights["bias_ih_l0"]
        + weights["weight_hh_l0"] @ h
        + weights["bias_hh_l0"],
        0,
    )
    close(cell.step(params, jnp.asarray(h), jnp.asarray(x))[1], expected, rtol=1e-5)
    assert interop.from_torch(weights)[0] == jaxrnn.elman(F, H)._replace(
        init=interop.from_torch(weights)[0].init
    )
    for number, kind in ((3, jaxrnn.GRUParams), (4, jaxrnn.LSTMParams)):
        _, params = interop.from_torch(torch_weights(number, F, H, bias=False))
        assert isinstance(params, kind)
        assert not np.any(params.b)
    two = torch_weights(4, F, H, "_l0") | torch_weights(4, H, H, "_l1", seed=1)
    cell, params = interop.from_torch(two)
    assert [type(one) for one in params] == 2 * [jaxrnn.LSTMParams]
    close(params[1].w_ih, two["weight_ih_l1"].T)
    assert cell.initial_state(params)[1].c.shape == (H,)


def test_state_dicts_of_something_else_are_refused():
    weights = torch_weights(4, F, H, "_l0")
    for given, message in (
        ({f"rnn.{name}": value for name, value in weights.items()}, "as in module.rnn$"),
        (
            {"weight": np.ones((3, 3))},
            "got weights named weight; expected .*recurrent layer alone$",
        ),
        ({}, "none at all"),
        (weights | {f"{name}_reverse": value for name, value in weights.items()}, "one direction"),
        (weights | {"weight_hh_l0": np.ones((16, 5))}, "weight_hh_l0"),
        (
            weights | {f"{name[:-1]}1_reverse": value for name, value in weights.items()},
            "bidirectional module of 2 layers; .*jaxrnn.bidirectional .*import_weights\\('torch'",
        ),
        ({"weight_ih_l0": weights["weight_ih_l0"]}, "missing weight_hh_l0"),
        (weights | torch_weights(4, H + 1, H, "_l1"), r"got lstm\(3, 4\), lstm\(5, 4\); expected"),
        ({k: w for k, w in weights.items() if k != "bias_hh_l0"}, "missing: 'bias_hh_l0'"),
        (torch_weights(2, F, H), "expected 1, 3 or 4 gates"),
    ):
        with pytest.raises(ValueError, match=f"(?s)^from_torch: .*{message}"):
            interop.from_torch(given)
    for name, message in (("tan", "did you mean 'tanh'"), ("relu", "of an LSTM or a GRU; .*RNN")):
        with pytest.raises(ValueError, match=f"^from_torch: .*{message}"):
            interop.from_torch(weights, nonlinearity=name)
    with pytest.raises(TypeError, match="got list .*; expected a recurrent module of torch"):
        interop.from_torch([1, 2])


@HERE
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("make", "options"),
    [
        ("LSTM", {"num_layers": 2}),
        ("LSTM", {"proj_size": 2}),
        ("LSTM", {"bias": False}),
        ("GRU", {"num_layers": 3}),
        ("RNN", {"nonlinearity": "relu"}),
    ],
)
def test_torch_layers_put_out_the_same(make, options):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, make)(F, H, **options)
    cell, params = interop.from_torch(module)
    xs = inputs(2)
    with torch.no_grad():
        expected = module(torch.from_numpy(np.array(xs)))[0].numpy()
    close(jaxrnn.unroll(cell, params, xs)[1], expected, rtol=1e-5)
    if "nonlinearity" in options:
        with pytest.raises(ValueError, match="'tanh' for a module with 'relu'"):
            interop.from_torch(module, nonlinearity="tanh")


@HERE
@pytest.mark.parametrize("make", ["LSTMCell", "GRUCell", "RNNCell"])
def test_torch_cells_step_the_same(make):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, make)(F, H)
    cell, params = interop.from_torch(module)
    x = inputs(2)[0]
    with torch.no_grad():
        expected = module(torch.from_numpy(np.array(x)))
    expected = expected[0] if isinstance(expected, tuple) else expected
    close(cell.step(params, cell.initial_state(params, (2,)), x)[1], expected.numpy(), rtol=1e-5)


@HERE
def test_one_direction_of_a_bidirectional_torch_layer():
    torch = pytest.importorskip("torch")
    module = torch.nn.GRU(F, H, bidirectional=True)
    with pytest.raises(ValueError, match="got the weights of a bidirectional layer"):
        interop.from_torch(module)
    backward = {
        name.removesuffix("_reverse"): weight
        for name, weight in module.state_dict().items()
        if name.endswith("_reverse")
    }
    cell, params = interop.from_torch(backward)
    xs = inputs(2)
    with torch.no_grad():
        expected = module(torch.from_numpy(np.array(xs)))[0].numpy()[..., H:]
    close(jaxrnn.unroll(cell, params, xs[::-1])[1][::-1], expected, rtol=1e-5)
