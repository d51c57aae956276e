"""Checkpoints in pieces that are cut off, changed or forged: refused before memory is taken."""

import hashlib
import json
import os
import shutil
import struct

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cases import needs_eight
from damage import digest, little_memory, mutated_bytes, mutated_json, read_damaged, rewrite
from jaxrnn import train
from jaxrnn.sharding import mesh
from jaxrnn.train.reading import read_directory
from team import Team

pytestmark = needs_eight

FILES = ("part-00000-of-00002.safetensors", "part-00001-of-00002.safetensors")
LIKE = {"w": np.arange(32, dtype=np.float32).reshape(8, 4), "z": np.arange(8) + 1j, "n": 3}
LIKE["z"] = LIKE["z"].astype(np.complex64)
EXTRA = {"loss": np.arange(5.0)}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The files of a checkpoint in two parts; w lies in 4 x 2 pieces, z in 4."""
    on = mesh(data=4, model=2)
    specs = {"w": ("data", "model"), "z": ("data",)}
    tree = {
        name: jax.device_put(LIKE[name], NamedSharding(on, PartitionSpec(*spec)))
        for name, spec in specs.items()
    }
    options = {"info": {"a": [1, 0.5]}, "extra": EXTRA}
    path, other = Team(2).save(tmp_path_factory.mktemp("good"), tree | {"n": 3}, **options)
    assert path == other
    return {name: (path / name).read_bytes() for name in os.listdir(path)}


def put(directory, good):
    path = directory / "step_00000005"
    path.mkdir()
    for name, data in good.items():
        (path / name).write_bytes(data)
    return path


def reseal(path):
    """Forges the checksums of changed parts, of what can be read of them."""

    def change(fields):
        for index, name in enumerate(FILES):
            data = (path / name).read_bytes()
            size = int.from_bytes(data[:8], "little")
            header, body = data[: 8 + size], data[8 + size :]
            part = {"size": len(data), "header": hashlib.sha256(header).hexdigest()}
            fields["parts"][index] = part
            try:
                entries = json.loads(header[8:])
                for leaf in fields["arrays"] + fields["extra"]:
                    shape = leaf["shape"]
                    for one in leaf["pieces"]:
                        if one["part"] != index:
                            continue
                        box = list(zip(one["start"], one["stop"], strict=True))
                        whole = box == [(0, n) for n in shape]
                        inside = ", ".join(f"{a}:{b}" for a, b in box)
                        name = leaf["name"] if whole else f"{leaf['name']}[{inside}]"
                        start, stop = entries[name]["data_offsets"]
                        one["sha256"] = hashlib.sha256(body[start:stop]).hexdigest()
            except (KeyError, TypeError, ValueError, AttributeError):
                pass  # what is no longer there has no checksum

    rewrite(path, change)


def in_part(index, change, *, seal=False):
    def apply(path):
        data = bytearray((path / FILES[index]).read_bytes())
        (path / FILES[index]).write_bytes(bytes(change(data)))
        if seal:
            reseal(path)

    return apply


def flip(data, at):
    data[at] ^= 1
    return data


def leaf(fields, name):
    (found,) = [one for one in fields["arrays"] + fields["extra"] if one["name"] == name]
    return found


def piece_says(index, name="['w']", **changes):
    return lambda path: rewrite(path, lambda f: leaf(f, name)["pieces"][index].update(changes))


def pieces_become(change, name="['w']"):
    def apply(path):
        def inside(fields):
            one = leaf(fields, name)
            one["pieces"] = change(one["pieces"])

        rewrite(path, inside)

    return apply


def says(change):
    return lambda path: rewrite(path, change)


GRID = "grid of pieces without gaps and overlaps"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (in_part(0, lambda data: data[:-1]), "part-00000.* of .* bytes; expected"),
        (in_part(1, lambda data: data + b"\0"), "part-00001.* of .* bytes; expected"),
        (in_part(1, lambda data: flip(data, -1)), "with another checksum"),
        (in_part(0, lambda data: flip(data, 30)), "with another header"),
        (in_part(0, lambda data: flip(data, 7)), "a header of"),
        (in_part(1, lambda data: data.replace(b"[2,2]", b"[9,9]"), seal=True), "expected 324 byte"),
        (in_part(1, lambda data: data.replace(b"[2,2]", b"[4,1]"), seal=True), r"F32 \(4, 1\) st"),
        (in_part(1, lambda data: data.replace(b"F32", b"I32"), seal=True), "got I32 .* stored for"),
        (in_part(1, lambda data: data.replace(b"4:6", b"5:7"), seal=True), "manifest that differ"),
        (lambda path: (path / FILES[1]).unlink(), "no file part-00001"),
        (lambda path: (path / "manifest.json").unlink(), "no file manifest.json"),
        (lambda path: os.truncate(path / FILES[1], 2**40), "of 1099511627776 bytes"),
        (pieces_become(lambda p: p[1:]), GRID),
        (pieces_become(lambda p: []), "0 pieces"),
        (pieces_become(lambda p: [*p, p[0]]), GRID),
        (pieces_become(lambda p: [*p[:-1], p[0]]), GRID),
        (piece_says(0, stop=[3, 2]), GRID),
        (piece_says(0, start=[-1, 0]), GRID),
        (piece_says(0, start=[1, 0]), GRID),
        (piece_says(0, stop=[2]), "got a manifest with ValueError"),
        (piece_says(0, start=[0], stop=[2]), GRID),
        (piece_says(0, stop=[2**62, 2]), GRID),
        (piece_says(0, start=[0.0, 0]), "got a manifest with TypeError"),
        (piece_says(0, part=2), "a piece in part 2 of 2"),
        (piece_says(0, part=-1), "a piece in part -1 of 2"),
        (piece_says(0, part=1), "manifest that differ"),
        (piece_says(0, sha256="0"), "with another checksum"),
        (piece_says(0, "['n']", start=[0], stop=[1]), GRID),
        (says(lambda f: f["parts"].pop()), "a piece in part 1 of 1"),
        (says(lambda f: f["parts"].append(f["parts"][0])), "no file part-00000-of-00003"),
        (says(lambda f: f.update(parts=[])), "no parts"),
        (says(lambda f: f.update(file={"size": 1, "sha256": ""})), "own checksum"),
        (says(lambda f: f.update(version=1)), "own checksum"),
        (says(lambda f: f["extra"].append(f["arrays"][0])), "stands twice"),
        (says(lambda f: f["extra"][0].update(shape=[2**62])), GRID),
        (says(lambda f: f["arrays"][0].pop("pieces")), "got a manifest with KeyError"),
        (says(lambda f: leaf(f, "['w']").update(shape=[8, 8])), GRID),
    ],
)
def test_what_is_broken_is_refused(tmp_path, good, damage, message):
    path = put(tmp_path, good)
    damage(path)
    with pytest.raises(train.CheckpointError, match=message):
        read_directory(path, LIKE)


def test_the_forgeries_are_read_where_nothing_is_changed(tmp_path, good):
    path = put(tmp_path, good)
    reseal(path)
    found = read_directory(path, LIKE)
    assert all(np.array_equal(found.tree[name], LIKE[name]) for name in LIKE)
    assert found.extra["loss"].tolist() == [0, 1, 2, 3, 4]


def test_broken_ones_are_passed_over_not_counted_and_replaced(tmp_path, good):
    here = tmp_path / "here"
    for step in (1, 2):
        train.save_checkpoint(here, LIKE, step=step)
    path = put(here, good)
    assert train.load_checkpoint(here, LIKE).step == 5
    os.truncate(path / FILES[1], 100)
    with pytest.warns(UserWarning, match="loads step 2 instead; .*step_00000005: got part-00001"):
        assert train.load_checkpoint(here, LIKE).step == 2
    train.save_checkpoint(here, LIKE, step=6, keep=2)
    assert sorted(os.listdir(here)) == ["step_00000002", "step_00000005", "step_00000006"]
    train.save_checkpoint(here, LIKE | {"n": 4}, step=5)
    assert train.load_checkpoint(here, LIKE, step=5).tree["n"] == 4
    with pytest.raises(FileExistsError, match="got step=5, of which"):
        train.save_checkpoint(here, LIKE, step=5)
    shutil.rmtree(path)
    path = put(here, good)
    in_part(1, lambda data: flip(data, -1))(path)  # of the right size
    train.save_checkpoint(here, LIKE, step=5)
    assert train.load_checkpoint(here, LIKE, step=5).tree["n"] == 3


def test_what_does_not_fit_into_memory_is_broken(tmp_path, good):
    path = put(tmp_path, good)
    count = 2**40 // 8
    name, file = "extra:loss", path / FILES[0]
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    fields, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    first, last = fields[name]["data_offsets"]
    for one in fields.values():
        if one.get("data_offsets", [0])[0] >= last:
            one["data_offsets"] = [end + 8 * count - (last - first) for end in one["data_offsets"]]
    fields[name] |= {"shape": [count], "data_offsets": [first, first + 8 * count]}
    header = json.dumps(fields).encode()
    total = len(body) + 8 * count - (last - first)
    with open(file, "wb") as out:  # a file that is mostly a hole
        out.write(struct.pack("<Q", len(header)) + header + body[:first])
        try:
            out.truncate(8 + len(header) + total)
        except OSError:
            pytest.skip("the disk has no such large files")

    def change(manifest):
        digest = hashlib.sha256(struct.pack("<Q", len(header)) + header).hexdigest()
        manifest["parts"][0] = {"size": 8 + len(header) + total, "header": digest}
        one = leaf(manifest, name)
        one["shape"] = [count]
        one["pieces"][0] |= {"start": [0], "stop": [count]}

    rewrite(path, change)
    with (
        little_memory(),
        pytest.raises(train.CheckpointError, match="beside the tree; expected what fits into mem"),
    ):
        read_directory(path, LIKE)


def mutate(rng, path, good):
    """Damages a checkpoint in one of six ways; True where the checksums are forged."""
    for name, data in good.items():
        (path / name).write_bytes(data)
    way, part = rng.integers(0, 6), FILES[rng.integers(0, 2)]
    if way in (0, 1):
        name = (part, "manifest.json")[way]
        (path / name).write_bytes(mutated_bytes(rng, good[name]))
        return False
    if way == 2:
        (path / part).write_bytes(mutated_bytes(rng, good[part]))
        reseal(path)
        return True
    if way == 3:
        size = int.from_bytes(good[part][:8], "little")
        fields = mutated_json(rng, json.loads(good[part][8 : 8 + size]))
        header = json.dumps(fields).encode()
        (path / part).write_bytes(
            len(header).to_bytes(8, "little") + header + good[part][8 + size :]
        )
        reseal(path)
        return True
    fields = json.loads(good["manifest.json"])
    del fields["sha256"]
    fields = mutated_json(rng, fields)
    (path / "manifest.json").write_text(json.dumps(fields | {"sha256": digest(fields)}))
    return True


@pytest.mark.parametrize("number", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_thousands_of_damaged_checkpoints(tmp_path, good, number):
    path = put(tmp_path, good)
    expected = read_directory(path, LIKE)
    rng = np.random.default_rng(12)
    counts = read_damaged(path, LIKE, expected, lambda: mutate(rng, path, good), number)
    assert counts["refused"] > number / 2
    assert number == 60 or (counts["another"] and counts["equal"])
    print(counts)
