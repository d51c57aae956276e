"""What cannot be converted is refused, with everything that is wrong and what to do."""

import jax
import numpy as np
import pytest

import jaxrnn
from interop.frameworks import HIDDEN, blank, blanks, drawn
from jaxrnn.interop import export_weights, import_weights
from jaxrnn.interop.blocks import GATES, RESETS
from jaxrnn.interop.formats import FORMATS


def test_all_that_does_not_fit_is_listed():
    like = blank("lstm", 3)
    weights = export_weights("torch", drawn(like))
    weights["weigth_hh_l0"] = weights.pop("weight_hh_l0")
    weights["weight_ih_l0"] = weights["weight_ih_l0"].T
    weights["bias_hh_l0"] = weights["bias_hh_l0"][1:]
    weights["weight_ih_l1"] = np.zeros((2, 2))
    with pytest.raises(ValueError) as error:
        import_weights("torch", weights, like)
    assert str(error.value).splitlines() == [
        "import_weights: got weights that do not fit; expected those of torch for lstm(3, 4):",
        "  missing: 'weight_hh_l0' (16, 4)",
        "  unknown: 'weigth_hh_l0' (16, 4); did you mean 'weight_hh_l0'?",
        "  unknown: 'weight_ih_l1' (2, 2); did you mean 'weight_hh_l0'?",
        "  wrong shape: 'weight_ih_l0' (3, 16) (it is transposed); expected (16, 3)",
        "  wrong shape: 'bias_hh_l0' (15,); expected (16,)",
        "make `like` with the kind, sizes, layers and directions of the source",
    ]


def test_weights_of_another_depth():
    weights = export_weights("torch", drawn(blanks("gru")))
    with pytest.raises(ValueError, match="unknown: 'weight_ih_l1_reverse'"):
        import_weights("torch", weights, blanks("gru")[:1])
    with pytest.raises(ValueError, match="expected those of Keras for bidirectional gru.2, 4."):
        import_weights("keras", {}, blanks("gru"))


@pytest.mark.parametrize("form", FORMATS)
def test_every_cell_is_held_or_refused_with_a_reason(form):
    held, refused = FORMATS[form].cells, FORMATS[form].refusals
    assert not set(held) & set(refused)
    assert set(GATES) - {"peephole_lstm"} <= set(held) | set(refused)
    for kind in set(GATES) - set(held):
        params = drawn(blank(kind, 3))
        reason = refused.get(kind, f"{FORMATS[form].library} has no such cell")
        for call in (
            lambda params=params: export_weights(form, params),
            lambda params=params: import_weights(form, {}, params),
        ):
            with pytest.raises(ValueError) as error:
                call()
            assert str(error.value).endswith(reason) and f"got {kind}; expected" in str(error.value)


def test_a_reset_that_is_another():
    after, before = blank("gru", 3), blank("gru_reset_before", 3)
    keras = export_weights("keras", drawn(after))
    with pytest.raises(ValueError, match="reset_after=True resets after.*reset='after'"):
        import_weights("keras", keras, before)
    keras = export_weights("keras", drawn(before))
    with pytest.raises(ValueError, match="reset_after=False resets before.*reset='before'"):
        import_weights("keras", keras, after)
    with pytest.raises(ValueError, match="make the cell with jaxrnn.gru.I, H, reset='before'"):
        import_weights("haiku", {}, after)
    with pytest.raises(ValueError, match="got reset='before' for gru, which resets after"):
        import_weights("torch", {}, after, reset="before")
    with pytest.raises(ValueError, match="unknown reset 'befor'"):
        import_weights("torch", {}, after, reset="befor")


def test_a_reset_that_is_not_told():
    like = blank("gru", 3)
    onnx = export_weights("onnx", drawn(like))
    with pytest.raises(ValueError, match="pass reset='after' if the source does"):
        import_weights("onnx", onnx, like)
    keras = export_weights("keras", drawn(like))
    import_weights("keras", keras, like)
    del keras["gru/gru_cell/bias"]
    with pytest.raises(ValueError, match="pass reset='after' if the source does"):
        import_weights("keras", keras, like, bias=False)
    assert not import_weights("keras", keras, like, bias=False, reset="after").b_hn.any()


def test_nnx_cannot_hold_b_hn():
    params = drawn(blank("gru", 3))
    with pytest.raises(ValueError, match="^export_weights: got b_hn with entries .*; expected"):
        export_weights("nnx", params)
    export_weights("nnx", params._replace(b_hn=np.zeros(HIDDEN)))


def test_a_projection_is_recognised():
    weights = export_weights("torch", drawn(blank("projected_lstm", 3)))
    with pytest.raises(ValueError, match="jaxrnn.projected_lstm"):
        import_weights("torch", weights, blank("lstm", 3))


@pytest.mark.parametrize("form", ["torch", "cudnn"])
def test_layers_that_no_module_holds(form):
    for like in (
        (blank("lstm", 3), blank("lstm", HIDDEN, hidden=5)),
        (blank("lstm", 3), blank("lstm", 7)),
        (blank("lstm", 3), (blank("lstm", 5),) * 2),
    ):
        message = "^export_weights: .*expected what one module .*; convert the layers"
        with pytest.raises(ValueError, match=message):
            export_weights(form, drawn(like))
        export_weights("keras", drawn(like))
    with pytest.raises(ValueError, match="^import_weights: .*expected what one module"):
        import_weights(form, {}, like)
    mixed = (blank("lstm", 3), blank("gru", HIDDEN))
    with pytest.raises(ValueError, match="expected what one module"):
        export_weights("torch", drawn(mixed))
    names = export_weights("keras", drawn(mixed))
    assert {"lstm/lstm_cell/kernel", "gru/gru_cell/kernel"} <= names.keys()


def test_trees_that_are_no_cells():
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(3, 4)), jaxrnn.readout(2))
    params = jax.eval_shape(net.init, jax.random.key(0))
    with pytest.raises(TypeError, match=r"got ReadoutParams at \[1\].*params\[:-1\]"):
        import_weights("torch", {}, params)
    with pytest.raises(TypeError, match="got ShapeDtypeStruct in LSTMParams; expected arrays"):
        export_weights("torch", params[:-1])
    with pytest.raises(ValueError, match="got no cell"):
        export_weights("torch", ())
    many = jax.tree.map(lambda leaf: np.zeros((5, *leaf.shape)), blank("lstm", 3))
    with pytest.raises(ValueError, match="without axes for members or time"):
        export_weights("torch", many)


def test_entries_that_are_no_weights():
    like = blank("lstm", 3)
    weights = export_weights("torch", drawn(like))
    with pytest.raises(TypeError, match="dtype int64 at 'bias_ih_l0'"):
        import_weights("torch", weights | {"bias_ih_l0": np.arange(16)}, like)

    class Unreadable:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("on another device")

    with pytest.raises(TypeError, match="NumPy cannot read .on another device.; expected"):
        import_weights("torch", weights | {"bias_ih_l0": Unreadable()}, like)

    class Tensor(Unreadable):
        def detach(self):
            return self

        def cpu(self):
            return weights["bias_ih_l0"]

    import_weights("torch", weights | {"bias_ih_l0": Tensor()}, like)


def test_unknown_names():
    params = drawn(blank("lstm", 3))
    with pytest.raises(ValueError, match="unknown source 'pytorch'.*did you mean 'torch'"):
        import_weights("pytorch", {}, params)
    with pytest.raises(ValueError, match="unknown target 'flax'"):
        export_weights("flax", params)
    with pytest.raises(ValueError, match="unknown variant 'LSTM'.*LSTMCell"):
        export_weights("nnx", params, variant="LSTM")
    with pytest.raises(ValueError, match="got nested=True; expected False"):
        export_weights("torch", params, nested=True)


def test_stacked_cells_inside_a_layer_are_not_taken_for_directions():
    one, upper = blank("lstm", HIDDEN), blank("lstm", 2 * HIDDEN)
    cells = jaxrnn.wrappers.stacked(jaxrnn.lstm(4, 4), jaxrnn.lstm(4, 4))
    net = jaxrnn.stack(jaxrnn.layer(cells), jaxrnn.readout(2))
    params = drawn(jax.eval_shape(net.init, jax.random.key(0))[:-1])
    for form in ("torch", "keras"):
        with pytest.raises(ValueError, match=r"^export_weights: got two .* at \[0\]; .*=False or"):
            export_weights(form, params)
        names = export_weights(form, params, bidirectional=False)
        assert not any("reverse" in name or "backward" in name for name in names)
    both = drawn(((one, one), (upper, upper)))  # the upper one reads both directions
    assert "weight_ih_l1_reverse" in export_weights("torch", both)


def test_two_directions_are_alike():
    unlike = [(blank("lstm", 3), blank("lstm", HIDDEN)), (blank("lstm", 3), blank("gru", 3))]
    for like in unlike:
        for form in ("keras", "onnx"):
            with pytest.raises(ValueError, match="got lstm.3, 4. and .*; pass bidirectional=False"):
                export_weights(form, drawn(like), bidirectional=True)


def test_a_remedy_that_fits_what_is_wrong():
    like = blank("lstm", 3)
    weights = export_weights("torch", drawn(like), prefix="rnn.") | {"fc.bias": np.zeros(2)}
    for prefix in (None, "rnn", "encoder."):
        with pytest.raises(ValueError, match="\npass prefix='rnn.'$"):
            import_weights("torch", weights, like, prefix=prefix)
    bare = {name: value for name, value in weights.items() if "bias" not in name}
    with pytest.raises(ValueError, match="\npass bias=False, because the source has no biases$"):
        import_weights("torch", bare, like)
    with pytest.raises(ValueError, match="\npass bias=True, because") as error:
        import_weights("torch", export_weights("torch", drawn(like)), like, bias=False)
    assert "did you mean" not in str(error.value)
    more = export_weights("linen", drawn(like), prefix="net/cell/") | {"net/out/bias": np.zeros(2)}
    with pytest.raises(ValueError, match="\npass prefix='net/cell/'$"):
        import_weights("linen", more, like)
    two = (like, blank("lstm", HIDDEN))
    more = export_weights("haiku", drawn(two), prefix="net/") | {"net/linear/b": np.zeros(2)}
    with pytest.raises(ValueError, match="net/linear/b' .2,.\npass the entries of these layers al"):
        import_weights("haiku", more, two, prefix="net/")
    with pytest.raises(TypeError, match="^import_weights: got prefix=5; expected a string"):
        import_weights("torch", weights, like, prefix=5)


@pytest.mark.parametrize("form", FORMATS)
def test_a_module_in_place_of_its_weights(form):
    class Module:
        pass

    (kind, *_) = set(FORMATS[form].cells) - set(RESETS)
    with pytest.raises(TypeError, match="^import_weights: got Module; expected .*; pass ") as error:
        import_weights(form, Module(), blank(kind, 3))
    assert str(error.value).endswith(FORMATS[form].given)


def test_directions_that_are_stacks_of_one_layer():
    """Their parameters look like those of two stacks: the sizes decide, or the caller."""
    square, other = (
        jax.eval_shape(
            jaxrnn.bidirectional(*[jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(size, 4)))] * 2).init,
            jax.random.key(0),
        )
        for size in (4, 3)
    )
    square, other = (jax.tree.map(lambda x: np.ones(x.shape), one) for one in (square, other))
    with pytest.raises(ValueError, match=r"two layers or two directions; pass bidirectional="):
        export_weights("keras", square)
    names = export_weights("torch", square, bidirectional=True)
    assert "weight_ih_l0_reverse" in names and "weight_ih_l1" not in names
    names = export_weights("torch", other)
    assert "weight_ih_l0_reverse" in names and "weight_ih_l1" not in names
    back = import_weights("torch", names, other)
    assert jax.tree.structure(back) == jax.tree.structure(other)
