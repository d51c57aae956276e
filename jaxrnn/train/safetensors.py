"""The safetensors file format: named arrays behind a JSON header, read with distrust.

A file is 8 bytes (little-endian: how long the header is), the header, and the arrays' bytes without
gaps. Nothing in a file is executed, and nothing is allocated before what the header declares has
been compared with the size of the file.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np

__all__ = [
    "DTYPES",
    "Entry",
    "Header",
    "SafetensorsError",
    "dtype_name",
    "pass_over",
    "read_array",
    "read_data",
    "read_header",
    "strict_json",
    "write_arrays",
]

_MAX_HEADER = 100_000_000  # bytes, as in the format's reference implementation
_MAX_NDIM = 64  # of NumPy
_BLOCK = 1 << 22  # bytes that are passed over at a time
_METADATA = "__metadata__"

DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
}
"""The format's names of data types. Complex numbers are not among those that all readers know."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class SafetensorsError(ValueError):
    """A file is not a safetensors file, or a broken one."""


class Entry(NamedTuple):
    """What a header says of one array.

    Attributes:
      dtype: a name in `DTYPES`.
      shape: the array's shape.
      start: where its bytes begin, counted from the end of the header.
      stop: where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Header(NamedTuple):
    """A file's header.

    Attributes:
      entries: by name, in the order of their bytes.
      metadata: strings by strings.
    """

    entries: dict[str, Entry]
    metadata: dict[str, str]


def _native(dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype)
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def dtype_name(dtype: Any) -> str | None:
    """Returns the format's name of a NumPy dtype, None where it has none."""
    return _NAMES.get(_native(dtype))


def strict_json(text: bytes) -> Any:
    """Parses JSON in UTF-8 that names no key twice and holds no NaN or infinity.

    Args:
      text: the bytes.

    Returns:
      What they say.

    Raises:
      ValueError: they are not such JSON.

    Example:
      >>> strict_json(b'{"a": [1, 2]}')
      {'a': [1, 2]}
    """

    def once(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            msg = "a key stands twice"
            raise ValueError(msg)
        return found

    def refuse(name):
        msg = f"{name} is not JSON"
        raise ValueError(msg)

    try:
        return json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None


def _refuse(got: str, expected: str) -> NoReturn:
    msg = f"got {got}; expected {expected}"
    raise SafetensorsError(msg)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _entry(name: str, fields: Any, data_size: int) -> Entry:
    """Checks what a header says of one array."""
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        _refuse(f"{fields!r:.200} for array {name!r:.200}", "dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        _refuse(f"dtype {dtype!r:.200} of array {name!r:.200}", f"one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > _MAX_NDIM or not all(map(_is_size, shape)):
        _refuse(f"shape {shape!r:.200} of array {name!r:.200}", "a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        _refuse(f"data_offsets {offsets!r:.200} of array {name!r:.200}", "two sizes")
    start, stop = offsets
    itemsize = DTYPES[dtype].itemsize
    if math.prod(max(size, 1) for size in shape) * itemsize >= 2**63:
        _refuse(f"shape {shape!r:.200} of array {name!r:.200}", "one that can be addressed")
    if not start <= stop <= data_size or stop - start != math.prod(shape) * itemsize:
        _refuse(
            f"bytes {start} to {stop} for array {name!r:.200}, {dtype} {shape!r:.200}",
            f"{math.prod(shape) * itemsize} bytes of the {data_size} there are",
        )
    return Entry(dtype, tuple(shape), start, stop)


def _parse(text: bytes, data_size: int) -> Header:
    """Checks a header and what it declares against the number of bytes that follow it."""
    try:
        fields = strict_json(text)
    except ValueError as error:
        fields = error
    if isinstance(fields, ValueError):
        _refuse(f"a header that is no JSON ({fields})", "a safetensors file")
    if not isinstance(fields, dict):
        _refuse(f"a header that is a {type(fields).__name__}", "names and arrays")
    metadata = fields.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(f"{_METADATA} {metadata!r:.200}", "strings by strings")
    entries = {name: _entry(name, given, data_size) for name, given in fields.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)))
    end = 0
    for name, entry in entries.items():
        if entry.start != end:
            _refuse(f"array {name!r:.200} at byte {entry.start}", f"byte {end}: no gap, once")
        end = entry.stop
    if end != data_size:
        _refuse(f"{data_size} bytes of arrays", f"{end}, as the header says")
    return Header(entries, metadata)


def _nothing(piece: Any) -> None:
    del piece


def _read(file: BinaryIO, size: int, heard: Callable[[Any], Any]) -> np.ndarray:
    buffer, done = np.empty(size, np.uint8), 0
    while done < size:
        count = file.readinto(buffer[done:].data)
        if not count:
            _refuse(f"an end after {done} bytes", f"{size}; the file is cut off")
        done += count
    heard(buffer.data)
    return buffer


def read_header(file: BinaryIO, file_size: int, heard: Callable[[Any], Any] = _nothing) -> Header:
    """Reads and checks the header.

    Args:
      file: a binary file, at its beginning.
      file_size: its size in bytes.
      heard: called with every piece of the file as it is read: for a checksum.

    Returns:
      The header; the arrays it declares fill the rest of the file exactly.

    Raises:
      SafetensorsError: the file is cut off, the header too long, or what it says impossible.

    Example:
      >>> import io
      >>> import numpy as np
      >>> pieces = []
      >>> names = write_arrays(pieces.append, {"w": np.zeros((2, 3), np.float32)})
      >>> text = b"".join(pieces)
      >>> read_header(io.BytesIO(text), len(text)).entries["w"]
      Entry(dtype='F32', shape=(2, 3), start=0, stop=24)
    """
    if file_size < 8:
        _refuse(f"a file of {file_size} bytes", "at least the 8 that say how long the header is")
    size = int.from_bytes(_read(file, 8, heard).tobytes(), "little")
    if size > min(_MAX_HEADER, file_size - 8):
        _refuse(
            f"a header of {size} bytes in a file of {file_size}",
            f"one that fits, and at most {_MAX_HEADER}; this is no safetensors file",
        )
    return _parse(_read(file, size, heard).tobytes(), file_size - 8 - size)


def read_data(
    file: BinaryIO, header: Header, heard: Callable[[Any], Any] = _nothing
) -> dict[str, np.ndarray]:
    """Reads the arrays.

    Args:
      file: the file, at the end of the header, as `read_header` leaves it.
      header: what `read_header` returned.
      heard: called with every piece of the file as it is read.

    Returns:
      The arrays by name.

    Raises:
      SafetensorsError: the file is cut off, or a bool is neither 0 nor 1.

    Example:
      >>> import io
      >>> import numpy as np
      >>> pieces = []
      >>> names = write_arrays(pieces.append, {"w": np.arange(3)})
      >>> text = b"".join(pieces)
      >>> file = io.BytesIO(text)
      >>> read_data(file, read_header(file, len(text)))["w"]
      array([0, 1, 2])
    """
    return {name: read_array(file, name, one, heard) for name, one in header.entries.items()}


def read_array(
    file: BinaryIO, name: str, entry: Entry, heard: Callable[[Any], Any] = _nothing
) -> np.ndarray:
    """Reads one array.

    Args:
      file: the file, where the bytes of the array begin.
      name: the array's, for the message.
      entry: what the header says of it.
      heard: called with its bytes.

    Raises:
      SafetensorsError: the file is cut off, or a bool is neither 0 nor 1.

    Example:
      >>> import io
      >>> read_array(io.BytesIO(bytes([7, 0, 8, 0])), "n", Entry("I16", (2,), 0, 4))
      array([7, 8], dtype=int16)
    """
    raw = _read(file, entry.stop - entry.start, heard)
    if entry.dtype == "BOOL" and np.any(raw > 1):
        _refuse(f"a byte above 1 in array {name!r:.200} of bools", "0 or 1")
    values = raw.view(DTYPES[entry.dtype]).reshape(entry.shape)
    return values.byteswap() if sys.byteorder == "big" else values


def pass_over(file: BinaryIO, entry: Entry, heard: Callable[[Any], Any]) -> None:
    """Reads one array for its checksum alone, in little memory.

    Args:
      file: the file, where the bytes of the array begin.
      entry: what the header says of it.
      heard: called with its bytes, in blocks.

    Raises:
      SafetensorsError: the file is cut off.

    Example:
      >>> import io
      >>> heard = []
      >>> pass_over(io.BytesIO(b"abcd"), Entry("I16", (2,), 0, 4), heard.append)
      >>> bytes(heard[0])
      b'abcd'
    """
    left = entry.stop - entry.start
    while left:
        left -= _read(file, min(left, _BLOCK), heard).size


def write_arrays(
    write: Callable[[Any], Any],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Writes arrays in the safetensors format.

    Args:
      write: called with the file's pieces in order, such as ``file.write``.
      arrays: by name; of dtypes in `DTYPES`.
      metadata: strings by strings.

    Returns:
      The names in the order of the arrays' bytes. The first two pieces are the header, each of the
      others is an array.

    Raises:
      TypeError: an array's dtype has no name in the format.
      ValueError: an array is named ``__metadata__``.

    Example:
      >>> import numpy as np
      >>> pieces = []
      >>> write_arrays(pieces.append, {"w": np.zeros(3, np.float32)})
      ['w']
      >>> len(b"".join(pieces)) % 8
      4
    """
    if _METADATA in arrays:
        msg = f"write_arrays: got an array named {_METADATA}, which the format keeps for itself"
        raise ValueError(msg)
    fields: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    # Large items first, so that each array is aligned to its own.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    end = 0
    for name in order:
        array = arrays[name]
        kind = dtype_name(array.dtype)
        if kind is None:
            msg = (
                f"write_arrays: got dtype {array.dtype} for {name!r}; expected one of "
                f"{', '.join(map(str, _NAMES))}; store complex numbers as pairs of real ones"
            )
            raise TypeError(msg)
        offsets = [end, end := end + array.nbytes]
        fields[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write(len(text).to_bytes(8, "little"))
    write(text)
    for name in order:
        array = arrays[name]
        array = np.ascontiguousarray(array, _native(array.dtype)).reshape(-1)
        if sys.byteorder == "big":
            array = array.byteswap()
        write(array.view(np.uint8).data)
    return order
