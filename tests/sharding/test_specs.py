"""Where parameters, states, batches and optimiser states lie: against what docstrings say."""

import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import CASES
from jaxrnn import sharding, wrappers
from jaxrnn.tasks.types import Batch
from sharding.shapes import HIDDEN, INPUT, KEY, LAST, MODEL, flat, made, mesh_of, zoo_params

# What docstrings say is the oracle: the split axis is one of hidden units.

HIDDEN_LETTERS = {
    "CfCParams": "HU",
    "ProjectedLSTMParams": "HP",
    "HyperLSTMNorm": "N",
    "HyperLSTMHyperParams": "KH",
    "HyperLSTMParams": "HKN",  # K and N follow from H
}
WHOLE = {
    ("LMUParams", "w_ih"),  # H + 1 columns
    ("SCRNParams", "w_ih"),  # H + C
}


def documented_axes(kind, field):
    """The axes of a field in a class's docstring, as text: ["H", "4 H"]."""
    found = re.search(rf"^\s+{field}: [^`]*``\(([^`]*)\)``", kind.__doc__, re.MULTILINE)
    return [axis.strip() for axis in found[1].split(",") if axis.strip()]


def owner(tree, path):
    """The NamedTuple around a leaf, and the field's name."""
    found = None
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            found = type(tree), key.name
            tree = getattr(tree, key.name)
        else:
            tree = tree[key.idx]
    return found


@pytest.mark.parametrize("name", jaxrnn.CELLS)
def test_every_cell_is_split_along_its_units(name):
    params = zoo_params(name)
    specs = sharding.param_specs(mesh_of(), params)
    assert jax.tree.structure(specs) == jax.tree.structure(params)
    leaves = jax.tree.leaves_with_path(params)
    for (path, leaf), spec in zip(leaves, jax.tree.leaves(specs), strict=True):
        kind, field = owner(params, path)
        axes = documented_axes(kind, field)
        letters = HIDDEN_LETTERS.get(kind.__name__, "H")
        if axes and axes[0].startswith("*"):  # a kernel, or a grid
            axes = ["*"] * (leaf.ndim - len(axes) + 1) + axes[1:]
        units = [bool(set(letters) & set(axis)) for axis in axes]
        split = [index for index, name in enumerate(spec.spec) if name is not None]
        assert set(spec.spec) <= {None, "model"}
        if not any(units) or (kind.__name__, field) in WHOLE:
            # The output of a state-space cell is no hidden axis, but large.
            assert split == ([1] if field == "d" else [])
        else:
            assert len(split) == 1
            assert units[split[0]], (field, axes, split)
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    parts = [
        one.shard_shape(shape) for one, shape in zip(jax.tree.leaves(specs), shapes, strict=True)
    ]
    whole, part = (sum(map(math.prod, those)) for those in (shapes, parts))
    assert part <= whole / 2 + INPUT * (HIDDEN + 4)  # halved but for an input matrix at most


TABLE = {
    "elman": {".w_ih": LAST, ".w_hh": LAST, ".b": MODEL},
    "lstm": {".w_ih": LAST, ".w_hh": LAST, ".b": MODEL},
    "gru": {".w_ih": LAST, ".w_hh": LAST, ".b": MODEL, ".b_hn": MODEL},
    "min_gru": {".w_ih": LAST, ".b": MODEL},
    "ind_rnn": {".w_ih": LAST, ".u": MODEL, ".b": MODEL},
    "cornn": {".w_ih": LAST, ".w_hh": LAST, ".b": MODEL},
    "projected_lstm": {".w_ih": LAST, ".w_hh": LAST, ".b": MODEL, ".w_hr": LAST},
    "lmu": {".w_ih": (), ".w_hh": MODEL, ".w_mh": LAST, ".e_m": ()},
    "mlstm": {".w_ih": LAST, ".b": MODEL, ".w_if": (), ".b_if": ()},
    "lru": {".nu_log": MODEL, ".theta_log": MODEL, ".gamma_log": MODEL}
    | {".w_ih": LAST, ".w_hy": MODEL, ".d": LAST},
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_table(name):
    assert flat(sharding.param_specs(mesh_of(), zoo_params(name))) == TABLE[name]


MAIN = ("elman", "lstm", "gru", "peephole_lstm", "layer_norm_lstm", "janet", "mgu", "ugrnn", "rhn")
MAIN += ("min_gru", "min_lstm", "lru", "s5", "rg_lru", "sru", "qrnn", "ind_rnn", "slstm", "nas")


@pytest.mark.parametrize("name", MAIN)
def test_of_the_main_cells_no_array_stays_whole(name):
    assert all(
        "model" in spec for spec in flat(sharding.param_specs(mesh_of(), zoo_params(name))).values()
    )


def test_heads_are_split_before_what_is_in_them():
    two, one = (jaxrnn.slstm(INPUT, HIDDEN, heads=heads) for heads in (2, 1))
    spec = {
        heads: sharding.param_specs(mesh_of(), made(cell)).w_hh.spec
        for heads, cell in ((2, two), (1, one))
    }
    assert spec == {2: P("model"), 1: P(None, None, "model")}
    for heads, c, n, m in (
        (2, (*"dm",), (*"dm",), (*"dm",)),
        (1, ("d", None, "m"), ("d",), ("d",)),
    ):
        cell = jaxrnn.mlstm(INPUT, HIDDEN, heads=heads)
        state = jax.eval_shape(lambda cell=cell: cell.initial_state(cell.init(KEY), (4,)))
        specs = sharding.state_specs(mesh_of(), state)
        names = {"d": "data", "m": "model", None: None}
        assert [tuple(one.spec) for one in specs] == [
            tuple(names[entry] for entry in spec) for spec in (c, n, m)
        ]


SPECIAL = (
    "lstm",
    "gru",
    "lru",
    "mlstm",
    "lmu",
    "scrn",
    "qrnn",
    "clockwork",
    "conv_lstm",
    "fast_slow",
)


@pytest.mark.parametrize(
    "name",
    [n if n in SPECIAL else pytest.param(n, marks=pytest.mark.slow) for n in jaxrnn.CELLS],
)
def test_states_of_every_cell(name):
    cell = jaxrnn.CELLS[name].make(INPUT, HIDDEN)
    state = jax.eval_shape(lambda: cell.initial_state(cell.init(KEY), (4,)))
    specs = sharding.state_specs(mesh_of(), state)
    split = 0
    for leaf, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs), strict=True):
        assert leaf.shape[0] == 4
        assert spec.spec[0] == "data"
        split += "model" in spec.spec
        assert set(spec.spec[1:]) <= {None, "model"}
    assert split
    # Without a batch: as the learned state of `learned_state`, among the parameters.
    alone = jax.eval_shape(lambda: cell.initial_state(cell.init(KEY)))
    for spec in jax.tree.leaves(sharding.state_specs(mesh_of(), alone, batch_ndim=0)):
        assert set(spec.spec) <= {None, "model"}


def test_layers_and_wrappers():
    layer, lstm = jaxrnn.layer, jaxrnn.lstm
    net = jaxrnn.stack(
        jaxrnn.bidirectional(layer(lstm(INPUT, HIDDEN)), layer(lstm(INPUT, HIDDEN))),
        jaxrnn.residual(layer(jaxrnn.gru(2 * HIDDEN, 2 * HIDDEN))),
        jaxrnn.dropout(0.5),
        jaxrnn.reverse(layer(jaxrnn.learned_state(jaxrnn.gru(2 * HIDDEN, 6)))),
        jaxrnn.readout(3),
    )
    lstm = TABLE["lstm"]
    gru = TABLE["gru"]
    expected = {f"[0][{i}]{key}": spec for i in (0, 1) for key, spec in lstm.items()}
    expected |= {f"[1]{key}": spec for key, spec in gru.items()}
    expected |= {f"[3].cell{key}": spec for key, spec in gru.items()} | {"[3].state": MODEL}
    expected |= {"[4].w": MODEL, "[4].b": ()}
    params = made(net)
    assert flat(sharding.param_specs(mesh_of(), params)) == expected
    state = jax.eval_shape(lambda: net.initial_state(net.init(KEY), (4,)))
    assert set(flat(sharding.state_specs(mesh_of(), state)).values()) == {("data", "model")}
    seeded = jax.eval_shape(jaxrnn.seed_dropout, state, KEY)
    assert flat(sharding.state_specs(mesh_of(), seeded))["[2].key"] == ()

    normal = wrappers.weight_norm(jaxrnn.gru(INPUT, HIDDEN))
    specs = flat(sharding.param_specs(mesh_of(), made(normal)))
    assert {specs[".gain['w_ih']"], specs[".gain['w_hh']"]} == {MODEL}
    normal = wrappers.layer_norm(jaxrnn.lstm(INPUT, HIDDEN))
    assert set(flat(sharding.param_specs(mesh_of(), made(normal))).values()) == {MODEL, LAST}
    random = wrappers.seed(wrappers.zoneout(jaxrnn.gru(INPUT, HIDDEN), 0.1).init(KEY), KEY)
    specs = flat(sharding.param_specs(mesh_of(), random))
    assert {spec for path, spec in specs.items() if "key" in path} == {()}


def test_trees_of_ones_own():
    """The rule on sizes: hidden sizes are the rows of w_hh, and of square matrices."""
    of = lambda tree, **sizes: flat(sharding.param_specs(mesh_of(**sizes), tree))  # noqa: E731
    ones = jnp.ones
    assert of(made(CASES["leaky"].cell), model=3) == {"['u']": LAST, "['w']": LAST}
    # Gates side by side: the rows of w_hh are units; nothing else has as many.
    own = {"w_hh": ones((6, 24)), "w": ones((5, 24)), "bias": ones(24), "gain": ones(())}
    expected = {"['bias']": MODEL, "['gain']": (), "['w']": LAST, "['w_hh']": LAST}
    assert of(own) == expected
    # A readout beside a cell is split along what it reads; its bias, an embedding of words are not.
    both = {"cell": zoo_params("lstm"), "out": {"b": ones(7), "w": ones((HIDDEN, 7))}}
    both |= {"words": ones((30, 5)), "count": ones(4, jnp.int32)}
    specs = of(both)
    assert {key: specs[f"['{key}']"] for key in ("words", "count")} == {"words": (), "count": ()}
    assert (specs["['out']['w']"], specs["['out']['b']"]) == (MODEL, ())
    # Parameters of which some are left out, as in a tree of which a part is trained.
    partial = zoo_params("min_gru")._replace(b=None)
    assert of(partial) == {".w_ih": LAST}
    # Nothing known: the last axis.
    assert of({"w": ones((5, 6)), "b": ones(6)}) == {"['b']": MODEL, "['w']": LAST}
    assert of(ones((5, 6))) == {"": LAST}
    # Two layers of different sizes: each matrix by the size of its own layer.
    pair = made(jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(3, 6)), jaxrnn.layer(jaxrnn.gru(6, 4))))
    assert set(of(pair).values()) == {MODEL, LAST}


def test_explicit_axes_of_size_one_are_left_out():
    mesh = mesh_of(data=2, model=1, kind=AxisType.Explicit)
    assert set(flat(sharding.param_specs(mesh, zoo_params("lstm"))).values()) == {()}
    assert sharding.batch_specs(mesh, jnp.ones((6, 4, 3))).spec == P(None, "data")
    assert sharding.state_specs(mesh, jnp.ones((4, 3))).spec == P("data")


def test_overrides():
    params = made(
        jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(INPUT, 8)), jaxrnn.layer(jaxrnn.lstm(8, 8)))
    )
    mesh = mesh_of()
    plain = flat(sharding.param_specs(mesh, params))

    def changed(overrides):
        found = flat(sharding.param_specs(mesh, params, overrides=overrides))
        return {path: spec for path, spec in found.items() if spec != plain[path]}

    assert changed(None) == {}
    assert changed({"[1].w_hh": P()}) == changed({"1.w_hh": P()}) == {"[1].w_hh": ()}
    assert changed({".w_hh": P("model")}) == {f"[{i}].w_hh": MODEL for i in (0, 1)}
    assert changed({"w_hh": P(), "[0].w_hh": P("data")}) == {"[0].w_hh": ("data",), "[1].w_hh": ()}
    assert changed({"[1]": P()}) == {f"[1]{name}": () for name in (".w_ih", ".w_hh", ".b")}
    assert set(flat(sharding.param_specs(mesh, params, overrides=P())).values()) == {()}
    tree = (None, jaxrnn.LSTMParams(None, jax.NamedSharding(mesh, P("model")), P()))
    assert changed(tree) == {"[1].w_hh": MODEL, "[1].b": ()}

    for wrong, error, text in [
        (
            {".w_hx": P()},
            ValueError,
            r"'.w_hx', which fits no leaf; .*among \[0\].w_ih, \[0\].w_hh",
        ),
        ({".hh": P()}, ValueError, "which fits no leaf"),
        ({0: P()}, TypeError, r"for 0 \(int\); expected the path of a leaf as text"),
        ({".b": None}, TypeError, r"NoneType None for the override of \[0\].b; expected a .*Parti"),
        ({".b": P("gates")}, ValueError, "axes among 'data', 'time', 'model'; 'gates' is none of"),
        ({".b": P(None, "data")}, ValueError, "at most 1 entries, one an axis"),
        ({"[0].w_ih": P("data")}, ValueError, r"\[0\].w_ih of shape \(5, 32\).*batch size 5 to 6"),
        ((P(), P(), P()), ValueError, r"an override at \[2\], where the tree has no leaf"),
        (
            jax.NamedSharding(mesh_of(data=4), P()),
            ValueError,
            "a NamedSharding over .*pass its spec",
        ),
    ]:
        with pytest.raises(error, match=f"^param_specs: got .*{text}"):
            sharding.param_specs(mesh, params, overrides=wrong)


@pytest.mark.parametrize(
    ("network", "text"),
    [
        # 24 columns divide by 4, the 6 units do not.
        (jaxrnn.lstm(3, 6), r"\.w_ih of shape \(3, 24\), 4 blocks of 6 on axis 1, for mesh axis "
         "'model' of 4 devices; .*change hidden size 6 to 8, or use a mesh with model=2; or keep "
         r"it whole with overrides=\{'.w_ih': PartitionSpec\(\)\}$"),
        (jaxrnn.elman(3, 7), r"\.w_ih of shape \(3, 7\) .*change hidden size 7 to 8, .*model=1"),
        (jaxrnn.min_gru(3, 6), r"\.w_ih of shape \(3, 12\), 2 blocks of 6 .*size 6 to 8"),
        (jaxrnn.min_lstm(3, 6), r"3 blocks of 6 .*size 6 to 8"),
        (jaxrnn.mlstm(3, 6), r"4 blocks of 6 .*size 6 to 8"),
        (jaxrnn.sru(3, 6), r"4 blocks of 6 .*size 6 to 8"),
        (jaxrnn.projected_lstm(3, 6, projection_size=4), r"4 blocks of 6 .*size 6 to 8"),
        (jaxrnn.projected_lstm(3, 8, projection_size=6), r"\.w_hr of shape \(8, 6\) .*size 6 to 8"),
        (jaxrnn.layer(CASES["leaky"].cell), r"\['u'\] of shape \(3, 3\) .*size 3 to 4"),
    ],
)  # fmt: skip
def test_a_mesh_that_does_not_divide_the_hidden_size(network, text):
    with pytest.raises(ValueError, match=f"^param_specs: got .*{text}"):
        sharding.param_specs(mesh_of(model=4), made(network))


def test_batches():
    mesh = mesh_of(data=2, time=2)
    time_batch, data = P("time", "data"), P("data")
    spec = lambda batch, **options: jax.tree.map(  # noqa: E731
        lambda one: one.spec, sharding.batch_specs(mesh, batch, **options)
    )
    xs, labels = jnp.ones((6, 4, 3)), jnp.ones((4, 3))
    assert spec(Batch(xs, jnp.ones((6, 4), int), jnp.ones((6, 4), bool))) == Batch(
        *[time_batch] * 3
    )
    given = {"labels": labels, "lengths": jnp.ones(4, int), "later": jnp.ones((8, 4)), "xs": xs}
    given |= {"key": KEY, "keys": jax.random.split(KEY, 4), "rate": 0.5}
    assert spec(given) == {
        "labels": data, "lengths": data, "later": time_batch, "xs": time_batch,
        "key": P(), "keys": data, "rate": P(),
    }  # fmt: skip
    assert spec((jnp.ones(4), jnp.ones(4))) == (data, data)
    first = jnp.ones((4, 6, 3)), jnp.ones(4)
    assert spec(first, overrides=(P("data", "time"), data)) == (P("data", "time"), data)
    assert spec(first[0], overrides=P("data", "time")) == P("data", "time")
    assert spec({"xs": xs, "ts": jnp.ones(6)}, overrides={"ts": P("time")})["ts"] == P("time")
    for wrong, text in [
        (jnp.ones((6, 5, 3)), r"array of shape \(6, 5, 3\) for mesh axis 'data' of 2 devices; .*"
         r"change batch size 5 to 6, or use a mesh with data=1; .*overrides=PartitionSpec\(\)$"),
        (jnp.ones((9, 4, 3)), "change number of steps 9 to 10, or use a mesh with time=1"),
        ({"ts": jnp.ones(6), "xs": xs}, r"\['ts'\] of shape \(6,\), in a batch of 4 sequences of 6"
         r" steps \(see \['xs'\]\); expected \(T, B, ...\), or \(B, ...\)"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"^batch_specs: got .*{text}"):
            sharding.batch_specs(mesh, wrong)
    with pytest.raises(
        ValueError, match="^state_specs: got .h of shape .*change batch size 3 to 4"
    ):
        sharding.state_specs(mesh, jaxrnn.LSTMState(jnp.ones((3, 4)), jnp.ones((3, 4))))
    with pytest.raises(ValueError, match="^state_specs: got .*change hidden size 3 to 4"):
        sharding.state_specs(mesh, jnp.ones((4, 3)))
