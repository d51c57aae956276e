"""`shard`, `unshard`, `from_processes`: what lies where, in `jit` and outside; what is refused."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import needs_eight
from jaxrnn import sharding

HIDDEN = 16
CELL = jaxrnn.lstm(3, HIDDEN)


@pytest.fixture(scope="module")
def params():
    return jaxrnn.LSTMParams(
        *(jnp.arange(np.prod(s), dtype=jnp.float32).reshape(s) for s in SHAPES)
    )


SHAPES = ((3, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,))


@needs_eight
@pytest.mark.parametrize("explicit", [False, True])
def test_parameters_take_a_part_of_the_memory(params, explicit):
    mesh = sharding.mesh(data=2, model=4, explicit=explicit)
    specs = sharding.param_specs(mesh, params)
    placed = sharding.shard(params, specs)
    whole = sum(leaf.nbytes for leaf in params)
    held = dict.fromkeys(jax.devices(), 0)
    for leaf, spec, before in zip(placed, specs, params, strict=True):
        assert leaf.sharding == spec
        np.testing.assert_array_equal(leaf, before)
        for part in leaf.addressable_shards:
            held[part.device] += part.data.nbytes
    assert set(held.values()) == {whole // 4}


@needs_eight
def test_what_is_a_leaf():
    mesh = sharding.mesh(data=4)
    keys = jax.random.split(jax.random.key(3), 4)
    tree = {"keys": keys, "numpy": np.arange(8.0), "number": 2.5, "none": None}
    specs = {"keys": P("data"), "numpy": P("data"), "number": P(), "none": None}
    placed = sharding.shard(tree, specs, mesh=mesh)
    assert placed["none"] is None
    for name in ("keys", "numpy"):
        assert placed[name].sharding == NamedSharding(mesh, P("data"))
    assert placed["number"].sharding.is_fully_replicated
    back = sharding.unshard(placed)
    assert isinstance(back["numpy"], np.ndarray)
    np.testing.assert_array_equal(back["numpy"], tree["numpy"])
    assert back["number"] == 2.5
    np.testing.assert_array_equal(jax.random.key_data(back["keys"]), jax.random.key_data(keys))
    np.testing.assert_array_equal(jax.random.bits(back["keys"][2]), jax.random.bits(keys[2]))


@needs_eight
@pytest.mark.parametrize("explicit", [False, True])
def test_inside_jit_and_with_an_ambient_mesh(explicit):
    mesh = sharding.mesh(data=2, model=4, explicit=explicit)
    x, spec = jnp.arange(64.0).reshape(8, 8), P("data", "model")
    expected = NamedSharding(mesh, spec)
    with jax.set_mesh(mesh):
        assert sharding.shard(x, spec).sharding == expected
        inside = jax.jit(lambda x: sharding.shard({"x": 2 * x}, spec))(x)["x"]
        assert inside.sharding.is_equivalent_to(expected, 2)
        np.testing.assert_array_equal(inside, 2 * x)
        types = []
        jax.jit(lambda x: types.append(jax.typeof(sharding.shard(x, expected)).sharding.spec))(x)
        assert types == [spec if explicit else P(None, None)]
        whole = jax.jit(lambda x: sharding.shard(x, P()))(sharding.shard(x, expected))
        assert whole.sharding.is_fully_replicated


@needs_eight
def test_shardings_know_their_mesh():
    mesh = sharding.mesh(data=2, model=4)
    x, expected = jnp.arange(64.0).reshape(8, 8), NamedSharding(mesh, P("data", "model"))
    given = jax.jit(lambda x: sharding.shard(3 * x, expected))(x)
    assert given.sharding.is_equivalent_to(expected, 2)
    given = jax.jit(lambda x: sharding.shard(3 * x, P("data"), mesh=mesh))(x)
    assert given.sharding.is_equivalent_to(NamedSharding(mesh, P("data")), 2)


def test_one_spec_for_all_and_what_does_not_fit(params):
    mesh = sharding.mesh()
    placed = sharding.shard(params, P(), mesh=mesh)
    assert {leaf.sharding for leaf in placed} == {NamedSharding(mesh, P())}
    for tree, specs, error, text in [
        (
            params,
            {"w": P()},
            ValueError,
            r"specs at \['w'\], where the tree has no leaf; .*\.w_ih, ",
        ),
        (params, (P(),) * 3, ValueError, r"specs at \[0\], where the tree has no leaf"),
        (params, params._replace(w_ih=P(), w_hh=None, b=P()), ValueError, "nothing for .w_hh; exp"),
        (
            params,
            params._replace(w_ih=P(), w_hh=P(), b="b"),
            TypeError,
            "'b' for .b; expected a jax.sharding.P",
        ),
        (params, P(None, "data"), ValueError, r"\.b of shape \(64,\) .*at most 1 entries"),
        (params, P("gates"), ValueError, "'gates' is none of them"),
        ({"a": {"b": jnp.ones(2)}}, {"a": {"c": P()}}, ValueError, r"specs at \['a'\]\['c'\]"),
    ]:
        with pytest.raises(error, match=f"^shard: got .*{text}"):
            sharding.shard(tree, specs, mesh=mesh)
    with pytest.raises(
        ValueError, match="^shard: got a PartitionSpec and no mesh; expected the mesh"
    ):
        sharding.shard(params, P())


@needs_eight
def test_what_the_mesh_does_not_divide():
    mesh = sharding.mesh(data=4, model=2)
    text = r"^shard: got .h of shape \(6, 8\) for mesh axis 'data' of 4 .*size 6 to 8, .*data=2"
    with pytest.raises(ValueError, match=text):
        sharding.shard(jaxrnn.LSTMState(jnp.ones((6, 8)), jnp.ones((8, 8))), P("data"), mesh=mesh)
    both = r"for mesh axis 'data' times 'model' of 8 .*a multiple of 8 .*change size 12 to 16$"
    with pytest.raises(ValueError, match=both):
        sharding.shard(jnp.ones(12), P(("data", "model")), mesh=mesh)
    with pytest.raises(ValueError, match="^from_processes: got .*change batch size 3 to 4"):
        sharding.from_processes(sharding.mesh(data=2), {"xs": jnp.ones((5, 3, 2))})
    with pytest.raises(
        TypeError, match="^from_processes: got .* expected a NamedSharding; pass the mesh, or"
    ):
        sharding.from_processes(P(), jnp.ones(4))


@needs_eight
def test_a_batch_in_one_process():
    mesh = sharding.mesh(data=4, time=2)
    batch = {"xs": np.arange(48.0).reshape(6, 8, 1), "lengths": np.arange(8)}
    placed = sharding.from_processes(mesh, batch)
    assert placed["xs"].sharding.spec == P("time", "data")
    assert placed["lengths"].sharding.spec == P("data")
    same = sharding.from_processes(sharding.batch_specs(mesh, batch), batch)
    for made in (placed, same):
        jax.tree.map(np.testing.assert_array_equal, sharding.unshard(made), batch)
    typed = sharding.from_processes(sharding.mesh(data=4, explicit=True), batch)
    assert typed["xs"].sharding.spec == P(None, "data")  # "time" would be a part of the type


PROCESS = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
index = int(sys.argv[1])
jax.distributed.initialize("127.0.0.1:" + sys.argv[2], 2, index, initialization_timeout=60)
import jax.numpy as jnp, numpy as np
from jax.sharding import PartitionSpec as P
import jaxrnn
from jaxrnn import sharding

mesh = sharding.mesh(data=2, model=2)
held = {device.process_index for device in mesh.devices[0].ravel()}
assert held == {0}, held  # "model" within a process
cell = jaxrnn.lstm(3, 4)
params = cell.init(jax.random.key(0))
placed = sharding.shard(params, sharding.param_specs(mesh, params))
assert placed.w_hh.addressable_shards[0].data.shape == (4, 8)
keys = sharding.shard(jax.random.split(jax.random.key(1), 4), P("data"), mesh=mesh)

xs = np.random.default_rng(0).standard_normal((5, 4, 3)).astype(np.float32)
batch = sharding.from_processes(mesh, {"xs": xs[:, 2 * index : 2 * index + 2], "rate": 0.5})
assert batch["xs"].shape == (5, 4, 3) and batch["xs"].sharding.spec == P("time", "data")
run = jax.jit(lambda p, x: jaxrnn.unroll(cell, p, x)[1])
ys = sharding.unshard(run(placed, batch["xs"]))
np.testing.assert_allclose(ys, run(params, jnp.asarray(xs)), rtol=1e-5, atol=1e-6)
back = sharding.unshard({"p": placed, "keys": keys, "rate": batch["rate"]})
jax.tree.map(np.testing.assert_array_equal, back["p"], params)
assert float(back["rate"]) == 0.5
expected = jax.random.key_data(jax.random.split(jax.random.key(1), 4))
np.testing.assert_array_equal(jax.random.key_data(back["keys"]), expected)
whole = sharding.shard(placed, P(), mesh=mesh)  # of global arrays
jax.tree.map(np.testing.assert_array_equal, sharding.unshard(whole), params)

for options in ({"data": 2}, {"data": 2, "devices": [d for d in jax.devices() if d.process_index]}):
    try:
        sharding.mesh(**options)
    except ValueError as error:
        print(error)
alone = sharding.mesh(data=2, devices=jax.local_devices())
assert sharding.shard(jnp.ones(4), P("data"), mesh=alone).is_fully_addressable
try:
    sharding.from_processes(sharding.mesh(data=4), {"xs": xs[:, :3]})
except ValueError as error:
    print(error)
print("done")
"""


@pytest.mark.slow
def test_two_processes():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    paths = os.pathsep.join(map(str, (Path(__file__).parents[2], os.environ.get("PYTHONPATH", ""))))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(index), str(port)],
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [run.communicate(timeout=110) for run in runs]
    finally:
        for run in runs:
            run.kill()
    for run, (output, errors) in zip(runs, outputs, strict=True):
        assert run.returncode == 0, errors
        assert output.endswith("done\n")
        assert "mesh: got data=2, time=1, model=1, 2 of 4 devices of 2 processes" in output
        assert "change batch size 6 to 8, or use a mesh with data=2" in output
    assert "none of them of process 0" in outputs[0][0]
    assert "none of them" not in outputs[1][0]  # its own devices alone
