"""Saving and loading: every bit comes back, and a checkpoint is there whole or not at all."""

import inspect
import json
import os
import shutil
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import train
from jaxrnn.train import checkpoint, snapshot, step_directory

TREE = {"w": np.arange(6.0).reshape(2, 3), "n": 3}


class Params(NamedTuple):
    w: object
    b: object


def same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        if isinstance(x, jax.Array):
            assert jax.typeof(x) == jax.typeof(y)  # with weak types
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                x, y = jax.random.key_data(x), jax.random.key_data(y)
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


def round_trip(tree, tmp_path, like=None):
    train.save_checkpoint(tmp_path, tree, step=7)
    return train.load_checkpoint(tmp_path, tree if like is None else like).tree


def random_bits(dtype, shape=(3, 2)):
    """Any bit pattern, NaN included."""
    dtype = np.dtype(dtype)
    bits = np.random.default_rng(3).integers(0, 256, 6 * dtype.itemsize, np.uint8)
    if dtype.name == "bool":
        bits &= 1
    if dtype.name in ("int4", "uint4", "int2", "uint2", "float4_e2m1fn"):
        return np.arange(6).reshape(shape).astype(dtype)
    return bits.view(dtype).reshape(shape)


NUMPY = ["bool", "float16", "float32", "float64", "complex64", "complex128"]
NUMPY += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
SMALL = ["bfloat16", "int4", "uint4", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"]
SMALL += ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e3m4", "float8_e8m0fnu"]


def test_every_bit_of_every_dtype_comes_back(tmp_path):
    arrays = {name: random_bits(name) for name in NUMPY}
    arrays |= {name: random_bits(getattr(jnp, name)) for name in SMALL}
    with jax.enable_x64(True):
        tree = {"jax": {k: jnp.asarray(v) for k, v in arrays.items()}, "numpy": arrays}
    tree["shapes"] = [np.zeros((0, 3)), np.array(1 + 2j), np.float32(3)]
    assert {leaf.dtype.name for leaf in tree["jax"].values()} == set(arrays)
    same_bits(round_trip(tree, tmp_path), tree)


def test_keys_numbers_and_weak_types_come_back(tmp_path):
    keys = [jax.random.key(3), jax.random.split(jax.random.key(4, impl="rbg"), (2, 2))]
    tree = Params(keys, {"int": -(2**40), "float": 0.1, "bool": True, "complex": 1j, "none": None})
    tree = (tree, jnp.asarray(2.0), jnp.full((3,), 2), jnp.ones(3), jax.random.PRNGKey(1))
    assert tree[1].weak_type
    assert tree[2].weak_type
    same_bits(round_trip(tree, tmp_path), tree)
    assert jax.random.normal(keys[0]) == jax.random.normal(
        train.load_checkpoint(tmp_path, tree).tree[0].w[0]
    )


def test_a_leaf_alone_and_no_leaf_come_back(tmp_path):
    same_bits(round_trip(jnp.arange(3), tmp_path / "a"), jnp.arange(3))
    assert round_trip({"a": None, "b": ()}, tmp_path / "b") == {"a": None, "b": ()}


def test_shapes_will_do_for_the_structure(tmp_path):
    tree = {"w": jnp.arange(3.0), "key": jax.random.key(3)}
    like = jax.eval_shape(lambda: tree)
    same_bits(round_trip(tree, tmp_path, like), tree)


def test_arrays_are_placed_as_those_they_are_like(tmp_path):
    device = jax.devices()[1]
    like = jax.device_put(jnp.zeros(3), device)
    found = round_trip(jnp.arange(3.0), tmp_path, like)
    assert found.sharding == like.sharding
    assert found.tolist() == [0, 1, 2]
    free = train.load_checkpoint(tmp_path, jnp.zeros(3)).tree
    assert not free.committed


def test_step_and_info_come_back(tmp_path):
    info = {"cell": "lstm", "rate": 1e-3, "deep": {"a": [1, None, True], "b": ["\ud800", "ä"]}}
    path = train.save_checkpoint(tmp_path, TREE, step=np.int32(12), info=info)
    assert path == tmp_path / "step_00000012"
    loaded = train.load_checkpoint(str(tmp_path), TREE)
    assert (loaded.step, loaded.info) == (12, info)
    assert train.checkpoint_info(tmp_path, step=12) == info
    assert sorted(os.listdir(path)) == ["arrays.safetensors", "manifest.json"]


def test_the_manifest_says_what_others_need_to_know(tmp_path):
    tree = {"z": np.array([1 + 2j], np.complex64), "key": jax.random.key(0)}
    manifest = json.loads(
        (train.save_checkpoint(tmp_path, tree, step=1) / "manifest.json").read_text()
    )
    assert manifest["format"] == "jaxrnn checkpoint"
    assert set(manifest["versions"]) == {"jaxrnn", "jax", "numpy"}
    by_name = {leaf["name"]: leaf for leaf in manifest["arrays"]}
    assert by_name["['z']"]["stored_as"] == "pairs of real and imaginary part"
    assert by_name["['z']"]["dtype"] == "complex64"
    assert by_name["['key']"]["dtype"] == "threefry2x32"
    assert by_name["['key']"]["stored_as"] == "key data"


def test_the_newest_are_kept(tmp_path):
    for step in (1, 20, 300, 4000, 123456789):
        train.save_checkpoint(tmp_path, {"n": step}, step=step, keep=2)
    assert step_directory.steps_in(tmp_path) == [4000, 123456789]
    assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 123456789}
    assert train.load_checkpoint(tmp_path, {"n": 0}, step=4000).tree == {"n": 4000}


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    names = ["step_1", "step_0000000001", "notes.txt", ".tmp-mine", "step_00000001.bak"]
    for name in names:
        (tmp_path / name).mkdir()
    train.save_checkpoint(tmp_path, TREE, step=5, keep=1)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "step_00000005"])
    assert step_directory.steps_in(tmp_path) == [5]


def test_a_good_checkpoint_is_not_overwritten_and_a_broken_one_is(tmp_path):
    path = train.save_checkpoint(tmp_path, {"n": 1}, step=5)
    with pytest.raises(FileExistsError, match="got step=5, of which .* holds a checkpoint"):
        train.save_checkpoint(tmp_path, {"n": 2}, step=5)
    assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 1}
    (path / "arrays.safetensors").write_bytes(b"")
    train.save_checkpoint(tmp_path, {"n": 2}, step=5)
    assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 2}
    assert os.listdir(tmp_path) == ["step_00000005"]


def test_a_broken_newer_one_does_not_cost_a_good_one(tmp_path):
    path = train.save_checkpoint(tmp_path, {"n": 9}, step=9)
    (path / "manifest.json").unlink()
    train.save_checkpoint(tmp_path, {"n": 5}, step=5, keep=1)
    with pytest.warns(UserWarning, match="step_00000009: got no file manifest.json"):
        assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 5}


def test_broken_ones_do_not_count_among_those_kept(tmp_path):
    for step in (6, 8):
        path = train.save_checkpoint(tmp_path, {"n": step}, step=step)
    (path / "arrays.safetensors").write_bytes(b"")
    train.save_checkpoint(tmp_path, {"n": 9}, step=9, keep=2)
    assert step_directory.steps_in(tmp_path) == [6, 8, 9]
    train.save_checkpoint(tmp_path, {"n": 10}, step=10, keep=2)
    assert step_directory.steps_in(tmp_path) == [9, 10]


def test_links_and_files_with_the_name_of_a_step_are_not_in_the_way(tmp_path):
    here, other = tmp_path / "here", tmp_path / "other"
    shutil.copytree(train.save_checkpoint(here, TREE, step=5), other)
    (here / "step_00000001").write_text("")
    (here / "step_00000002").symlink_to(other)
    (here / "step_00000003").symlink_to("nowhere")
    (here / ".tmp-step_00000004-0123456789abcdef").symlink_to(other)
    train.save_checkpoint(here, TREE, step=3)
    train.save_checkpoint(here, TREE, step=6, keep=1)
    assert os.listdir(here) == ["step_00000006"]
    assert sorted(os.listdir(other)) == ["arrays.safetensors", "manifest.json"]


def test_what_cannot_be_removed_is_only_a_warning(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    train.save_checkpoint(tmp_path, {"n": 1}, step=1)
    monkeypatch.setattr(step_directory.shutil, "rmtree", refuse)
    with pytest.warns(UserWarning, match="wrote .*step_00000002, but could not .*denied") as caught:
        train.save_checkpoint(tmp_path, {"n": 2}, step=2, keep=1)
    assert caught[0].filename == __file__
    assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 2}
    train.save_checkpoint(tmp_path, {"n": 3}, step=3)  # what is left is not in the way
    monkeypatch.undo()
    train.save_checkpoint(tmp_path, {"n": 4}, step=4, keep=1)
    assert os.listdir(tmp_path) == ["step_00000004"]


def test_another_architecture_is_told_leaf_by_leaf(tmp_path):
    saved = {"gru": Params(np.zeros((3, 12), np.float32), np.zeros(12)), "key": jax.random.key(0)}
    train.save_checkpoint(tmp_path, saved, step=3)
    like = {"gru": Params(np.zeros((3, 16), np.float32), jnp.zeros(12)), "bias": 1.0}
    with pytest.raises(ValueError, match="another architecture") as caught:
        train.load_checkpoint(tmp_path, like)
    assert not isinstance(caught.value, train.CheckpointError)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "['bias']: got nothing; expected Python float",
        "['gru'].w: got float32 (3, 12); expected float32 (3, 16)",
        "['gru'].b: got float64 (12,); expected float32 (12,)",
        "['key']: got keys of threefry2x32 (); expected nothing",
    ]
    with pytest.raises(ValueError, match="keys of threefry2x32 .*; expected keys of rbg"):
        train.load_checkpoint(tmp_path, saved | {"key": jax.random.key(0, impl="rbg")})


def test_a_long_list_of_differences_is_cut(tmp_path):
    train.save_checkpoint(tmp_path, {str(i): i for i in range(50)}, step=3)
    with pytest.raises(ValueError, match="and 30 more"):
        train.load_checkpoint(tmp_path, {})


def test_where_there_is_none(tmp_path):
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="without a checkpoint; expected step_"):
            train.load_checkpoint(directory, TREE)
    train.save_checkpoint(tmp_path, TREE, step=3)
    with pytest.raises(FileNotFoundError, match="checkpoint of step 4; expected one of .* 3"):
        train.load_checkpoint(tmp_path, TREE, step=4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": -1}, ValueError, "got step=-1; expected an integer, 0 or more"),
        ({"step": 1.5}, TypeError, "got step=1.5"),
        ({"keep": 0}, ValueError, "got keep=0"),
        ({"info": {"a": float("nan")}}, ValueError, r"info\['a'\] = nan"),
        ({"info": {"a": [np.float32(1)]}}, TypeError, r"info\['a'\]\[0\] = .*\.item\(\)"),
        ({"info": {1: 2}}, TypeError, "info = {1: 2}"),
        ({"tree": {"a": "text"}}, TypeError, r"got str at \['a'\]; expected arrays of numbers"),
        ({"tree": np.array(["text"])}, TypeError, "got <U4 at the root"),
        ({"tree": np.array([None])}, TypeError, "got object at the root"),
        ({"tree": 2**64}, ValueError, "got the integer .*; expected one of 64 bits"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        train.save_checkpoint(tmp_path / "x", **({"tree": TREE, "step": 1} | options))
    assert not (tmp_path / "x").exists()


class Killed(BaseException):
    pass


def run_lines(monkeypatch, function, last):
    """Runs `function` until the line number `last` of the code that writes; True at its end.

    From then on nothing is tidied up, as in a process that is killed.
    """
    files = {inspect.getfile(module) for module in (checkpoint, snapshot, step_directory)}
    count, dead = 0, False

    def trace(frame, event, argument):
        nonlocal count, dead
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            count += 1
            if count == last:
                dead = True
                raise Killed
        return trace

    def rmtree(path, remove=step_directory.shutil.rmtree):
        if dead:
            raise Killed
        remove(path)

    with monkeypatch.context() as patched:
        patched.setattr(step_directory.shutil, "rmtree", rmtree)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        except Killed:
            return False
        finally:
            sys.settrace(before)
    return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # open files
def test_whatever_line_it_dies_in_a_whole_checkpoint_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(step_directory.os, "fsync", lambda handle: None)  # it takes the time
    seen, leftovers = [], 0
    for last in range(1, 1000):
        here = tmp_path / str(last)
        for step in (1, 2):
            train.save_checkpoint(here, {"n": step}, step=step)
        ended = run_lines(
            monkeypatch, lambda h=here: train.save_checkpoint(h, {"n": 3}, step=3, keep=2), last
        )
        loaded = train.load_checkpoint(here, {"n": 0})  # a warning would be an error
        assert loaded.tree == {"n": loaded.step}
        seen.append(loaded.step)
        steps = step_directory.steps_in(here)
        assert len(steps) >= 2
        for step in steps:
            assert train.load_checkpoint(here, {"n": 0}, step=step).tree == {"n": step}
        leftovers += any(name.startswith(".tmp") for name in os.listdir(here))
        train.save_checkpoint(here, {"n": 4}, step=4, keep=1)
        assert os.listdir(here) == ["step_00000004"]
        if ended:
            break
    assert ended
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}
    assert len(seen) > 40
    assert leftovers > 10


def test_a_disk_that_is_full_leaves_what_there_was(tmp_path):
    resource = pytest.importorskip("resource")
    train.save_checkpoint(tmp_path, {"w": np.zeros(10_000)}, step=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # the kernel refuses what is beyond
    try:
        with pytest.raises(OSError, match="make room, .* are as they were"):
            train.save_checkpoint(tmp_path, {"w": np.ones(10_000)}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["step_00000001"]
    assert not train.load_checkpoint(tmp_path, {"w": np.zeros(10_000)}).tree["w"].any()


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(OSError, match="save_checkpoint: got .*step 1"):
        train.save_checkpoint(tmp_path / "x", TREE, step=1)
    with pytest.raises(NotADirectoryError, match="load_checkpoint: got '.*x', which is no dir"):
        train.load_checkpoint(tmp_path / "x", TREE)
