"""The file format: against bytes written by hand, against the package of its authors, refusals."""

import io
import json

import numpy as np
import pytest

from jaxrnn.train.safetensors import (
    DTYPES,
    SafetensorsError,
    read_data,
    read_header,
    strict_json,
    write_arrays,
)


def written(arrays, metadata=None):
    pieces = []
    write_arrays(pieces.append, arrays, metadata)
    return b"".join(bytes(piece) for piece in pieces)


def read(text):
    file = io.BytesIO(text)
    return read_data(file, read_header(file, len(text)))


def by_hand(fields, data=b"", pad=0):
    header = (fields if isinstance(fields, str) else json.dumps(fields)).encode() + b" " * pad
    return len(header).to_bytes(8, "little") + header + data


def of(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def random_bits(dtype, shape):
    """Any bit pattern, NaN included."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    bits = np.random.default_rng(3).integers(0, 256, count, np.uint8)
    return ((bits & 1) if np.dtype(dtype).name == "bool" else bits).view(dtype).reshape(shape)


EVERY = {name: random_bits(dtype, (3, 2)) for name, dtype in DTYPES.items()}
EVERY |= {"empty": np.zeros((2, 0, 3), np.float32), "scalar": np.array(2.5), "": np.arange(3)}


def test_bytes_written_by_hand_are_read():
    data = np.array([1.5, -2.0], "<f4").tobytes() + np.array([7, 8, 9], "<i2").tobytes()
    fields = {"b": of("I16", (3, 1), (8, 14)), "a": of(), "__metadata__": {"x": "y"}}
    text = by_hand(fields, data, pad=5)
    assert read_header(io.BytesIO(text), len(text)).metadata == {"x": "y"}
    found = read(text)
    np.testing.assert_array_equal(found["a"], np.array([1.5, -2], np.float32), strict=True)
    np.testing.assert_array_equal(found["b"], np.array([[7], [8], [9]], np.int16), strict=True)


def test_what_is_written_is_as_the_format_says():
    text = written({"n": np.array([1, 2], np.int8), "x": np.array([[3.0]])}, {"k": "v"})
    size = int.from_bytes(text[:8], "little")
    assert (size + 8) % 8 == 0
    assert json.loads(text[8 : 8 + size]) == {
        "__metadata__": {"k": "v"},
        "x": of("F64", (1, 1), (0, 8)),
        "n": of("I8", (2,), (8, 10)),
    }
    assert text[8 + size :] == np.array([3.0]).tobytes() + b"\1\2"


def test_every_bit_comes_back():
    found = read(written(EVERY))
    assert set(found) == set(EVERY)
    for name, array in EVERY.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_any_memory_layout_is_written():
    array = np.arange(12.0).reshape(3, 4)
    for one in (array.T, array[:, ::2], array.astype(">f8"), np.asfortranarray(array)):
        np.testing.assert_array_equal(read(written({"x": one}))["x"], one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a file of 0 bytes"),
        (b"\x02\0\0\0", "a file of 4 bytes"),
        (b"\xff" * 16, "a header of 18446744073709551615 bytes"),
        (b"\x09" + b"\0" * 7 + b"{}", "a header of 9 bytes"),
        (by_hand("[]"), "a header that is a list"),
        (by_hand("{"), "no JSON"),
        (by_hand('{"a": 1, "a": 2}'), "twice"),
        (by_hand("[" * 100_000), "no JSON"),
        (by_hand('{"a": NaN}'), "NaN"),
        (by_hand({"__metadata__": {"a": 1}}), "strings by strings"),
        (by_hand({"a": of()}, b"\0" * 7), "bytes 0 to 8"),
        (by_hand({"a": of()}, b"\0" * 9), "9 bytes of arrays; expected 8"),
        (by_hand({"a": of(offsets=(4, 12))}, b"\0" * 12), "array 'a' at byte 4"),
        (by_hand({"a": of(), "b": of(offsets=(4, 12))}, b"\0" * 12), "array 'b' at byte 4"),
        (by_hand({"a": of(), "b": of()}, b"\0" * 8), "array 'b' at byte 0"),
        (by_hand({"a": of(offsets=(8, 0))}, b"\0" * 8), "bytes 8 to 0"),
        (by_hand({"a": of(offsets=(-8, 0))}), "two sizes"),
        (by_hand({"a": of(offsets=(0, 8.0))}, b"\0" * 8), "two sizes"),
        (by_hand({"a": of(offsets=(0, True))}, b"\0" * 8), "two sizes"),
        (by_hand({"a": of(shape=(-2,))}, b"\0" * 8), "a list of sizes"),
        (by_hand({"a": of(shape=(2**62, 2**62))}, b"\0" * 8), "addressed"),
        (by_hand({"a": of(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "addressed"),
        (by_hand({"a": of(shape=[1] * 65, offsets=(0, 4))}, b"\0" * 4), "a list of sizes"),
        (by_hand({"a": of("PICKLE")}, b"\0" * 8), "dtype 'PICKLE'"),
        (by_hand({"a": of() | {"url": "x"}}, b"\0" * 8), "dtype, shape and data_offsets"),
        (by_hand({"a": of("BOOL", (2,), (0, 2))}, b"\1\2"), "0 or 1"),
    ],
)
def test_what_is_broken_is_refused(text, message):
    with pytest.raises(SafetensorsError, match=message):
        read(text)


def test_a_file_that_ends_early_is_refused():
    text = written(EVERY)
    for cut in (4, 100, len(text) - 1):
        with pytest.raises(SafetensorsError, match="cut off"):
            file = io.BytesIO(text[:cut])
            read_data(file, read_header(file, len(text)))


def test_json_is_strict():
    for text in (b'{"a": 1, "a": 1}', b"[Infinity]", b"\xff", b"{", b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011
            strict_json(text)


def test_what_the_format_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="got dtype complex64 for 'z'.*pairs"):
        written({"z": np.zeros(2, np.complex64)})
    with pytest.raises(ValueError, match="__metadata__"):
        written({"__metadata__": np.zeros(2)})


@pytest.mark.peer
def test_the_package_of_the_format_reads_ours_and_we_read_its(tmp_path):
    package = pytest.importorskip("safetensors")
    by_numpy = pytest.importorskip("safetensors.numpy")
    raw = {name: (a.dtype, a.shape, a.tobytes()) for name, a in EVERY.items()}

    def same(found):
        assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == raw

    # Its form of NumPy arrays knows no float8; the package itself gives names and bytes.
    theirs = dict(package.deserialize(written(EVERY, {"a": "b"})))
    kinds = {name: (DTYPES[one["dtype"]], tuple(one["shape"])) for name, one in theirs.items()}
    same({k: np.frombuffer(theirs[k]["data"], kinds[k][0]).reshape(kinds[k][1]) for k in theirs})
    known = {name: array for name, array in EVERY.items() if not name.startswith(("F8", "BF"))}
    path = tmp_path / "x.safetensors"
    by_numpy.save_file(known, path, {"c": "d"})
    bits = {name: read(path.read_bytes())[name].tobytes() for name in known}
    assert bits == {name: raw[name][2] for name in known}
    path.write_bytes(written(known))
    assert {k: a.tobytes() for k, a in by_numpy.load_file(path).items()} == bits


@pytest.mark.peer
def test_torch_reads_ours_and_we_read_its(tmp_path):
    torch, package = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    path = tmp_path / "x.safetensors"
    path.write_bytes(written({k: a for k, a in EVERY.items() if a.size}))
    theirs = package.load_file(path)
    for name, tensor in theirs.items():
        bits = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert (bits, tuple(tensor.shape)) == (EVERY[name].tobytes(), EVERY[name].shape)
    assert theirs["BF16"].dtype == torch.bfloat16
    assert theirs["F8_E4M3"].dtype == torch.float8_e4m3fn
    package.save_file(theirs, path)
    ours = read(path.read_bytes())
    for name in theirs:
        assert ours[name].dtype == EVERY[name].dtype
        assert ours[name].tobytes() == EVERY[name].tobytes()
