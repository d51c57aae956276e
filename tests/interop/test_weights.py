"""Weights of other libraries: what they compute (from a file), round trips, names that may vary."""

import functools

import jax
import ml_dtypes
import numpy as np
import pytest

import jaxrnn
import reference
from golden import make_interop
from interop import frameworks
from interop.frameworks import CASES, HIDDEN, LENGTHS, STEPS, blank, blanks, drawn
from jaxrnn.interop import export_weights, import_weights
from jaxrnn.interop.formats import FORMATS

EVERY = [(name, kind) for name, form in FORMATS.items() for kind in form.cells]
RESETS = frameworks.RESETS
MASK = np.arange(STEPS)[:, None] < np.array(LENGTHS)


def equal(one, other, rtol=0.0):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=rtol)


def zero_b_hn(tree):
    """What nnx can hold."""
    return jax.tree.map(
        lambda cell: cell._replace(b_hn=cell.b_hn * 0),
        tree,
        is_leaf=lambda node: hasattr(node, "b_hn"),
    )


def sample(form, kind, like):
    params = drawn(like, seed=7)
    return zero_b_hn(params) if (form, kind) == ("nnx", "gru") else params


# What they compute


def steps(kind, relu):
    """One step of a cell in NumPy, a batch at a time."""
    lstm = reference.lstm().step
    if kind == "elman":
        return reference.elman(reference.relu if relu else np.tanh).step
    if kind.startswith("gru"):
        return reference.gru(RESETS[kind]).step
    if kind == "lstm":
        return lstm

    def projected(params, state, x):
        (m, c), _ = lstm(params, state, x)
        h = m @ params.w_hr
        return (h, c), h

    def peephole(params, state, x):
        h, c = state
        i, f, g, o = np.split(x @ params.w_ih + h @ params.w_hh + params.b, 4, axis=-1)
        i, f = reference.sigmoid(i + params.p_i * c), reference.sigmoid(f + params.p_f * c)
        c = f * c + i * np.tanh(g)
        h = reference.sigmoid(o + params.p_o * c) * np.tanh(c)
        return (h, c), h

    def mgu(params, h, x):
        (x_f, x_n), (u_f, u_n) = (np.split(part, 2, axis=-1) for part in (
            x @ params.w_ih + params.b, params.w_hh
        ))  # fmt: skip
        f = reference.sigmoid(x_f + h @ u_f)
        h = f * h + (1 - f) * np.tanh(x_n + f * (h @ u_n + params.b_hn))
        return h, h

    return {"projected_lstm": projected, "peephole_lstm": peephole, "mgu_reset_after": mgu}[kind]


def run(step, params, xs, start):
    """Two bidirectional layers with lengths."""
    finals = []
    for pair, states in zip(params, start, strict=True):
        halves = []
        for one, state, order in zip(pair, states, (range(STEPS), range(STEPS)[::-1]), strict=True):
            ys = [None] * STEPS
            for t in order:
                new, y = step(one, state, xs[t])
                real = MASK[t][:, None]
                ys[t] = np.where(real, y, 0)
                state = jax.tree.map(lambda a, b, real=real: np.where(real, a, b), new, state)
            halves.append(np.stack(ys))
            finals.append(state)
        xs = np.concatenate(halves, axis=-1)
    return finals, xs


golden = functools.cache(make_interop.load)


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_they_compute_what_the_library_computed(form, kind):
    weights, expected, final_expected = golden()[form, kind]
    source = frameworks.source_of(form)
    params = import_weights(source, weights, blanks(kind), reset=RESETS.get(kind))
    params = jax.tree.map(np.asarray, params)
    xs, start = frameworks.given(kind)
    final, ys = run(steps(kind, relu=form == "haiku"), params, xs, start)
    limit = 1e-6 if form in frameworks.SINGLE else 1e-12
    np.testing.assert_allclose(ys, expected, rtol=0, atol=limit)
    for leaf, end in zip(jax.tree.leaves(final), final_expected, strict=True):
        np.testing.assert_allclose(leaf, end, rtol=0, atol=limit)


# Round trips


def structures(kind):
    size, two = frameworks.outputs(kind), blanks(kind)
    return [
        blank(kind, 3),
        two[0],  # one layer in two directions
        two[:1],  # a stack of it
        (blank(kind, 3), (), blank(kind, size)),  # () are a dropout's
        two,
    ]


@pytest.mark.parametrize(("form", "kind"), EVERY)
def test_a_round_trip(form, kind):
    for like in structures(kind):
        params = sample(form, kind, like)
        weights = export_weights(form, params)
        assert all(type(value) is np.ndarray for value in weights.values())
        with jax.enable_x64(True):
            back = import_weights(form, weights, like, reset=RESETS.get(kind))
        # haiku's forget gate is rounded when 1 is taken off it.
        equal(back, params, 1e-15 if (form, kind) == ("haiku", "lstm") else 0.0)
        if FORMATS[form].nest:
            nested = export_weights(form, params, nested=True)
            assert len(nested) < len(weights) or form == "equinox"
            with jax.enable_x64(True):
                equal(import_weights(form, nested, like), back)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    like = blanks("gru")
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), drawn(like))
    for form in ("torch", "keras", "linen", "equinox", "onnx"):
        weights = export_weights(form, params)
        assert {value.dtype for value in weights.values()} == {np.dtype(dtype)}
        back = import_weights(form, weights, like, reset="after")
        equal(back, params)
        for leaf in jax.tree.leaves(back):  # JAX would make float32 of float64 here
            assert isinstance(leaf, np.ndarray if dtype == np.float64 else jax.Array)


def test_the_second_of_two_biases_is_added():
    like = blank("gru", 2)
    weights = export_weights("torch", drawn(like))
    first = import_weights("torch", weights, like)
    weights["bias_hh_l0"] = weights["bias_hh_l0"] + 1
    second = import_weights("torch", weights, like)
    change = np.where(np.arange(3 * HIDDEN) < 2 * HIDDEN, 1, 0)
    np.testing.assert_allclose(second.b - first.b, change, atol=1e-15)
    np.testing.assert_allclose(second.b_hn - first.b_hn, 1, atol=1e-15)


def test_exported_arrays_are_copies():
    params = drawn(blank("lstm", 2))
    weights = export_weights("keras", params)
    weights["lstm/lstm_cell/kernel"][:] = 0
    assert params.w_ih.all()
    assert all(value.flags.c_contiguous for value in export_weights("torch", params).values())


def test_the_vector_of_cudnn():
    """JAX's own function takes it apart."""
    from jax.experimental import rnn

    params = drawn(blanks("lstm"))
    vector = export_weights("cudnn", params)["weights"]
    parts = rnn.unpack_lstm_weights(vector, frameworks.INPUT, HIDDEN, 2, True)
    torch = export_weights("torch", params)
    for part, name in zip(parts, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), strict=True):
        for number, end in enumerate(("l0", "l0_reverse", "l1", "l1_reverse")):
            np.testing.assert_array_equal(part[number], torch[f"{name}_{end}"])
    equal(import_weights("cudnn", vector, params), params)


# Names


def test_names_with_something_before_them():
    like = blanks("lstm")
    params = drawn(like)
    for form, start in (("torch", "encoder.rnn."), ("linen", "params/"), ("haiku", "net/~/")):
        weights = {start + name: value for name, value in export_weights(form, params).items()}
        assert weights.keys() == export_weights(form, params, prefix=start).keys()
        equal(import_weights(form, weights, like), params, 1e-15)
        weights["head.weight"] = np.zeros(3)
        equal(import_weights(form, weights, like, prefix=start), params, 1e-15)
        with pytest.raises(ValueError, match="unknown: 'head.weight'"):
            import_weights(form, weights, like)


def test_layers_that_are_objects_of_their_own():
    like = blanks("gru")
    params = drawn(like)
    prefix = ["rnns.0.", "rnns.1."]
    weights = export_weights("torch", params, prefix=prefix)
    assert "rnns.1.weight_ih_l0_reverse" in weights
    equal(import_weights("torch", weights, like, prefix=prefix), params)
    del weights["rnns.1.bias_ih_l0"]
    with pytest.raises(ValueError, match="missing: 'rnns.1.bias_ih_l0' .12,"):
        import_weights("torch", weights, like, prefix=prefix)
    with pytest.raises(ValueError, match="expected a string, or 2, one a layer"):
        import_weights("torch", weights, like, prefix=["rnns.0."])


def test_one_step_of_torch_and_the_paths_of_flax():
    like = blank("lstm", 3)
    params = drawn(like)
    weights = {
        name.removesuffix("_l0"): value for name, value in export_weights("torch", params).items()
    }
    equal(import_weights("torch", weights, like), params)
    weights = export_weights("linen", params)
    assert "if/kernel" in weights
    for start in ("cell/", "params/cell/", "OptimizedLSTMCell_0/", "params/LSTMCell_0/"):
        found = {start + name: value for name, value in weights.items()}
        equal(import_weights("linen", found, like), params)
    both = (like, blank("lstm", HIDDEN))
    params = drawn(both)
    weights = export_weights("linen", params, prefix=["LSTMCell_0/", "LSTMCell_1/"])
    equal(import_weights("linen", weights, both), params)
    assert set(export_weights("nnx", params, nested=True)["layers"]) == {0, 1}


def test_the_two_lstms_of_nnx():
    params = drawn(blanks("lstm"))
    separate = export_weights("nnx", params)
    joined = export_weights("nnx", params, variant="OptimizedLSTMCell")
    assert "layers/0/forward_rnn/cell/if_/kernel" in separate
    assert joined["layers/1/backward_rnn/cell/dense_h/bias"].shape == (4 * HIDDEN,)
    for weights in (separate, joined):
        equal(import_weights("nnx", weights, params), params)


def test_keras_numbers_layers_from_anywhere():
    like = blanks("gru")
    params = drawn(like)
    weights = export_weights("keras", params)
    equal(import_weights("keras", list(weights.values()), like), params)
    renamed = {
        name.replace("bidirectional_1/", "bidirectional_10/")
        .replace("bidirectional/", "bidirectional_9/")
        .replace("_gru/", "_gru_3/")
        .replace("_gru_1/", "_gru_3/"): value
        for name, value in weights.items()
    }
    assert "bidirectional_9/backward_gru_3/gru_cell/bias" in renamed
    for order in (renamed, sorted(renamed)):  # sorted: 10 before 9, backward before forward
        found = {name: renamed[name] for name in order}
        equal(import_weights("keras", found, like), params)
    with pytest.raises(ValueError, match="got a list of 11 arrays; expected 12"):
        import_weights("keras", list(weights.values())[1:], like)
    stacked = (blank("gru", 2), blank("gru", HIDDEN))
    params = drawn(stacked)
    weights = export_weights("keras", params)
    named = {name.replace("gru_1/", "upper/"): value for name, value in weights.items()}
    equal(import_weights("keras", named, stacked), params)


def renamed(weights, *pairs):
    found = {}
    for name, value in weights.items():
        for old, new in pairs:
            name = new + name.removeprefix(old) if name.startswith(old) else name
        found[name] = value
    return found


def test_keras_layers_of_equal_shape_are_not_swapped():
    like = (blank("lstm", HIDDEN),) * 2
    params = drawn(like)
    read = functools.partial(import_weights, "keras", like=like, bidirectional=False)
    weights = export_weights("keras", params, bidirectional=False)
    named = renamed(weights, ("lstm/", "enc_2/"), ("lstm_1/", "enc_1/"))
    equal(read(named), params)  # not Keras' own names
    turned = renamed(weights, ("lstm/", "m/lstm_9/"), ("lstm_1/", "m/lstm/"))
    prefix = ["m/lstm_9/", "m/lstm/"]
    for start in (None, "m/"):
        with pytest.raises(ValueError, match="^import_weights: got layers in the order") as error:
            read(turned, prefix=start)
        assert str(error.value).endswith(f"as in prefix={prefix}")
    equal(read(turned, prefix=prefix), params)
    equal(read(renamed(turned, ("m/lstm/", "m/lstm_10/"))), params)
    with pytest.raises(ValueError, match="missing: 'bidirectional/backward_lstm/lstm_cell/kernel'"):
        import_weights("keras", weights, like, bidirectional=True)


def test_prefixes_of_keras_in_any_session():
    def model(weights, *pairs):
        inside = renamed(weights, *pairs)
        inside |= {"dense_4/kernel": np.zeros((4, 2)), "dense_4/bias": np.zeros(2)}
        return {"lstm/lstm_cell/kernel": np.zeros(3)} | {
            f"sequential_2/{name}": value for name, value in inside.items()
        }

    params = drawn((blank("lstm", 3), blank("lstm", HIDDEN)))
    weights = export_weights("keras", params)
    found = model(weights, ("lstm_1/", "lstm_8/"), ("lstm/", "lstm_7/"))
    equal(import_weights("keras", found, params, prefix="sequential_2/"), params)
    each = ["sequential_2/lstm_7/", "sequential_2/lstm_8/lstm_cell/"]
    equal(import_weights("keras", found, params, prefix=each), params)
    for like in (drawn(blanks("gru")), drawn(blanks("gru")[0]), drawn(blank("gru", 3))):
        weights = export_weights("keras", like)
        pairs = [
            ("bidirectional_1/forward_gru_1", "bidirectional_6/forward_gru_9"),
            ("bidirectional_1/backward_gru_1", "bidirectional_6/backward_gru_9"),
            ("bidirectional/forward_gru", "bidirectional_5/forward_gru_8"),
            ("bidirectional/backward_gru", "bidirectional_5/backward_gru_8"),
            ("gru/", "gru_8/"),
        ]
        found = model(weights, *pairs)
        equal(import_weights("keras", found, like, prefix="sequential_2/"), like)
        if type(like) is tuple:
            starts = ["sequential_2/bidirectional_5/", "sequential_2/bidirectional_6/"]
            equal(import_weights("keras", found, like, prefix=starts[: len(weights) // 6]), like)
        del found[next(name for name in found if name.endswith("gru_8/gru_cell/bias"))]
        with pytest.raises(ValueError, match="missing: 'sequential_2/.*/bias'"):
            import_weights("keras", found, like, prefix="sequential_2/")


def test_one_bias_of_haikus_plain_cell():
    like = blank("elman", 3)
    params = drawn(like)
    weights = export_weights("haiku", params)
    del weights["vanilla_rnn/linear_1/b"]
    equal(import_weights("haiku", weights, like), params)


def test_without_biases():
    like = blanks("lstm")
    params = drawn(like)
    for form in ("torch", "keras", "linen", "haiku", "equinox", "onnx"):
        weights = {
            name: value
            for name, value in export_weights(form, params).items()
            if "bias" not in name and not name.endswith(("/b", "/B"))
        }
        back = import_weights(form, weights, like, bias=False)
        b = np.zeros(4 * HIDDEN)
        if form == "haiku":  # which adds 1 when it runs
            b[HIDDEN : 2 * HIDDEN] = 1
        cell = params[1][0]._replace(b=b)
        equal(back[1][0], cell)
    with pytest.raises(ValueError, match="got bias=False; expected True"):
        import_weights("cudnn", export_weights("cudnn", params), like, bias=False)


def test_two_cells_may_be_layers_or_directions():
    one = blank("lstm", HIDDEN)
    params = drawn((one, one))
    with pytest.raises(ValueError, match="pass bidirectional=False or True"):
        export_weights("torch", params)
    for way, name in ((True, "weight_ih_l0_reverse"), (False, "weight_ih_l1")):
        weights = export_weights("torch", params, bidirectional=way)
        assert name in weights
        equal(import_weights("torch", weights, params, bidirectional=way), params)


def test_what_is_imported_runs():
    cell = jaxrnn.lstm(3, HIDDEN)
    like = jax.eval_shape(cell.init, jax.random.key(0))
    weights = export_weights("torch", jax.tree.map(lambda leaf: np.float32(leaf), drawn(like)))
    params = import_weights("torch", weights, like)
    state, y = cell.step(params, cell.initial_state(params), np.int32(2))  # a token
    assert y.shape == (HIDDEN,) and np.isfinite(y).all()
    assert params.w_ih.shape == (3, 4 * HIDDEN)
