"""The manifest of a checkpoint: JSON that says what the arrays beside it are."""

import hashlib
import json
import math
import operator
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._version import __version__
from jaxrnn.train.leaves import Leaf
from jaxrnn.train.pieces import Piece, check_tiling
from jaxrnn.train.safetensors import strict_json

__all__ = [
    "CheckpointError",
    "Manifest",
    "Part",
    "UnknownVersionError",
    "check_info",
    "current_versions",
    "parse_manifest",
    "write_manifest",
]

_FORMAT = "jaxrnn checkpoint"
_WHOLE, _PARTS = 1, 2  # versions: one file of whole arrays; a file of pieces from each process
_FIELDS = {"format", "version", "step", "arrays", "extra", "versions", "info", "sha256"}
_FILES = {_WHOLE: "file", _PARTS: "parts"}


class CheckpointError(ValueError):
    """A checkpoint is broken, cut off, foreign, or of a format this version does not know."""


class UnknownVersionError(CheckpointError):
    """A checkpoint of a version of the format that is not known here; it need not be broken."""


class Part(NamedTuple):
    """The file of arrays that one of several processes wrote.

    Attributes:
      size: in bytes.
      header: the sha256 of its header; pieces have checksums of their own.
    """

    size: int
    header: str


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
      step: the number of training steps done, which is the position in the data too.
      leaves: the tree's, by name.
      extra: other arrays, by name.
      size: of the file of arrays, in bytes; 0 where there are parts.
      sha256: of the file of arrays.
      info: what the user added.
      versions: of the packages that wrote it, by name.
      parts: the files of arrays of several processes; none where there is one file.
      pieces: where the arrays lie in the parts, by name.
    """

    step: int
    leaves: dict[str, Leaf]
    extra: dict[str, Leaf]
    size: int
    sha256: str
    info: dict[str, Any]
    versions: dict[str, str]
    parts: tuple[Part, ...] = ()
    pieces: Mapping[str, tuple[Piece, ...]] = MappingProxyType({})


def current_versions() -> dict[str, str]:
    """Returns the versions of the packages that matter to a training, by name."""
    return {"jaxrnn": __version__, "jax": jax.__version__, "numpy": np.__version__}


def check_info(info: Mapping[str, Any] | None, *, by: str) -> dict[str, Any]:
    """Returns what a user adds to a checkpoint as plain dicts and lists.

    Args:
      info: strings by whatever JSON can hold.
      by: the function the user called, for the message.

    Raises:
      TypeError: something in it is not JSON.
      ValueError: a number in it is not finite.

    Example:
      >>> check_info({"cell": "lstm", "sizes": (3, 5)}, by="save_checkpoint")
      {'cell': 'lstm', 'sizes': [3, 5]}
    """

    def plain(value, place):
        if value is None or isinstance(value, str | bool):
            return value
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return value
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: plain(one, f"{place}[{key!r}]") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one, f"{place}[{index}]") for index, one in enumerate(value)]
        error = ValueError if type(value) is float else TypeError
        msg = (
            f"{by}: got {place} = {value!r:.200} ({type(value).__name__}); expected what JSON "
            "holds: strings, finite numbers, bools, None, lists, dicts by strings; convert numbers "
            "of NumPy with .item()"
        )
        raise error(msg)

    return plain({} if info is None else info, "info")


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _leaf_fields(name: str, leaf: Leaf, how: str) -> dict[str, Any]:
    shape = list(leaf.shape)
    return {"name": name} | leaf._asdict() | {"shape": shape, "stored_as": how}


def _piece_fields(piece: Piece) -> dict[str, Any]:
    start, stop = ([pair[end] for pair in piece.box] for end in (0, 1))
    return {"part": piece.part, "start": start, "stop": stop, "sha256": piece.sha256}


def write_manifest(manifest: Manifest, stored_as: Mapping[str, str]) -> bytes:
    """Returns the manifest's text.

    Args:
      manifest: what to say.
      stored_as: how each array is stored, for other readers.
    """

    def fields_of(name, leaf):
        fields = _leaf_fields(name, leaf, stored_as[name])
        if manifest.parts:
            fields["pieces"] = [_piece_fields(piece) for piece in manifest.pieces[name]]
        return fields

    version = _PARTS if manifest.parts else _WHOLE
    files = {
        _WHOLE: {"size": manifest.size, "sha256": manifest.sha256},
        _PARTS: [part._asdict() for part in manifest.parts],
    }
    fields = {
        "format": _FORMAT,
        "version": version,
        "step": manifest.step,
        "versions": manifest.versions,
        "info": manifest.info,
        "arrays": [fields_of(name, leaf) for name, leaf in manifest.leaves.items()],
        "extra": [fields_of(name, leaf) for name, leaf in manifest.extra.items()],
        _FILES[version]: files[version],
    }
    fields["sha256"] = _digest(fields)
    return (json.dumps(fields, indent=1) + "\n").encode()


def _leaves(listed: Any) -> dict[str, Leaf]:
    """Reads a list of leaves, or raises KeyError, TypeError or ValueError."""
    found = {}
    for fields in listed:
        shape = tuple(map(operator.index, fields["shape"]))
        leaf = Leaf(fields["kind"], fields["dtype"], shape, fields["weak_type"])
        texts = (fields["name"], leaf.kind, leaf.dtype)
        if not all(isinstance(text, str) for text in texts) or fields["name"] in found:
            msg = "a leaf without a name of its own"
            raise ValueError(msg)
        found[fields["name"]] = leaf
    return found


def _parts(listed: Any) -> tuple[Part, ...]:
    """Reads the list of files, or raises as `_leaves` does."""
    parts = tuple(Part(operator.index(one["size"]), one["header"]) for one in listed)
    if not parts:
        msg = "no parts"
        raise ValueError(msg)
    return parts


def _pieces(listed: Any, parts: int) -> dict[str, tuple[Piece, ...]]:
    """Reads where arrays lie, or raises as `_leaves` does."""
    found = {}
    for fields in listed:
        pieces = []
        for one in fields["pieces"]:
            ends = (map(operator.index, one[end]) for end in ("start", "stop"))
            piece = Piece(
                operator.index(one["part"]), tuple(zip(*ends, strict=True)), one["sha256"]
            )
            if not 0 <= piece.part < parts:
                msg = f"a piece in part {piece.part} of {parts}"
                raise ValueError(msg)
            pieces.append(piece)
        check_tiling(fields["name"], fields["shape"], [piece.box for piece in pieces])
        found[fields["name"]] = tuple(pieces)
    if len(found) < len(listed):
        msg = "a name that stands twice"
        raise ValueError(msg)
    return found


def parse_manifest(text: bytes) -> Manifest:
    """Reads a manifest's text.

    Args:
      text: the file's bytes.

    Returns:
      What it says.

    Raises:
      CheckpointError: it is no manifest, or it was changed since it was written.
      UnknownVersionError: its version is unknown.
    """
    try:
        fields = strict_json(text)
    except ValueError as error:
        msg = f"got a manifest that is no JSON ({error}); expected one that jaxrnn wrote"
        raise CheckpointError(msg) from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        msg = f"got a manifest without format {_FORMAT!r}; expected one that jaxrnn wrote"
        raise CheckpointError(msg)
    version = fields.get("version")
    if type(version) is not int or version not in _FILES:
        msg = (
            f"got version {version!r:.50} of the format; expected {_WHOLE} or {_PARTS}; load it "
            "with the version of jaxrnn that wrote it"
        )
        raise UnknownVersionError(msg)
    said = fields.pop("sha256", None)
    try:
        names = set(fields) | {"sha256"}
        same = names == _FIELDS | {_FILES[version]} and said == _digest(fields)
    except RecursionError:
        same = False
    if not same:
        msg = "got a manifest that does not fit its own checksum; expected it as it was written"
        raise CheckpointError(msg)
    try:
        file = fields.get("file", {"size": 0, "sha256": ""})
        parts = _parts(fields["parts"]) if version == _PARTS else ()
        listed = [*fields["arrays"], *fields["extra"]] if parts else []
        manifest = Manifest(
            operator.index(fields["step"]),
            _leaves(fields["arrays"]),
            _leaves(fields["extra"]),
            operator.index(file["size"]),
            file["sha256"],
            check_info(fields["info"], by="load_checkpoint"),
            {name: f"{one!s:.50}" for name, one in dict(fields["versions"]).items()},
            parts,
            _pieces(listed, len(parts)),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        msg = f"got a manifest with {error!r:.200}; expected the fields that jaxrnn writes"
        raise CheckpointError(msg) from None
    return manifest
