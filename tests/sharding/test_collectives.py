"""`collectives`: small programs whose collectives are known, and texts as other platforms write."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxrnn.sharding.collectives import Collective, Collectives, collectives

FOUR = 4
needs_four = pytest.mark.skipif("len(jax.devices()) < 4", reason="needs four devices")


def found_in(function, x, *, sizes=(FOUR,), names=("d",), check=True):
    """The collectives of a function that runs on each device of a mesh."""
    devices, kinds = jax.devices()[:FOUR], (AxisType.Auto,) * len(sizes)
    mesh = jax.make_mesh(sizes, names, axis_types=kinds, devices=devices)
    spec = P(*names)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check)
    return collectives(jax.jit(mapped).lower(x).compile())


def shape_of(row):
    return row.kind, row.operand_bytes, row.result_bytes, row.group_size, row.loops


def all_kinds(x):
    """On each device of four: x of 8 numbers of 4 bytes."""
    total = lax.psum(x, "d")
    whole = lax.all_gather(x, "d", tiled=True)
    part = lax.psum_scatter(x * 2, "d", tiled=True)
    swapped = lax.all_to_all(x * 3, "d", 0, 0, tiled=True)
    moved = lax.ppermute(x * 5, "d", [(0, 1), (1, 2), (2, 3)])
    return total + jnp.sum(whole**2) + jnp.sum(part**2) + swapped + moved


@needs_four
def test_every_kind_with_its_bytes():
    found = found_in(all_kinds, jnp.ones(8 * FOUR))
    assert sorted(map(shape_of, found)) == [
        ("all-gather", 32, 128, 4, ()),
        ("all-reduce", 32, 32, 4, ()),
        ("all-to-all", 32, 32, 4, ()),
        ("collective-permute", 32, 32, 3, ()),
        ("reduce-scatter", 32, 8, 4, ()),
    ]
    sent = {row.kind: row.bytes_sent for row in found}
    assert sent == {
        "all-gather": 3 / 4 * 128,
        "all-reduce": 2 * 3 / 4 * 32,
        "all-to-all": 3 / 4 * 32,
        "collective-permute": 32,
        "reduce-scatter": 3 / 4 * 32,
    }
    assert found.kinds == {kind: 1 for kind in sent}
    assert (found.times, found.bytes_sent) == (5, sum(sent.values()))


def nested(x):
    def inner(x, _):
        return lax.ppermute(jnp.sin(x), "d", [(i, (i + 1) % FOUR) for i in range(FOUR)]), None

    def outer(x, _):
        x, _ = lax.scan(inner, x, length=5)
        return x * lax.psum(x, "d"), None

    x, _ = lax.scan(outer, x, length=7)
    return x + jnp.sum(lax.all_gather(x, "d"))


@needs_four
def test_loops_of_known_length():
    found = found_in(nested, jnp.ones(8 * FOUR))
    assert sorted(map(shape_of, found)) == [
        ("all-gather", 32, 128, 4, ()),
        ("all-reduce", 32, 32, 4, (7,)),
        ("collective-permute", 32, 32, 4, (7, 5)),
    ]
    assert found.of("collective-permute").times == 35
    assert found.times == 1 + 7 + 35
    assert found.bytes_sent == 96 + 7 * 48 + 35 * 32
    assert found.in_loops.kinds == {"all-reduce": 1, "collective-permute": 1}
    assert str(found).splitlines()[0] == "3 collectives, 43 executed, 1,552 bytes sent by a device"
    assert "all-reduce 32 -> 32 bytes, group of 4, in a loop of 7" in str(found)
    assert "in a loop of 7 x 5" in str(found)


@needs_four
def test_loops_of_unknown_length_and_branches():
    def function(x):
        def body(x):
            return lax.psum(x, "d") / 3

        x = lax.while_loop(lambda x: lax.pmax(x[0], "d") > 1e-3, body, x)
        branch = functools.partial(lax.all_gather, axis_name="d", tiled=True)
        return lax.cond(lax.psum(x[0], "d") > 0, branch, lambda x: jnp.tile(jnp.cos(x), 4), x)

    found = found_in(function, jnp.ones(8 * FOUR), check=False)
    in_loop = found.in_loops
    assert in_loop and all(row.loops == (None,) and row.times is None for row in in_loop)
    assert 32 in [row.operand_bytes for row in in_loop]
    assert found.times is None and found.bytes_sent is None
    (gather,) = found.of("all-gather")
    assert gather.conditional and gather.times == 1
    assert [row.conditional for row in found].count(True) == 1
    assert "an unknown number of times" in str(found)
    assert "in a loop of ?" in str(found) and "once, in a branch" in str(found)


@needs_four
def test_groups_are_those_of_an_axis():
    def function(x):
        return lax.psum(x, "a") + lax.all_gather(x**2, "b", tiled=True).sum()

    found = found_in(function, jnp.ones((2, 12)), sizes=(2, 2), names=("a", "b"), check=False)
    assert sorted(map(shape_of, found)) == [
        ("all-gather", 24, 48, 2, ()),
        ("all-reduce", 24, 24, 2, ()),
    ]


# As XLA writes programs for GPUs and TPUs: in two halves, groups by a formula, layouts with tiles.
TEXT = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}, num_partitions=8

%add (x: bf16[], y: bf16[]) -> bf16[] {
  %x = bf16[] parameter(0)
  %y = bf16[] parameter(1)
  ROOT %sum = bf16[] add(%x, %y)
}

%wrapped (p: f32[16,4]) -> f32[2,4] {
  %p = f32[16,4]{1,0} parameter(0)
  ROOT %rs = f32[2,4]{1,0} reduce-scatter(%p), replica_groups=[1,8]<=[8], dimensions={0}, to_apply=%add
}

%body (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %t = (s32[], f32[8]{0:T(8,128)}) parameter(0)
  %gte = f32[8]{0:T(8,128)} get-tuple-element(%t), index=1
  %ag = (f32[8]{0:T(8,128)}, f32[16]{0:T(8,128)}) all-gather-start(%gte), replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}
  %agd = f32[16]{0:T(8,128)} all-gather-done(%ag)
  %cp = (f32[8]{0}, f32[8]{0}, u32[], u32[]) collective-permute-start(%gte), source_target_pairs={{0,1},{1,0}}
  %cpd = f32[8]{0} collective-permute-done(%cp)
  %i = s32[] get-tuple-element(%t), index=0
  ROOT %out = (s32[], f32[8]{0}) tuple(%i, %cpd)
}

%condition (t: (s32[], f32[8])) -> pred[] {
  %t = (s32[], f32[8]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0), metadata={op_name="f(all-gather(x))"}
  %t = (s32[], f32[8]{0}) tuple(%a, %a)
  %w = (s32[], f32[8]{0}) while(%t), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"12"},"known_init_step":{"init":"0","step":"1"}}
  %ars = (bf16[4]{0}, /*index=1*/c64[3]{0}) all-reduce-start(%a, %a), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %ard = (bf16[4]{0}, c64[3]{0}) all-reduce-done(%ars)
  %all = pred[5]{0} all-reduce(%a), replica_groups={}, to_apply=%add
  %rss = ((f32[16,4]{1,0}), f32[2,4]{1,0}) async-start(%a), calls=%wrapped
  %rsd = f32[2,4]{1,0} async-done(%rss), calls=%wrapped
  %named = f32[6]{0} all-reduce(%a), channel_id=1, replica_groups=mesh['a'=2,'b'=4] {'b':(1)2,'a'}, to_apply=%add
  %tiled = f32[6]{0} all-reduce(%a), replica_groups=mesh['a'=1,'b'=2,'c'=4], device_ids=([4,2]T(1,0)) {'c'}, to_apply=%add
  %aa = ((f8e4m3fn[8]{0}), f8e4m3fn[8]{0}) all-to-all-start(%a), replica_groups={{0,1},{2,3},{4,5},{6,7}}
  %aad = f8e4m3fn[8]{0} all-to-all-done(%aa)
  ROOT %last = f32[8]{0} get-tuple-element(%w), index=1
}
"""  # noqa: E501


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("%", "")], ids=["with %", "without"])
def test_texts_of_other_platforms(text):
    assert list(map(shape_of, collectives(text))) == [
        ("all-gather", 32, 64, 2, (12,)),
        ("collective-permute", 32, 32, 2, (12,)),
        ("all-reduce", 32, 32, 4, ()),  # 4 of bf16 and 3 of c64
        ("all-reduce", 5, 5, 8, ()),
        ("reduce-scatter", 256, 32, 8, ()),
        ("all-reduce", 24, 24, 4, ()),  # half of b and all of a
        ("all-reduce", 24, 24, 4, ()),
        ("all-to-all", 8, 8, 2, ()),
    ]


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match=r"^collectives: got all-reduce with replica_groups=new;"):
        collectives(TEXT.replace("replica_groups={},", "replica_groups=new"))
    with pytest.raises(ValueError, match=r"got a text of 6 characters without an HloModule"):
        collectives("module")
    lowered = jax.jit(jnp.sin).lower(1.0)
    for other, name in ((lowered, "Lowered"), (3, "int"), (None, "NoneType")):
        with pytest.raises(TypeError, match=rf"got {name}; expected .* jax.jit\(f\)"):
            collectives(other)
    with pytest.raises(ValueError, match="got kind 'allreduce'; expected one of all-reduce, all"):
        Collectives().of("allreduce")


def test_sums():
    row = Collective("all-reduce", 8, 8, 1, (3,), False, "a")
    assert (row.times, row.bytes_sent) == (3, 0)  # a group of one sends nothing
    alone = row._replace(kind="collective-permute", group_size=0)  # each device to itself
    assert Collectives([row, alone]).bytes_sent == 0
    assert Collectives([row, row._replace(loops=(2, None))]).times is None
    assert (Collectives().times, Collectives().kinds) == (0, {})
