"""Networks with other libraries' weights equal theirs, values and gradients, run side by side."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interop import frameworks
from interop.frameworks import CASES, LENGTHS, STEPS
from jaxrnn.interop import export_weights, import_weights
from jaxrnn.interop.formats import flatten
from jaxrnn.interop.weights import pack_weights
from reference import error

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

SOME = [index for index, length in enumerate(LENGTHS) if length]
MASK = np.arange(STEPS)[:, None] < np.array(LENGTHS)
WITHOUT_GRADIENTS = {"torch", "onnx"}  # tests/cells/test_torch.py has torch's


@functools.cache
def theirs(form, kind):
    os.environ.setdefault("KERAS_BACKEND", "jax")  # keras reads it when it is imported
    pytest.importorskip(frameworks.PACKAGES[form])
    with jax.enable_x64(True):
        return frameworks.theirs(form, kind, seed=3)


def imported(form, kind, weights):
    source, reset = frameworks.source_of(form), frameworks.RESETS.get(kind)
    return import_weights(source, weights, frameworks.blanks(kind), reset=reset)


def without_b_hn(params):
    zeros = np.zeros(frameworks.HIDDEN)
    return tuple(tuple(cell._replace(b_hn=zeros) for cell in pair) for pair in params)


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_two_bidirectional_layers(form, kind):
    """Lengths 0, 1 and T, from an initial state that is not zero.

    What the others put into padding is not looked at, nor is what flax returns as the state after
    no step at all.
    """
    weights, run = theirs(form, kind)
    xs, start = frameworks.given(kind, seed=1)
    d_final, d_ys = (
        frameworks.given(kind, seed=2)[1],
        np.random.default_rng(5).normal(size=(STEPS, len(LENGTHS), 2 * frameworks.outputs(kind))),
    )
    d_ys = d_ys * MASK[..., None]

    def loss(weights, xs, start, run):
        final, ys = run(weights, xs, start, LENGTHS)
        ys = jnp.where(MASK[..., None], ys, 0)
        final = jax.tree.map(lambda leaf: leaf[np.array(SOME)], final)
        picked = jax.tree.map(lambda leaf: leaf[np.array(SOME)], d_final)
        terms = [jnp.sum(ys * d_ys)]
        pairs = zip(jax.tree.leaves(final), jax.tree.leaves(picked), strict=True)
        terms += [jnp.sum(got * weight) for got, weight in pairs]
        return sum(terms), (tuple(jax.tree.leaves(final)), ys)

    def our_run(params, xs, start, lengths):
        return frameworks.ours(params, kind, xs, start, lengths, relu=form == "haiku")

    limit = 1e-6 if form in frameworks.SINGLE else 1e-12
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        params = imported(form, kind, weights)
        grad = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True), static_argnums=3)
        ours, got = grad(params, xs, start, our_run)
        if form in WITHOUT_GRADIENTS:
            final, ys = run(weights, xs, start, LENGTHS)
            ys = np.where(MASK[..., None], ys, 0)
            final = tuple(np.asarray(leaf)[SOME] for leaf in jax.tree.leaves(final))
            assert error(got, (final, ys)) < limit
            return
        (d_weights, d_xs, d_start), expected = grad(weights, xs, start, run)
        # Theirs are affine in ours, and the chain rule maps gradients back.
        same = jax.tree.structure(weights)
        target, variant = frameworks.source_of(form), None
        if form == "nnx_optimized":
            variant = "OptimizedLSTMCell"

        def pack(params):
            if (form, kind) == ("nnx", "gru"):  # it has no b_hn
                params = without_b_hn(params)
            nested = form in ("linen", "nnx", "nnx_optimized", "haiku", "equinox")
            found = pack_weights(target, params, variant=variant, nested=nested)
            if form == "linen":
                found = {"params": found}
            return same.unflatten(jax.tree.leaves(found))

        d_params = jax.vjp(pack, params)[1](d_weights)[0]
    if (form, kind) == ("nnx", "gru"):
        ours = (without_b_hn(ours[0]), *ours[1:])
    assert error(got, expected) < limit
    theirs_ = tuple(jax.tree.leaves((d_params, d_xs, d_start)))
    assert error(tuple(jax.tree.leaves(ours)), theirs_) < limit


def shapes(tree):
    return {name: leaf.shape for name, leaf in flatten(tree).items()}


def zeros(tree):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)


@pytest.mark.parametrize("name", ["SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_the_names_of_linen(name):
    linen = pytest.importorskip("flax.linen")
    make = getattr(linen, name)
    kind = {"SimpleCell": "elman", "GRUCell": "gru"}.get(name, "lstm")
    key, xs = jax.random.key(0), jnp.zeros((2, 3, frameworks.INPUT))

    class Compact(linen.Module):
        @linen.compact
        def __call__(self, xs):
            for _ in range(2):
                rnns = [linen.RNN(make(frameworks.HIDDEN)) for _ in range(2)]
                xs = linen.Bidirectional(*rnns)(xs)
            return xs

    both = [linen.Bidirectional(*[linen.RNN(make(frameworks.HIDDEN)) for _ in range(2)])]
    both += [linen.Bidirectional(*[linen.RNN(make(frameworks.HIDDEN)) for _ in range(2)])]
    for module in (linen.Sequential(both), Compact()):
        variables = zeros(jax.eval_shape(module.init, key, xs))
        import_weights("linen", variables, frameworks.blanks(kind))
    ours = export_weights("linen", zeros(frameworks.blanks(kind)), prefix="params/", nested=True)
    variables = jax.eval_shape(linen.Sequential(both).init, key, xs)
    assert jax.tree.structure(ours) == jax.tree.structure(variables)
    one = linen.RNN(make(frameworks.HIDDEN))
    variables = zeros(jax.eval_shape(one.init, key, xs))
    import_weights("linen", variables, frameworks.blank(kind, frameworks.INPUT))


@pytest.mark.parametrize("name", ["SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_the_names_of_nnx(name):
    nnx = pytest.importorskip("flax.nnx")
    make = getattr(nnx, name)
    kind = {"SimpleCell": "elman", "GRUCell": "gru"}.get(name, "lstm")

    def layer(size):
        return nnx.Bidirectional(
            *[nnx.RNN(make(size, frameworks.HIDDEN, rngs=nnx.Rngs(0))) for _ in range(2)]
        )

    model = nnx.Sequential(layer(frameworks.INPUT), layer(2 * frameworks.HIDDEN))
    theirs_ = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    ours = export_weights(
        "nnx",
        zeros(frameworks.blanks(kind)),
        variant=name if kind == "lstm" else None,
        nested=True,
    )
    assert jax.tree.structure(ours) == jax.tree.structure(theirs_)
    assert shapes(ours) == shapes(theirs_)


def test_the_names_of_haiku():
    hk = pytest.importorskip("haiku")

    def two(xs):
        core = hk.DeepRNN([hk.LSTM(frameworks.HIDDEN), hk.LSTM(frameworks.HIDDEN)])
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    xs = jnp.zeros((2, 3, frameworks.INPUT))
    params = zeros(jax.eval_shape(hk.transform(two).init, jax.random.key(0), xs))
    stacked = tuple(
        frameworks.blank("lstm", size) for size in (frameworks.INPUT, frameworks.HIDDEN)
    )
    import_weights("haiku", params, stacked)
    ours = export_weights("haiku", zeros(stacked), nested=True)
    assert jax.tree.structure(ours) == jax.tree.structure(dict(params))


@pytest.mark.parametrize("kind", ["elman", "lstm", "gru", "gru_reset_before"])
def test_the_names_of_keras(kind):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    make = {"elman": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM}.get(kind, keras.layers.GRU)
    options = {"return_sequences": True}
    if kind.startswith("gru"):
        options["reset_after"] = kind == "gru"
    keras.utils.clear_session()
    model = keras.Sequential(
        [keras.Input((5, frameworks.INPUT))]
        + [keras.layers.Bidirectional(make(frameworks.HIDDEN, **options)) for _ in range(2)]
    )
    by_path = {v.path: np.asarray(v) for v in model.trainable_variables}
    like = frameworks.blanks(kind)
    params = import_weights("keras", by_path, like)
    weights = export_weights("keras", params)
    for ours, theirs_ in zip(weights.values(), by_path.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs_)
    assert {path.replace(f"{model.name}/", "") for path in by_path} == set(weights)
    same = import_weights("keras", [v for layer in model.layers for v in layer.get_weights()], like)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    model.layers[0].set_weights([value + 1 for value in list(weights.values())[:6]])


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": frameworks.PROJECTION}])
def test_the_names_of_torch(options):
    torch = pytest.importorskip("torch")
    sizes = frameworks.INPUT, frameworks.HIDDEN, 2
    kind = "projected_lstm" if "proj_size" in options else "lstm"
    module = torch.nn.LSTM(*sizes, bidirectional=True, **options)
    for entries in (module.state_dict(), dict(module.named_parameters())):
        bias = options.get("bias", True)
        params = import_weights("torch", entries, frameworks.blanks(kind), bias=bias)
    weights = export_weights("torch", params)
    if bias:
        assert list(weights) == list(module.state_dict())
        module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    one = torch.nn.GRUCell(frameworks.INPUT, frameworks.HIDDEN)
    import_weights("torch", one.state_dict(), frameworks.blank("gru", frameworks.INPUT))


def test_bfloat16_of_torch():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(frameworks.INPUT, frameworks.HIDDEN).bfloat16()
    like = frameworks.blank("lstm", frameworks.INPUT)
    params = import_weights("torch", dict(module.named_parameters()), like)
    weights = {name: value.float().numpy() for name, value in module.state_dict().items()}
    expected = import_weights("torch", weights, like)
    assert {leaf.dtype for leaf in params} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(params.w_ih.astype(jnp.float32), expected.w_ih)
    np.testing.assert_array_equal(params.w_hh.astype(jnp.float32), expected.w_hh)


def test_modules_of_torch_nnx_and_equinox_are_refused():
    sizes = frameworks.INPUT, frameworks.HIDDEN
    like = frameworks.blank("lstm", frameworks.INPUT)
    module = pytest.importorskip("torch").nn.LSTM(*sizes)
    with pytest.raises(TypeError, match=r"got LSTM; .* pass module.state_dict\(\)"):
        import_weights("torch", module, like)
    nnx = pytest.importorskip("flax.nnx")
    module = nnx.LSTMCell(*sizes, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"got LSTMCell; .*nnx.state\(module, nnx.Param\)"):
        import_weights("nnx", module, like)
    import_weights("nnx", nnx.to_pure_dict(nnx.state(module, nnx.Param)), like)
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.LSTMCell(*sizes, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"got LSTMCell; .*vars\(cell\)"):
        import_weights("equinox", module, like)
    arrays = {name: leaf for name, leaf in vars(module).items() if eqx.is_array(leaf)}
    import_weights("equinox", arrays, like)


def test_models_of_keras_in_any_session():
    """Layers of equal shapes, made in another order than they run, among others."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    size = frameworks.HIDDEN
    options = {"return_sequences": True}
    top, low = (keras.layers.LSTM(size, **options) for _ in range(2))
    model = keras.Sequential([keras.Input((5, size)), low, top, keras.layers.Dense(2)])
    found = {w.path: w for w in model.weights}
    like = (frameworks.blank("lstm", size),) * 2
    with pytest.raises(ValueError, match="one prefix a layer"):
        import_weights("keras", found, like, bidirectional=False, prefix=f"{model.name}/")
    prefix = [f"{model.name}/{layer.name}/" for layer in (low, top)]
    for params in (
        import_weights("keras", found, like, bidirectional=False, prefix=prefix),
        import_weights("keras", model.get_weights()[:6], like, bidirectional=False),
    ):
        np.testing.assert_array_equal(params[0].w_ih, np.asarray(low.get_weights()[0]))
        np.testing.assert_array_equal(params[1].w_hh, np.asarray(top.get_weights()[1]))
    both = [keras.layers.Bidirectional(keras.layers.LSTM(size, **options)) for _ in range(2)]
    model = keras.Sequential([keras.Input((5, frameworks.INPUT)), *both, keras.layers.Dense(2)])
    found = {w.path: w for w in model.weights}
    like, start = frameworks.blanks("lstm"), f"{model.name}/"
    with pytest.raises(ValueError, match=f"pass prefix='{start}'"):
        import_weights("keras", found, like)
    whole = import_weights("keras", found, like, prefix=start)
    each = import_weights("keras", found, like, prefix=[f"{start}{one.name}/" for one in both])
    jax.tree.map(np.testing.assert_array_equal, whole, each)
    np.testing.assert_array_equal(whole[1][1].w_ih, np.asarray(both[1].get_weights()[3]))


def test_the_names_of_equinox():
    eqx = pytest.importorskip("equinox")
    cell = eqx.nn.GRUCell(frameworks.INPUT, frameworks.HIDDEN, key=jax.random.key(0))
    weights = export_weights("equinox", zeros(frameworks.blank("gru", frameworks.INPUT)))
    assert {name: getattr(cell, name).shape for name in weights} == shapes(weights)
    assert set(weights) == {name for name, leaf in vars(cell).items() if eqx.is_array(leaf)}
