"""Damage to checkpoints: at random, or forged so that the checksums fit."""

import contextlib
import hashlib
import json
import resource

import numpy as np

from jaxrnn.train import CheckpointError
from jaxrnn.train.reading import read_directory


def digest(fields):
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def rewrite(path, change):
    """Changes the manifest and forges its checksum."""
    fields = json.loads((path / "manifest.json").read_text())
    del fields["sha256"]
    change(fields)
    (path / "manifest.json").write_text(json.dumps(fields | {"sha256": digest(fields)}))


def reseal(path):
    """Forges the checksums of a changed file of arrays."""
    data = (path / "arrays.safetensors").read_bytes()
    file = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(path, lambda fields: fields.update(file=file))


@contextlib.contextmanager
def little_memory():
    """Has the kernel refuse more than 256 MB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


EXTREME = [0, 1, -1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30, 1e999, 0.5,
           True, None, "", "F64", [], {}, [0] * 70, "\ud800", "../x"]  # fmt: skip


def mutated_bytes(rng, data):
    """One to three of: cut, flip, overwrite, insert, remove, repeat, another length."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        size = int(rng.integers(1, 9))
        match rng.integers(0, 7):
            case 0:
                del data[at:]
            case 1 if data:
                data[at % len(data)] ^= 1 << int(rng.integers(0, 8))
            case 2:
                data[at : at + size] = rng.bytes(size)
            case 3:
                data[at:at] = rng.bytes(size)
            case 4:
                del data[at : at + size]
            case 5:
                data[at:at] = data[at : at + 10 * size]
            case 6:
                data[:8] = int(rng.choice([0, 1, 2**20, 2**27, 2**40])).to_bytes(8, "little")
    return bytes(data)


def mutated_json(rng, value):
    """Puts an extreme value, or takes away or doubles something, anywhere in a tree of JSON."""
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(value)
    for _ in range(rng.integers(1, 3)):
        node, key = places[rng.integers(len(places))]
        what = rng.integers(0, 4)
        if (
            isinstance(node, list)
            and key >= len(node)
            or isinstance(node, dict)
            and key not in node
        ):
            continue
        if what == 0:
            del node[key]
        elif what == 1 and isinstance(node, list):
            node.append(node[key])
        elif what == 1:
            node[str(rng.integers(100))] = node[key]
        else:
            node[key] = EXTREME[rng.integers(len(EXTREME))]
    return value


def read_damaged(path, like, expected, damage, number):
    """Damages a checkpoint so many times, reads it each time, and counts what came of it.

    `damage` says whether it forged the checksums: then other values are no mistake of the reader's.
    """
    counts = {"refused": 0, "another": 0, "equal": 0, "forged": 0}
    with little_memory():  # or more is a MemoryError
        for _ in range(number):
            forged = damage()
            try:
                found = read_directory(path, like)
            except CheckpointError:
                counts["refused"] += 1
            except ValueError as error:
                assert forged, error
                assert "another architecture" in str(error)
                counts["another"] += 1
            else:
                same = all(
                    np.asarray(found.tree[k]).tobytes() == np.asarray(v).tobytes()
                    for k, v in like.items()
                )
                same = same and found.info == expected.info and found.step == expected.step == 5
                assert same or forged
                counts["equal" if same else "forged"] += 1
    return counts
