# ruff: noqa: E501  (tables of messages read best one a line)
"""Exported StableHLO programs against the networks that they were made of."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxrnn
from jaxrnn import bidirectional, interop, layer, readout, residual, reverse, stack
from jaxrnn.interop import plain

NUMBERS = np.random.default_rng(0)
INPUT, HIDDEN = 3, 4
EXAMPLE = jax.ShapeDtypeStruct((1, 1, INPUT), jnp.float32)


def draw(*shape):
    return jnp.asarray(NUMBERS.standard_normal(shape), jnp.float32)


def close(got, expected, **tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} | tolerance
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), got, expected)


def read_back(exported, vjp_order=0):
    return export.deserialize(exported.serialize(vjp_order=vjp_order))


def test_an_lstm_and_its_gradient_for_any_number_of_steps_and_sequences(key):
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    params = cell.init(key)
    program = read_back(interop.export_stablehlo(cell, params, EXAMPLE), vjp_order=1)
    assert program.platforms == ("cpu", "cuda", "tpu")

    def loss(apply):
        def total(params, xs):
            state, ys = apply(params, xs)
            state = jaxrnn.LSTMState(**plain(state))
            return jnp.sum(jnp.sin(ys)) + jnp.sum(state.c * state.h), ys

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)

    exported = jax.jit(loss(program.call))
    direct = jax.jit(loss(lambda p, xs: jaxrnn.unroll(cell, p, xs)))
    for shape in ((7, 2), (5, 3)):
        xs = draw(*shape, INPUT)
        close(exported(plain(params), xs), plain(direct(params, xs)), rtol=1e-4, atol=1e-5)


def test_trees_without_named_tuples(key):
    params = jax.eval_shape(stack(layer(jaxrnn.gru(2, 3)), readout(1)).init, key)
    assert set(plain(params)[0]) == {"w_ih", "w_hh", "b", "b_hn"}
    state = {"one": [jaxrnn.LSTMState(1, 2), None], "two": (3,)}
    assert plain(state) == {"one": [{"h": 1, "c": 2}, None], "two": (3,)}


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"network": jaxrnn.lstm}, TypeError, "export_stablehlo: got function .*; expected a jaxrnn.Cell or .*; call"),
        ({"inputs": "state"}, TypeError, "got inputs='state'; expected a tuple of names"),
        ({"inputs": ("stat",)}, ValueError, "unknown input 'stat'; .* did you mean 'state'"),
        ({"inputs": ("mask", "seq_lengths")}, ValueError, "'mask' and 'seq_lengths'; expected one"),
        ({"inputs": ()}, TypeError, "got parameters that are shapes.*; expected arrays; pass them"),
        ({"dimensions": "TB"}, TypeError, "got dimensions='TB'; expected a tuple; a name"),
        ({"dimensions": ("T", "2 B")}, ValueError, "got the dimension '2 B'; expected a plain name"),
        ({"dimensions": ("T", 0)}, ValueError, "got dimensions=0; expected a positive"),
        ({"dimensions": ()}, ValueError, "got dimensions=.*; expected one of time"),
        ({"dimensions": ("T", "A", "B")}, ValueError, "got xs of shape .* and 3 dimensions; expected rank 4"),
        ({"platforms": "cpu"}, TypeError, "got platforms='cpu'; expected a tuple"),
        ({"platforms": ("gpu",)}, ValueError, "unknown platform 'gpu'; expected one of cpu, cuda"),
        ({"xs": jax.ShapeDtypeStruct((1, 1, 9), jnp.float32)}, ValueError, "lstm: got an input of shape .* expected 3"),
        ({"xs": ()}, ValueError, "got xs without arrays; expected a tree"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(options, kind, text):
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    options = {"network": cell, "params": jax.eval_shape(cell.init, jax.random.key(0))} | options
    options = {"xs": EXAMPLE} | options
    with pytest.raises(kind, match=text):
        interop.export_stablehlo(**options)


@pytest.mark.slow
def test_a_deep_network_with_lengths_and_a_state(key):
    net = stack(
        bidirectional(
            layer(jaxrnn.gru(INPUT, HIDDEN)), layer(jaxrnn.gru(INPUT, 2, reset="before"))
        ),
        residual(layer(jaxrnn.lru(HIDDEN + 2, HIDDEN + 2))),
        jaxrnn.dropout(0.5),
        reverse(layer(jaxrnn.layer_norm_lstm(HIDDEN + 2, 3))),
        readout(2),
    )
    params = net.init(key)
    names = ("params", "state", "seq_lengths")
    program = read_back(interop.export_stablehlo(net, params, EXAMPLE, inputs=names), vjp_order=1)
    for steps, lengths in ((6, [6, 3, 0]), (4, [1, 4])):
        xs = draw(steps, len(lengths), INPUT)
        mask = jaxrnn.length_mask(jnp.array(lengths), steps)
        xs = jnp.where(mask[..., None], xs, jnp.nan)
        state = jax.tree.map(lambda a: a + 0.3, net.initial_state(params, (len(lengths),)))

        def exported(params, xs, state=state, lengths=lengths):
            lengths = jnp.array(lengths, jnp.int32)
            return program.call(params, xs, state=plain(state), seq_lengths=lengths)

        def direct(params, xs, state=state, mask=mask):
            return net.apply(params, xs, state, mask=mask)

        close(exported(plain(params), xs), plain(jax.jit(direct)(params, xs)))
        slopes = [
            jax.jit(jax.grad(lambda p, xs, f=f: jnp.sum(f(p, xs)[1] ** 2), argnums=(0, 1)))
            for f in (exported, direct)
        ]
        close(slopes[0](plain(params), xs), plain(slopes[1](params, xs)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_constants_masks_resets_and_other_shapes(key):
    cell = jaxrnn.gru(INPUT, HIDDEN)
    params = cell.init(key)
    flags = ("mask", "resets")
    program = read_back(interop.export_stablehlo(cell, params, EXAMPLE, inputs=flags))
    xs = draw(6, 2, INPUT)
    given = {name: jnp.asarray(NUMBERS.random((6, 2)) < 0.6) for name in flags}
    close(program.call(xs, **given), jaxrnn.unroll(cell, params, xs, **given))

    one = jax.ShapeDtypeStruct((1, INPUT), jnp.float32)
    program = read_back(interop.export_stablehlo(cell, params, one, dimensions=("T",)))
    close(program.call(plain(params), xs[:, 0]), jaxrnn.unroll(cell, params, xs[:, 0]))

    many = jax.ShapeDtypeStruct((1, 1, 1), jnp.int32)
    program = interop.export_stablehlo(cell, params, many, dimensions=("T", "A", 2))
    tokens = jnp.asarray(NUMBERS.integers(0, INPUT, (5, 3, 2)), jnp.int32)
    close(program.call(plain(params), tokens), jaxrnn.unroll(cell, params, tokens))
    with pytest.raises(ValueError, match="Shape mismatch"):
        program.call(plain(params), tokens[..., :1])


@pytest.mark.slow
def test_an_unroll_with_a_plan_needs_fixed_sizes(key):
    cell = jaxrnn.lstm(INPUT, HIDDEN)
    params = cell.init(key)
    net = layer(cell, jaxrnn.fused_unroll)
    fixed = interop.export_stablehlo(net, params, EXAMPLE, dimensions=(6, 2))
    program = read_back(fixed, vjp_order=1)
    xs = draw(6, 2, INPUT)
    close(program.call(plain(params), xs), plain(jaxrnn.unroll(cell, params, xs)))
    slopes = jax.grad(lambda p: jnp.sum(program.call(p, xs)[1] ** 2))(plain(params))
    direct = jax.grad(lambda p: jnp.sum(jaxrnn.unroll(cell, p, xs)[1] ** 2))(params)
    close(slopes, plain(direct), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cannot be exported for dimensions .*; give the layers"):
        interop.export_stablehlo(net, params, EXAMPLE)

    linear = jaxrnn.lru(INPUT, HIDDEN)
    params = linear.init(key)
    with pytest.raises(ValueError, match="cannot be exported for dimensions .*; give the layers"):
        interop.export_stablehlo(linear, params, EXAMPLE, unroll_fn=jaxrnn.associative_unroll)
    fixed = interop.export_stablehlo(
        linear, params, EXAMPLE, unroll_fn=jaxrnn.associative_unroll, dimensions=(6, 2)
    )
    close(fixed.call(plain(params), xs), jaxrnn.unroll(linear, params, xs))


@pytest.mark.slow
def test_a_program_needs_no_jaxrnn_to_be_read(key, tmp_path):
    net = stack(layer(jaxrnn.lstm(INPUT, HIDDEN)), readout(2))
    params = net.init(key)
    blob = interop.export_stablehlo(net, params, EXAMPLE, inputs=("state",)).serialize()
    (tmp_path / "network").write_bytes(blob)
    code = """if True:
        import sys, jax, jax.numpy as jnp
        program = jax.export.deserialize(bytearray(open("network", "rb").read()))
        zeros = jnp.full((2, 4), 0.5)
        state, ys = program.call(jnp.ones((5, 2, 3)), state=({"h": zeros, "c": zeros}, ()))
        print(float(ys.sum()), "jaxrnn" in sys.modules)
    """
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    total, loaded = run.stdout.split()
    half = jnp.full((2, HIDDEN), 0.5)
    _, ys = net.apply(params, jnp.ones((5, 2, INPUT)), (jaxrnn.LSTMState(half, half), ()))
    assert loaded == "False"
    assert float(total) == pytest.approx(float(ys.sum()), rel=1e-5)
