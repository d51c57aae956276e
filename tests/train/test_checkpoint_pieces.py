"""Checkpoints of arrays over many devices and processes: any mesh loads what any other saved.

Several processes are threads here, each of which writes what lies on its own of eight devices;
`test_checkpoint_processes.py` has real ones.
"""

import json
import os
import shutil
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cases import needs_eight
from jaxrnn import train
from jaxrnn.sharding import mesh
from jaxrnn.train import checkpoint_files, parts, step_directory
from jaxrnn.train.checkpoint import write_snapshot
from jaxrnn.train.pieces import check_tiling, paste, whole_box
from jaxrnn.train.snapshot import snapshot
from jaxrnn.train.step_directory import check_writable
from team import TOKEN, Team

pytestmark = needs_eight
some = [2, pytest.param(4, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]


def tree_of():
    """Arrays of every kind, with how they are laid over a mesh."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        values = {
            "w": jnp.asarray(rng.normal(size=(8, 16))),
            "b": jnp.asarray(rng.normal(size=8), jnp.bfloat16),
            "cube": jnp.asarray(rng.normal(size=(8, 2, 8)), jnp.float32),
            "z": jnp.asarray(rng.normal(size=8) + 1j, jnp.complex64),
            "small": jnp.arange(8).astype(jnp.float8_e4m3fnuz),
            "flag": jnp.arange(8) % 3 == 0,
            "keys": jax.random.split(jax.random.key(3), 8),
            "rbg": jax.random.split(jax.random.key(3, impl="rbg"), (8, 2)),
            "empty": jnp.zeros((0, 8)),
            "count": jnp.asarray(3, jnp.int32),
        }
    weak = {"rate": jnp.asarray(0.5), "weak": jnp.full((8,), 2)}
    assert all(leaf.weak_type for leaf in weak.values())
    return values | weak


SPECS = {
    "w": ("data", "model"),
    "b": ("model",),
    "cube": ("model", None, "data"),
    "z": (("data", "model"),),
    "small": ("data",),
    "flag": ("model",),
    "keys": ("data",),
    "rbg": ("model",),
    "empty": (None, "model"),
    "weak": ("data",),
}
FEW = [None, (2, 1), (1, 8)]
MORE = [(8, 1), (4, 2), (2, 4), (1, 1), (1, 2)]


def lay(values, shape, **options):
    """Puts the tree on a mesh; None for no mesh."""
    if shape is None:
        return values
    devices = jax.devices()[: shape[0] * shape[1]]
    on = mesh(data=shape[0], model=shape[1], devices=devices, **options)

    def put(name, leaf):
        own = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or leaf.weak_type
        leaf = leaf if own else np.asarray(leaf)  # of which JAX compiles nothing
        with jax.enable_x64(True):
            return jax.device_put(leaf, NamedSharding(on, PartitionSpec(*SPECS.get(name, ()))))

    return {name: put(name, leaf) for name, leaf in values.items()}


VALUES = tree_of()


def same(a, b):
    assert set(a) == set(b)
    for name, x in a.items():
        y = b[name]
        assert jax.typeof(x) == jax.typeof(y), name
        assert x.sharding == y.sharding, name
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), name


@pytest.fixture(scope="module")
def spread():
    return lay(VALUES, (4, 2))


def test_one_process_writes_whole_arrays_that_every_mesh_loads(tmp_path, spread):
    path = train.save_checkpoint(tmp_path, spread, step=5)
    assert sorted(os.listdir(path)) == ["arrays.safetensors", "manifest.json"]
    assert json.loads((path / "manifest.json").read_text())["version"] == 1
    for shape in FEW:
        like = lay(VALUES, shape)
        same(train.load_checkpoint(tmp_path, like).tree, like)


@pytest.mark.parametrize("count", some)
def test_many_processes_write_pieces_that_every_mesh_loads(tmp_path, count, spread):
    options = {"info": {"a": 1}, "extra": {"loss": np.arange(3.0)}}
    paths = Team(count).save(tmp_path, spread, **options)
    assert paths == [tmp_path / "step_00000005"] * count
    names = [f"part-{k:05d}-of-{count:05d}.safetensors" for k in range(count)]
    assert sorted(os.listdir(paths[0])) == ["manifest.json", *names]
    assert os.listdir(tmp_path) == ["step_00000005"]
    assert train.checkpoint_info(tmp_path) == {"a": 1}
    for shape in FEW if count == 2 else FEW + MORE:
        like = lay(VALUES, shape)
        same(train.load_checkpoint(tmp_path, like).tree, like)
    plain = {"w": np.zeros((8, 16)), "count": np.zeros((), np.int32)}
    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
              for name, leaf in spread.items()}  # fmt: skip
    same(train.load_checkpoint(tmp_path, shapes).tree, spread)
    found = train.load_checkpoint(tmp_path, spread | plain).tree
    assert type(found["w"]) is np.ndarray
    assert found["w"].tobytes() == np.asarray(VALUES["w"]).tobytes()
    for contents in Team(2).load(tmp_path, spread):
        same(contents.tree, spread)
        assert contents.extra["loss"].tolist() == [0, 1, 2]


def test_every_piece_is_written_once(tmp_path, spread):
    (path, *_) = Team(4).save(tmp_path, spread)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["version"] == 2
    leaves = {leaf["name"]: leaf for leaf in manifest["arrays"]}
    pieces = leaves["['w']"]["pieces"]
    assert [(one["part"], one["start"], one["stop"]) for one in pieces] == [
        (row, [2 * row, 8 * column], [2 * row + 2, 8 * column + 8])
        for row in range(4)
        for column in range(2)
    ]
    assert [one["part"] for one in leaves["['b']"]["pieces"]] == [0, 0]  # copies have no place
    assert [one["part"] for one in leaves["['count']"]["pieces"]] == [0]
    whole = sum(leaf.nbytes for leaf in spread.values() if leaf.dtype != VALUES["keys"].dtype)
    sizes = [(path / f"part-{k:05d}-of-00004.safetensors").stat().st_size for k in range(4)]
    assert sum(sizes) < whole + 4 * 3000  # headers


@pytest.mark.slow
def test_explicit_meshes_load_too(tmp_path, spread):
    Team(2).save(tmp_path, spread)
    like = lay(VALUES, (2, 4), explicit=True)
    same(train.load_checkpoint(tmp_path, like).tree, like)
    explicit = lay(VALUES, (4, 2), explicit=True)
    Team(2).save(tmp_path, explicit, step=6)
    same(train.load_checkpoint(tmp_path, spread).tree, spread)


def test_copies_are_written_as_by_one_process(tmp_path):
    tree = {"w": np.arange(3.0), "n": 3}
    on = NamedSharding(mesh(data=8), PartitionSpec())
    Team(2).save(tmp_path / "a", {"w": jax.device_put(tree["w"], on), "n": 3})
    train.save_checkpoint(tmp_path / "b", {"w": jnp.asarray(tree["w"]), "n": 3}, step=5)
    files = [sorted((tmp_path / name / "step_00000005").iterdir()) for name in "ab"]
    assert [f.name for f in files[0]] == [f.name for f in files[1]]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_a_process_reads_the_parts_it_needs(tmp_path, monkeypatch, spread):
    Team(4).save(tmp_path, {"w": spread["w"]})
    read = []
    opened = checkpoint_files._open

    def note(path, *limit):
        read.append(path.name)
        return opened(path, *limit)

    monkeypatch.setattr(checkpoint_files, "_open", note)
    half = jax.ShapeDtypeStruct((8, 16), np.float64, sharding=spread["w"].sharding)
    boxes = [((0, 2), (0, 16)), ((4, 6), (8, 16))]
    monkeypatch.setattr("jaxrnn.train.reading.boxes_of", lambda like: boxes)
    files = train.checkpoint.read_files(tmp_path / "step_00000005", {"w": half})
    assert read == ["manifest.json", *(f"part-0000{k}-of-00004.safetensors" for k in (0, 2))]
    for box in boxes:
        expected = np.asarray(VALUES["w"])[tuple(slice(*pair) for pair in box)]
        np.testing.assert_array_equal(files.stored["['w']"][box], expected)


# What goes wrong


def test_processes_with_different_trees_are_told(tmp_path, spread):
    w = {"w": spread["w"]}
    first, second = Team(2).save(tmp_path, lambda p: w | {"n": p.index})
    assert isinstance(first, ValueError)
    assert "got an array of its own at ['n'] in process 1 that is not" in str(first)
    assert "process 0 gave up: ValueError: got an array of its own at ['n']" in str(second)
    first, _ = Team(2, "a" * 16).save(tmp_path, lambda p: w | {"n": 0, "m": 1} if p.index else w)
    assert "arrays of other names, shapes or dtypes, from process 1 than" in str(first)
    assert all(name.endswith(".failed") for name in os.listdir(tmp_path))
    assert Team(2, "b" * 16).save(tmp_path, w)[0].is_dir()
    assert os.listdir(tmp_path) == ["step_00000005"]


def test_a_good_checkpoint_is_not_overwritten_and_a_broken_one_is(tmp_path, spread):
    w = {"w": spread["w"]}
    path, _ = Team(2).save(tmp_path, w)
    first, second = Team(2, "a" * 16).save(tmp_path, w)
    assert isinstance(first, FileExistsError)
    assert "process 0 gave up: FileExistsError: save_checkpoint: got step=5" in str(second)
    os.truncate(path / "part-00001-of-00002.safetensors", 100)
    both = Team(2, "c" * 16).save(tmp_path, lambda p: w | {"n": p.index})  # fails late
    assert [type(one) for one in both] == [ValueError, OSError]
    assert Team(2, "b" * 16).save(tmp_path, w) == [path, path]
    same(train.load_checkpoint(tmp_path, w).tree, w)


def test_word_of_what_went_wrong_stays_for_the_others_of_a_run(tmp_path, spread):
    names = [f".tmp-step_00000004-{token * 16}.failed" for token in "ab"]
    for name in names:
        (tmp_path / name).write_text("")
    Team(2, "a" * 16).save(tmp_path, {"w": spread["w"]})
    assert sorted(os.listdir(tmp_path)) == [names[0], "step_00000005"]


def test_a_process_that_does_not_come_is_named(tmp_path, monkeypatch, spread):
    monkeypatch.setattr(parts, "WAIT", 1.0)

    def only(*indices):
        def write(processes):
            if processes.index not in indices:
                return None
            taken = snapshot({"w": spread["w"]}, step=5, processes=processes, token=TOKEN)
            return write_snapshot(tmp_path, taken, 3)

        return write

    (alone,) = [one for one in Team(2).run(only(1)) if one is not None]
    assert isinstance(alone, TimeoutError)
    assert "got nothing of process 0 within 1 seconds" in str(alone)
    assert os.listdir(tmp_path) == []
    first, _, third, _ = Team(4).run(only(0, 2))
    assert isinstance(first, TimeoutError)
    assert "got no part of process 1, 3 within 1 seconds in which nothing changed" in str(first)
    assert "process 0 gave up: TimeoutError" in str(third) or "no manifest of" in str(third)
    assert not any(name.startswith("step") for name in os.listdir(tmp_path))


def test_a_process_whose_disk_is_full_is_named(tmp_path, monkeypatch, spread):
    put_part = parts._put_part

    def full(path, taken):
        if "part-00001" in path.name:
            raise OSError(28, "No space left on device")
        return put_part(path, taken)

    monkeypatch.setattr(parts, "_put_part", full)
    train.save_checkpoint(tmp_path, {"w": VALUES["w"]}, step=4)
    first, second = Team(2).save(tmp_path, {"w": spread["w"]})
    assert "process 1 gave up: OSError: [Errno 28] No space left on device; in the" in str(first)
    assert second.errno == 28
    assert "make room" in str(second)
    assert train.load_checkpoint(tmp_path, {"w": VALUES["w"]}).step == 4


def test_a_directory_that_is_not_shared_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(step_directory, "_VISIBLE", 0.1)
    first, second = Team(2).run(
        lambda p: check_writable(tmp_path / str(p.index), by="fit", processes=p)
    )
    assert "in which process 1 does not see what process 0 wrote; expected a dir" in str(second)
    assert "fit: stopped since another process did; process 1: OSError: fit: got" in str(first)
    assert (
        Team(2).run(lambda p: check_writable(tmp_path / "x", by="fit", processes=p)) == [None] * 2
    )
    assert os.listdir(tmp_path / "x") == []


def test_what_is_broken_for_one_process_is_broken_for_all(tmp_path, spread):
    w = {"w": spread["w"]}
    for step in (5, 6):
        path, _ = Team(2).save(tmp_path, w, step=step)
    os.truncate(path / "part-00001-of-00002.safetensors", 100)
    with pytest.warns(UserWarning, match="loads step 5 instead; .*process 1: got part-00001"):
        found = Team(2).load(tmp_path, w)
    assert [one.step for one in found] == [5, 5]
    first, second = Team(2).load(tmp_path, w, step=6)
    assert isinstance(first, train.CheckpointError)
    assert str(first) == str(second)
    other = {"w": jax.ShapeDtypeStruct((8, 16), np.float32, sharding=w["w"].sharding)}
    assert all("another architecture" in str(one) for one in Team(2).load(tmp_path, other))
    both = Team(2).run(
        lambda p: train.saver.load_contents(
            tmp_path if p.index else tmp_path / "x", w, by="fit", level=1, processes=p
        )
    )
    assert isinstance(both[0], FileNotFoundError)
    assert "process 0: FileNotFoundError" in str(both[1])


class Killed(BaseException):
    pass


def killed_in(line, function):
    """Runs `function` until so many lines of what writes are run; True at its end."""
    files = {module.__file__ for module in (parts, step_directory)}
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        if count == line:
            threading.current_thread().dead = True
            raise Killed
        return trace

    sys.settrace(trace)
    try:
        function()
    except Killed:
        return False
    finally:
        sys.settrace(None)
        threading.current_thread().dead = False
    return True


def unless_dead(function):
    """What a process that is dead does not do."""

    def run(*arguments, **options):
        if getattr(threading.current_thread(), "dead", False):
            raise Killed
        return function(*arguments, **options)

    return run


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # open files
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("stride", [29, pytest.param(2, marks=pytest.mark.slow)])
def test_wherever_a_process_dies_a_whole_checkpoint_is_left(
    tmp_path, monkeypatch, spread, victim, stride
):
    monkeypatch.setattr(parts, "_LOOK", 0.001)
    monkeypatch.setattr(parts, "_tell", unless_dead(parts._tell))
    monkeypatch.setattr(step_directory.shutil, "rmtree", unless_dead(shutil.rmtree))
    monkeypatch.setattr(step_directory.os, "fsync", lambda handle: None)
    w = np.asarray(VALUES["cube"])
    trees = [{"w": jax.device_put(one, spread["cube"].sharding)} for one in (w, w + 1)]
    seen, ends = set(), []
    for line in range(1 + victim, 2000, stride):
        here = tmp_path / str(line)
        assert Team(2).save(here, trees[0], step=2) == [here / "step_00000002"] * 2

        def write(processes, here=here, line=line):
            taken = snapshot(trees[1], step=3, processes=processes, token="c" * 16)

            def run():
                return write_snapshot(here, taken, 1)

            return killed_in(line, run) if processes.index == victim else run()

        with monkeypatch.context() as patched:
            patched.setattr(parts, "WAIT", 0.1)
            patched.setattr(parts, "SHORT", 0.05)
            result = Team(2).run(write)
        loaded = train.load_checkpoint(here, trees[0])  # a warning would be an error
        same(loaded.tree, trees[loaded.step - 2])
        seen.add(loaded.step)
        if result[1 - victim] == here / "step_00000003":
            assert loaded.step == 3
        assert Team(2, "d" * 16).save(here, trees[0], step=4, keep=1)[0].is_dir()
        assert os.listdir(here) == ["step_00000004"]
        ends.append(result[victim] is True)
        if ends[-1]:
            break
    assert ends[-1]
    assert len(ends) > 100 / stride
    assert seen == {2, 3}


# The pieces


def test_boxes_are_cut_out_of_pieces():
    rng = np.random.default_rng(1)
    array = rng.normal(size=(7, 5, 2))
    for _ in range(50):
        cuts = [sorted({0, size, *rng.integers(1, size, 2).tolist()}) for size in (7, 5)]
        cells = [list(zip(one, one[1:], strict=False)) for one in cuts]
        pieces = [(a, b) for a in cells[0] for b in cells[1]]
        check_tiling("x", (7, 5), pieces[::-1])
        wanted = [whole_box((7, 5))]
        for _ in range(3):
            ends = [sorted(rng.choice(size + 1, 2, replace=False).tolist()) for size in (7, 5)]
            wanted.append(tuple(map(tuple, ends)))
        made = {}
        for (a, b), (c, d) in pieces:
            paste(
                made,
                wanted,
                ((a, b), (c, d)),
                lambda s=(a, b, c, d): array[s[0] : s[1], s[2] : s[3]],
            )
        for box in wanted:
            (a, b), (c, d) = box
            np.testing.assert_array_equal(made[box], array[a:b, c:d])
        if len(pieces) > 1:
            with pytest.raises(ValueError, match="without gaps and overlaps"):
                check_tiling("x", (7, 5), pieces[1:])
            with pytest.raises(ValueError, match="without gaps and overlaps"):
                check_tiling("x", (7, 5), [*pieces[1:], pieces[-1]])


def test_the_pieces_of_many_devices_are_checked():
    count = 30_000  # of which pairs would take minutes
    pieces = [((k, k + 1),) for k in range(count)]
    check_tiling("x", (count,), pieces)
    with pytest.raises(ValueError, match="got 29999 pieces of 'x'"):
        check_tiling("x", (count,), pieces[:-1])
