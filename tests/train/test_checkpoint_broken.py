"""Files that are cut off, changed, foreign or forged: refused, never executed, memory bounded."""

import json
import os
import pickle
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from damage import digest, little_memory, mutated_bytes, mutated_json, read_damaged, reseal, rewrite
from jaxrnn import train
from jaxrnn.train.reading import read_directory
from jaxrnn.train.snapshot import snapshot
from jaxrnn.train.step_directory import publish, steps_in

TREE = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "z": np.array([1 + 2j, 3], np.complex64),
    "flag": np.array([True, False]),
    "half": np.arange(3).astype(jnp.bfloat16),
    "n": 3,
}
EXTRA = {"metrics.loss": np.arange(5.0), "metrics.skipped": np.zeros(5, bool)}
EXTRA["small"] = np.arange(3).astype(jnp.float8_e4m3fnuz)
FILES = ("arrays.safetensors", "manifest.json")


def save(directory, step=5):
    from jaxrnn.train.snapshot import fill_directory

    taken = snapshot(TREE, step=step, info={"a": [1, 0.5]}, extra=EXTRA)
    return publish(directory, step, lambda new: fill_directory(new, taken), replace=False)


def in_file(name, change):
    def apply(path):
        data = bytearray((path / name).read_bytes())
        (path / name).write_bytes(bytes(change(data)))

    return apply


def flip(data, at):
    data[at] ^= 1
    return data


def header_claims(size):
    def apply(path):
        in_file("arrays.safetensors", lambda d: size.to_bytes(8, "little") + d[8:])(path)
        reseal(path)

    return apply


def header_says(old, new):
    def apply(path):
        in_file("arrays.safetensors", lambda data: data.replace(old, new))(path)
        reseal(path)

    return apply


def manifest_says(**fields):
    return lambda path: rewrite(path, lambda old: old.update(fields))


def leaf_says(index, **fields):
    return lambda path: rewrite(path, lambda old: old["arrays"][index].update(fields))


def pipe(path):
    (path / "arrays.safetensors").unlink()
    os.mkfifo(path / "arrays.safetensors")


def link_to_itself(path):
    (path / "manifest.json").unlink()
    (path / "manifest.json").symlink_to("manifest.json")


def directory_in_place(path):
    (path / "manifest.json").unlink()
    (path / "manifest.json").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (in_file(FILES[0], lambda data: data[:-1]), "of .* bytes; expected"),
        (in_file(FILES[0], lambda data: data + b"\0"), "of .* bytes; expected"),
        (in_file(FILES[0], lambda data: b""), "of 0 bytes; expected"),
        (in_file(FILES[0], lambda data: flip(data, -1)), "another checksum"),
        (in_file(FILES[0], lambda data: flip(data, -20)), "another checksum"),
        (in_file(FILES[0], lambda data: flip(data, 7)), "a header of .* bytes in a file of"),
        (in_file(FILES[0], lambda data: b"PK\3\4" + data[4:]), "a header of"),
        (in_file(FILES[0], lambda data: (pickle.dumps({}) * 1000)[: len(data)]), "a header of"),
        (header_claims(2**63 + 5), "a header of 9223372036854775813 bytes"),
        (header_claims(100_000_001), "a header of 100000001 bytes"),
        (header_claims(2), "no JSON"),
        (header_says(b'"F32"', b'"F64"'), "bytes .* expected 96"),
        (header_says(b"[3,4]", b"[4,3]"), r"got F32 \(4, 3\) stored for .*w.*; expected F32 \(3"),
        (header_says(b"[3,4]", b"[9,9]"), "expected 324 bytes of the"),
        (header_says(b"['w']", b"['v']"), "differ in"),
        (in_file(FILES[1], lambda data: data[:-10]), "no JSON"),
        (in_file(FILES[1], lambda data: b""), "no JSON"),
        (in_file(FILES[1], lambda data: b"{}"), "without format 'jaxrnn checkpoint'"),
        (in_file(FILES[1], lambda data: b"\x80\x04" + data), "no JSON"),
        (in_file(FILES[1], lambda data: b"[" * 100_000), "no JSON"),
        (in_file(FILES[1], lambda data: data.replace(b"0.5", b"0.6")), "own checksum"),
        (in_file(FILES[1], lambda data: data.replace(b'"step": 5', b'"step": 6')), "own checksum"),
        (manifest_says(version=3), "got version 3 of .*; expected 1 or 2; .* that wrote it"),
        (manifest_says(version=True), "got version True"),
        (manifest_says(step=6), "manifest of step 6; expected the step of the directory"),
        (manifest_says(step="5"), "got a manifest with TypeError"),
        (manifest_says(arrays=3), "got a manifest with TypeError"),
        (manifest_says(more=1), "own checksum"),
        (manifest_says(file={"size": 1}), "got a manifest with KeyError"),
        (leaf_says(0, name="../../etc/passwd"), None),
        (leaf_says(0, name=3), "without a name of its own"),
        (lambda path: rewrite(path, lambda f: f["arrays"].append(f["arrays"][0])), "of its own"),
        (lambda path: rewrite(path, lambda f: f["extra"].append(f["arrays"][0])), "differ in"),
        (lambda path: rewrite(path, lambda f: f["extra"][0].update(dtype="object")), "is none"),
        (lambda path: rewrite(path, lambda f: f["extra"][0].update(shape=[2**62])), "stored for"),
        (lambda path: (path / FILES[0]).unlink(), "no file arrays.safetensors"),
        (lambda path: (path / FILES[1]).unlink(), "no file manifest.json"),
        (pipe, "that is no file"),
        (directory_in_place, "that is no file"),
        (link_to_itself, "no file manifest.json"),
        (lambda path: (shutil.rmtree(path), path.write_text("")), "no file manifest.json"),
    ],
)
def test_what_is_broken_is_refused(tmp_path, damage, message):
    damage(save(tmp_path))
    error = train.CheckpointError if message else ValueError
    with pytest.raises(error, match=message or "another architecture") as caught:
        train.load_checkpoint(tmp_path, TREE, step=5)
    assert "step_00000005" in str(caught.value)


def test_the_forgeries_are_read_where_nothing_is_changed(tmp_path):
    reseal(save(tmp_path))
    assert train.load_checkpoint(tmp_path, TREE).info == {"a": [1, 0.5]}
    found = read_directory(tmp_path / "step_00000005", TREE).extra
    assert {k: (v.dtype, v.tobytes()) for k, v in found.items()} == {
        k: (v.dtype, v.tobytes()) for k, v in EXTRA.items()
    }


def test_the_one_before_is_loaded_with_a_warning(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    for step in (2, 3):
        in_file("arrays.safetensors", lambda data: data[:-1])(tmp_path / f"step_0000000{step}")
    with pytest.warns(UserWarning) as caught:
        assert train.load_checkpoint(tmp_path, TREE).step == 1
    (warning,) = caught
    assert "step_00000002: got" in str(warning.message)
    assert "step_00000003: got" in str(warning.message)
    assert warning.filename == __file__
    with pytest.raises(train.CheckpointError, match="step_00000003"):
        train.load_checkpoint(tmp_path, TREE, step=3)
    in_file("manifest.json", lambda data: b"")(tmp_path / "step_00000001")
    with pytest.raises(train.CheckpointError, match="broken checkpoints alone(.|\n)*_00000001"):
        train.load_checkpoint(tmp_path, TREE)
    assert train.checkpoint_info(tmp_path) == {"a": [1, 0.5]}


def test_one_of_an_unknown_version_is_neither_passed_over_nor_overwritten(tmp_path):
    save(tmp_path, 4)
    path = save(tmp_path)
    manifest_says(version=3)(path)
    text = (path / "manifest.json").read_bytes()
    with pytest.raises(train.CheckpointError, match="step_00000005: got version 3 of the format"):
        train.load_checkpoint(tmp_path, TREE)
    with pytest.raises(train.CheckpointError, match="checkpoint_info: in .*got version 3"):
        train.checkpoint_info(tmp_path)
    with pytest.raises(FileExistsError, match="holds a checkpoint of a version that is unknown"):
        train.save_checkpoint(tmp_path, TREE, step=5)
    assert (path / "manifest.json").read_bytes() == text
    assert train.load_checkpoint(tmp_path, TREE, step=4).step == 4


def test_a_forged_file_that_is_mostly_a_hole_is_broken(tmp_path):
    path = save(tmp_path)
    file = path / "arrays.safetensors"
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    fields, count = json.loads(data[8 : 8 + size]), 2**40
    del fields["__metadata__"]
    last = fields["extra:small"]["data_offsets"][1]
    for one in fields.values():  # makes place behind the last
        one["data_offsets"] = [at + (count - 3) * (at >= last) for at in one["data_offsets"]]
    fields["extra:small"] |= {"shape": [count]}
    header = json.dumps(fields).encode()
    with open(file, "wb") as out:
        out.write(len(header).to_bytes(8, "little") + header + data[8 + size :])
        try:
            out.truncate(len(data) - size + len(header) + count - 3)
        except OSError:
            pytest.skip("the disk has no such large files")

    def change(manifest):
        manifest["file"] = {"size": file.stat().st_size, "sha256": ""}
        manifest["extra"][-1]["shape"] = [count]

    rewrite(path, change)
    with little_memory(), pytest.raises(train.CheckpointError, match="what fits into memory"):
        train.load_checkpoint(tmp_path, TREE)


# The fuzz


def mutate(rng, path, good):
    """Damages a checkpoint in one of six ways; True where the checksums are forged."""
    for name, data in good.items():
        (path / name).write_bytes(data)
    way = rng.integers(0, 6)
    arrays, manifest = FILES
    if way in (0, 1):
        name = FILES[way]
        (path / name).write_bytes(mutated_bytes(rng, good[name]))
        return False
    if way == 2:
        (path / arrays).write_bytes(mutated_bytes(rng, good[arrays]))
        reseal(path)
        return True
    if way in (3, 4):
        size = int.from_bytes(good[arrays][:8], "little")
        fields = mutated_json(rng, json.loads(good[arrays][8 : 8 + size]))
        header = json.dumps(fields).encode()
        data = len(header).to_bytes(8, "little") + header + good[arrays][8 + size :]
        (path / arrays).write_bytes(data)
        reseal(path)
        return True
    fields = json.loads(good[manifest])
    del fields["sha256"]
    fields = mutated_json(rng, fields)
    (path / manifest).write_text(json.dumps(fields | {"sha256": digest(fields)}))
    return True


@pytest.mark.slow
def test_thousands_of_damaged_checkpoints(tmp_path):
    path = save(tmp_path)
    good = {name: (path / name).read_bytes() for name in FILES}
    expected = read_directory(path, TREE)
    rng = np.random.default_rng(11)
    counts = read_damaged(path, TREE, expected, lambda: mutate(rng, path, good), 10_000)
    assert counts["refused"] > 6_600
    assert counts["another"] > 80
    assert counts["equal"] >= 4  # white space
    assert steps_in(tmp_path) == [5]
    print(counts)
