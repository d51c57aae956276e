"""The cost model beside compiled programs: flops, bytes, memory; and what it says by itself."""

import collections

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import needs_eight
from jaxrnn import sharding
from jaxrnn.sharding import (
    DEVICES,
    Device,
    Link,
    Network,
    best_splits,
    collectives,
    pays_up_to,
    training_cost,
)

EIGHT = 8
GPU = DEVICES["H200"]
SLOW = pytest.mark.slow
KEPT = {"elman": (1, 2), "gru": (3, 5), "lstm": (4, 6)}  # gates, vectors kept


def mesh_of(name):
    devices = jax.devices()[:EIGHT]
    return jax.make_mesh((EIGHT,), (name,), axis_types=(AxisType.Auto,), devices=devices)


def put(mesh, tree, *spec):
    return jax.device_put(tree, NamedSharding(mesh, P(*spec)))


def shapes(mesh, tree, *spec):
    """What `put` would return, without the arrays."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, P(*spec))),
        tree,
    )


def stacked(make, network, run=None):
    sizes = [network.inputs, *[network.hidden] * (network.layers - 1)]
    return jaxrnn.stack(*(jaxrnn.layer(make(size, network.hidden), run) for size in sizes))


def data_parallel(make, network, batch, steps):
    """The gradient of parameters and initial states, the batch on eight devices."""
    mesh, net = mesh_of("data"), stacked(make, network)
    params = jax.eval_shape(net.init, jax.random.key(0))
    state = jax.eval_shape(lambda p: net.initial_state(p, (batch,)), params)
    xs = jax.ShapeDtypeStruct((steps, batch, network.inputs), jnp.float32)

    def slopes(params, state, xs):
        def loss(params, state):
            return jnp.mean(net.apply(params, xs, state)[1] ** 2)

        params = jax.lax.pcast(params, "data", to="varying")
        of_params, of_state = jax.grad(loss, (0, 1))(params, state)
        return jax.lax.pmean(of_params, "data"), of_state

    batched = P(None, "data")
    specs = {"in_specs": (P(), P("data"), batched), "out_specs": (P(), P("data"))}
    return (
        jax.jit(jax.shard_map(slopes, mesh=mesh, **specs))
        .lower(shapes(mesh, params), shapes(mesh, state, "data"), shapes(mesh, xs, None, "data"))
        .compile()
    )


def time_parallel(network, batch, steps):
    mesh = mesh_of("time")
    run = jaxrnn.time_sharded(jaxrnn.associative_unroll, mesh, "time")
    net = stacked(jaxrnn.min_gru, network, run)
    params = jax.eval_shape(net.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, batch, network.inputs), jnp.float32)

    def loss(params, xs):
        return jnp.mean(net.apply(params, xs)[1] ** 2)

    return jax.jit(jax.grad(loss)).lower(shapes(mesh, params), shapes(mesh, xs, "time")).compile()


def tensor_parallel(network, batch, steps):
    """The gradient of parameters and initial states, the hidden units on eight devices."""
    mesh = sharding.mesh(model=EIGHT, devices=jax.devices()[:EIGHT])
    net = stacked(jaxrnn.lstm, network, jaxrnn.hidden_sharded(jaxrnn.fused_unroll, mesh, "model"))
    params = jax.eval_shape(net.init, jax.random.key(0))
    state = jax.eval_shape(lambda p: net.initial_state(p, (batch,)), params)
    specs = sharding.param_specs(mesh, params), sharding.state_specs(mesh, state)
    given = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        (params, state), specs,
    )  # fmt: skip
    xs = jax.ShapeDtypeStruct((steps, batch, network.inputs), jnp.float32)

    def loss(params, state, xs):
        return jnp.mean(net.apply(params, xs, state)[1] ** 2)

    slopes = jax.jit(jax.grad(loss, (0, 1)), out_shardings=specs)
    return slopes.lower(*given, shapes(mesh, xs)).compile()


def pipeline(network, batch, steps, blocks):
    mesh = sharding.mesh(model=EIGHT, devices=jax.devices()[:EIGHT])
    net = jaxrnn.layers.pipelined(stacked(jaxrnn.lstm, network), mesh, "model", blocks=blocks)
    params = jax.eval_shape(net.init, jax.random.key(0))
    specs = sharding.param_specs(mesh, params)
    given = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), params, specs
    )
    xs = jax.ShapeDtypeStruct((steps, batch, network.inputs), jnp.float32)

    def loss(params, xs):
        return jnp.mean(net.apply(params, xs)[1] ** 2)

    slopes = jax.jit(jax.grad(loss), out_shardings=specs)
    return slopes.lower(given, shapes(mesh, xs)).compile()


def flops_of(program):
    """Flops of one device; XLA counts the body of a loop once."""
    return program.cost_analysis()["flops"]


def memory_of(program):
    found = program.memory_analysis()
    return (
        found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    )  # of one device


def executed(found, kind):
    """How often collectives of a kind are executed, by their bytes and group."""
    counts = collections.Counter()
    for row in found.of(kind):
        counts[max(row.operand_bytes, row.result_bytes), row.group_size] += row.times
    return counts


def predicted(cost, kind):
    counts = collections.Counter()
    for one in cost.exchanges:
        if one.kind == kind:
            counts[one.size, one.group_size] += one.times
    return counts


@needs_eight
@pytest.mark.parametrize(
    ("name", "layers", "batch"),
    [("lstm", 2, 256), *(pytest.param(n, 1, 512, marks=SLOW) for n in ("elman", "gru"))],
)
def test_data_parallel_flops_and_bytes(name, layers, batch):
    gates, kept = KEPT[name]
    network = Network(128, 128, layers, gates, kept, optimizer_copies=0)
    program = data_parallel(getattr(jaxrnn, name), network, batch, 1)
    cost = training_cost(network, GPU, batch=batch, steps=1, data=EIGHT)
    assert 1 <= flops_of(program) / cost.flops < 1.05  # the rest is not in products
    found = collectives(program)
    if name == "gru":  # has H parameters more: b_hn
        assert 1 <= found.bytes_sent / cost.bytes_sent < 1.002
        return
    assert executed(found, "all-reduce") == predicted(cost, "all-reduce")
    assert (len(found), found.bytes_sent) == (1, cost.bytes_sent)


@needs_eight
@SLOW
@pytest.mark.parametrize(
    ("name", "layers", "steps"),
    [("lstm", 1, 1024), ("lstm", 3, 2048), ("elman", 2, 2048), ("gru", 2, 2048)],
)
def test_data_parallel_memory(name, layers, steps):
    gates, kept = KEPT[name]
    network = Network(16, 64, layers, gates, kept, optimizer_copies=0)
    program = data_parallel(getattr(jaxrnn, name), network, 64, steps)
    cost = training_cost(network, GPU, batch=64, steps=steps, data=EIGHT)
    # A block of steps in work is not counted; there are more of them the longer the sequence.
    assert 1 <= memory_of(program) / cost.memory < 1.15
    found = collectives(program)
    assert found.in_loops == () and found.kinds == {"all-reduce": 1}


@needs_eight
@SLOW
@pytest.mark.parametrize("layers", [1, 2])
def test_time_parallel(layers):
    network = Network(128, 128, layers, 2, 12, recurrent=False, optimizer_copies=0)
    program = time_parallel(network, 2, 512)
    cost = training_cost(network, GPU, batch=2, steps=512, time=EIGHT)
    assert 1 <= flops_of(program) / cost.flops < 1.15  # the scans
    assert 0.8 <= memory_of(program) / cost.memory < 1.2
    found = collectives(program)
    assert executed(found, "all-gather") == predicted(cost, "all-gather")
    sent, expected = (one(x, "collective-permute") for one, x in
                      ((executed, found), (predicted, cost)))  # fmt: skip
    # One less takes part than there are devices: the last one has no neighbour.
    assert {(size, group + 1): n for (size, group), n in sent.items() if group > 1} == expected
    assert predicted(cost, "all-reduce").items() <= executed(found, "all-reduce").items()
    assert 1 <= found.bytes_sent / cost.bytes_sent < 1.05  # the last state, to every device
    assert found.in_loops == ()


@needs_eight
@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=SLOW)])
def test_tensor_parallel_bytes(layers):
    network = Network(128, 256, layers, 4, 6, optimizer_copies=0)
    program = tensor_parallel(network, 32, 6)
    cost = training_cost(network, GPU, batch=32, steps=6, model=EIGHT)
    found = collectives(program)
    for kind in ("all-gather", "reduce-scatter", "all-reduce"):
        assert executed(found, kind) == predicted(cost, kind)
    assert found.in_loops.kinds == {"all-gather": layers, "reduce-scatter": layers}
    # XLA brings weights into units by an all-to-all in groups and a permutation, twice the bytes.
    moved = sum(found.of(kind).bytes_sent for kind in ("all-to-all", "collective-permute"))
    least = [one.times * one.bytes_sent for one in cost.exchanges if one.kind == "all-to-all"]
    assert moved / sum(least) == pytest.approx(2, rel=0.01)


@needs_eight
def test_what_loops_send_is_known_where_blocks_overlap():
    program = tensor_parallel(Network(16, 32, 1, 4, 6, optimizer_copies=0), 64, 397)
    loops = collectives(program).in_loops
    assert loops.kinds and loops.times >= 2 * 397


@needs_eight
@SLOW
def test_tensor_parallel_flops():
    network = Network(128, 256, 2, 4, 6, optimizer_copies=0)
    program = tensor_parallel(network, 32, 1)
    cost = training_cost(network, GPU, batch=32, steps=1, model=EIGHT)
    assert 1 <= flops_of(program) / cost.flops < 1.02


@needs_eight
@SLOW
@pytest.mark.parametrize(("layers", "steps"), [(1, 1024), (3, 2048)])
def test_tensor_parallel_memory(layers, steps):
    network = Network(64, 128, layers, 4, 6, optimizer_copies=0)
    program = tensor_parallel(network, 32, steps)
    cost = training_cost(network, GPU, batch=32, steps=steps, model=EIGHT)
    # The loops compiled here are a CPU's; they keep a little less than a GPU's.
    assert 0.95 <= memory_of(program) / cost.memory < 1.15


@needs_eight
@SLOW
@pytest.mark.parametrize(("layers", "steps"), [(8, 64), (16, 1024)])
def test_pipeline(layers, steps):
    network = Network(64, 64, layers, 4, 6, optimizer_copies=0)
    program = pipeline(network, 8, steps, 8)
    cost = training_cost(network, GPU, batch=8, steps=steps, stages=EIGHT, blocks=8)
    found = collectives(program)
    (ticks,) = predicted(cost, "collective-permute").items()
    in_loops = executed(found.in_loops, "collective-permute").items()
    assert [((size, group + 1), times) for (size, group), times in in_loops] == [ticks]
    assert found.in_loops.kinds == {"collective-permute": 2}
    assert executed(found, "all-reduce") == predicted(cost, "all-reduce")
    weights = [sum(size * times for (size, _), times in one(x, "all-to-all").items())
               for one, x in ((executed, found), (predicted, cost))]  # fmt: skip
    assert weights[0] == weights[1]
    # Besides XLA sends the outputs, and their gradient, from one device to one other.
    rest = [row for row in found.of("collective-permute") if not row.loops]
    assert len(rest) == 2 and {row.group_size for row in rest} == {1}
    if steps == 1024:  # weights are the lesser part
        assert 1 <= memory_of(program) / cost.memory < 1.1


# By hand: B = 8, T = 6, I = 5, H = 4, L = 2, 3 gates.
SMALL = Network(5, 4, 2, 3, 5)
PLAIN = Device(1e9, 1e9, 1e9, 1e-6, 4, Link(1e9, 1e-6), Link(1e8, 1e-5))


def cost_of(network=SMALL, device=PLAIN, **options):
    return training_cost(network, device, **{"batch": 8, "steps": 6, **options})


def test_the_formulas_by_hand():
    parameters = 3 * 4 * (5 + 4 + 1) + 3 * 4 * (4 + 4 + 1)
    forward = 2 * 8 * 6 * 3 * 4 * ((5 + 4) + (4 + 4))
    alone = cost_of()
    assert alone.flops == 3 * forward - 2 * 8 * 6 * 3 * 4 * 5
    assert alone.memory == 4 * (4 * parameters + 2 * 8 * 6 * (5 + 1) * 4 + 8 * 6 * 5)
    assert (alone.exchanges, alone.exchange_seconds, alone.bubble_seconds) == ((), 0, 0)
    step = 1e-6 + max(2 * 8 * 4 * 12 / 1e9, 4 * 4 * 12 / 1e9)
    assert alone.step_seconds == pytest.approx(2 * 2 * 6 * step)
    split = cost_of(data=2)
    assert (split.flops, split.exchanges[0].size) == (alone.flops / 2, 4 * parameters)
    assert split.exchange_seconds == pytest.approx(2 * (1e-6 + 0.5 * 4 * parameters / 1e9))
    assert split.seconds == sum(split[5:8])


def test_links_near_and_far():
    # 4 of 8 devices share the fast link: three quarters of all over it, then half of a quarter.
    seconds = PLAIN.gather_seconds(8000, 8)
    assert seconds == pytest.approx(2e-6 + 6000 / 1e9 + 1e-5 + 0.5 * 2000 / 1e8)
    assert PLAIN.gather_seconds(8000, 8, inner=4) == pytest.approx(3e-5 + 7 / 8 * 8000 / 1e8)
    assert PLAIN.gather_seconds(8000, 1) == 0
    assert PLAIN.send_seconds(1000, 4) == pytest.approx(1e-6 + 1e-6)
    assert PLAIN.send_seconds(1000, 5) == pytest.approx(1e-5 + 1e-5)


def test_tensor_exchanges_by_hand():
    found = [one[1:5] for one in cost_of(model=2, data=2).exchanges]
    step, every, weights = 4 * 4 * 4, 4 * 4 * 4 * 6, 4 * 3 * 2 * ((5 + 4 + 1) + (4 + 4 + 1))
    assert found == [
        ("all-gather", step, 2, 12),
        ("reduce-scatter", step, 2, 12),
        ("all-gather", every, 2, 2),
        ("all-gather", every, 2, 1),
        ("all-reduce", every, 2, 1),
        ("all-to-all", weights, 2, 2),
        ("all-reduce", weights, 2, 1),
    ]


def test_time_exchanges_by_hand():
    network = SMALL._replace(recurrent=False)
    found = [one[1:5] for one in cost_of(network, time=3).exchanges]
    weights = 4 * 3 * 4 * ((5 + 1) + (4 + 1))
    assert found == [
        ("all-gather", 4 * 8 * 4 * 3, 3, 8),
        ("collective-permute", 4 * 8 * 4, 3, 4),
        ("all-reduce", weights, 3, 1),
    ]


def test_a_pipeline():
    alone, piped = cost_of(), cost_of(stages=2, blocks=3)
    sent, outputs, weights = piped.exchanges
    assert (sent.kind, sent.size, sent.times) == ("collective-permute", 4 * 8 * 2 * 4, 2 * (3 + 1))
    assert (outputs.kind, outputs.size, outputs.times) == ("all-reduce", 4 * 8 * 6 * 4, 1)
    assert (weights.kind, weights.size, weights.times) == ("all-to-all", 4 * 3 * 4 * (5 + 4 + 1), 2)
    assert piped.step_seconds == alone.step_seconds / 2
    assert piped.bubble_seconds == pytest.approx((piped.step_seconds + piped.product_seconds) / 3)
    every = [cost_of(stages=2, blocks=k).seconds for k in (1, 2, 3, 6)]
    assert cost_of(stages=2).seconds == min(every)


def test_rankings_and_limits():
    network = Network(512, 2048, 4)
    best = best_splits(network, GPU, 64, batch=256, steps=512, count=500)
    assert all(one.split.devices <= 64 and one.fits for one in best)
    assert [one.seconds for one in best] == sorted(one.seconds for one in best)
    assert len({one.split for one in best}) == len(best) > 50
    assert best[0].seconds < training_cost(network, GPU, batch=256, steps=512).seconds
    # Where a step computes next to nothing no splitting of it pays, and pipelines do.
    tiny, sizes = Network(16, 16, 8), {"batch": 16, "steps": 256}
    assert pays_up_to("model", tiny, GPU, **sizes) == 1
    assert pays_up_to("stages", tiny, GPU, **sizes) == 8
    # With messages for nothing and no overhead of a step everything pays.
    free = Device(1e12, 1e15, 1e12, 0.0, 8, Link(1e15, 0.0), Link(1e15, 0.0))
    for kind in ("data", "model"):
        assert (
            pays_up_to(kind, Network(256, 256), free, **sizes) == {"data": 16, "model": 256}[kind]
        )
    linear = Network(256, 256, gates=2, kept=12, recurrent=False)
    assert pays_up_to("time", linear, free, **sizes) == 256
    short = free._replace(memory=1e6)
    with pytest.raises(ValueError, match=r"takes .* GB on each of 8 devices at least; .*raise dev"):
        best_splits(network, short, 8, **sizes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"data": 3}, "got data=3 for batch=8; expected a divisor; change data or batch"),
        ({"model": 3}, "got model=3 for hidden=4; expected a divisor"),
        ({"stages": 3}, "got stages=3 for layers=2; expected a divisor"),
        ({"time": 2}, "got time=2 for recurrent layers, .* pass a Network with recurrent=False"),
        ({"blocks": 2}, "got blocks=2 without stages; expected a divisor of the steps"),
        ({"stages": 2, "blocks": 4}, "got blocks=4 for 6 steps; expected a divisor of the steps"),
        ({"batch": 0}, "got batch=0; expected a positive integer"),
        ({"network": SMALL._replace(hidden=0)}, "got hidden=0; expected a positive integer"),
        (
            {"network": SMALL._replace(recurrent=False), "time": 2, "stages": 2},
            "got time=2 and stages=2; expected one of them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, text):
    with pytest.raises(ValueError, match=f"^training_cost: {text}"):
        cost_of(**options)


def test_sizes_are_asked_for():
    with pytest.raises(TypeError, match=r"training_cost: got network of type Cell; .*Network\(inp"):
        cost_of(jaxrnn.lstm(3, 4))
    with pytest.raises(TypeError, match=r'got device of type str; .* example DEVICES\["H200"\]'):
        cost_of(device="H200")
    with pytest.raises(ValueError, match="got kept=0; expected a positive integer"):
        cost_of(SMALL._replace(kept=0))


def test_words_of_a_search():
    sizes = {"batch": 8, "steps": 6}
    with pytest.raises(ValueError, match="got kind 'tensor'; expected one of data, model, time"):
        pays_up_to("tensor", SMALL, GPU, **sizes)
    with pytest.raises(ValueError, match="got efficiency=0; expected a number above 0"):
        pays_up_to("data", SMALL, GPU, **sizes, efficiency=0)
    with pytest.raises(TypeError, match=r"best_splits: got devices=8.0 \(float\); expected a pos"):
        best_splits(SMALL, GPU, 8.0, **sizes)


def test_it_prints_what_it_is_made_of():
    lines = str(cost_of(data=2, model=2)).splitlines()
    assert lines[0].startswith("Split(data=2, model=2, time=1, stages=1): ")
    assert "  gradients of parameters: all-reduce of 456 bytes, group of 2, 1 times" in lines[-1]
    assert str(cost_of(device=PLAIN._replace(memory=1.0))).count("which has less memory") == 1
